"""Datasets and other trackers' runs, handed over and loaded: once and again, and once they have grown."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers import record_log
from gaelp_assets.importers.kinds import kind
from gaelp_assets.importers.source import Options
from gaelp_assets.operations.importing import import_rows
from gaelp_assets_tests.importers.sources import FIXTURES, unpacked
from gaelp_assets_tests.importers.test_sb3 import load_all
from gaelp_assets_tests.platforms import platform_in, rows

AT = Options(at=dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC))


def test_importing_twice_is_importing_once(tmp_path: Path) -> None:
    platform = platform_in(tmp_path / "home")
    log = unpacked(FIXTURES / "wandb", tmp_path) / "run-cartpole1.wandb"
    whole = log.read_bytes()
    starts = [offset for offset, _ in record_log.records(io.BytesIO(whole), start=7)]
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        dump = (FIXTURES / "mlflow" / "mlflow.sql").read_text()
        connection.executescript(f"BEGIN; {dump} COMMIT;")
    sources = [
        ("minari", unpacked(FIXTURES / "minari" / "cartpole", tmp_path), AT),
        ("minari", unpacked(FIXTURES / "minari" / "nest-parquet", tmp_path), AT),
        ("d4rl", FIXTURES / "d4rl" / "with-next.hdf5", dataclasses.replace(AT, environment="Pendulum-v1")),
        ("d4rl", FIXTURES / "d4rl" / "without-next.hdf5", dataclasses.replace(AT, environment="Pendulum-v1")),
        ("mlflow", database, Options()),
        ("wandb", log, Options()),
    ]
    log.write_bytes(whole[: starts[len(starts) // 2]])
    total = 0
    for name, path, options in sources:
        first = import_rows(platform.gateway, kind(name), path, options)
        again = import_rows(platform.gateway, kind(name), path, options)
        assert (again.written, len(again.known)) == ([], len(first.written) + len(first.known)), name
        total += sum(first.rows.values())
    loaded = load_all(platform)
    # The two D4RL files have one agent in common.
    assert (loaded["loaded"] + loaded["duplicate"], loaded["rejected"]) == (total - 1, 0)
    for name, path, options in sources:
        assert import_rows(platform.gateway, kind(name), path, options).written == []
    assert load_all(platform) == {"loaded": 0, "duplicate": 0, "rejected": 0}
    # The run went on, and has ended: what is known is a duplicate, what is new is loaded.
    log.write_bytes(whole)
    grown = import_rows(platform.gateway, kind("wandb"), log, Options())
    assert load_all(platform)["rejected"] == 0
    query = "SELECT COUNT(*) AS n FROM training.metrics WHERE training_run_id = 'cartpole1' AND date > '2026-01-01'"
    assert rows(platform, query) == [{"n": grown.rows["training.metrics"]}]
    query = "SELECT status FROM training.training_runs WHERE training_run_id = 'cartpole1'"
    assert rows(platform, query) == [{"status": "succeeded"}]


def test_a_damaged_source_hands_nothing_over(tmp_path: Path) -> None:
    platform = platform_in(tmp_path / "home")
    log = unpacked(FIXTURES / "wandb", tmp_path) / "run-cartpole1.wandb"
    log.write_bytes(log.read_bytes()[:-3])
    with pytest.raises(GaelpError, match=r"byte [0-9]+ of [0-9]+: .*--allow-damaged"):
        import_rows(platform.gateway, kind("wandb"), log, Options())
    assert platform.gateway.pending().files == []
    done = import_rows(platform.gateway, kind("wandb"), log, Options(), allow_damaged=True)
    assert done.rows["training.metrics"] > 50
    assert done.tally.damage
