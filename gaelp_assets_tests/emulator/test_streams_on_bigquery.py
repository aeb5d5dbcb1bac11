"""Rows of a stream end the same on BigQuery as on DuckDB, with the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.platform import Platform
from gaelp_assets.stream import pace
from gaelp_assets.stream.receiver import Receiver
from gaelp_assets_tests.contract.warehouses import ENGINES
from gaelp_assets_tests.emulator.test_corrections_on_bigquery import on_engine
from gaelp_assets_tests.ingest.killed_loader import pushed
from gaelp_assets_tests.ingest.test_corrections import held, unbalanced
from gaelp_assets_tests.platforms import load, platform_in


def test_streams_end_alike_on_both_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LONGEST_REST", 0.0)
    told = [_story(on_engine(engine, platform_in(tmp_path / engine))) for engine in ENGINES]
    assert told[0] == told[1]


def _story(platform: Platform) -> list[Any]:
    """What was answered, then what the table holds, before and after a rebuild."""
    told: list[Any] = []
    for _ in range(2):  # all of it comes a second time
        receiver = Receiver(platform)
        receiver.start()
        told.append([receiver.accept(batch).result(120) for batch in pushed(platform)])
        assert receiver.close(120)
    assert told[0] == told[1]
    told += [held(platform), unbalanced(platform)]
    load(platform, rebuild=True)
    assert held(platform) == told[2]
    return told
