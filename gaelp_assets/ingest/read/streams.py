"""Streams of bytes under a file's lines: looked ahead into, counted and digested, decompressed a block at a time."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

BLOCK_BYTES: Final = 256 << 10  # fits the processor's cache: larger blocks decode more slowly


class Peeked(io.RawIOBase):
    """A stream whose next bytes can be looked at."""

    def __init__(self) -> None:
        self._peeked = b""

    def readable(self) -> bool:
        """True: Arrow asks before it reads."""
        return True

    def _fetch(self, size: int) -> bytes:
        raise NotImplementedError

    def _fetch_into(self, view: memoryview) -> int:
        data = self._fetch(len(view))
        view[: len(data)] = data
        return len(data)

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay unread; fewer at the end only."""
        while len(self._peeked) < size and (data := self._fetch(size - len(self._peeked))):
            self._peeked += data
        return self._peeked[:size]

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes; none at the end only."""
        if self._peeked:
            data, self._peeked = self._peeked[:size], self._peeked[size:]
            return data
        return self._fetch(size)

    def fill(self, view: memoryview) -> int:
        """Reads into the view; how many bytes: none at the end only."""
        if not self._peeked:
            return self._fetch_into(view)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class Metered(Peeked):
    """Counts and digests what is read from a stream."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self.sha256 = hashlib.sha256()
        self.size = 0

    def _fetch(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.sha256.update(data)
        self.size += len(data)
        return data

    def _fetch_into(self, view: memoryview) -> int:
        count = cast("io.RawIOBase", self._stream).readinto(view) or 0
        self.sha256.update(view[:count])
        self.size += count
        return count


class Limited(Peeked):
    """A stream that ends in an error where more than so many bytes come."""

    def __init__(self, stream: Peeked, most: int, error: type[Exception]) -> None:
        super().__init__()
        self._stream = stream
        self._left = most
        self._error = error

    def _fetch(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._count(len(data))
        return data

    def _fetch_into(self, view: memoryview) -> int:
        count = self._stream.fill(view)
        self._count(count)
        return count

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self._error


class Chunks(Peeked):
    """Chunks of bytes as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")

    def _fetch(self, size: int) -> bytes:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)


def gunzip(source: Metered) -> Iterator[bytes]:
    """The members of a gzip file, at most a block at a time however far a byte expands."""
    member = zlib.decompressobj(wbits=31)
    pending = source.read(BLOCK_BYTES)
    while pending:
        if member.eof:
            pending = pending.lstrip(b"\0") or source.read(BLOCK_BYTES)  # padding after a member is allowed
            if not pending.strip(b"\0"):
                continue
            member = zlib.decompressobj(wbits=31)
        data = member.decompress(pending, BLOCK_BYTES)
        if data:
            yield data
        pending = member.unused_data if member.eof else member.unconsumed_tail
        if not pending:
            pending = source.read(BLOCK_BYTES)
    # What is left inside the decompressor: nothing more than a block, for it was asked until its input was used up.
    data = member.flush()
    if data:
        yield data
    if not member.eof:
        raise EOFError


def unzstd(source: Metered) -> Iterator[bytes]:
    """The frames of a Zstandard file. Arrow's reader notices a cut-off frame; `zstandard`'s stream reader ends silently."""
    import pyarrow as pa

    with pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd") as stream:
        while data := stream.read(BLOCK_BYTES):
            yield data
