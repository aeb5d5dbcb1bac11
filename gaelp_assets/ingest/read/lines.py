"""A gateway file's stored bytes -> blocks of lines, with the place of every line, the file's digest and its size.

Compression, byte-order marks and line ends are dealt with here, the bytes below them in `streams`, and `.json` files, which have no lines,
in `json_array`. What a line says is up to `ingest.decode`. Memory is bounded by a block, and a block by its size or by the longest line.
"""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.ingest.read.json_array import MalformedArrayError, OpenArrayError, objects_as_lines
from gaelp_assets.ingest.read.limits import TextLimit, TextTooLongError
from gaelp_assets.ingest.read.streams import BLOCK_BYTES, Chunks, Limited, Metered, Peeked, gunzip, unzstd

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


Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Whole lines of a file. What each of them is, and where it stands, is worked out when it is asked for."""

    buffer: bytes | memoryview
    """The lines as stored, blank ones among them, each with its line end; the last line of a file may have none."""
    number: int = 1
    """The 1-based number of the first line in the file."""
    offset: int = 0
    """Where the first line starts, in bytes of the decompressed file."""
    apart: tuple[list[bytes], Places, Places] | None = None
    """`lines`, `numbers` and `offsets`, where lines do not follow one another; then none of them is blank."""

    def __len__(self) -> int:
        return len(self.lines)

    @cached_property
    def data(self) -> bytes:
        """The buffer as bytes."""
        return bytes(self.buffer)

    @property
    def lines(self) -> list[bytes]:
        """The lines that are not blank, as stored."""
        return self._split[0]

    @property
    def numbers(self) -> Places:
        """The number of each of `lines` in the file, blank lines counted; of the object, in a `.json` file."""
        return self._split[1]

    @property
    def offsets(self) -> Places:
        """Where each of `lines` starts, in bytes of the decompressed file."""
        return self._split[2]

    @property
    def packed(self) -> bytes:
        """The bytes of `lines` in one piece."""
        return self._split[3]

    @property
    def end(self) -> int:
        """A byte of the decompressed file, up to which it has been read with this block."""
        return self.offset + len(self.buffer) if self.apart is None else int(self.apart[2][-1])

    def parts(self, size: int) -> Iterator[Block]:
        """The block in smaller ones, each of at most `size` bytes or of one longer line. Parts of blank lines alone are left out."""
        return self._whole_parts(size) if self.apart is None else self._parts_apart(size)

    def _whole_parts(self, size: int) -> Iterator[Block]:
        text = memoryview(self.buffer)
        number, start = self.number, 0
        while start < len(text):
            stop = start + size
            end = start + _last_line_end(text[start:stop]) if stop < len(text) else len(text)
            if end == start:  # one line is longer than a part
                end = _next_line_end(text, stop)
            part = Block(text[start:end], number, self.offset + start)
            if not _is_blank(text[start:end]):
                yield part
            number += part.data.count(b"\n")
            start = end

    def _parts_apart(self, size: int) -> Iterator[Block]:
        lines, numbers, offsets = self.lines, self.numbers, self.offsets
        ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
        start = 0
        while start < len(lines):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + size, side="right")))
            some = lines[start:stop]
            yield Block(b"".join(some), apart=(some, numbers[start:stop], offsets[start:stop]))
            start = stop

    @cached_property
    def _split(self) -> tuple[list[bytes], Places, Places, bytes]:
        if self.apart is not None:
            return *self.apart, self.data
        one = self.data.find(b"\n") in (len(self.data) - 1, -1)
        lines = [self.data] if one else io.BytesIO(self.data).readlines()
        count = len(lines)
        starts = np.zeros(count, np.int64)
        np.cumsum(np.fromiter(map(len, lines[:-1]), np.int64, count - 1), out=starts[1:])
        numbers = np.arange(self.number, self.number + count, dtype=np.int64)
        offsets = starts + self.offset
        spaced = np.flatnonzero(np.frombuffer(self.data, np.uint8)[starts] <= ord(" "))
        blank = [i for i in spaced.tolist() if not lines[i].strip(SPACE)]
        if not blank:
            return lines, numbers, offsets, self.data
        keep = np.ones(count, np.bool_)
        keep[blank] = False
        kept = [line for line, good in zip(lines, keep, strict=True) if good]
        return kept, numbers[keep], offsets[keep], b"".join(kept)


class LineReader:
    """Reads a file once: iterate over its blocks; then `digest` and `size` are those of its stored bytes.

    Args:
        stream: the stored bytes.
        name: of the file, for its ending and for messages.
        limit: how long its text may be; None takes any text, as of a file that was accepted once.

    Iterating raises:
        GaelpError: the file is not what its ending says, is damaged or cut off, has no lines or more text than the limit allows.
    """

    def __init__(self, stream: BinaryIO, name: str, limit: TextLimit | None = None) -> None:
        self._source = Metered(stream)
        self._name = name
        self._limit = limit
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
    def exhausted(self) -> bool:
        """Whether the file has been read to its end."""
        return self._exhausted

    @property
    def digest(self) -> str:
        """SHA-256 of the stored bytes, in hexadecimal.

        Raises:
            ValueError: the file has not been read to its end.
        """
        if not self._exhausted:
            raise ValueError(f"{self._name} has not been read to its end")
        return self._source.sha256.hexdigest()

    def skip(self) -> str:
        """Leaves the rest of the file unread, but for its bytes as stored; its `digest`."""
        while self._source.read(BLOCK_BYTES):
            pass
        self._exhausted = True
        return self.digest

    def __iter__(self) -> Iterator[Block]:
        return self.blocks()

    def blocks(self, size: int = BLOCK_BYTES, most: int = sys.maxsize) -> Iterator[Block]:
        """The file's blocks.

        Args:
            size: about how many bytes of text a block has; one line that is longer is a block of its own.
            most: how many lines a block has at most, give or take those of one read (`BLOCK_BYTES`).

        Raises:
            GaelpError: as iterating does.
        """
        ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if self._name.endswith(e)), None)
        if ending is None:
            raise self._error("has an ending that is not known", f"one of {', '.join(ENDINGS)}")
        empty = True
        line = 0
        try:
            for block in self._blocks(ending, size, most):
                empty = False
                line = block.number if block.apart is None else int(block.apart[1][-1])
                yield block
        except TextTooLongError as error:
            assert self._limit is not None
            raise GaelpError(self._limit.exceeded(line)) from error
        except OpenArrayError as error:
            raise self._error("is cut off", "a JSON array that is closed", "Have it written again") from error
        except MalformedArrayError as error:
            raise self._error(f"has {error}", "one JSON object, or one array of them") from error
        self._exhausted = True
        if empty:
            raise self._error("has no lines", "at least one JSON object")

    def _blocks(self, ending: str, size: int, most: int) -> Iterator[Block]:
        text = self._decompressed(ending)
        if self._limit is not None:
            text = Limited(text, self._limit.allowed, TextTooLongError)
        text, skipped = self._without_bom(text)
        if ending.startswith(".json"):
            chunks = iter(lambda: text.read(BLOCK_BYTES), b"")
            return _numbered(objects_as_lines(chunks, skipped, MAX_LINE_BYTES), size, most)
        return _line_blocks(text, skipped, size, most)

    def _without_bom(self, text: Peeked) -> tuple[Peeked, int]:
        """The text without a mark at its start, and how many bytes that took away."""
        head = text.peek(8)
        self._refuse_magic(head, f"JSON text in UTF-8, as {self._name.rpartition('/')[2]} says")
        return text, len(text.read(len(BOM))) if head.startswith(BOM) else 0

    def _decompressed(self, ending: str) -> Peeked:
        suffix = next((s for s in COMPRESSIONS if ending.endswith(s)), None)
        if suffix is None:
            return self._source
        magic = next(m for m, kind in MAGIC.items() if kind == COMPRESSIONS[suffix])
        head = self._source.peek(len(magic))
        if head and head != magic:
            self._refuse_magic(self._source.peek(8), COMPRESSIONS[suffix])
            raise self._error(f"is not {COMPRESSIONS[suffix]}", f"{COMPRESSIONS[suffix]}, as its ending says")
        return Chunks(self._decompressing(suffix))

    def _decompressing(self, suffix: str) -> Iterator[bytes]:
        try:
            yield from (gunzip if suffix == ".gz" else unzstd)(self._source)
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


def _line_blocks(text: Peeked, offset: int, size: int, most: int) -> Iterator[Block]:
    """Cuts the text at line ends. Blocks of blank lines alone are left out."""
    number = 1
    rest = memoryview(b"")
    room = size
    while True:
        buffer = np.empty(len(rest) + room, np.uint8).data
        buffer[: len(rest)] = rest
        filled, lines, more = len(rest), 0, True
        while filled < len(buffer) and lines < most:
            part = buffer[filled : filled + BLOCK_BYTES]
            count = text.fill(part)
            if not count:
                more = False
                break
            lines += int(np.count_nonzero(np.frombuffer(part[:count], np.uint8) == ord("\n")))
            filled += count
        end = _last_line_end(buffer[len(rest) : filled]) + len(rest) if lines else 0
        if not more:
            end = filled
        if end and not _is_blank(buffer[:end]):
            yield Block(buffer[:end], number, offset)
        if not more:
            return
        if not end and filled > MAX_LINE_BYTES:
            line, passed, rest = _long_line(text, buffer[:filled])
            if line.strip(SPACE):
                yield Block(line, number, offset)
            number, offset, room = number + 1, offset + passed, size
            continue
        number += lines
        offset += end
        rest = buffer[end:filled]
        room = size if end else len(buffer)  # a line that is longer than the buffer: one twice as large


def _long_line(text: Peeked, start: memoryview) -> tuple[bytes, int, memoryview]:
    """Reads to the end of a line that is too long to be taken: what is kept of it, its whole length, and what follows it.

    Kept are its first `MAX_LINE_BYTES + 1` bytes (without spaces before them), enough to be refused by its length, and its end.
    """
    kept, passed, part = b"", 0, start
    while True:
        end = bytes(part).find(b"\n") + 1
        own = part[:end] if end else part
        if len(kept) <= MAX_LINE_BYTES:
            kept = (kept + bytes(own)).lstrip(SPACE)[: MAX_LINE_BYTES + 1]
        passed += len(own)
        if end:
            return kept.removesuffix(b"\n") + b"\n", passed, part[end:]
        part = memoryview(text.read(BLOCK_BYTES))
        if not part:
            return kept, passed, part


def _last_line_end(text: memoryview) -> int:
    """Where the last line that has an end ends; 0 if none has."""
    stop = len(text)
    while stop:
        start = max(0, stop - 4096)
        found = bytes(text[start:stop]).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0


def _next_line_end(text: memoryview, start: int) -> int:
    """Where the line ends that goes on at `start`; the end of the text if no line end follows."""
    while start < len(text):
        found = bytes(text[start : start + BLOCK_BYTES]).find(b"\n")
        if found >= 0:
            return start + found + 1
        start += BLOCK_BYTES
    return len(text)


def _is_blank(text: memoryview) -> bool:
    return not bytes(text[:4096]).strip(SPACE) and (len(text) <= 4096 or not bytes(text).strip(SPACE))


def _numbered(objects: Iterator[tuple[int, bytes]], size: int, most: int) -> Iterator[Block]:
    """Blocks of the objects of a `.json` file."""
    lines: list[bytes] = []
    offsets: list[int] = []
    held = number = 0

    def block() -> Block:
        numbers = np.arange(number + 1, number + len(lines) + 1, dtype=np.int64)
        return Block(b"".join(lines), apart=(lines, numbers, np.array(offsets, np.int64)))

    for offset, text in objects:
        lines.append(text)
        offsets.append(offset)
        held += len(text)
        if held >= size or len(lines) >= most:
            yield block()
            number += len(lines)
            lines, offsets, held = [], [], 0
    if lines:
        yield block()
