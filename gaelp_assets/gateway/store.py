"""What a place that holds the gateway's files must be able to do: the same few operations on folders and buckets.

A store knows names and bytes. Stages, tables and slices are not its affair (`gateway.paths`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class StoredObject:
    """One complete object: its name (`STAGE/...`, separated by "/"), size in bytes, and the version of its content."""

    name: str
    size: int
    modified: dt.datetime
    version: str
    """Changes whenever the content does: the generation on GCS; inode, mtime and size of a local file."""


class ObjectChanged(Exception):
    """The object is gone, or is no longer the version that was listed: somebody else moved or replaced it."""


class Store(Protocol):
    """A flat store of objects. Names come from outside: an implementation never lets one escape its root.

    Every operation raises `TransientError` where the store cannot be reached and trying again may help, and `GaelpError` with
    the next step where it cannot (no permission, no such bucket).
    """

    @property
    def url(self) -> str:
        """Where the store is, for messages: `file:///...` or `gs://...`."""
        ...

    def prepare(self, folders: Iterable[str]) -> None:
        """Makes the store ready for use: checks that it can be reached, and creates these top-level folders where it has folders.

        Names then start with one of these folders. A local folder of them that is gone later is an unmounted share, not an empty one.
        """
        ...

    def require(self, folders: Iterable[str]) -> None:
        """As `prepare`, for a store that was prepared before: a root that is gone, or empty, is out of reach and not a new store."""
        ...

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[StoredObject]:
        """The objects whose names start with `prefix`, in order of name, lazily and page by page, those after `start_after`.

        Unfinished objects (a part of the name starts with a dot, or the name ends in `.tmp`) are left out.
        """
        ...

    def specials(self, folder: str) -> Iterator[tuple[str, str]]:
        """What is neither listed nor followed in a top-level folder, or (of "") right in the root: names and kinds (`a symbolic link`)."""
        ...

    def find(self, name: str) -> StoredObject | None:
        """The object of that name, or None."""
        ...

    def open(self, stored: StoredObject) -> BinaryIO:
        """Its bytes from the start, seekable. Raises `ObjectChanged` if it is not that version any more."""
        ...

    def create(self, name: str, chunks: Iterable[bytes]) -> StoredObject | None:
        """Writes a complete new object; None, with nothing changed, if the name is taken. Half of it is never seen."""
        ...

    def move(self, stored: StoredObject, name: str) -> StoredObject:
        """Renames that version, and returns it; an object of the new name is replaced.

        Raises `ObjectChanged` if it is not there any more. Where a move is a copy and a removal, doing it again completes it.
        """
        ...

    def delete(self, stored: StoredObject) -> None:
        """Removes that version. Raises `ObjectChanged` if it is not there any more."""
        ...
