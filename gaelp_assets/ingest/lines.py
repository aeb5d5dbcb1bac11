"""A gateway file's stored bytes -> blocks of lines, with the place of every line, the file's digest and its size.

Compression, byte-order marks and line ends are dealt with here; what a line says is `ingest.decode`'s business. Memory is bounded by
a block, and a block by `BLOCK_BYTES` or the longest line.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.ingest.json_array import MalformedArrayError, OpenArrayError, objects_as_lines

BLOCK_BYTES: Final = 256 << 10  # fits the processor's cache: larger blocks decode more slowly
MAX_LINE_BYTES: Final = 8 << 20
"""How long a line may be. Decoded, it takes up to twenty times its size in memory; BigQuery's rows end at 100 MB."""
SPACE: Final = b" \t\r\n"  # what JSON takes for space, and nothing else
BOM: Final = b"\xef\xbb\xbf"
# What a file of another kind starts with. UTF-16 without a mark shows by its NUL bytes.
MAGIC: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"Obj\x01": "Avro",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"{\x00": "UTF-16 text",
    b"\x00{": "UTF-16 text",
}
COMPRESSIONS: Final = {".gz": "gzip", ".zst": "Zstandard"}
ENDINGS: Final = tuple(
    kind + compression for kind in (".ndjson", ".json") for compression in ("", *COMPRESSIONS)
)


@dataclass(frozen=True)
class Block:
    """Whole lines, without blank ones: their bytes, with line ends, and where each starts."""

    lines: list[bytes]
    """As stored, each with its line end; the last line of a file may have none."""
    numbers: npt.NDArray[np.int64]
    """1-based numbers of the lines in the file, blank lines counted; of the objects, in a `.json` file."""
    offsets: npt.NDArray[np.int64]
    """Where each line starts, in bytes of the decompressed file."""
    data: bytes
    """The lines' bytes in one piece."""

    def __len__(self) -> int:
        return len(self.lines)


class LineReader:
    """Reads a file once: iterate over its blocks; then `digest` and `size` are those of its stored bytes.

    Iterating raises:
        GaelpError: the file is not what its ending says, is damaged or cut off, or has no lines.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._source = _Metered(stream)
        self._name = name
        self._exhausted = False

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self._name

    @property
    def size(self) -> int:
        """How many stored bytes have been read so far."""
        return self._source.size

    @property
    def digest(self) -> str:
        """SHA-256 of the stored bytes, in hexadecimal.

        Raises:
            ValueError: the file has not been read to its end.
        """
        if not self._exhausted:
            raise ValueError(f"{self._name} has not been read to its end")
        return self._source.sha256.hexdigest()

    def __iter__(self) -> Iterator[Block]:
        ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if self._name.endswith(e)), None)
        if ending is None:
            raise self._error("has an ending that is not known", f"one of {', '.join(ENDINGS)}")
        chunks = self._without_bom(self._decompressed(ending))
        is_json = ending.startswith(".json")
        blocks = _numbered(objects_as_lines(*chunks)) if is_json else _line_blocks(*chunks)
        empty = True
        try:
            for block in blocks:
                empty = False
                yield block
        except OpenArrayError as error:
            raise self._error("is cut off", "a JSON array that is closed", "Have it written again") from error
        except MalformedArrayError as error:
            raise self._error(f"has {error}", "one JSON object, or one array of them") from error
        self._exhausted = True
        if empty:
            raise self._error("has no lines", "at least one JSON object")

    def _without_bom(self, chunks: Iterator[bytes]) -> tuple[Iterator[bytes], int]:
        """The chunks of text without a mark at their start, and how many bytes that took away."""
        head = b""
        for chunk in chunks:
            head += chunk
            if len(head) >= 8:
                break
        self._refuse_magic(head, f"JSON text in UTF-8, as {self._name.rpartition('/')[2]} says")
        skipped = len(BOM) if head.startswith(BOM) else 0

        def rest() -> Iterator[bytes]:
            yield head[skipped:]
            yield from chunks

        return rest(), skipped

    def _decompressed(self, ending: str) -> Iterator[bytes]:
        suffix = next((s for s in COMPRESSIONS if ending.endswith(s)), None)
        if suffix is None:
            while chunk := self._source.read(BLOCK_BYTES):
                yield chunk
            return
        magic = next(m for m, kind in MAGIC.items() if kind == COMPRESSIONS[suffix])
        head = self._source.peek(len(magic))
        if head and head != magic:
            self._refuse_magic(self._source.peek(8), COMPRESSIONS[suffix])
            raise self._error(f"is not {COMPRESSIONS[suffix]}", f"{COMPRESSIONS[suffix]}, as its ending says")
        try:
            yield from (_gunzip if suffix == ".gz" else _unzstd)(self._source)
        except (zlib.error, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the store's trouble, not the archive's
            raise self._error(
                "is cut off or damaged", f"a complete {COMPRESSIONS[suffix]} archive", "Have it written again"
            ) from error

    def _refuse_magic(self, head: bytes, expected: str) -> None:
        for magic, kind in MAGIC.items():
            if head.startswith(magic):
                raise self._error(f"is {kind}", expected)

    def _error(self, what: str, expected: str, remedy: str = "") -> GaelpError:
        return GaelpError(Problem(f"the file {what}", self._name, expected, remedy))


class _Metered(io.RawIOBase):
    """Counts and digests what is read from a stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._peeked = b""
        self.sha256 = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def _fetch(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.sha256.update(data)
        self.size += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay unread; fewer at the end only."""
        while len(self._peeked) < size and (data := self._fetch(size - len(self._peeked))):
            self._peeked += data
        return self._peeked[:size]

    def read(self, size: int = -1, /) -> bytes:
        if self._peeked:
            data, self._peeked = self._peeked, b""
            return data
        return self._fetch(size)


def _gunzip(source: _Metered) -> Iterator[bytes]:
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


def _unzstd(source: _Metered) -> Iterator[bytes]:
    """The frames of a Zstandard file. Arrow's reader notices a cut-off frame; `zstandard`'s stream reader ends silently."""
    import pyarrow as pa

    with pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd") as stream:
        while data := stream.read(BLOCK_BYTES):
            yield data


def _line_blocks(chunks: Iterator[bytes], offset: int) -> Iterator[Block]:
    """Cuts the text at line ends; a line that spans many chunks is put together once."""
    parts: list[bytes] = []
    number = 1
    for chunk in chunks:
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            parts.append(chunk)
            continue
        parts.append(chunk[:cut])
        data = b"".join(parts)
        parts = [chunk[cut:]]
        lines = [data] if data.find(b"\n") == len(data) - 1 else io.BytesIO(data).readlines()
        if block := _block(data, lines, number, offset):
            yield block
        number += len(lines)
        offset += len(data)
    if (last := b"".join(parts)) and (block := _block(last, [last], number, offset)):
        yield block


def _block(data: bytes, lines: list[bytes], number: int, offset: int) -> Block | None:
    count = len(lines)
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, count))
    starts = np.zeros(count, np.int64)
    starts[1:] = ends[:-1]
    numbers = np.arange(number, number + count, dtype=np.int64)
    spaced = np.flatnonzero(np.frombuffer(data, np.uint8)[starts] <= ord(" "))
    blank = [i for i in spaced.tolist() if not lines[i].strip(SPACE)]
    if not blank:
        return Block(lines, numbers, starts + offset, data)
    keep = np.ones(count, np.bool_)
    keep[blank] = False
    kept = [line for line, good in zip(lines, keep, strict=True) if good]
    return Block(kept, numbers[keep], starts[keep] + offset, b"".join(kept)) if kept else None


def _numbered(objects: Iterator[tuple[int, bytes]]) -> Iterator[Block]:
    """Blocks of the objects of a `.json` file."""
    lines: list[bytes] = []
    offsets: list[int] = []
    size = number = 0

    def block() -> Block:
        numbers = np.arange(number + 1, number + len(lines) + 1, dtype=np.int64)
        return Block(lines, numbers, np.array(offsets, np.int64), b"".join(lines))

    for offset, text in objects:
        lines.append(text)
        offsets.append(offset)
        size += len(text)
        if size >= BLOCK_BYTES:
            yield block()
            number += len(lines)
            lines, offsets, size = [], [], 0
    if lines:
        yield block()
