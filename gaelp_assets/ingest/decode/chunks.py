"""Lines of a file -> chunks of rows that no rule has judged yet. There are two decoders: one native, one in Python alone.

Both make the same rows and rejects of the same lines. The native one takes only lines that are certain to be rows, and leaves the others to
the one in Python, which decides, and tells the reasons.

A rejected line may still have valid fields, and those may break rules, too: all reasons of a line are wanted at once. So the valid fields
of a chunk's rejected lines are written as lines of a smaller relation, in which no field is required (`compiled.partial_relation`), and
decoded by a decoder of that relation: the chunk's `PartialRows`. What rules say of rows and partial rows is up to `ingest.validate`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from threading import Lock
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from xxhash import xxh3_64_intdigest

from gaelp_assets.catalog.model import Relation
from gaelp_assets.ingest.decode.blocks import BlockDecoder, DecodedBlock, no_collection
from gaelp_assets.ingest.decode.faults import FaultReader
from gaelp_assets.ingest.decode.native import MAX_BLOCK_BYTES, NativeRelation, integer_series
from gaelp_assets.ingest.decode.reasons import Explanation, Reason, ReasonFinder
from gaelp_assets.ingest.decode.stored_lines import LinesInBlock, StoredLines
from gaelp_assets.ingest.read.lines import Block, LineReader
from gaelp_assets.ingest.read.streams import BLOCK_BYTES
from gaelp_assets.validation.schema import ORIGIN_COLUMNS
from gaelp_assets.validation.verdict import REASONS, reason_lists

# Enough lines for the fixed costs of decoding and judging not to count, and few enough for several chunks to be in memory at once.
CHUNK_ROWS: Final = 25_000
CHUNK_BYTES: Final = 8 << 20
REJECT_SCHEMA: Final = pl.Schema(
    {"line_number": pl.Int64(), "byte_offset": pl.Int64(), "raw": pl.Binary(), "reasons": REASONS}
)


def row_hash(line: bytes) -> int:
    """The `_row_hash` of a line as stored: its xxHash3-64 as a signed integer."""
    digest = xxh3_64_intdigest(line.strip())
    return digest - 2**64 if digest >= 2**63 else digest


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
    """`REJECT_SCHEMA`, in the file's order."""
    lines: int
    """How many lines were decoded: those of `rejects`, and the rows of `frame` but for `invalid_rows`."""
    partial_rows: PartialRows | None = None
    """What is fine in some of the rejects."""

    @property
    def valid_rows(self) -> npt.NDArray[np.bool_]:
        """Which rows of `frame` are not rejected already."""
        valid = np.ones(self.frame.height, np.bool_)
        valid[list(self.invalid_rows)] = False
        return valid


@dataclass(frozen=True)
class PartialRows:
    """The valid fields of rejected lines, as far as rules look at them."""

    frame: pl.DataFrame
    """The columns of the relation's `partial_relation`; NULL where a field is missing or not valid."""
    rejects: npt.NDArray[np.int64]
    """The reject, by its place among the rejects, that each row is of; ascending."""
    unreported: Sequence[frozenset[str]]
    """For each row, the paths of fields that rules must not blame: arrays that are not valid, which look as if they were empty."""


class Decoder(Protocol):
    """Decodes lines of one relation. Both methods may be called by several threads at once."""

    def blocks(self, reader: LineReader) -> Iterator[Block]:
        """The file in blocks that make a chunk each.

        Raises:
            GaelpError: what reading the file raises.
        """

    def chunk(self, block: Block) -> DecodedChunk:
        """The block's lines, decoded; each that is not blank is a row or a reject."""


class PythonDecoder:
    """Decodes with Python packages alone.

    Args:
        relation: what the lines are rows of.
        checked_fields: names of the fields that `partial` has.
        partial: decodes what is fine in rejected lines; None keeps nothing of them.
    """

    def __init__(
        self, relation: Relation, checked_fields: Collection[str] = (), partial: Decoder | None = None
    ) -> None:
        self._partial = partial
        self._decoder = BlockDecoder(relation, checked_fields)
        self._lock = Lock()  # columns learn dates while they decode

    @staticmethod
    def blocks(reader: LineReader) -> Iterator[Block]:
        """See `Decoder`."""
        return reader.blocks(CHUNK_BYTES, CHUNK_ROWS)

    def chunk(self, block: Block) -> DecodedChunk:
        """See `Decoder`."""
        return self.complete(block, ChunkBuilder(self._partial))

    def complete(self, block: Block, builder: ChunkBuilder) -> DecodedChunk:
        """The block's lines, decoded, together with the rejects that the builder holds already."""
        rows = self._decoder.writer()
        with self._lock:
            for part in block.parts(BLOCK_BYTES):  # what is decoded of lines takes many times their size
                builder.add(part, self._decoder.decode(part, rows))
        return builder.chunk(rows.finish())

    def explain(self, line: bytes) -> Explanation | None:
        """Why the line, as stored, is no row of the relation; None if it is one."""
        return self._decoder.explain(line)

    @property
    def reasons(self) -> ReasonFinder:
        """Finds the reasons of the relation."""
        return self._decoder.reasons


class NativeDecoder:
    """Decodes with the native library, and leaves the lines that it is not certain of to Python. Takes what `PythonDecoder` takes.

    Raises:
        RuntimeError: the library has not been built.
    """

    def __init__(
        self, relation: Relation, checked_fields: Collection[str] = (), partial: Decoder | None = None
    ) -> None:
        self._partial = partial
        self._native = NativeRelation(relation)
        self._python = PythonDecoder(relation, checked_fields, partial)
        self._faults = FaultReader(self._native, self._python.reasons)
        self._checked = [field.name for field in relation.fields if field.name in checked_fields]

    @staticmethod
    def blocks(reader: LineReader) -> Iterator[Block]:
        """See `Decoder`."""
        return reader.blocks(CHUNK_BYTES, CHUNK_ROWS)

    def chunk(self, block: Block) -> DecodedChunk:
        """See `Decoder`."""
        builder = ChunkBuilder(self._partial)
        if block.apart is not None or len(block.buffer) > MAX_BLOCK_BYTES:
            return self._python.complete(block, builder)
        native = self._native.decode(block)
        which, starts, ends = native.places
        places = (native.hashes, which + block.number, starts + block.offset)
        frame = native.rows.with_columns(map(integer_series, ORIGIN_COLUMNS, places))
        raw = LinesInBlock(block, starts, ends)
        with no_collection():
            fine = self._explain(block, native.refused, builder)
        if not fine.size:
            return DecodedChunk(frame, raw, (), *builder.rejects(native.line_count))
        lines = [bytes(block.buffer[start:end]) for start, end in zip(fine[1], fine[2], strict=True)]
        apart = lines, fine[0] + block.number, fine[1] + block.offset
        others = self._python.complete(Block(b"".join(lines), apart=apart), builder)
        valid = others.valid_rows
        if valid.any():
            frame = pl.concat([frame, others.frame.filter(valid)]).sort("_line_number")
            every = np.concatenate([native.places, fine], axis=1)
            every = every[:, np.argsort(every[0])]
            rows = np.searchsorted(every[0], frame["_line_number"].to_numpy() - block.number)
            raw = LinesInBlock(block, every[1][rows], every[2][rows])
        return DecodedChunk(frame, raw, (), others.rejects, native.line_count, others.partial_rows)

    def _explain(
        self, block: Block, refused: npt.NDArray[np.int64], builder: ChunkBuilder
    ) -> npt.NDArray[np.int64]:
        """Adds the refused lines that are no rows, which most are, to the builder's rejects; the others of `refused`."""
        places = refused.T.tolist()
        lines = [bytes(block.buffer[start:end]) for _, start, end in places]
        explained = self._faults.explain(lines)
        numbers = []
        for i, found in zip(explained.lines.tolist(), explained.explanations, strict=True):
            which, start, _ = places[i]
            builder.reject(block.number + which, block.offset + start, lines[i], found)
            numbers.append(block.number + which)
        if self._checked:
            builder.fine.append((explained.fine.select(self._checked), numbers))
        fine = []
        for i in explained.left:
            which, start, _ = places[i]
            if explanation := self._python.explain(lines[i]):
                builder.reject(block.number + which, block.offset + start, lines[i], explanation)
            else:
                fine.append(i)
        return refused[:, fine]


_Reject: TypeAlias = tuple[int, int, bytes, int, bytes | None, frozenset[str]]
"""A rejected line: its number and offset, itself, the place of its reasons, and what an `Explanation` has besides."""


@dataclass
class ChunkBuilder:
    """The rows that Python has decoded of one chunk, and its rejected lines."""

    partial: Decoder | None
    """Decodes what is fine in rejected lines."""
    fine: list[tuple[pl.DataFrame, list[int]]] = field(default_factory=list)
    """What is fine in rejected lines, where that is decoded already: a row for each of the lines, and their numbers in the file."""
    lines: int = 0
    _raw: list[bytes] = field(default_factory=list)
    _invalid: list[int] = field(default_factory=list)
    _places: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _rejects: list[_Reject] = field(default_factory=list)
    _reasons: dict[tuple[Reason, ...], int] = field(default_factory=dict)
    """Written out once for each combination of reasons: there are far fewer of those than of lines."""

    def add(self, block: Block, decoded: DecodedBlock) -> None:
        """Takes the block's rows and rejects."""
        self.lines += len(block)
        indices, lines = decoded.indices, decoded.lines
        self._invalid += [len(self._raw) + row for row in decoded.dropped]
        for i, explanation in decoded.rejects:
            self.reject(int(block.numbers[i]), int(block.offsets[i]), block.lines[i], explanation)
        hashes = np.fromiter(map(xxh3_64_intdigest, map(bytes.strip, lines)), np.uint64, len(lines))
        self._raw += lines
        self._places.append(np.stack([hashes.view(np.int64), block.numbers[indices], block.offsets[indices]]))

    def reject(self, number: int, offset: int, line: bytes, explanation: Explanation) -> None:
        """Takes a line, as stored, that is no row."""
        reasons, remainder, unreported = explanation
        which = self._reasons.setdefault(tuple(reasons), len(self._reasons))
        self._rejects.append((number, offset, line.rstrip(b"\r\n"), which, remainder, unreported))

    def chunk(self, rows: pl.DataFrame) -> DecodedChunk:
        """All that was added, `rows` being the rows of the added blocks."""
        places = np.concatenate(self._places, axis=1)
        columns = [pl.Series(name, place) for name, place in zip(ORIGIN_COLUMNS, places, strict=True)]
        frame = rows.with_columns(columns)
        return DecodedChunk(frame, StoredLines(self._raw), self._invalid, *self.rejects(self.lines))

    def rejects(self, lines: int) -> tuple[pl.DataFrame, int, PartialRows | None]:
        """The last three fields of a `DecodedChunk` of so many lines: rejects, lines, and partial rows."""
        if not self._rejects:
            return pl.DataFrame(schema=REJECT_SCHEMA), lines, None
        self._rejects.sort(key=itemgetter(0))
        numbers, offsets, raw, which, remainders, unreported = zip(*self._rejects, strict=True)
        series = reason_lists(list(self._reasons)).gather(list(which))
        rejects = pl.DataFrame([numbers, offsets, raw, series], schema=REJECT_SCHEMA)
        return rejects, lines, self._partial_rows(np.array(numbers), remainders, unreported)

    def _partial_rows(
        self,
        numbers: npt.NDArray[np.int64],
        remainders: Sequence[bytes | None],
        unreported: Sequence[frozenset[str]],
    ) -> PartialRows | None:
        frames = [frame for frame, _ in self.fine]
        places = [np.searchsorted(numbers, np.array(of_lines, np.int64)) for _, of_lines in self.fine]
        some = [(i, rest) for i, rest in enumerate(remainders) if rest is not None]
        if some and self.partial is not None:
            which, lines = zip(*some, strict=True)
            decoded = self.partial.chunk(Block(b"\n".join(lines)))
            frame = decoded.frame.filter(decoded.valid_rows)
            places.append(np.array(which)[frame["_line_number"].to_numpy() - 1])
            frames.append(frame.drop(ORIGIN_COLUMNS))
        if not frames:
            return None
        rejects = np.concatenate(places)
        order = np.argsort(rejects)
        rejects = rejects[order]
        return PartialRows(pl.concat(frames)[order], rejects, [unreported[i] for i in rejects.tolist()])
