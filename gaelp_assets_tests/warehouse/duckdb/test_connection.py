"""The DuckDB file among other programs: held open, locked for long, broken, in a wrong place, on a full disk."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gaelp_assets.errors import GaelpError, TransientError
from gaelp_assets.warehouse.duckdb.connection import duckdb_error
from gaelp_assets.warehouse.duckdb.file_lock import FairFileLock
from gaelp_assets.warehouse.protocol import StagedBatch
from gaelp_assets_tests.contract.warehouses import (
    CARTPOLE,
    EPISODES,
    RELATIONS,
    RawLines,
    Stager,
    encode,
    episode,
    episodes,
    open_engine,
    rows_of,
    write,
)

SPAWN = multiprocessing.get_context("spawn")


@contextmanager
def another_program(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that prints a line when it is ready, and ends when its input does."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def holding(file: Path) -> str:
    return f"import duckdb; con = duckdb.connect({str(file)!r}); print('ready', flush=True); input()"


@pytest.fixture
def stage(tmp_path: Path) -> Stager:
    folder = tmp_path / "staged"
    folder.mkdir()
    return Stager(folder)


def test_a_file_held_open_by_another_program_is_named_with_its_process(tmp_path: Path) -> None:
    open_engine("duckdb", tmp_path).ensure(RELATIONS)
    with another_program(holding(tmp_path / "warehouse.duckdb")) as program:
        hurried = open_engine("duckdb", tmp_path, lock_timeout=0.3)
        with pytest.raises(TransientError, match=rf"process {program.pid}\) holds the file open"):
            hurried.ensure(RELATIONS)
        with pytest.raises(TransientError, match=rf"process {program.pid}\) holds the file open"):
            hurried.query("SELECT 1 AS one")
    assert open_engine("duckdb", tmp_path).query("SELECT 1 AS one").frame.item() == 1


def test_a_write_waits_until_the_other_program_closes_the_file(tmp_path: Path, stage: Stager) -> None:
    warehouse = open_engine("duckdb", tmp_path)
    warehouse.ensure(RELATIONS)
    batch = stage(EPISODES, encode(episodes(range(3))))
    with another_program(holding(tmp_path / "warehouse.duckdb")) as program:
        assert program.stdin is not None
        timer = threading.Timer(0.5, program.stdin.close)
        timer.start()
        assert write(warehouse, EPISODES, [batch], CARTPOLE)[0].loaded == 3
        timer.join()


def test_waiting_for_a_turn_ends_with_the_name_of_who_has_it(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    with FairFileLock(file, 5).acquire(write=True, purpose="append lab.episodes"):
        for write_too in (True, False):
            with (
                pytest.raises(
                    TransientError, match=rf"process {os.getpid()} \(append lab.episodes\) is using"
                ),
                FairFileLock(file, 0.05).acquire(write=write_too, purpose="read"),
            ):
                pytest.fail("two had a turn")


def test_readers_share_a_turn_and_a_writer_waits_for_them(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    with (
        FairFileLock(file, 5).acquire(write=False, purpose="a"),
        FairFileLock(file, 5).acquire(write=False, purpose="b"),
        pytest.raises(TransientError, match="a process that reads it"),
        FairFileLock(file, 0.05).acquire(write=True, purpose="c"),
    ):
        pytest.fail("a writer had a turn beside readers")


def _many_turns(file: Path, stop: Any) -> None:
    while not stop.is_set():
        with FairFileLock(file, 30).acquire(write=True, purpose="write without a pause"):
            time.sleep(0.02)


def test_a_process_with_many_writes_in_a_row_does_not_starve_a_reader(tmp_path: Path) -> None:
    """A waiting reader once got no turn before the last of sixty commits."""
    file, stop = tmp_path / "warehouse.duckdb", SPAWN.Event()
    writers = [SPAWN.Process(target=_many_turns, args=(file, stop)) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        while not file.with_name("warehouse.duckdb.lock.holder").exists():
            time.sleep(0.01)
        for _ in range(20):
            with FairFileLock(file, 10).acquire(write=False, purpose="read"):
                pass
        assert all(writer.is_alive() for writer in writers)
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def _take_and_die(file: Path) -> None:
    with FairFileLock(file, 5).acquire(write=True, purpose="die"):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_gives_its_turn_back(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    process = SPAWN.Process(target=_take_and_die, args=(file,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with FairFileLock(file, 1).acquire(write=True, purpose="go on"):
        pass


def test_a_file_that_is_no_database_is_an_error_that_stays(tmp_path: Path) -> None:
    (tmp_path / "warehouse.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(GaelpError, match=r"cannot be read.*sent") as caught:
        open_engine("duckdb", tmp_path).query("SELECT 1 AS one")
    assert not isinstance(caught.value, TransientError)


def test_a_file_whose_blocks_are_damaged_is_an_error_that_stays(tmp_path: Path, stage: Stager) -> None:
    warehouse = open_engine("duckdb", tmp_path)
    warehouse.ensure(RELATIONS)
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5000))))], CARTPOLE)
    file = tmp_path / "warehouse.duckdb"
    content = bytearray(file.read_bytes())
    content[12288 : len(content)] = bytes(len(content) - 12288)
    file.write_bytes(content)
    with pytest.raises(GaelpError) as caught:
        warehouse.query("SELECT SUM(score) AS s FROM lab.episodes")
    assert not isinstance(caught.value, TransientError)
    assert str(file) in str(caught.value)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(GaelpError, match="cannot make the folder"):
        open_engine("duckdb", tmp_path / "taken" / "below").ensure(RELATIONS)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (duckdb.IOException("IO Error: Could not write: No space left on device"), TransientError),
        (duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate"), TransientError),
        (
            duckdb.OutOfMemoryException("failed to offload data block (max_temp_directory_size)"),
            TransientError,
        ),
        (
            duckdb.ConversionException("Conversion Error: Could not convert string 'secret' to INT64"),
            GaelpError,
        ),
        (duckdb.ConstraintException("Constraint Error: Duplicate key 'secret'"), GaelpError),
        (duckdb.FatalException("FATAL Error: database has been invalidated"), GaelpError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_say_whether_to_try_again_and_quote_no_values(
    error: duckdb.Error, kind: type[GaelpError]
) -> None:
    explained = duckdb_error(error, Path("w.duckdb"), "append")
    assert type(explained) is kind
    assert "secret" not in str(explained)
    assert "append" in str(explained) or "cannot be read" in str(explained)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Invalid Input Error: refused: CAST of FLOAT64 AS STRING", "refused: CAST of FLOAT64 AS STRING"),
        ("Invalid Input Error: division by zero", "division by zero"),
        ("Constraint Error: NOT NULL constraint failed: episodes.score", "NOT NULL constraint failed: episodes.score"),
        ("Out of Range Error: Overflow in addition of INT64 (7341 + 1)!", "Overflow in addition of INT64"),
        ('Invalid Input Error: Could not parse string "refused: 7341"', "Invalid Input Error"),
        ("Conversion Error: Could not convert string '7341: division by zero' to INT32", "Conversion Error"),
        ("Constraint Error: CHECK constraint failed on table e with expression CHECK((e != '7341'))", "Constraint Error"),
        ("Invalid Input Error: refused: one line\nand 7341", "refused: one line"),
    ],
)  # fmt: skip
def test_an_error_that_quotes_no_value_was_cut_at_its_first_colon(message: str, told: str) -> None:
    for kind in (duckdb.InvalidInputException, duckdb.ConstraintException, duckdb.OutOfRangeException):
        explained = duckdb_error(kind(message), Path("w.duckdb"), "query")
        assert str(explained) == f"w.duckdb: cannot query: {told}"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT 1 / 0 AS x", "division by zero"),
        ("SELECT SUM(score * 1e200 * 1e200) AS x FROM lab.episodes", "double overflow"),
        ("SELECT STDDEV(x) AS s FROM UNNEST([1e200, 1.0]) AS x", "STDDEV of numbers whose squares overflow"),
        ("SELECT [1, 2, 3][OFFSET(5)] AS x", "array index out of bounds"),
        ("SELECT (SELECT 1 UNION ALL SELECT 2) AS x", "More than one row"),
        ("SELECT 9223372036854775807 + 1 AS x", "Overflow in addition"),
    ],
)
def test_a_query_is_told_why_it_was_refused(tmp_path: Path, stage: Stager, sql: str, told: str) -> None:
    warehouse = open_engine("duckdb", tmp_path)
    warehouse.ensure(RELATIONS)
    write(warehouse, EPISODES, [stage(EPISODES, encode([episode(1, score=1.5)]))], CARTPOLE)
    with pytest.raises(GaelpError, match=re.escape(told)):
        warehouse.query(sql)


def test_a_query_had_no_limit_and_kept_loads_waiting(tmp_path: Path, stage: Stager) -> None:
    warehouse = open_engine("duckdb", tmp_path, 5)
    warehouse.ensure(RELATIONS)
    endless = (
        "SELECT COUNT(*) AS n FROM UNNEST(GENERATE_ARRAY(1, 1000000)) AS a "
        "CROSS JOIN UNNEST(GENERATE_ARRAY(1, 1000000)) AS b WHERE MOD(a * b, 7) = 3"
    )
    with pytest.raises(GaelpError, match=r"it took longer than 0\.2 s") as caught:
        warehouse.query(endless, time_limit=0.2)
    assert "GAELP_QUERY_SECONDS" in str(caught.value)
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    assert warehouse.query("SELECT COUNT(*) AS n FROM lab.episodes", time_limit=60).frame.item() == 1


def test_a_process_that_ended_beside_a_thread_complained_of_what_duckdb_had_left(tmp_path: Path) -> None:
    script = """
import sys, threading, time
from pathlib import Path
from gaelp_assets.warehouse.duckdb.connection import DuckDBFile

def work():
    file = DuckDBFile(Path(sys.argv[1], "warehouse.duckdb"), 5)
    with file.writing("write"):
        pass
    with file.reading("read"):
        pass
    done.set()
    time.sleep(1000)

done = threading.Event()
threading.Thread(target=work, daemon=True).start()
done.wait()
"""
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, check=True)
    assert not ended.stderr


def test_a_value_that_cannot_be_converted_is_not_in_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(GaelpError) as caught:
        open_engine("duckdb", tmp_path).query("SELECT CAST('secret' AS INT64) AS n")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def big_batch(stage: Stager) -> StagedBatch:
    """Some megabytes that do not compress, and a conflict."""
    import hashlib

    noise = [hashlib.sha256(str(n).encode()).hexdigest() * 8 for n in range(12_000)]
    rows = [episode(0, score=5.0), *(episode(n, info={"noise": text}) for n, text in enumerate(noise))]
    batch = stage(EPISODES, encode(rows), rejects=[b"{"])
    assert isinstance(batch.raw_line, RawLines)
    return batch


def _write_with_file_limit(place: Path, batch: StagedBatch, limit: int, result: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        write(open_engine("duckdb", place), EPISODES, [batch], CARTPOLE)
    except TransientError as error:
        result.put(str(error))
    else:
        result.put("written")


def assert_heals(place: Path, batch: StagedBatch, room: Callable[[], None]) -> None:
    """Nothing of the batch is there; with room again, all of it comes in."""
    warehouse = open_engine("duckdb", place)
    assert rows_of(warehouse, EPISODES) == []
    assert warehouse.query("SELECT * FROM ops.dead_letter").frame.is_empty()
    assert warehouse.ledger(EPISODES, CARTPOLE).is_empty()
    room()
    counts = write(warehouse, EPISODES, [batch], CARTPOLE)[0]
    assert (counts.loaded, counts.rejected) == (12_000, 2)


def test_a_file_that_may_not_grow_is_a_full_disk(tmp_path: Path, stage: Stager) -> None:
    open_engine("duckdb", tmp_path).ensure(RELATIONS)
    batch, result = big_batch(stage), SPAWN.SimpleQueue()
    process = SPAWN.Process(target=_write_with_file_limit, args=(tmp_path, batch, 3_000_000, result))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert "no space left" in result.get()
    assert_heals(tmp_path, batch, lambda: None)


def test_a_full_disk_loses_nothing(tmp_path: Path, stage: Stager) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        warehouse = open_engine("duckdb", place)
        warehouse.ensure(RELATIONS)
        batch = big_batch(stage)
        filler = place / "filler"
        filler.write_bytes(bytes(4_000_000))
        with pytest.raises(TransientError, match="no space left"):
            write(warehouse, EPISODES, [batch], CARTPOLE)
        assert_heals(place, batch, lambda: _make_room(place, filler))
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _make_room(place: Path, filler: Path) -> None:
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
