"""Copies of the warehouse's file as one version of it was, for questions that take longer than a load can wait.

A copy is made while nothing in the file changes, is shared by all processes that need that version, and is removed when none does: by
the last of them, by the writer in whose turn it was made, or, where these were killed, by the next that makes a copy or writes. What a
question is, and when it needs a copy, is not decided here.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, ReadWriteLock, Timeout

from gaelp_assets.warehouse.duckdb.instance import BESIDE

_PIECE: Final = 8 << 20
_ENDING: Final = ".duckdb"
_OUTSIDE: Final = "-"
_POLL_SECONDS: Final = 0.005


@dataclass(frozen=True)
class Version:
    """What the file holds.

    Args:
        name: another one for each commit.
        turn: the writer that has the file open and has not begun to commit: until it does, what the file held stays in it unchanged,
            as after a kill. None where nobody is known to be in that state.
    """

    name: str
    turn: str | None


class Versions:
    """The version of a file, told in a note beside it by those that write."""

    def __init__(self, file: Path) -> None:
        self._note: Final = file.with_name(f"{file.name}.lock.version")

    def now(self) -> Version | None:
        """The version; None where it is not known, as beside a writer that is just about to tell it."""
        try:
            parts = self._note.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return None
        if len(parts) != 2:
            return None
        return Version(parts[0], None if parts[1] == _OUTSIDE else parts[1])

    def opened(self) -> None:
        """Tells that a writer has opened the file, and has committed nothing so far.

        Raises:
            OSError: what was told before cannot be taken back, and nothing may be committed.
        """
        known = self.now()
        self._tell(_new() if known is None else known.name, _new())

    def committing(self) -> None:
        """Tells that what the file holds changes from now on, until the writer closes it. Nothing happens if that is told already.

        Raises:
            OSError: as of `opened`.
        """
        known = self.now()
        if known is None or known.turn is not None:
            self._tell(_new(), _OUTSIDE)

    def _tell(self, name: str, turn: str) -> None:
        try:
            self._note.write_text(f"{name} {turn}", encoding="ascii")
        except OSError:
            # Better no version than one that is not true any more.
            self._note.unlink(missing_ok=True)


class Snapshots:
    """The copies of `file`, in a folder beside it: on the same disk, where the file system may share the blocks of both."""

    def __init__(self, file: Path) -> None:
        self._file: Final = file
        self._folder: Final = file.with_name(f"{file.name}.snapshots")
        self._turns_file: Final = file.with_name(f"{file.name}.lock.copies")
        self._source: tuple[int, os.stat_result] | None = None

    @contextmanager
    def held(
        self,
        version: str | None,
        give_up: Callable[[float], bool],
        is_true: Callable[[], bool] | None = None,
    ) -> Iterator[Path | None]:
        """The copy of that version, made if there is none, for as long as the block lasts; None where there can be none.

        Args:
            version: what the file holds; None for a version without a name, whose copy nobody shares.
            give_up: asked now and then, with the seconds that the rest of the copying probably takes, whether to end it.
            is_true: of a copy that is made beside a writer, whether what was copied was the version: asked after the last byte.
                Such a copy stays when nobody uses it, until the writer sweeps: others may ask in its turn.
        """
        name = version or _new()
        kept = None if is_true is None else name
        with ExitStack() as stack:
            path = self._take(stack, name, kept, give_up, is_true)
            yield path
        self.sweep(kept, patience=1.0)

    def sweep(self, kept: str | None = None, *, patience: float = 0.0) -> None:
        """Removes the copies that nobody uses, but that of one version; not while somebody else makes or removes some for so long."""
        if not self._folder.exists():
            return
        with suppress(OSError, sqlite3.Error, Timeout), FileLock(self._turns_file, timeout=patience):
            self._remove_unused(kept)
            with suppress(OSError):  # fails while another copy is in use
                self._folder.rmdir()

    def _take(
        self,
        stack: ExitStack,
        name: str,
        kept: str | None,
        give_up: Callable[[float], bool],
        is_true: Callable[[], bool] | None,
    ) -> Path | None:
        path = self._folder / f"{name}{_ENDING}"
        turns = FileLock(self._turns_file)
        try:
            while not _acquired(turns):
                # Another reader makes the copy that this one waits for, or removes one.
                if give_up(0.0):
                    return None
                time.sleep(_POLL_SECONDS)
            try:
                self._folder.mkdir(exist_ok=True)
                self._remove_unused(kept)
                if not path.exists() and not self._copy(path, give_up, is_true):
                    return None
                _users(path).touch()
                users = ReadWriteLock(_users(path), is_singleton=False)
                stack.callback(users.close)
                users.acquire_read(blocking=False)
                stack.callback(users.release)
            finally:
                turns.release()
        except (OSError, sqlite3.Error, Timeout):
            # No room, or no right to write here: there is no copy then.
            return None
        return path

    def _copy(self, path: Path, give_up: Callable[[float], bool], is_true: Callable[[], bool] | None) -> bool:
        """Whether the copy lies under its name now; what is left of one that was given up is removed."""
        unfinished = path.with_name(f"{path.stem}.part")
        sources = [(ending, Path(f"{self._file}{ending}")) for ending in BESIDE]
        there = [(ending, source) for ending, source in sources if source.exists()]
        todo = sum(source.stat().st_size for _, source in there)
        # As much again stays free for those that write.
        if shutil.disk_usage(self._folder).free < 2 * todo:
            return False
        rate = _Rate(todo)
        try:
            for ending, source in there:
                with Path(f"{unfinished}{ending}").open("xb") as copy:
                    Path(copy.name).chmod(source.stat().st_mode)
                    if not self._copy_one(source, copy.fileno(), rate, give_up):
                        return False
            if is_true is not None and not is_true():
                return False
            for ending, _ in reversed(there):
                Path(f"{unfinished}{ending}").rename(f"{path}{ending}")
            return True
        finally:
            for ending, _ in there:
                Path(f"{unfinished}{ending}").unlink(missing_ok=True)

    def _copy_one(self, source: Path, copy: int, rate: _Rate, give_up: Callable[[float], bool]) -> bool:
        if source == self._file:
            return _copied(self._descriptor(), copy, rate, give_up)
        with source.open("rb") as file:
            return _copied(file.fileno(), copy, rate, give_up)

    def _descriptor(self) -> int:
        """Of the warehouse's file, and kept open: to close one gives up the lock by which DuckDB, in the same process, keeps others out."""
        now = self._file.stat()
        if self._source is None or not os.path.samestat(self._source[1], now):
            self._source = (os.open(self._file, os.O_RDONLY | getattr(os, "O_BINARY", 0)), now)
        return self._source[0]

    def _remove_unused(self, kept: str | None) -> None:
        """Removes what belongs to no copy in use: whatever else a killed process has left here, too."""
        copies = self._folder.glob(f"*{_ENDING}")
        used = {path.stem for path in copies if path.stem == kept or not _is_unused(path)}
        for path in self._folder.iterdir():
            if path.name.partition(".")[0] not in used:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


class _Rate:
    """How long the rest of a copy takes, as its beginning tells."""

    def __init__(self, todo: int) -> None:
        self._began: Final = time.monotonic()
        self._todo: Final = todo
        self._done = 0

    def rest(self, more: int) -> float:
        self._done += more
        return (time.monotonic() - self._began) / max(self._done, 1) * max(self._todo - self._done, 0)


def _copied(source: int, copy: int, rate: _Rate, give_up: Callable[[float], bool]) -> bool:
    position = 0
    while done := _copy_piece(source, copy, position):
        position += done
        if give_up(rate.rest(done)):
            return False
    return True


def _copy_piece(source: int, copy: int, position: int) -> int:
    # Within one file system that can, such as XFS or Btrfs, the system lets both files have the same blocks.
    if hasattr(os, "copy_file_range"):
        with suppress(OSError):
            return os.copy_file_range(source, copy, _PIECE, position, position)
    os.lseek(source, position, os.SEEK_SET)
    os.lseek(copy, position, os.SEEK_SET)
    piece = os.read(source, _PIECE)
    view = memoryview(piece)
    while view:
        view = view[os.write(copy, view) :]
    return len(piece)


def _users(path: Path) -> Path:
    return path.with_suffix(".users")


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _is_unused(path: Path) -> bool:
    lock = ReadWriteLock(_users(path), is_singleton=False)
    try:
        lock.acquire_write(blocking=False)
        lock.release()
    except Timeout:
        return False
    else:
        return True
    finally:
        lock.close()


def _new() -> str:
    return uuid.uuid4().hex
