"""Who works on a home: a file lock that one process holds, and a note beside it that says which.

The operating system frees the lock of a process that is killed, so that a note that was left behind keeps nobody out.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gaelp_assets.errors import Problem, of_the_system

POLL_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock."""

    program: str
    process: int
    host: str
    since: str
    """When it took the lock, as RFC 3339 has it."""
    address: str = ""
    """Where it answers, if it does."""

    def __str__(self) -> str:
        at = f" at {self.address}" if self.address else ""
        host = "" if self.host == socket.gethostname() else f" on {self.host}"
        return f"{self.program}{at}, process {self.process}{host}, since {self.since}"


class Held(Exception):
    """Another process holds the lock; `holder` is None if it has not said yet which one it is."""

    def __init__(self, holder: Holder | None) -> None:
        self.holder = holder
        super().__init__(self.words)

    @property
    def words(self) -> str:
        """The process, in words."""
        return str(self.holder) if self.holder is not None else "another process"


@contextmanager
def holding(
    lock_file: Path,
    program: str,
    address: str = "",
    *,
    on_wait: Callable[[str], None] | None = None,
    patience: float = 0,
) -> Iterator[None]:
    """Holds the lock of a file while the block lasts.

    Args:
        lock_file: the file; its folder is made where there is none.
        program: what this process is called in the note.
        address: where it answers.
        on_wait: called about twice a second, with the holder in words, for as long as another process holds the lock.
        patience: how many seconds to wait without `on_wait`, for locks that some hold for a moment only.

    Raises:
        Held: another process holds it, without `on_wait`.
        GaelpError: the file cannot be made.
    """
    from filelock import FileLock, Timeout

    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_file)
        while True:
            try:
                lock.acquire(timeout=patience if on_wait is None else POLL_SECONDS)
                break
            except Timeout:
                held = Held(holder_of(lock_file))
                if on_wait is None:
                    raise held from None
                on_wait(held.words)
    except OSError as error:
        raise of_the_system(error, Problem(f"cannot be locked: {error.strerror}", str(lock_file))) from error
    note = _note(lock_file)
    try:
        since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        with suppress(OSError):
            note.write_text(
                json.dumps(asdict(Holder(program, os.getpid(), socket.gethostname(), since, address)))
            )
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def holder_of(lock_file: Path) -> Holder | None:
    """The process that the note beside a lock names; only of use while the lock is held."""
    with suppress(OSError, ValueError, TypeError):
        return Holder(**json.loads(_note(lock_file).read_text()))
    return None


def is_held(lock_file: Path) -> bool:
    """Whether a process holds the lock; makes no file."""
    from filelock import FileLock, Timeout

    if not lock_file.exists():
        return False
    try:
        with FileLock(lock_file).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _note(lock_file: Path) -> Path:
    return lock_file.with_suffix(".json")
