"""A DuckDB file that may only be read: no lock and no other file is made beside it, and writers and readers wait for each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.duckdb.connection import DuckDBFile
from gaelp_assets.warehouse.duckdb.file_lock import FairFileLock
from gaelp_assets_tests.contract.warehouses import EPISODES, RELATIONS, open_engine

NOBODY: Final = 65534
READER: Final = """
import os, sys, tempfile
from pathlib import Path
import duckdb, filelock, sqlglot.optimizer, pyarrow
from gaelp_assets.errors import GaelpError
from gaelp_assets_tests.contract.warehouses import EPISODES, open_engine
with tempfile.TemporaryDirectory() as folder:  # imports all that a query needs, as long as every module can be read
    warm = open_engine("duckdb", Path(folder), 5)
    warm.ensure([EPISODES])
    warm.query("SELECT COUNT(*) AS n FROM lab.episodes")
engine = open_engine("duckdb", Path(sys.argv[1]), 5)
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
assert not os.access(sys.argv[1], os.W_OK)
print(engine.query("SELECT COUNT(*) AS n FROM lab.episodes").frame.item(), engine.describe(EPISODES).rows)
try:
    engine.ensure([EPISODES.model_copy(update={"name": "another"})])
except GaelpError as error:
    print(error.problems[0].what)
""".replace("NOBODY", str(NOBODY))


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can reach."""
    folder = Path(tempfile.mkdtemp(prefix="gaelp-read-only-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def _protect(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)


@pytest.mark.parametrize("locks", ["left by writers", "none"])
def test_an_ordinary_user_reads_a_file_that_nobody_may_write(place: Path, locks: str) -> None:
    open_engine("duckdb", place).ensure(RELATIONS)
    if locks == "none":
        for path in place.glob("*.lock*"):
            path.unlink()
    _protect(place)
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    answer = subprocess.run(
        [sys.executable, "-c", READER, str(place)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    read, refused = answer.stdout.splitlines()
    assert read == "0 0"
    assert refused.startswith("cannot lock"), "a writer needs the lock"
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_reading_opens_the_file_for_reading_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = open_engine("duckdb", tmp_path)
    warehouse.ensure(RELATIONS)
    modes: list[Any] = []
    reading = DuckDBFile.reading

    @contextmanager
    def noted(
        file: DuckDBFile, purpose: str, *, patience: float | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        with reading(file, purpose, patience=patience) as con:
            modes.append(
                con.execute("SELECT readonly FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
            )
            yield con

    monkeypatch.setattr(DuckDBFile, "reading", noted)
    monkeypatch.delattr(DuckDBFile, "writing")
    warehouse.query("SELECT * FROM lab.episodes")
    warehouse.describe(EPISODES)
    warehouse.diff(RELATIONS)
    assert modes == [[(True,)]] * 3


def test_who_may_not_lock_reads_without_a_turn_and_who_writes_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FairFileLock, "_wait", forbidden)
    with FairFileLock(tmp_path / "warehouse.duckdb", 1).acquire(write=False, purpose="read") as deadline:
        assert deadline > 0
    with (
        pytest.raises(GaelpError, match="cannot lock"),
        FairFileLock(tmp_path / "warehouse.duckdb", 1).acquire(write=True, purpose="write"),
    ):
        raise AssertionError("a writer without a turn")


def test_a_reader_without_a_turn_waits_for_a_writer_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB's own lock is what is left: another process that has the file open for writing keeps it closed to readers."""
    open_engine("duckdb", tmp_path).ensure(RELATIONS)
    file = tmp_path / "warehouse.duckdb"
    held = (
        "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", held, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"held\n"
        monkeypatch.setattr(os, "access", lambda *_: False)
        reader = open_engine("duckdb", tmp_path, 0.3)
        with pytest.raises(GaelpError, match="holds the file open") as caught:
            reader.query("SELECT COUNT(*) AS n FROM lab.episodes")
        assert not caught.value.permanent
    finally:
        writer.communicate()
    assert reader.query("SELECT COUNT(*) AS n FROM lab.episodes").frame.item() == 0


def test_a_question_too_large_for_the_memory_spills_elsewhere_where_the_folder_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_engine("duckdb", tmp_path).ensure(RELATIONS)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with DuckDBFile(tmp_path / "warehouse.duckdb", 5).reading("look") as con:
        row = con.execute("SELECT current_setting('temp_directory')").fetchone()
    assert row is not None
    assert Path(row[0]).parent == Path(tempfile.gettempdir())


def test_a_file_that_cannot_be_looked_for_is_no_empty_warehouse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", forbidden)
    with pytest.raises(GaelpError, match="cannot be looked for"):
        open_engine("duckdb", tmp_path).query("SELECT * FROM lab.episodes")
