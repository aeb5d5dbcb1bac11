"""MLflow's two stores, read without MLflow: the SQLite database that it makes by default, and the folder `mlruns` of earlier versions.

The database has no infinity: MLflow writes the greatest and the least finite number instead, and NaN as a mark beside a 0. Neither store
has checksums: of a damaged file only what breaks its structure can be seen.
"""

from __future__ import annotations

import math
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from gaelp_assets.errors import GaelpError, Problem

_SQLITE: Final = b"SQLite format 3\0"
_STATUS: Final = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")


class BrokenFileError(GaelpError):
    """A file is damaged or cut off."""


Metric = tuple[str, int, int, float]
"""Name, step, milliseconds since 1970, and value."""


@dataclass(frozen=True)
class Run:
    """A run as MLflow knows it."""

    run_id: str
    name: str
    experiment: str
    status: str
    """RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."""
    started: int | None
    """Milliseconds since 1970."""
    ended: int | None
    params: dict[str, str]
    tags: dict[str, str]
    deleted: bool
    source: Path | None
    """Its folder; None in a database."""


class Store:
    """A place where MLflow keeps runs."""

    replaces_infinity = False
    """Whether it has the greatest finite number in the place of an infinity."""

    def runs(self) -> list[Run]:
        """All runs, in order of start and id.

        Raises:
            BrokenFileError: damaged.
        """
        raise NotImplementedError

    def metrics(self, run: Run) -> Iterator[Metric]:
        """The history of all metrics of a run: by name, then as they were logged.

        Raises:
            BrokenFileError: damaged, with the byte or the line.
        """
        raise NotImplementedError


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """The store that is there.

    Raises:
        GaelpError: there is none.
        BrokenFileError: it is cut off.
    """
    if path.is_file():
        with _database(path) as connection:
            yield _Database(path, connection)
    elif path.is_dir():
        database = path / "mlflow.db"
        if database.is_file() and not any(path.glob("*/meta.yaml")):
            with _database(database) as connection:
                yield _Database(database, connection)
        else:
            yield _Folder(path)
    else:
        raise GaelpError(Problem("no such file or folder", str(path)))


@contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    with path.open("rb") as file:
        head = file.read(100)
    size = path.stat().st_size
    if not head.startswith(_SQLITE):
        raise GaelpError(Problem("byte 0: no SQLite database", str(path), "mlflow.db, or the folder mlruns"))
    page = int.from_bytes(head[16:18], "big")
    announced = (65_536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
    # The count of pages holds only if the change counter stands beside it twice; old writers left it as it was.
    if head[24:28] == head[92:96] and size < announced:
        what = f"byte {size}: the file ends here, but says of itself that it has {announced} bytes"
        raise BrokenFileError(Problem(what, str(path)))
    uri = path.resolve().as_uri() + "?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise BrokenFileError(Problem(f"the database cannot be read ({error})", str(path))) from error


class _Database(Store):
    replaces_infinity = True

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._prove()

    def _prove(self) -> None:
        ask = self._connection.execute
        tables = {name for (name,) in ask("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = {"experiments", "runs", "metrics", "params", "tags"} - tables
        if missing:
            what = "no table " + ", ".join(sorted(missing))
            raise GaelpError(Problem(what, str(self._path), "a tracking database of MLflow"))
        (verdict,) = ask("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            what = f"the database is damaged ({str(verdict).splitlines()[-1]})"
            raise BrokenFileError(Problem(what, str(self._path)))

    def runs(self) -> list[Run]:
        query = (
            "SELECT r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time, r.lifecycle_stage"
            " FROM runs AS r LEFT JOIN experiments AS e ON e.experiment_id = r.experiment_id"
            " ORDER BY r.start_time, r.run_uuid"
        )
        return [
            Run(
                run_id, name or "", experiment or "", status or "", started, ended,
                self._texts("params", run_id), self._texts("tags", run_id), stage == "deleted", None,
            )
            for run_id, name, experiment, status, started, ended, stage in self._connection.execute(query).fetchall()
        ]  # fmt: skip

    def _texts(self, table: str, run_id: str) -> dict[str, str]:
        query = f"SELECT key, value FROM {table} WHERE run_uuid = ? ORDER BY key"
        return {key: value or "" for key, value in self._connection.execute(query, (run_id,))}

    def metrics(self, run: Run) -> Iterator[Metric]:
        query = (
            "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ?"
            " ORDER BY key, timestamp, step, is_nan, value"
        )
        greatest = sys.float_info.max
        for name, step, milliseconds, value, is_nan in self._connection.execute(query, (run.run_id,)):
            if is_nan:
                number = math.nan
            elif abs(value) >= greatest:
                number = math.copysign(math.inf, value)
            else:
                number = float(value)
            yield name, step, milliseconds, number


class _Folder(Store):
    """`mlruns/EXPERIMENT/RUN/`, an experiment's folder, or a run's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def runs(self) -> list[Run]:
        folders = sorted(folder for folder in self._candidates() if _RUN_ID.fullmatch(folder.name))
        if not folders:
            problem = Problem("no run of MLflow in it", str(self._path), "mlflow.db, or the folder mlruns")
            raise GaelpError(problem)
        return sorted(
            (self._run(folder) for folder in folders), key=lambda run: (run.started or 0, run.run_id)
        )

    def _candidates(self) -> Iterator[Path]:
        if (self._path / "metrics").is_dir() or (self._path / "params").is_dir():
            yield self._path
        for meta in (*self._path.glob("*/meta.yaml"), *self._path.glob("*/*/meta.yaml")):
            yield meta.parent

    def _run(self, folder: Path) -> Run:
        meta = _yaml(folder / "meta.yaml")
        above = folder.parent / "meta.yaml"
        experiment = _yaml(above).get("name") if above.is_file() else None
        status = meta.get("status")
        return Run(
            folder.name,
            str(meta.get("run_name") or ""),
            str(experiment or ""),
            _STATUS.get(status, str(status)) if isinstance(status, int) else str(status or ""),
            _integer(meta.get("start_time")),
            _integer(meta.get("end_time")),
            _texts(folder / "params"),
            _texts(folder / "tags"),
            meta.get("lifecycle_stage") == "deleted",
            folder,
        )

    def metrics(self, run: Run) -> Iterator[Metric]:
        assert run.source is not None
        above = run.source / "metrics"
        for path in sorted(path for path in above.rglob("*") if path.is_file()):
            name = path.relative_to(above).as_posix()
            for step, milliseconds, value in _lines(path):
                yield name, step, milliseconds, value


def _lines(path: Path) -> Iterator[tuple[int, int, float]]:
    """Step, milliseconds and value of each line: `1793900000000 0.5 3`, with the names of a data set behind in newer versions."""
    offset = 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        where = f"{path}:{number}"
        if not line.endswith(b"\n"):
            what = f"byte {offset + len(line)}: the file ends within a line"
            raise BrokenFileError(Problem(what, where))
        try:
            milliseconds, value, *rest = line.decode().split()
            yield int(rest[0]) if rest else 0, int(milliseconds), float(value)
        except ValueError:
            what = f"byte {offset}: no line of a metric"
            raise BrokenFileError(Problem(what, where)) from None
        offset += len(line)


def _texts(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8", "replace") for path in files}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise BrokenFileError(Problem("no YAML", where)) from None
    if not isinstance(value, dict):
        raise BrokenFileError(Problem("byte 0: nothing in it that names a run", str(path)))
    return value


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
