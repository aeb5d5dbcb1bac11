"""The gateway's files in a folder tree.

Everything that is particular to a file system belongs here, its errors included; what a name means does not (`gateway.paths`).
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.gateway.names import check_new_name, escape_problem, is_unfinished, shown
from gaelp_assets.gateway.store import ObjectChanged, StoredObject
from gaelp_assets.gateway.stores.local_errors import IsLink, TooLong, explained, place_of, unreachable

# Files are written here and then linked to their name, so that folders come and go without disturbing a writer.
UNFINISHED: Final = ".unfinished"
# Tells a gateway without files from the empty mount point of a share.
MARKER: Final = ".export_gateway"
LEFTOVER_AGE: Final = dt.timedelta(days=1)
READ_BUFFER: Final = 1 << 20
# A folder that others empty and remove at the same time is made again this many times before giving up.
FOLDER_ATTEMPTS: Final = 100

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}
_GONE: Final = (FileNotFoundError, NotADirectoryError)


class LocalStore:
    """A `Store` in one file system. Symbolic links and special files are neither listed nor followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def url(self) -> str:
        """`file:///...`."""
        return self.folder.as_uri()

    def prepare(self, folders: Iterable[str]) -> None:
        """Creates the root with its marker and these folders, and removes what writers that died left behind a day ago.

        Raises:
            TransientError: the disk is full, read-only or out of reach.
            GaelpError: a permission is missing, or a file is where a folder should be.
        """
        with self._reporting("prepare", ""):
            for folder in (*folders, UNFINISHED):
                Path(self.folder, folder).mkdir(parents=True, exist_ok=True)
            Path(self.folder, MARKER).touch()
            with os.scandir(Path(self.folder, UNFINISHED)) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        if (
                            time.time() - entry.stat(follow_symlinks=False).st_mtime
                            > LEFTOVER_AGE.total_seconds()
                        ):
                            Path(entry.path).unlink()

    def require(self, folders: Iterable[str]) -> None:
        """Prepares a root that is a gateway by its marker or, of an earlier version, by one of its folders.

        Raises:
            TransientError: it is neither: the mount point of a share that is not mounted, most likely. Nothing is made there.
        """
        folders = tuple(folders)
        with self._reporting("reach", ""):
            known = [MARKER, *folders]
            if not any((self.folder / name).exists() for name in known):
                there = self.folder.is_dir()
                raise TransientError(
                    Problem(
                        "there is no gateway in this folder" if there else "there is no such folder",
                        self.url,
                        "the root of an export gateway",
                        "Check that the disk or share is mounted. If a new gateway is really meant: gaelp gateway init",
                    )
                )
        self.prepare(folders)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[StoredObject]:
        """The complete objects under the prefix in order of name. Memory: the names of the folders on the way down.

        Raises:
            TransientError: the root, or the top-level folder of the prefix, is not there or out of reach.
        """
        folder = prefix.rpartition("/")[0]
        if folder:
            self._path(folder)
        if is_unfinished(f"{folder}/"):
            return
        root = f"{self.folder}/"
        levels = [self._entries(folder, prefix, start_after)]
        while levels:
            name = next(levels[-1], None)
            if name is None:
                levels.pop()
            elif name.endswith("/"):
                levels.append(self._entries(name[:-1], prefix, start_after))
            else:
                try:
                    status = os.lstat(f"{root}{name}")
                except OSError:
                    stored = self._look_up(name, self.folder / name)
                else:
                    stored = _stored(name, status) if stat.S_ISREG(status.st_mode) else None
                if stored is not None:
                    yield stored

    def _entries(self, folder: str, prefix: str, start_after: str) -> Iterator[str]:
        """The names in one folder that lie between prefix and start, those of folders with a "/" at the end, in order."""
        path = self._path(f"{folder}/_").parent if folder else self.folder
        names = []
        try:
            with self._reporting("list", folder, may_be_gone=True), os.scandir(path) as entries:
                for entry in entries:
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        name += "/"
                    elif not entry.is_file(follow_symlinks=False):
                        continue
                    on_the_way = name.endswith("/") and prefix.startswith(name)
                    begun = name.endswith("/") and start_after.startswith(name)
                    if (
                        (name.startswith(prefix) or on_the_way)
                        and (name > start_after or begun)
                        and not is_unfinished(name)
                    ):
                        names.append(name)
        except _GONE:
            self._check_reachable(f"{folder}/")  # else the folder was emptied and removed since
        names.sort()
        return iter(names)

    def specials(self, folder: str) -> Iterator[tuple[str, str]]:
        """Links, pipes, sockets and devices in a top-level folder, or (of "") right in the root, with what they are; unordered."""
        folders = [folder]
        while folders:
            above = folders.pop()
            try:
                with (
                    self._reporting("list", above, may_be_gone=True),
                    os.scandir(self._path(f"{above}/_").parent if above else self.folder) as entries,
                ):
                    found = list(entries)
            except _GONE:
                self._check_reachable(f"{above}/")
                continue
            for entry in found:
                name = f"{above}/{entry.name}" if above else entry.name
                if is_unfinished(name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if above:
                        folders.append(name)
                elif not entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # gone since
                        yield name, _kind(entry.stat(follow_symlinks=False).st_mode)

    def find(self, name: str) -> StoredObject | None:
        """The object of that name, or None; links, folders and unfinished files are no objects."""
        path = self._path(name)
        return None if is_unfinished(name) else self._look_up(name, path)

    def _look_up(self, name: str, path: Path) -> StoredObject | None:
        try:
            with self._reporting("look up", name, may_be_gone=True):
                status = path.lstat()
        except _GONE:
            self._check_reachable(name)
            return None
        except TooLong:
            return None
        return _stored(name, status) if stat.S_ISREG(status.st_mode) else None

    def open(self, stored: StoredObject) -> BinaryIO:
        """The file, open for reading; it stays readable when it is moved.

        Raises:
            ObjectChanged: it is gone, or is another version.
        """
        path = self._path(stored.name)
        try:
            with self._reporting("open", stored.name, may_be_gone=True):
                # Not blocking: somebody may have put a pipe in the file's place.
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except _GONE:
            self._check_reachable(stored.name)
            raise ObjectChanged(shown(stored.name)) from None
        except IsLink:
            raise ObjectChanged(shown(stored.name)) from None
        if _stored(stored.name, os.fstat(descriptor)).version != stored.version:
            os.close(descriptor)
            raise ObjectChanged(shown(stored.name))
        return os.fdopen(descriptor, "rb", buffering=READ_BUFFER)

    def create(self, name: str, chunks: Iterable[bytes]) -> StoredObject | None:
        """Writes the file under a hidden name, makes it durable, and links it to its name unless that is taken."""
        check_new_name(name)
        path = self._path(name)
        self._check_reachable(name)
        unfinished = self.folder / UNFINISHED / f"{uuid.uuid4().hex}.tmp"
        with self._reporting("write", name):
            unfinished.parent.mkdir(exist_ok=True)
            file = unfinished.open("xb")
        try:
            with file:
                for chunk in chunks:
                    with self._reporting("write", name):
                        file.write(chunk)
                with self._reporting("write", name):
                    file.flush()
                    os.fsync(file.fileno())
            with self._reporting("write", name):
                linked = self._link(unfinished, path, name)
                return _stored(name, unfinished.lstat()) if linked else None
        finally:
            with suppress(OSError):
                unfinished.unlink()

    def _link(self, unfinished: Path, path: Path, name: str) -> bool:
        for _ in range(FOLDER_ATTEMPTS):
            self._make_folders(name)
            try:
                path.hardlink_to(unfinished)
            except FileNotFoundError:
                continue
            except FileExistsError:
                # A network file system can carry out the call and lose the answer.
                if unfinished.lstat().st_nlink < 2:
                    return False
            except OSError as error:
                if error.errno in _NO_LINKS:
                    raise GaelpError(
                        Problem(
                            f"the file system cannot publish a file at once (no hard links: {error.strerror})",
                            self.url,
                            "a file system with hard links, such as ext4, xfs, APFS or NFS",
                            "Let GAELP_GATEWAY name a folder on such a file system.",
                        )
                    ) from None
                raise
            _make_durable(path.parent)
            return True
        raise unreachable(self.url, name, "its folder keeps vanishing")

    def move(self, stored: StoredObject, name: str) -> StoredObject:
        """Renames that version in one step, and clears up the folders that this empties."""
        check_new_name(name)
        source, target = self._path(stored.name), self._path(name)
        with self._reporting("move", stored.name):
            for _ in range(FOLDER_ATTEMPTS):
                self._check_version(stored)
                self._make_folders(name)
                try:
                    source.replace(target)
                except FileNotFoundError:
                    continue
                _make_durable(target.parent)
                self._clear_up(stored.name)
                return replace(stored, name=name)
        raise unreachable(self.url, name, "its folder keeps vanishing")

    def delete(self, stored: StoredObject) -> None:
        """Removes that version, and the folders that this empties."""
        path = self._path(stored.name)
        with self._reporting("delete", stored.name):
            self._check_version(stored)
            try:
                path.unlink()
            except FileNotFoundError:
                raise ObjectChanged(shown(stored.name)) from None
            self._clear_up(stored.name)

    def _check_version(self, stored: StoredObject) -> None:
        found = self.find(stored.name)
        if found is None or found.version != stored.version:
            raise ObjectChanged(shown(stored.name))

    def _make_folders(self, name: str) -> None:
        """Makes the folders of a name below its top-level folder, which only `prepare` makes."""
        top, *others = name.split("/")[:-1] or [""]
        path = self.folder / top
        for part in others:
            path /= part
            try:
                path.mkdir()
            except FileExistsError:
                pass
            except FileNotFoundError:
                self._check_reachable(name)
                return  # removed again by somebody who emptied it: the caller comes back

    def _clear_up(self, name: str) -> None:
        """Removes the folders of a name that are empty, below its top-level folder. One that gets a file stays: rmdir says so."""
        parts = name.split("/")[:-1]
        while len(parts) > 1:
            try:
                self.folder.joinpath(*parts).rmdir()
            except OSError:
                return
            parts.pop()

    def _path(self, name: str) -> Path:
        """The path of a name, which never leaves the root, by symbolic links neither."""
        problem = escape_problem(name)
        try:
            os.fsencode(name)
        except UnicodeEncodeError:
            problem = Problem(
                f"the name {shown(name)!r} is refused", expected="characters that a file name can hold"
            )
        if problem:
            raise GaelpError(problem)
        folder, _, base = name.rpartition("/")
        try:
            path = self.folder.resolve() / folder
            followed = path.resolve()
        except RuntimeError:  # links in a circle
            followed = None
        if followed != path:
            raise GaelpError(
                Problem(
                    "a symbolic link leads elsewhere",
                    place_of(self.url, folder),
                    "real folders",
                    "Put a folder in the link's place.",
                )
            )
        return path / base

    def _check_reachable(self, name: str) -> None:
        """Raises TransientError unless the root, and the top-level folder of the name, are folders."""
        top = name.partition("/")[0] if "/" in name else ""
        for folder in (self.folder, self.folder / top):
            with self._reporting("reach", top):
                if not folder.is_dir():
                    raise unreachable(folder.as_uri(), "", "there is no such folder")

    @contextmanager
    def _reporting(self, action: str, name: str, *, may_be_gone: bool = False) -> Iterator[None]:
        """Turns the file system's errors into the project's, except those that say that a file is gone, where it may be."""
        try:
            yield
        except OSError as error:
            if may_be_gone and isinstance(error, _GONE):
                raise
            raise explained(error, action, place_of(self.url, name)) from error


def _stored(name: str, status: os.stat_result) -> StoredObject:
    modified = dt.datetime.fromtimestamp(status.st_mtime_ns / 1e9, dt.UTC)
    return StoredObject(
        name, status.st_size, modified, f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    )


def _kind(mode: int) -> str:
    """What a file is that is no regular one."""
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _make_durable(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # the next one to have the file has already moved it on
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
