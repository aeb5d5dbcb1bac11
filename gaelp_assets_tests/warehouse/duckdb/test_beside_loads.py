"""Questions beside loads: neither keeps the other waiting, and each question is answered from one version."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from gaelp_assets.errors import TransientError
from gaelp_assets.warehouse.duckdb import connection, snapshots
from gaelp_assets.warehouse.duckdb.connection import DuckDBFile

LONG_WAIT = 60
ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"


class Question:
    """Takes longer than there is time the first times that it is asked; then it waits for `go_on`, and counts rows."""

    def __init__(self, endless: int = 1) -> None:
        self._endless = endless
        self.asked = threading.Event()
        self.again = threading.Event()
        self.go_on = threading.Event()
        self.times = 0

    def __call__(self, con: duckdb.DuckDBPyConnection) -> int:
        self.times += 1
        self.asked.set()
        if self.times <= self._endless:
            con.execute(ENDLESS).fetchall()
        self.again.set()
        assert self.go_on.wait(LONG_WAIT)
        return count(con)


def count(con: duckdb.DuckDBPyConnection) -> int:
    return connection.scalar(con, "SELECT count(*) FROM t")


def load(file: DuckDBFile, rows: int = 1) -> None:
    with file.writing("load") as con:
        con.execute(f"INSERT INTO t SELECT range FROM range({rows})")


@pytest.fixture
def file(tmp_path: Path) -> DuckDBFile:
    """A warehouse with a table of two rows, one of them still in DuckDB's log."""
    file = DuckDBFile(tmp_path / "warehouse.duckdb", LONG_WAIT)
    with file.writing("make") as con:
        con.execute("CREATE TABLE t (id BIGINT)")
    load(file, 2)
    return file


def copies(file: DuckDBFile) -> list[Path]:
    return [*file.file.parent.glob("*.snapshots/*.duckdb")]


@pytest.fixture
def asking() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(4)


def ask(asking: ThreadPoolExecutor, file: DuckDBFile, question: Callable[..., int]) -> Future[int]:
    # As another process has it: no instance of DuckDB is shared.
    return asking.submit(DuckDBFile(file.file, LONG_WAIT).answer, "ask", question)


def test_a_long_query_held_up_a_load(file: DuckDBFile, asking: ThreadPoolExecutor) -> None:
    first, second = Question(), Question()
    answers = [ask(asking, file, question) for question in (first, second)]
    assert first.asked.wait(LONG_WAIT)
    assert second.asked.wait(LONG_WAIT)
    load(file, 3)
    assert first.again.wait(LONG_WAIT)
    assert second.again.wait(LONG_WAIT)
    assert len(copies(file)) == 1, "one copy of one version, for both"
    load(file, 5)
    assert file.answer("ask", count) == 10
    for question in (first, second):
        question.go_on.set()
    assert [answer.result(LONG_WAIT) for answer in answers] == [2, 2], (
        "what the file held when they were asked"
    )
    assert [first.times, second.times] == [2, 2]
    assert not list(file.file.parent.glob("*.snapshots")), "removed with the last that used it"


def test_a_load_held_up_a_query(file: DuckDBFile) -> None:
    with file.writing("load") as con:
        con.execute("INSERT INTO t SELECT range FROM range(300000)")
        assert DuckDBFile(file.file, LONG_WAIT).answer("ask", count) == 2
        kept = copies(file)
        assert DuckDBFile(file.file, LONG_WAIT).answer("ask", count) == 2
        assert copies(file) == kept, "one copy for all that ask in this turn"
        assert len(kept) == 1
    assert not list(file.file.parent.glob("*.snapshots"))
    assert file.answer("ask", count) == 300_002


def test_nothing_is_copied_once_a_writer_has_begun_to_commit(file: DuckDBFile) -> None:
    with file.writing("change") as con:
        with file.savepoint(con, "change one"):
            con.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(TransientError, match="is using the file"):
            DuckDBFile(file.file, 0.5).answer("ask", count)
    assert DuckDBFile(file.file, LONG_WAIT).answer("ask", count) == 3


def test_a_copy_during_which_a_writer_began_to_commit_is_not_used(
    file: DuckDBFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = snapshots._copied
    with file.writing("load") as con:
        con.execute("INSERT INTO t VALUES (1)")

        def late(*arguments: object) -> bool:
            done = copied(*arguments)  # type: ignore[arg-type]
            file._versions.committing()
            return done

        monkeypatch.setattr(snapshots, "_copied", late)
        with pytest.raises(TransientError, match="is using the file"):
            DuckDBFile(file.file, 0.5).answer("ask", count)
        assert not copies(file)


def test_a_file_that_takes_too_long_to_copy_is_copied_between_loads(
    file: DuckDBFile, asking: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "COPY_SECONDS", -1.0)
    question = Question()
    answer = ask(asking, file, question)
    assert question.asked.wait(LONG_WAIT)
    load(file, 3)
    assert question.again.wait(LONG_WAIT)
    assert len(copies(file)) == 1
    load(file)
    question.go_on.set()
    assert answer.result(LONG_WAIT) == 5, "of the later version, whole"


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no room for any copy."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))


@pytest.mark.usefixtures("no_room")
def test_where_there_is_no_room_for_a_copy_a_question_is_asked_again_after_the_load(
    file: DuckDBFile, asking: ThreadPoolExecutor
) -> None:
    question = Question()
    question.go_on.set()
    answer = ask(asking, file, question)
    assert question.asked.wait(LONG_WAIT)
    load(file, 3)
    assert answer.result(LONG_WAIT) == 5
    assert not copies(file)


@pytest.mark.usefixtures("no_room")
def test_a_question_that_finds_no_pause_between_loads_is_given_up(
    file: DuckDBFile, asking: ThreadPoolExecutor
) -> None:
    question = Question(endless=100)
    answer = asking.submit(DuckDBFile(file.file, 0.3).answer, "ask", question)
    assert question.asked.wait(LONG_WAIT)
    while not answer.done():
        load(file)
    with pytest.raises(TransientError, match="loads came again and again"):
        answer.result()


def test_the_copy_of_a_killed_reader_is_removed(file: DuckDBFile) -> None:
    script = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from gaelp_assets.warehouse.duckdb.connection import DuckDBFile
def work(con):
    print("asked", flush=True)
    time.sleep(600)
DuckDBFile(Path(sys.argv[1]), 60).answer("ask", work)
"""
    with file.writing("load"):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(file.file)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
    assert len(copies(file)) == 1, "in use"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    load(file)
    assert not list(file.file.parent.glob("*.snapshots"))


def test_a_copy_took_duckdbs_lock_from_those_of_the_same_process_that_read(file: DuckDBFile) -> None:
    """To close any descriptor of a file gives up all of a process's locks of it."""
    with file.reading("read"), file._copy_for_me(writer_waits=True) as copy:
        assert copy is not None
        other = subprocess.run(
            [sys.executable, "-c", "import duckdb, sys; duckdb.connect(sys.argv[1])", str(file.file)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "Could not set lock" in other.stderr


def test_a_notebook_that_held_the_file_open_failed_loads_and_kept_queries_waiting(
    file: DuckDBFile,
    asking: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(connection, "_TELL_SECONDS", 0.0)
    held = "import duckdb, sys; con = duckdb.connect(sys.argv[1], read_only=True); print('held', flush=True); input()"
    notebook = subprocess.Popen(
        [sys.executable, "-c", held, str(file.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert notebook.stdout is not None
    assert notebook.stdout.readline() == "held\n"
    waiting = asking.submit(load, DuckDBFile(file.file, 0.1, holder_timeout=LONG_WAIT))
    while not caplog.records:
        assert not waiting.done()
    assert f"(process {notebook.pid}) holds the file open" in caplog.text
    assert DuckDBFile(file.file, LONG_WAIT).answer("ask", count) == 2
    notebook.communicate("\n")
    waiting.result(LONG_WAIT)
    assert file.answer("ask", count) == 3
