"""Opening the DuckDB file, one short operation at a time, and what its errors mean to people.

A process that has the file open for writing keeps every other process from opening it at all. So each operation takes a
lock beside the file (shared to read, exclusive to write), opens, works and closes; all of it waits, for a bounded time.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import duckdb
from tenacity import Retrying, retry_if_exception, stop_before_delay, wait_random_exponential

from gaelp_assets.errors import GaelpError, Problem, TransientError, of_the_system
from gaelp_assets.sql.template import MARK
from gaelp_assets.warehouse.duckdb.file_lock import FairFileLock
from gaelp_assets.warehouse.duckdb.instance import MEMORY_LIMIT, Instance
from gaelp_assets.warehouse.reader import took_too_long

_NO_SPACE = re.compile(
    r"no space left|disk (is )?full|file too large|max_temp_directory_size|quota exceeded", re.I
)
_FOREIGN_LOCK = "Could not set lock on file"
_HOLDER = re.compile(r"held in (?P<program>.*?) \(PID (?P<pid>\d+)\)")
# The messages of these speak of statements and files. Those of others may quote a row's values.
_SPEAKS_OF_SQL = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.IOException,
    duckdb.NotImplementedException,
    duckdb.ParserException,
    duckdb.PermissionException,
    duckdb.SyntaxException,
)
# How texts start that hold names and words, and never a value: those of translated SQL where they come without their mark, and two of
# DuckDB's own.
_VALUE_FREE: Final = (
    "refused: ",
    "double overflow",
    "division by zero",
    "logarithm of ",
    "square root of ",
    "floating point overflow in ",
    "floating point error in ",
    "array index out of bounds",
    "negative length in ",
    "not a BOOL",
    "NOT NULL constraint failed: ",
    "More than one row returned by a subquery used as an expression",
)
# Where DuckDB takes no ERROR(...), as in the order of a window, the text is that of a cast which fails.
_IN_A_CAST: Final = re.compile(rf"Could not convert string '{MARK}([^']*)' to BOOL")
_OVERFLOW: Final = re.compile(r"Overflow in \w+ of \w+")
_BROKEN_FILE = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)


class DuckDBFile:
    """Connections to one DuckDB file, each under its lock; `lock_timeout` in seconds is the longest that one waits."""

    def __init__(self, file: Path, lock_timeout: float) -> None:
        self.file = file
        self._timeout = lock_timeout
        self._turns = FairFileLock(file, lock_timeout)
        self._reader = Instance(file, read_only=True)
        self._writer = Instance(file, read_only=False)

    def exists(self) -> bool:
        """Whether there is a file.

        Raises:
            GaelpError: nobody may look (a `TransientError` where its folder is out of reach).
        """
        try:
            return self.file.exists()
        except OSError as error:
            problem = Problem(f"cannot be looked for: {error.strerror}", str(self.file))
            raise of_the_system(error, problem) from error

    @contextmanager
    def reading(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that only reads, beside others that read. A file that does not exist is an empty one, and is not made.

        Raises:
            TransientError: somebody writes for longer than the timeout, or the disk is full.
            GaelpError: the file is not a warehouse, or DuckDB refuses the statement.
        """
        if not self.exists():
            with self._session(
                Instance(None, read_only=True), purpose, time.monotonic() + self._timeout
            ) as con:
                yield con
            return
        with (
            self._turns.acquire(write=False, purpose=purpose) as deadline,
            self._session(self._reader, purpose, deadline) as con,
        ):
            yield con

    @contextmanager
    def writing(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """The only connection, in one transaction: committed at the end, rolled back by any exception.

        Raises:
            TransientError: others use the file for longer than the timeout, or the disk is full.
            GaelpError: the file is not a warehouse, or DuckDB refuses the statement.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = Problem(f"cannot make the folder: {error.strerror}", str(self.file.parent))
            raise of_the_system(error, problem) from error
        with (
            self._turns.acquire(write=True, purpose=purpose) as deadline,
            self._session(self._writer, purpose, deadline) as con,
        ):
            con.begin()
            try:
                yield con
            except BaseException:
                # After a fatal error DuckDB has rolled back by itself, and refuses to do it again.
                with suppress(duckdb.Error):
                    con.rollback()
                raise
            con.commit()

    @contextmanager
    def savepoint(self, con: duckdb.DuckDBPyConnection, purpose: str) -> Iterator[None]:
        """A part of a `writing` that is kept or undone by itself, together with what was done before it and is not yet kept.

        Raises:
            GaelpError: DuckDB refuses a statement; the writing can go on.
        """
        try:
            yield
            con.commit()
        except duckdb.Error as error:
            con.rollback()
            raise duckdb_error(error, self.file, purpose) from _safe_cause(error)
        except BaseException:
            con.rollback()
            raise
        finally:
            con.begin()

    @contextmanager
    def _session(
        self, instance: Instance, purpose: str, deadline: float
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            if instance is self._writer and not self.file.exists():
                self._make()
            with instance.session(self._patiently(deadline)) as con:
                yield con
        except duckdb.Error as error:
            if _is_held_elsewhere(error):
                raise TransientError(self._held(str(error), purpose)) from None
            raise duckdb_error(error, self.file, purpose) from _safe_cause(error)

    def _make(self) -> None:
        """Makes the file whole or not at all: DuckDB takes one for broken whose making a full disk or a kill has cut short."""
        unfinished = self.file.with_name(f"{self.file.name}.new")
        try:
            unfinished.unlink(missing_ok=True)
            duckdb.connect(str(unfinished)).close()
            unfinished.replace(self.file)
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def _patiently(self, deadline: float) -> Retrying:
        return Retrying(
            retry=retry_if_exception(_is_held_elsewhere),
            wait=wait_random_exponential(multiplier=0.02, max=1),
            stop=stop_before_delay(max(deadline - time.monotonic(), 0.0)),
            reraise=True,
        )

    def _held(self, message: str, purpose: str) -> Problem:
        found = _HOLDER.search(message)
        who = f"{found['program']} (process {found['pid']})" if found else "another program"
        return Problem(
            f"waited {self._timeout:g} s to {purpose}; {who} holds the file open",
            where=str(self.file),
            expected="no other program that keeps the warehouse open",
            remedy="Close it there; `gaelp query` reads the warehouse without keeping it open.",
        )


@contextmanager
def ended_after(con: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Ends what the connection does once that time has passed; None sets no limit.

    Raises:
        GaelpError: it took longer.
    """
    if seconds is None:
        yield
        return
    clock = threading.Timer(seconds, con.interrupt)
    clock.daemon = True
    clock.start()
    try:
        yield
    except duckdb.InterruptException:
        raise GaelpError(took_too_long(seconds)) from None
    finally:
        clock.cancel()


def first_row(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[str] = ()
) -> tuple[Any, ...] | None:
    """The first row of a result that is small, read to its end: an unfinished one would block the connection."""
    rows = con.execute(sql, list(parameters)).fetchall()
    return rows[0] if rows else None


def scalar(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The number that a query without groups yields."""
    row = first_row(con, sql)
    assert row is not None
    return int(row[0])


def _is_held_elsewhere(error: BaseException) -> bool:
    return isinstance(error, duckdb.IOException) and _FOREIGN_LOCK in str(error)


def duckdb_error(error: duckdb.Error, file: Path, purpose: str) -> GaelpError:
    """DuckDB's error in the project's words, without any row's values; transient where trying again can help."""
    message = str(error)
    first_line = message.splitlines()[0] if message else type(error).__name__
    if _NO_SPACE.search(message):
        return TransientError(
            Problem(
                f"no space left on the disk to {purpose}",
                str(file),
                remedy="Free some space, then run it again.",
            )
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return TransientError(
            Problem(
                f"out of memory ({MEMORY_LIMIT}) to {purpose}",
                str(file),
                remedy="Use smaller files or slices.",
            )
        )
    if isinstance(error, _BROKEN_FILE) or "not a valid DuckDB" in message:
        return GaelpError(
            Problem(
                f"the warehouse file cannot be read ({type(error).__name__})",
                str(file),
                "a DuckDB database",
                "Move the file aside; the files in the gateway's sent folder rebuild it.",
            )
        )
    if isinstance(error, _SPEAKS_OF_SQL):
        return GaelpError(Problem(f"cannot {purpose}: {first_line}", str(file)))
    return GaelpError(Problem(f"cannot {purpose}: {_without_values(first_line)}", str(file)))


def _without_values(message: str) -> str:
    """The message whole where it starts as those do that hold no value; else the kind of error alone, or what is before the values."""
    kind, _, text = message.partition(": ")
    if text.startswith(MARK):
        return text.removeprefix(MARK)
    if inside := _IN_A_CAST.match(text):
        text = inside[1]
    if text.startswith(_VALUE_FREE):
        return text
    overflow = _OVERFLOW.match(text)
    return overflow[0] if overflow else kind.partition(":")[0]


def _safe_cause(error: duckdb.Error) -> duckdb.Error | None:
    return error if isinstance(error, (*_SPEAKS_OF_SQL, *_BROKEN_FILE)) else None
