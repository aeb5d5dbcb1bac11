"""The receiver as long as it runs: with the catalogue as it is now."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import Settings, load_settings
from gaelp_assets.stream import service as serving
from gaelp_assets.stream.batch import Batch, Fates
from gaelp_assets.stream.receiver import Receiver
from gaelp_assets.stream.service import ReceiverService
from gaelp_assets_tests.platforms import checkpoint, ndjson, platform_in, rows

TABLE: dict[str, Any] = {
    "description": "Readings of a rig.",
    "owner": "team:lab",
    "fields": [
        {"name": "id", "type": "INTEGER", "mode": "REQUIRED", "description": "number of the reading"},
        {"name": "volts", "type": "FLOAT", "description": "what it read"},
    ],
    "primary_key": ["id"],
}


def test_rows_were_proved_by_a_catalogue_that_was_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.05)
    file = tmp_path / "catalog" / "lab" / "readings.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(TABLE))
    settings = load_settings(
        {"GAELP_HOME": str(tmp_path / "home"), "GAELP_CATALOG": str(tmp_path / "catalog")}
    )
    platform = open_platform(settings)
    platform.gateway.prepare()
    service = ReceiverService(platform)
    service.start()
    try:
        row = {"id": 1, "volts": 2.5, "amps": 0.5}
        assert _push(service, "a", row) == Fates(1, 0, 0, 1)
        first = service.receiver()
        grown = {
            **TABLE,
            "fields": [*TABLE["fields"], {"name": "amps", "type": "FLOAT", "description": "current"}],
        }
        with caplog.at_level(logging.WARNING, "gaelp_assets.stream"):
            file.write_text("{")  # half written
            _until(lambda: "the last one stays in force" in caplog.text)
        assert service.receiver() is first
        file.write_text(json.dumps(grown))
        _until(lambda: service.receiver() is not first)
        assert _push(service, "b", row) == Fates(1, 1, 0, 0)
    finally:
        assert service.close(60)


def test_the_catalogue_was_looked_at_no_more_and_what_a_receiver_left_stayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a defect, after a gateway that was out of reach for a moment, and where the receiver before had to end with rows left."""
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.02)
    states, reopened = [frozenset({("a", n, n)}) for n in range(3)], list[Exception]()
    monkeypatch.setattr(serving, "catalog_state", lambda _: states[0])

    def reopen(settings: Settings) -> Platform:
        if reopened:
            raise reopened.pop()
        return open_platform(settings)

    service = ReceiverService(platform_in(tmp_path), reopen)
    service.start()
    try:
        first, close = service.receiver(), Receiver.close

        def leaving(receiver: Receiver, seconds: float) -> bool:
            if receiver is first:
                file = receiver.platform.gateway.store.create(
                    "raw/training/checkpoints/live-left.ndjson", [ndjson([checkpoint(1)])]
                )
                assert file is not None
            return close(receiver, seconds)

        monkeypatch.setattr(Receiver, "close", leaving)
        reopened.append(RuntimeError("row 1"))
        del states[0]
        _until(lambda: "RuntimeError" in caplog.text)
        assert service.receiver() is first
        reopened.append(TransientError(Problem("no answer", "gateway")))
        del states[0]
        _until(lambda: service.receiver() is not first)
        _until(
            lambda: (
                rows(
                    service.receiver().platform,
                    "SELECT COUNT(*) AS n FROM ops.import_logs WHERE mode <> 'sort'",
                )
                == [{"n": 1}]
            )
        )
        assert "no answer" in caplog.text
        assert "row 1" not in caplog.text
    finally:
        assert service.close(60)


def _push(service: ReceiverService, stem: str, row: Mapping[str, object]) -> Fates | None:
    receiver = service.receiver()
    return receiver.accept(
        Batch(receiver.platform.catalog["lab.readings"], f"live-{stem}", ndjson([row]))
    ).result(60)


def _until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
