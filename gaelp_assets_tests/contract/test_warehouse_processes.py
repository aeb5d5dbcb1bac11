"""What every warehouse promises to several processes at once, and to those that come after a killed one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.warehouse.protocol import StagedBatch, Warehouse
from gaelp_assets_tests.contract.warehouses import (
    CARTPOLE,
    EPISODES,
    LETTERS,
    Stager,
    counts,
    encode,
    episode,
    episodes,
    on_this_emulator,
    open_engine,
    rows_of,
    write,
)
from gaelp_assets_tests.processes import FORKED

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class KillsItself:
    """A raw line that is never read: the process dies by SIGKILL in the middle of its transaction."""

    def __call__(self, offset: int) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError(offset)


def _write_batches(engine: str, place: Path, batches: list[StagedBatch]) -> None:
    warehouse = open_engine(engine, place)
    for batch in batches:
        write(warehouse, EPISODES, [batch], CARTPOLE)


def _watch(engine: str, place: Path, batch_rows: int, stop: Any, seen: Any) -> None:
    warehouse = open_engine(engine, place)
    sql = "SELECT (SELECT COUNT(*) FROM lab.episodes) AS n, (SELECT COALESCE(SUM(loaded), 0) FROM ops.import_logs) AS m"
    looks, wrong = 0, 0
    while not stop.is_set():
        rows, accounted = warehouse.query(sql).frame.row(0)
        looks += 1
        wrong += rows != accounted or rows % batch_rows != 0
    seen.put((looks, wrong))


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts a process, and ends it with the test."""
    processes: list[BaseProcess] = []

    def begin(target: Any, *arguments: Any) -> BaseProcess:
        process = on_this_emulator(target, *arguments)
        process.start()
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.join()
        process.close()


def test_processes_that_write_at_once_lose_nothing_and_a_reader_never_sees_half(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path, start: Any
) -> None:
    parts = 12 if engine == "duckdb" else 6
    batches = [stage(EPISODES, encode(episodes(range(k * 200, k * 200 + 200)))) for k in range(parts)]
    stop, seen = FORKED.Event(), FORKED.Queue()
    reader = start(_watch, engine, tmp_path, 200, stop, seen)
    writers = [start(_write_batches, engine, tmp_path, batches[k::2]) for k in range(2)]
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    stop.set()
    looks, wrong = seen.get(timeout=60)
    reader.join(60)
    assert (reader.exitcode, wrong) == (0, 0)
    assert looks > 0
    assert len(rows_of(warehouse, EPISODES)) == 200 * parts
    assert warehouse.ledger(EPISODES, CARTPOLE)["position"].to_list() == list(range(parts))


def test_the_same_batch_by_two_processes_at_once_is_loaded_once(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path, start: Any
) -> None:
    batch = stage(EPISODES, encode(episodes(range(500))))
    writers = [start(_write_batches, engine, tmp_path, [batch]) for _ in range(3)]
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    assert len(rows_of(warehouse, EPISODES)) == 500
    assert warehouse.ledger(EPISODES, CARTPOLE).height == 1


def test_killed_inside_a_transaction_nothing_is_seen_and_the_next_run_loads_all(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path, start: Any
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    before = rows_of(warehouse, EPISODES)
    # Its rows are inserted before the conflict's raw line is asked for.
    batch = stage(EPISODES, encode([episode(1, score=55.0), *episodes(range(2, 3000))]), rejects=[b"{"])
    writer = start(_write_batches, engine, tmp_path, [replace(batch, raw_line=KillsItself())])
    writer.join(120)
    assert writer.exitcode == -signal.SIGKILL
    assert rows_of(warehouse, EPISODES) == before
    assert warehouse.query(LETTERS).frame.is_empty()
    assert warehouse.ledger(EPISODES, CARTPOLE).height == 1
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (2998, 0, 2)


@pytest.mark.slow
def test_killed_at_any_moment_the_ledger_tells_the_truth(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path, start: Any
) -> None:
    parts, attempts = (30, 3) if engine == "duckdb" else (8, 1)
    batches = [stage(EPISODES, encode(episodes(range(k * 400, k * 400 + 400)))) for k in range(parts)]
    for attempt in range(attempts):
        known = warehouse.ledger(EPISODES, CARTPOLE).height
        writer = start(_write_batches, engine, tmp_path, batches)
        while warehouse.ledger(EPISODES, CARTPOLE).height == known:
            assert writer.is_alive()
        time.sleep(0.013 * attempt)
        writer.kill()
        writer.join()
        ledger = warehouse.ledger(EPISODES, CARTPOLE)
        assert len(rows_of(warehouse, EPISODES)) == ledger["loaded"].sum() == 400 * ledger.height
    _write_batches(engine, tmp_path, batches)
    assert len(rows_of(warehouse, EPISODES)) == 400 * parts


def test_threads_of_one_process_take_turns(engine: str, warehouse: Warehouse, stage: Stager) -> None:
    from concurrent.futures import ThreadPoolExecutor

    parts = 8 if engine == "duckdb" else 4
    batches = [stage(EPISODES, encode(episodes(range(k * 20, k * 20 + 20)))) for k in range(parts)]
    with ThreadPoolExecutor(6) as pool:
        writes = [pool.submit(write, warehouse, EPISODES, [batch], CARTPOLE) for batch in batches]
        reads = [pool.submit(rows_of, warehouse, EPISODES) for _ in range(parts)]
        assert all(len(read.result()) % 20 == 0 for read in reads)
        assert sum(w.result()[0].loaded for w in writes) == 20 * parts
