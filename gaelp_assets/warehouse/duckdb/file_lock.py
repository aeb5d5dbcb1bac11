"""Taking turns at a file: one writes, or many read, across threads and processes, in about the order in which they came."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, ReadWriteLock, Timeout

from gaelp_assets.errors import GaelpError, Problem, TransientError, of_the_system

_POLL_SECONDS: Final = 0.005


class NoTurnError(TransientError):
    """Others had the turn for as long as the caller wanted to wait."""


class FairFileLock:
    """The turns at `file`, kept in four small files beside it. A killed process gives its turn back; nothing is left to clean."""

    def __init__(self, file: Path, timeout: float) -> None:
        self._file = file
        self._timeout = timeout
        self._lock_file = file.with_name(f"{file.name}.lock")
        self._gate_file = file.with_name(f"{file.name}.lock.gate")
        self._waiting_file = file.with_name(f"{file.name}.lock.waiting")
        self._holder_note = file.with_name(f"{file.name}.lock.holder")

    def writer_waits(self) -> bool:
        """Whether a writer waits for those that read. Others that ask at the same moment can look like one: ask more than once."""
        if not self._waiting_file.exists():
            return False
        try:
            with FileLock(self._waiting_file, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:
            # Who may not write here has taken no turn either.
            return False

    @contextmanager
    def acquire(self, *, write: bool, purpose: str, patience: float | None = None) -> Iterator[float]:
        """Waits for a turn and holds it; yields the moment (`time.monotonic`) until which the caller may go on waiting for others.

        A reader that may not write beside the file does without a turn: a process that opens the file waits for those that have it open, as
        DuckDB's own lock has it. With `patience`, no turn is waited for longer than so many seconds.

        Raises:
            NoTurnError: no turn within that time; it names who has it, where that is known.
            GaelpError: a writer, and the folder cannot be written to (a `TransientError` where its disk is full).
        """
        deadline = time.monotonic() + self._timeout
        longest = self._timeout if patience is None else min(patience, self._timeout)
        with self._holding(write, purpose, longest):
            try:
                if write:
                    with suppress(OSError):
                        self._holder_note.write_text(f"process {os.getpid()} ({purpose})", encoding="utf-8")
                yield deadline
            finally:
                if write:
                    with suppress(OSError):
                        self._holder_note.unlink(missing_ok=True)

    @contextmanager
    def _holding(self, write: bool, purpose: str, longest: float) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                # Left to itself, the lock makes it for its owner alone, and nobody of a group takes turns.
                self._lock_file.touch()
                # Not the shared instance: threads of one process wait for each other only with one instance each.
                lock = ReadWriteLock(self._lock_file, is_singleton=False)
                stack.callback(lock.close)
                self._wait(lock, write, longest)
                stack.callback(lock.release)
            except Timeout:
                raise NoTurnError(self._busy(purpose, longest)) from None
            except (OSError, sqlite3.Error) as error:
                if write or not _not_permitted(error):
                    raise self._cannot_lock(error) from error
            yield

    def _wait(self, lock: ReadWriteLock, write: bool, longest: float) -> None:
        deadline = time.monotonic() + longest
        # The process that is next waits behind the gate alone. Without it, a process with many writes in a row starves all others.
        with (
            FileLock(self._gate_file, timeout=longest, poll_interval=_POLL_SECONDS),
            ExitStack() as waiting,
        ):
            told = False
            while True:
                try:
                    if write:
                        lock.acquire_write(blocking=False)
                    else:
                        lock.acquire_read(blocking=False)
                except Timeout:
                    if time.monotonic() > deadline:
                        raise
                    if write and not told:
                        told = True
                        waiting.enter_context(
                            FileLock(self._waiting_file, timeout=longest, poll_interval=_POLL_SECONDS)
                        )
                    time.sleep(_POLL_SECONDS)
                else:
                    return

    def _cannot_lock(self, error: OSError | sqlite3.Error) -> GaelpError:
        problem = Problem(f"cannot lock: {error}", str(self._lock_file), "a folder that can be written to")
        if isinstance(error, OSError):
            return of_the_system(error, problem)
        # The lock is a small SQLite file, whose errors have codes of their own (https://www.sqlite.org/rescode.html).
        passes = getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
        return TransientError(problem) if passes else GaelpError(problem)

    def _busy(self, purpose: str, longest: float) -> Problem:
        holder = "a process that reads it"
        with suppress(OSError):
            holder = self._holder_note.read_text(encoding="utf-8")
        return Problem(
            f"waited {longest:g} s to {purpose}; {holder} is using the file",
            where=str(self._file),
            expected="a turn within that time",
            remedy="Try again later, or end that process if it hangs.",
        )


def _not_permitted(error: OSError | sqlite3.Error) -> bool:
    """Whether the folder, or a lock's file in it, cannot be written to by this process."""
    if isinstance(error, OSError):
        return error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}
