"""Lines of a file -> rows that wait for their verdict, in chunks, on either of two ways: natively, or in Python alone.

Both yield the same rows and rejects. The native way hands every line that it is not certain of to Python, which decides and explains.

A rejected line that is a JSON object has a remainder: the fields that are fine. Those of a chunk are decoded as lines of another relation,
in which no field is required, so that rules can judge them, too.
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

from gaelp_assets.catalog.model import Field, Relation
from gaelp_assets.ingest.decode.blocks import BlockDecoder, DecodedBlock, no_collection, without
from gaelp_assets.ingest.decode.native import MAX_BLOCK_BYTES, NativeRelation, integer_series
from gaelp_assets.ingest.decode.reasons import Explanation, Reason
from gaelp_assets.ingest.read.lines import Block, LineReader
from gaelp_assets.ingest.read.streams import BLOCK_BYTES
from gaelp_assets.validation.row_rules import RowRule, row_rules
from gaelp_assets.validation.schema import ORIGIN_COLUMNS
from gaelp_assets.validation.verdict import REASONS, reason_lists

CHUNK_ROWS: Final = 50_000
CHUNK_BYTES: Final = 16 << 20
REJECT_SCHEMA: Final = pl.Schema(
    {"line_number": pl.Int64(), "byte_offset": pl.Int64(), "raw": pl.Binary(), "reasons": REASONS}
)
IMPLIED: Final = frozenset({"not_null", "finite"})
"""Rules that every value keeps that fits its field as a line's JSON."""


def value_rules(relation: Relation) -> list[RowRule]:
    """The rules that a value can break that fits its field; all of them hold where it is NULL."""
    return [rule for rule in row_rules(relation) if rule.rule not in IMPLIED]


def partial_relation(relation: Relation) -> Relation | None:
    """What remainders are lines of: the fields that rules look at, none of them required; None if there are none."""
    checked_fields = {name for rule in value_rules(relation) for name in rule.holds.meta.root_names()}
    if relation.partitioning is not None:
        checked_fields |= {
            relation.partitioning.date,
            relation.partitioning.environment or relation.partitioning.date,
        }
    fields = tuple(_optional(field) for field in relation.fields if field.name in checked_fields)
    if not fields:
        return None
    return relation.model_copy(update={"fields": fields, "checks": (), "partitioning": None})


def _optional(field: Field) -> Field:
    mode = field.mode if field.repeated else "NULLABLE"
    fields = tuple(map(_optional, field.fields))
    return field.model_copy(update={"mode": mode, "fields": fields, "checks": ()})


class StoredLines(Sequence[bytes]):
    """Lines as stored, without their line ends."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> StoredLines: ...

    def __getitem__(self, index: int | slice) -> bytes | StoredLines:
        if isinstance(index, slice):
            return StoredLines(self._lines[index])
        return self._lines[index].rstrip(b"\r\n")

    def without(self, places: Sequence[int]) -> StoredLines:
        """The lines but for those at the places."""
        return StoredLines(without(self._lines, places))


class LinesInBlock(StoredLines):
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
class DecodedChunk:
    """Some consecutive lines of a file: rows that no rule has judged yet, and lines that are rejected already."""

    frame: pl.DataFrame
    """The relation's columns, then `ORIGIN_COLUMNS`, in the file's order."""
    raw: StoredLines
    """The line of each row."""
    invalid_rows: Sequence[int]
    """Rows that are rejected already, and have stand-ins for values."""
    rejects: pl.DataFrame
    """`REJECT_SCHEMA`."""
    lines: int
    partial_rows: PartialRows | None = None
    """What is fine in some of the rejects."""


@dataclass(frozen=True)
class PartialRows:
    """The fields of rejected lines that are fine, as far as rules look at them."""

    frame: pl.DataFrame
    """The columns of `partial_relation` the relation; NULL where a field is not fine."""
    rejects: npt.NDArray[np.int64]
    """The reject, by its place among the rejects, that each row is of; ascending."""
    unreported: Sequence[frozenset[str]]
    """The paths of fields of each row that nothing is to be said about: arrays that are not fine look as if they were empty."""


class PythonDecoder:
    """Decodes with packages of Python's own, in blocks that fit the processor's cache."""

    def __init__(self, relation: Relation) -> None:
        rest = partial_relation(relation)
        self._rest = None if rest is None else PythonDecoder(rest)
        self._decoder = BlockDecoder(relation, () if rest is None else rest.field_names)

    def chunk(self, block: Block) -> DecodedChunk:
        """The block's lines, decoded."""
        builder = _ChunkBuilder(self._rest)
        for part in _parts(block):
            builder.add(part, self._decoder.decode(part))
        return builder.chunk(self._decoder)

    def chunks(self, blocks: Iterable[Block]) -> Iterator[DecodedChunk]:
        """The blocks' lines, decoded, in chunks of many blocks."""
        builder = _ChunkBuilder(self._rest)
        for block in blocks:
            builder.add(block, self._decoder.decode(block))
            if builder.lines >= CHUNK_ROWS or builder.size >= CHUNK_BYTES:
                yield builder.chunk(self._decoder)
                builder = _ChunkBuilder(self._rest)
        if builder.lines:
            yield builder.chunk(self._decoder)


class NativeDecoder:
    """Decodes natively, a block to a chunk. May be used by several threads at once.

    Raises:
        RuntimeError: the library has not been built.
    """

    def __init__(self, relation: Relation) -> None:
        rest = partial_relation(relation)
        self._rest = None if rest is None else NativeDecoder(rest)
        self._native = NativeRelation(relation)
        self._decoder = BlockDecoder(relation, () if rest is None else rest.field_names)
        self._turn = Lock()  # Python's decoder belongs to one thread at a time

    @staticmethod
    def blocks(reader: LineReader) -> Iterator[Block]:
        """The file in blocks that make a chunk each."""
        return reader.blocks(CHUNK_BYTES, CHUNK_ROWS)

    def chunk(self, block: Block) -> DecodedChunk:
        """The block's lines, decoded."""
        if block.apart is not None or len(block.buffer) > MAX_BLOCK_BYTES:
            return self._in_python(block, _ChunkBuilder(self._rest))
        native = self._native.decode(block)
        which, starts, ends = native.places
        places = (native.hashes, which + block.number, starts + block.offset)
        frame = native.rows.with_columns(map(integer_series, ORIGIN_COLUMNS, places))
        raw = LinesInBlock(block, starts, ends)
        builder = _ChunkBuilder(self._rest)
        with no_collection():
            fine = native.refused[:, self._explained(block, native.refused, builder)]
        if not fine.size:
            return DecodedChunk(frame, raw, (), *builder.rejects(native.line_count))
        lines = [bytes(block.buffer[start:end]) for start, end in zip(fine[1], fine[2], strict=True)]
        apart = lines, fine[0] + block.number, fine[1] + block.offset
        others = self._in_python(Block(b"".join(lines), apart=apart), builder)
        fit = np.ones(others.frame.height, np.bool_)
        fit[list(others.invalid_rows)] = False
        if fit.any():
            frame = pl.concat([frame, others.frame.filter(fit)]).sort("_line_number")
            every = np.concatenate([native.places, fine], axis=1)
            every = every[:, np.argsort(every[0])]
            rows = np.searchsorted(every[0], frame["_line_number"].to_numpy() - block.number)
            raw = LinesInBlock(block, every[1][rows], every[2][rows])
        return DecodedChunk(frame, raw, (), others.rejects, native.line_count, others.partial_rows)

    def _explained(self, block: Block, refused: npt.NDArray[np.int64], builder: _ChunkBuilder) -> list[int]:
        """Notes the refused lines that are bad, which most are, with their reasons; which of them are fine."""
        fine = []
        for i, (which, start, end) in enumerate(refused.T.tolist()):
            line = bytes(block.buffer[start:end])
            if explanation := self._decoder.explain(line):
                builder.reject(block.number + which, block.offset + start, line, explanation)
            else:
                fine.append(i)
        return fine

    def _in_python(self, block: Block, builder: _ChunkBuilder) -> DecodedChunk:
        with self._turn:
            for part in _parts(block):
                builder.add(part, self._decoder.decode(part))
            return builder.chunk(self._decoder)


def _parts(block: Block) -> Iterator[Block]:
    """The block in blocks of a size that suits Python: decoded, lines take many times their size."""
    lines, numbers, offsets = block.lines, block.numbers, block.offsets
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
    start = 0
    while start < len(lines):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK_BYTES, side="right")))
        some = lines[start:stop]
        yield Block(b"".join(some), apart=(some, numbers[start:stop], offsets[start:stop]))
        start = stop


@dataclass
class _ChunkBuilder:
    """Blocks that Python has decoded. `rest` decodes the remainders of lines that are rejected."""

    rest: PythonDecoder | NativeDecoder | None
    lines: int = 0
    size: int = 0
    _raw: list[bytes] = field(default_factory=list)
    _unfit: list[int] = field(default_factory=list)
    _blocks: list[DecodedBlock] = field(default_factory=list)
    _places: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _rejects: list[tuple[int, int, bytes, Explanation]] = field(default_factory=list)

    def add(self, block: Block, decoded: DecodedBlock) -> None:
        """Takes the block's rows and rejects."""
        self.lines += len(block)
        self.size += len(block.data)
        indices, lines = decoded.indices, decoded.lines
        self._unfit += [len(self._raw) + row for row in decoded.dropped]
        for i, explanation in decoded.rejects:
            self.reject(int(block.numbers[i]), int(block.offsets[i]), block.lines[i], explanation)
        hashes = np.fromiter(map(xxh3_64_intdigest, map(bytes.strip, lines)), np.uint64, len(lines))
        self._raw += lines
        self._blocks.append(decoded)
        self._places.append(np.stack([hashes.view(np.int64), block.numbers[indices], block.offsets[indices]]))

    def reject(self, number: int, offset: int, line: bytes, explanation: Explanation) -> None:
        """Takes a line, as stored, that is no row."""
        self._rejects.append((number, offset, line.rstrip(b"\r\n"), explanation))

    def chunk(self, decoder: BlockDecoder) -> DecodedChunk:
        """All that was added."""
        places = np.concatenate(self._places, axis=1)
        columns = [pl.Series(name, place) for name, place in zip(ORIGIN_COLUMNS, places, strict=True)]
        frame = decoder.frame(self._blocks).with_columns(columns)
        return DecodedChunk(frame, StoredLines(self._raw), self._unfit, *self.rejects(self.lines))

    def rejects(self, lines: int) -> tuple[pl.DataFrame, int, PartialRows | None]:
        """The lines that are rejected, in the file's order; of how many; and their remainders."""
        if not self._rejects:
            return pl.DataFrame(schema=REJECT_SCHEMA), lines, None
        self._rejects.sort(key=itemgetter(0))
        numbers, offsets, raw, explanation = zip(*self._rejects, strict=True)
        seen: dict[
            tuple[Reason, ...], int
        ] = {}  # spelled out once for each combination: there are far fewer of those
        which = [seen.setdefault(tuple(reasons), len(seen)) for reasons, _, _ in explanation]
        series = reason_lists(list(seen)).gather(which)
        rejects = pl.DataFrame([numbers, offsets, raw, series], schema=REJECT_SCHEMA)
        return rejects, lines, self._partial_rows(explanation)

    def _partial_rows(self, explanation: Sequence[Explanation]) -> PartialRows | None:
        some = [(i, rest) for i, (_, rest, _) in enumerate(explanation) if rest is not None]
        if not some or self.rest is None:
            return None
        which, lines = zip(*some, strict=True)
        decoded = self.rest.chunk(Block(b"\n".join(lines)))
        fit = np.ones(decoded.frame.height, np.bool_)
        fit[list(decoded.invalid_rows)] = False
        frame = decoded.frame.filter(fit)
        rejects = np.array(which)[frame["_line_number"].to_numpy() - 1]
        return PartialRows(
            frame.drop(ORIGIN_COLUMNS), rejects, [explanation[i].unreported for i in rejects.tolist()]
        )
