"""Four processes that ingest, one that rebuilds and one that reads, at once: nobody fails, nobody sees a part of a slice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from gaelp_assets_tests.chaos import workers
from gaelp_assets_tests.chaos.endings import Ending, assert_equivalent, ending
from gaelp_assets_tests.chaos.processes import Worker, clean, start
from gaelp_assets_tests.chaos.workloads import files, fill, put
from gaelp_assets_tests.platforms import platform_in

INGESTING = 4


@pytest.fixture
def expected(tmp_path: Path, seed: int) -> Ending:
    """What one clean load makes of the seed's files. Without conflicts: which row came first is what a race decides."""
    home = tmp_path / "clean"
    fill(home, seed, conflicts=False)
    clean(workers.ingest, home)
    return ending(home)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "raced"
    platform_in(home)
    (home / workers.READ_ON).touch()
    return home


@pytest.fixture
def started() -> Iterator[list[Worker]]:
    """The processes of a test, which end with it at the latest."""
    workers_: list[Worker] = []
    yield workers_
    for worker in workers_:
        worker.process.kill()


def test_ingesting_and_rebuilding_at_once_while_somebody_reads(
    expected: Ending, home: Path, seed: int, started: list[Worker], tmp_path: Path
) -> None:
    seen = tmp_path / "seen.parquet"
    started += [start(workers.ingest_until_done, home) for _ in range(INGESTING)]
    started.append(start(workers.rebuild_until_done, home))
    for worker in started:
        worker.wait_until_begun()
    reader = start(workers.read_on, home, seen)
    chance = random.Random(seed)
    for name, content in files(seed, conflicts=False):
        put(home, name, content)
        time.sleep(chance.uniform(0, 0.2))
    (home / workers.LAST).touch()
    for worker in started:
        worker.finish()
    started.append(reader)
    end_reading(home, reader)
    assert_equivalent(expected, ending(home))
    check_what_was_seen(home, seen)


def test_some_of_them_killed_now_and_then(
    expected: Ending, home: Path, seed: int, kills: int, started: list[Worker], tmp_path: Path
) -> None:
    seen = tmp_path / "seen.parquet"
    reader = start(workers.read_on, home, seen)
    rebuilding = start(workers.rebuild_until_done, home)
    mortal = [start(workers.ingest_until_done, home) for _ in range(INGESTING)]
    started += [reader, rebuilding, *mortal]
    arriving = list(files(seed, conflicts=False))
    chance = random.Random(seed)
    killed = 0
    while killed < kills // 4:
        if arriving and chance.random() < 0.7:
            put(home, *arriving.pop(0))
        victim = chance.randrange(INGESTING)
        mortal[victim].wait_until_begun()
        time.sleep(chance.uniform(0, 0.3))
        assert mortal[victim].process.is_alive()
        mortal[victim].kill_after(0)
        killed += 1
        mortal[victim] = start(workers.ingest_until_done, home)
        started.append(mortal[victim])
        if not arriving:
            arriving = resent(seed, chance)
    for name, content in files(seed, conflicts=False):
        put(home, name, content)
    (home / workers.LAST).touch()
    for worker in (rebuilding, *mortal):
        worker.finish()
    end_reading(home, reader)
    assert_equivalent(expected, ending(home))
    check_what_was_seen(home, seen)


def end_reading(home: Path, reader: Worker) -> None:
    """Lets the reader finish the queries that it is at."""
    (home / workers.READ_ON).unlink()
    reader.finish()


def resent(seed: int, chance: random.Random) -> list[tuple[str, bytes]]:
    """The same files once more, in another order."""
    again = list(files(seed, conflicts=False))
    chance.shuffle(again)
    return again


def check_what_was_seen(home: Path, observations: Path) -> None:
    """Of every batch, a reader has seen nothing or the rows that it ends with, whatever was rebuilt at the same time."""
    seen = pl.read_parquet(observations)
    final = platform_in(home).warehouse.query(
        "SELECT slice_date, slice_environment, batch_id, loaded FROM ops.import_logs "
        "WHERE `table` = 'checkpoints' AND mode <> 'sort'"
    )
    keys = ["slice_date", "slice_environment", "batch_id", "loaded"]
    assert seen.height >= 5
    assert seen.join(final.frame, on=keys, how="anti").is_empty()
