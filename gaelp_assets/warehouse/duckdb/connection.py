"""Opening the DuckDB file, one short operation at a time, and what its errors mean to people.

A process that has the file open for writing keeps every other process from opening it at all. So each operation takes a
lock beside the file (shared to read, exclusive to write), opens, works and closes; all of it waits, for a bounded time. A question
that takes longer than a writer can wait goes on at a copy (see `answer`).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
from tenacity import Retrying, retry_if_exception, stop_before_delay, wait_random_exponential

from gaelp_assets.errors import GaelpError, Problem, TransientError, of_the_system
from gaelp_assets.sql.template import MARK
from gaelp_assets.warehouse.duckdb.file_lock import FairFileLock, NoTurnError
from gaelp_assets.warehouse.duckdb.instance import MEMORY_LIMIT, Instance
from gaelp_assets.warehouse.duckdb.interrupts import GaveWayError, ended_after
from gaelp_assets.warehouse.duckdb.snapshots import Snapshots, Versions

T = TypeVar("T")
COPY_SECONDS: Final = 0.4
"""How long a writer that waits has to wait for the copy at which a question goes on. What takes longer is not copied."""
TURN_SECONDS: Final = 0.3
"""How long a question waits for a writer before it looks for a copy of what the file held before."""
_TELL_SECONDS: Final = 10.0
"""After which a writer says for whom it waits; then after twice as long, and so on."""
_LONGEST_PAUSE_SECONDS: Final = 5.0
_log: Final = logging.getLogger(__name__)
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


class HeldElsewhereError(TransientError):
    """Another program has the file open, and does not take turns."""


class DuckDBFile:
    """Connections to one DuckDB file, each under its lock.

    Args:
        file: the warehouse.
        lock_timeout: the longest that one waits, in seconds.
        holder_timeout: the longest that a writer waits for another program that keeps the file open; as long, if left out.
    """

    def __init__(self, file: Path, lock_timeout: float, *, holder_timeout: float | None = None) -> None:
        self.file = file
        self._timeout = lock_timeout
        self._holder_timeout = lock_timeout if holder_timeout is None else holder_timeout
        self._turns = FairFileLock(file, lock_timeout)
        self._versions = Versions(file)
        self._snapshots = Snapshots(file)
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

    def version(self) -> str | None:
        """Another text whenever the file may hold something else; None for one that is not there, or does not tell yet."""
        known = self._versions.now()
        if known is None:
            return None
        states = []
        for ending in ("", ".wal"):
            with suppress(OSError):
                state = Path(f"{self.file}{ending}").stat()
                states.append(f"{ending}{state.st_size}.{state.st_mtime_ns}")
        return " ".join([known.name, *states])

    def answer(
        self,
        purpose: str,
        work: Callable[[duckdb.DuckDBPyConnection], T],
        *,
        time_limit: float | None = None,
    ) -> T:
        """What `work` makes of a connection that only reads, all of one version; neither it nor a load waits long for the other.

        While no writer waits, it works on the file. When one does, it is interrupted, and called again at a copy of the file. Where a
        writer has its turn, it is called at a copy of what was committed last. A file that is too large to be copied in that time is read
        in a later turn, from the beginning.

        Args:
            purpose: what it is for, as in "to query".
            work: called as often as it is interrupted; it must do nothing that cannot be done again.
            time_limit: in seconds, without what is waited for others; None for as long as it takes.

        Raises:
            TransientError: somebody writes for longer than the timeout, or again and again; or the disk is full.
            GaelpError: the file is not a warehouse, DuckDB refuses the statement, or `work` takes longer than the limit.
        """
        spent = 0.0
        patience: float | None = TURN_SECONDS
        copy_first = False
        while self.exists():
            with ExitStack() as held:
                began = time.monotonic()
                copy: Path | None = None
                try:
                    with self.reading(purpose, patience=patience) as con:
                        if copy_first:
                            copy = held.enter_context(self._copy_for_me(writer_waits=False))
                        if copy is None:
                            try:
                                with ended_after(con, time_limit, self._turns.writer_waits):
                                    return work(con)
                            except GaveWayError:
                                if not copy_first:
                                    copy = held.enter_context(self._copy_for_me(writer_waits=True))
                except NoTurnError:
                    if patience is None:
                        raise
                    patience = None
                    copy = held.enter_context(self._copy_beside_a_writer())
                else:
                    # What could not be copied while a writer waited may be in the time until the next one does.
                    copy_first = not copy_first
                    spent += time.monotonic() - began
                if copy is not None:
                    instance = Instance(copy, read_only=True)
                    deadline = time.monotonic() + self._timeout
                    with self._session(instance, purpose, deadline) as con, ended_after(con, time_limit):
                        return work(con)
            if spent > (self._timeout if time_limit is None else time_limit):
                raise TransientError(_gave_way(purpose, self.file))
        with self.reading(purpose) as con, ended_after(con, time_limit):
            return work(con)

    @contextmanager
    def _copy_for_me(self, *, writer_waits: bool) -> Iterator[Path | None]:
        """The copy of what the file holds, for one who has a turn to read: as far as a writer that waits can wait."""
        version = self._versions.now()
        name = None if version is None or version.turn is not None else version.name
        since = time.monotonic() if writer_waits else None

        def too_long(rest: float) -> bool:
            nonlocal since
            if not self._turns.writer_waits():
                since = None
                return False
            now = time.monotonic()
            if since is None:
                since = now
            return now > since and now - since + rest > COPY_SECONDS

        with self._snapshots.held(name, too_long) as copy:
            yield copy

    @contextmanager
    def _copy_beside_a_writer(self) -> Iterator[Path | None]:
        """The copy of what was committed last, while a writer has its turn and has not begun to commit."""
        version = self._versions.now()
        if version is None or version.turn is None:
            yield None
            return
        with self._snapshots.held(
            version.name, lambda _: self._versions.now() != version, lambda: self._versions.now() == version
        ) as copy:
            yield copy

    @contextmanager
    def reading(self, purpose: str, *, patience: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that only reads, beside others that read, and that keeps writers waiting: for what is short, else see `answer`.

        A file that does not exist is an empty one, and is not made.

        Raises:
            NoTurnError: somebody writes for longer than the timeout, or than `patience`.
            TransientError: another program has the file, or the disk is full.
            GaelpError: the file is not a warehouse, or DuckDB refuses the statement.
        """
        if not self.exists():
            with self._session(
                Instance(None, read_only=True), purpose, time.monotonic() + self._timeout
            ) as con:
                yield con
            return
        with (
            self._turns.acquire(write=False, purpose=purpose, patience=patience) as deadline,
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
        with ExitStack() as stack:
            con = self._open_to_write(stack, purpose)
            stack.enter_context(self._told())
            con.begin()
            try:
                yield con
            except BaseException:
                # After a fatal error DuckDB has rolled back by itself, and refuses to do it again.
                with suppress(duckdb.Error):
                    con.rollback()
                raise
            self._tell(self._versions.committing)
            con.commit()

    def _open_to_write(self, stack: ExitStack, purpose: str) -> duckdb.DuckDBPyConnection:
        """The only connection. While another program holds the file open, the turn is given back now and then, for those that can read."""
        began = time.monotonic()
        tell_after, pause = _TELL_SECONDS, TURN_SECONDS
        while True:
            with ExitStack() as attempt:
                attempt.enter_context(self._turns.acquire(write=True, purpose=purpose))
                try:
                    until = time.monotonic() + min(TURN_SECONDS, self._holder_timeout)
                    con = attempt.enter_context(self._session(self._writer, purpose, until))
                except HeldElsewhereError as error:
                    waited = time.monotonic() - began
                    if waited >= self._holder_timeout:
                        raise
                    if waited >= tell_after:
                        tell_after *= 2
                        _log.warning("%s", error)
                else:
                    stack.push(attempt.pop_all())
                    return con
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tells readers what they can copy, while a writer has the file open; and removes the copies that are left of killed ones."""
        self._snapshots.sweep()
        self._tell(self._versions.opened)
        try:
            yield
        finally:
            self._tell(self._versions.committing)
            self._snapshots.sweep()

    def _tell(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except OSError as error:
            problem = Problem(f"cannot tell readers of a change: {error.strerror}", str(self.file))
            raise of_the_system(error, problem) from error

    @contextmanager
    def savepoint(self, con: duckdb.DuckDBPyConnection, purpose: str) -> Iterator[None]:
        """A part of a `writing` that is kept or undone by itself, together with what was done before it and is not yet kept.

        Raises:
            GaelpError: DuckDB refuses a statement; the writing can go on.
        """
        try:
            yield
            self._tell(self._versions.committing)
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
                raise HeldElsewhereError(self._held(str(error), purpose)) from None
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
            f"waits to {purpose}: {who} holds the file open",
            where=str(self.file),
            expected="no other program that keeps the warehouse open",
            remedy="Close it there, and ask with `gaelp query`, `gaelp_assets.frames` or `gaelp serve`: these keep no load waiting.",
        )


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


def _gave_way(purpose: str, file: Path) -> Problem:
    return Problem(
        f"gave up to {purpose}: loads came again and again, and the file is too large to be copied while they wait",
        where=str(file),
        expected="an answer between two loads, or a file that is copied in less than a second",
        remedy="Ask for fewer days or columns, or at another time; or keep the warehouse on a file system that shares blocks of copies, "
        "such as XFS or Btrfs.",
    )


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
