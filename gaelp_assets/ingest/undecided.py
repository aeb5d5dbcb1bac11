"""Lines of a file -> rows that wait for their verdict, in chunks, on either of two ways: natively, or in Python alone.

Both yield the same rows and rejects. The native way hands every line that it is not certain of to Python, which decides and explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from threading import Lock
from typing import Final, overload

import numpy as np
import numpy.typing as npt
import polars as pl
from xxhash import xxh3_64_intdigest

from gaelp_assets.catalog.model import Relation
from gaelp_assets.ingest.decode import BlockDecoder, DecodedBlock, without
from gaelp_assets.ingest.explain import Reason
from gaelp_assets.ingest.lines import BLOCK_BYTES, Block, LineReader
from gaelp_assets.ingest.native import MAX_BLOCK_BYTES, NativeDecoder, integer_series
from gaelp_assets.validation.schema import PROOF_COLUMNS
from gaelp_assets.validation.verdict import REASONS, reason_lists

CHUNK_ROWS: Final = 50_000
CHUNK_BYTES: Final = 16 << 20
REJECT_SCHEMA: Final = pl.Schema(
    {"line_number": pl.Int64(), "byte_offset": pl.Int64(), "raw": pl.Binary(), "reasons": REASONS}
)


class RawLines(Sequence[bytes]):
    """Lines as stored, without their line ends."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> RawLines: ...

    def __getitem__(self, index: int | slice) -> bytes | RawLines:
        if isinstance(index, slice):
            return RawLines(self._lines[index])
        return self._lines[index].rstrip(b"\r\n")

    def without(self, places: Sequence[int]) -> RawLines:
        """The lines but for those at the places."""
        return RawLines(without(self._lines, places))


class LinesInBlock(RawLines):
    """Lines cut out of a block when they are asked for."""

    def __init__(self, block: Block, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> None:
        self._block = block
        self._starts = starts
        self._ends = ends

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> LinesInBlock: ...

    def __getitem__(self, index: int | slice) -> bytes | LinesInBlock:
        starts, ends = self._starts[index], self._ends[index]
        if isinstance(index, slice):
            return LinesInBlock(self._block, starts, ends)
        return bytes(self._block.buffer[int(starts) : int(ends)]).rstrip(b"\r\n")

    def without(self, places: Sequence[int]) -> LinesInBlock:
        """The lines but for those at the places."""
        return LinesInBlock(self._block, np.delete(self._starts, places), np.delete(self._ends, places))


@dataclass(frozen=True)
class Undecided:
    """Some consecutive lines of a file: rows that no rule has judged yet, and lines that are rejected already."""

    frame: pl.DataFrame
    """The relation's columns, then `PROOF_COLUMNS`, in the file's order."""
    raw: RawLines
    """The line of each row."""
    unfit: Sequence[int]
    """Rows that are rejected already, and have stand-ins for values."""
    rejects: pl.DataFrame
    """`REJECT_SCHEMA`."""
    lines: int


class PythonWay:
    """Decodes with packages of Python's own, in blocks that fit the processor's cache."""

    def __init__(self, relation: Relation) -> None:
        self._decoder = BlockDecoder(relation)

    def chunks(self, blocks: Iterable[Block]) -> Iterator[Undecided]:
        """The blocks' lines, decoded, in chunks of many blocks."""
        pending = _Pending()
        for block in blocks:
            pending.add(block, self._decoder.decode(block))
            if pending.lines >= CHUNK_ROWS or pending.size >= CHUNK_BYTES:
                yield pending.undecided(self._decoder)
                pending = _Pending()
        if pending.lines:
            yield pending.undecided(self._decoder)


class NativeWay:
    """Decodes natively, a block to a chunk. May be used by several threads at once.

    Raises:
        RuntimeError: the library has not been built.
    """

    def __init__(self, relation: Relation) -> None:
        self._native = NativeDecoder(relation)
        self._decoder = BlockDecoder(relation)
        self._turn = Lock()  # Python's decoder belongs to one thread at a time

    @staticmethod
    def blocks(reader: LineReader) -> Iterator[Block]:
        """The file in blocks that make a chunk each."""
        return reader.blocks(CHUNK_BYTES, CHUNK_ROWS)

    def chunk(self, block: Block) -> Undecided:
        """The block's lines, decoded."""
        if block.apart is not None or len(block.buffer) > MAX_BLOCK_BYTES:
            return self._in_python(_parts(block.lines, block.numbers, block.offsets), _Pending())
        native = self._native.decode(block)
        which, starts, ends = native.places
        places = (native.hashes, which + block.number, starts + block.offset)
        frame = native.rows.with_columns(map(integer_series, PROOF_COLUMNS, places))
        raw = LinesInBlock(block, starts, ends)
        pending = _Pending()
        fine = native.refused[:, self._explained(block, native.refused, pending)]
        if not fine.size:
            return Undecided(frame, raw, (), pending.rejects(), native.line_count)
        lines = [bytes(block.buffer[start:end]) for start, end in zip(fine[1], fine[2], strict=True)]
        others = self._in_python(_parts(lines, fine[0] + block.number, fine[1] + block.offset), pending)
        fit = np.ones(others.frame.height, np.bool_)
        fit[list(others.unfit)] = False
        if fit.any():
            frame = pl.concat([frame, others.frame.filter(fit)]).sort("_line_number")
            every = np.concatenate([native.places, fine], axis=1)
            every = every[:, np.argsort(every[0])]
            rows = np.searchsorted(every[0], frame["_line_number"].to_numpy() - block.number)
            raw = LinesInBlock(block, every[1][rows], every[2][rows])
        return Undecided(frame, raw, (), others.rejects, native.line_count)

    def _explained(self, block: Block, refused: npt.NDArray[np.int64], pending: _Pending) -> list[int]:
        """Notes the refused lines that are bad, which most are, with their reasons; which of them are fine."""
        fine = []
        for i, (which, start, end) in enumerate(refused.T.tolist()):
            line = bytes(block.buffer[start:end])
            if reasons := self._decoder.reasons(line):
                pending.reject(block.number + which, block.offset + start, line, reasons)
            else:
                fine.append(i)
        return fine

    def _in_python(self, parts: Iterable[Block], pending: _Pending) -> Undecided:
        with self._turn:
            for part in parts:
                pending.add(part, self._decoder.decode(part))
            return pending.undecided(self._decoder)


def _parts(
    lines: Sequence[bytes], numbers: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> Iterator[Block]:
    """The lines as blocks of a size that suits Python: decoded, they take many times their size."""
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
    start = 0
    while start < len(lines):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK_BYTES, side="right")))
        some = list(lines[start:stop])
        yield Block(b"".join(some), apart=(some, numbers[start:stop], offsets[start:stop]))
        start = stop


@dataclass
class _Pending:
    """Blocks that Python has decoded."""

    lines: int = 0
    size: int = 0
    _raw: list[bytes] = field(default_factory=list)
    _unfit: list[int] = field(default_factory=list)
    _blocks: list[DecodedBlock] = field(default_factory=list)
    _places: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _rejects: list[tuple[int, int, bytes, list[Reason]]] = field(default_factory=list)

    def add(self, block: Block, decoded: DecodedBlock) -> None:
        """Takes the block's rows and rejects."""
        self.lines += len(block)
        self.size += len(block.data)
        indices, lines = decoded.indices, decoded.lines
        self._unfit += [len(self._raw) + row for row in decoded.dropped]
        for i, reasons in decoded.rejects:
            self.reject(int(block.numbers[i]), int(block.offsets[i]), block.lines[i], reasons)
        hashes = np.fromiter(map(xxh3_64_intdigest, map(bytes.strip, lines)), np.uint64, len(lines))
        self._raw += lines
        self._blocks.append(decoded)
        self._places.append(np.stack([hashes.view(np.int64), block.numbers[indices], block.offsets[indices]]))

    def reject(self, number: int, offset: int, line: bytes, reasons: list[Reason]) -> None:
        """Takes a line, as stored, that is no row."""
        self._rejects.append((number, offset, line.rstrip(b"\r\n"), reasons))

    def undecided(self, decoder: BlockDecoder) -> Undecided:
        """All that was added."""
        places = np.concatenate(self._places, axis=1)
        columns = [pl.Series(name, place) for name, place in zip(PROOF_COLUMNS, places, strict=True)]
        frame = decoder.frame(self._blocks).with_columns(columns)
        return Undecided(frame, RawLines(self._raw), self._unfit, self.rejects(), self.lines)

    def rejects(self) -> pl.DataFrame:
        """The lines that are rejected, in the file's order."""
        if not self._rejects:
            return pl.DataFrame(schema=REJECT_SCHEMA)
        numbers, offsets, raw, reasons = zip(*sorted(self._rejects, key=itemgetter(0)), strict=True)
        series = reason_lists([[(r.field, r.rule, r.message) for r in found] for found in reasons])
        return pl.DataFrame([numbers, offsets, raw, series], schema=REJECT_SCHEMA)
