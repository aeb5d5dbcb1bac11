"""Proves a gateway file: every line becomes a clean row or a reject with all its reasons, chunk by chunk.

Lines are decoded in blocks that fit the processor's cache, and judged in chunks of many blocks, because a pass of checks has fixed
costs. Memory is bounded by a chunk.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, overload

import numpy as np
import numpy.typing as npt
import polars as pl
from xxhash import xxh3_64_intdigest

from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.slices import ENVIRONMENT_ID, ENVIRONMENT_ID_WORDS, Slice
from gaelp_assets.ingest.decode import BlockDecoder, DecodedBlock, without
from gaelp_assets.ingest.explain import Reason
from gaelp_assets.ingest.lines import Block
from gaelp_assets.validation.registry import matches
from gaelp_assets.validation.row_rules import RowRule
from gaelp_assets.validation.schema import PROOF_COLUMNS
from gaelp_assets.validation.verdict import REASONS, Verdict, reason_lists

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


@dataclass(frozen=True)
class Chunk:
    """Some consecutive lines of a file, proven: `lines = rows.height + rejects.height`."""

    rows: pl.DataFrame
    """The clean rows in the file's order: the relation's columns, `_row_hash`, `_line_number`, `_byte_offset`."""
    rejects: pl.DataFrame
    """The other lines in the file's order: `REJECT_SCHEMA`."""
    lines: int
    raw: Sequence[bytes]
    """The line of each of `rows`, as stored, without its line end."""


def slice_columns(relation: Relation) -> dict[str, pl.Expr]:
    """Expressions of a row's `date` (the UTC day of a TIMESTAMP) and `environment`; those that the relation is sliced by."""
    if relation.partitioning is None:
        return {}
    date = relation.partitioning.date
    column = pl.col(date)
    columns = {"date": column.dt.date() if relation.field(date).type == "TIMESTAMP" else column}
    if relation.partitioning.environment is not None:
        columns["environment"] = pl.col(relation.partitioning.environment)
    return columns


def _slice_rules(
    relation: Relation, first_date: dt.date, last_date: dt.date, slice_: Slice | None
) -> Iterator[RowRule]:
    partitioning = relation.partitioning
    if partitioning is None:
        return
    columns = slice_columns(relation)

    def rule(field: str, name: str, message: str, holds: pl.Expr) -> RowRule:
        return RowRule(
            field, name, message, holds.fill_null(value=False)
        )  # without a value a row is in no slice

    yield rule(
        partitioning.date,
        "date_out_of_range",
        f"expected a day from {first_date} to {last_date}",
        columns["date"].is_between(first_date, last_date),
    )
    if slice_ is not None and slice_.date is not None:
        words = f"expected {slice_.date}, the date of the slice that the file's path names"
        yield rule(partitioning.date, "wrong_slice", words, columns["date"] == slice_.date)
    if partitioning.environment is None:
        return
    yield rule(
        partitioning.environment,
        "environment_id",
        f"expected {ENVIRONMENT_ID_WORDS}; write '/', ':', '|' and spaces as '.'",
        matches(columns["environment"], ENVIRONMENT_ID),
    )
    if slice_ is not None and slice_.environment is not None:
        words = f"expected {slice_.environment}, the environment of the slice that the file's path names"
        yield rule(
            partitioning.environment, "wrong_slice", words, columns["environment"] == slice_.environment
        )


class Prover:
    """Proves files of one relation. Rows of a sliced relation must lie between two dates, both included."""

    def __init__(self, relation: Relation, *, first_date: dt.date, last_date: dt.date) -> None:
        self._relation = relation
        self._first_date = first_date
        self._last_date = last_date
        self._decoder = BlockDecoder(relation)
        self._rules = Verdict.of(relation).rules

    def prove(self, blocks: Iterable[Block], *, slice_: Slice | None = None) -> Iterator[Chunk]:
        """The file's lines as chunks; with a slice, rows that belong to another one are rejected.

        Raises:
            GaelpError: what reading the blocks raises.
        """
        verdict = Verdict(
            [*self._rules, *_slice_rules(self._relation, self._first_date, self._last_date, slice_)]
        )
        pending = _Pending()
        for block in blocks:
            pending.add(block, self._decoder.decode(block))
            if pending.lines >= CHUNK_ROWS or pending.size >= CHUNK_BYTES:
                yield self._judge(pending, verdict)
                pending = _Pending()
        if pending.lines:
            yield self._judge(pending, verdict)

    def _judge(self, pending: _Pending, verdict: Verdict) -> Chunk:
        frame = pending.frame(self._decoder)
        keep = np.ones(frame.height, np.bool_)
        keep[pending.unfit] = False
        broken, reasons = verdict.failing(frame)
        judged = keep[broken.to_numpy()]  # a row that does not fit has stand-ins for values
        if not judged.all():
            broken, reasons = broken.filter(pl.Series(judged)), reasons.filter(pl.Series(judged))
        rejects, lines = pending.rejects(), pending.raw
        if broken.len():
            keep[broken.to_numpy()] = False
            rejects = _merge(rejects, frame[broken], [lines[i] for i in broken.to_list()], reasons)
        if not keep.all():
            frame = frame.filter(pl.Series(keep))
            lines = without(lines, np.flatnonzero(~keep).tolist())
        return Chunk(frame, rejects, pending.lines, RawLines(lines))


def _merge(
    rejects: pl.DataFrame, broken: pl.DataFrame, lines: Sequence[bytes], reasons: pl.Series
) -> pl.DataFrame:
    more = pl.DataFrame(
        {
            "line_number": broken["_line_number"],
            "byte_offset": broken["_byte_offset"],
            "raw": pl.Series(list(RawLines(lines)), dtype=pl.Binary),
            "reasons": reasons,
        },
        schema=REJECT_SCHEMA,
    )
    return pl.concat([rejects, more]).sort("line_number")


@dataclass
class _Pending:
    """Decoded blocks that wait for their verdict."""

    lines: int = 0
    size: int = 0
    raw: list[bytes] = field(default_factory=list)
    """The line of each row."""
    unfit: list[int] = field(default_factory=list)
    """Rows that are rejected already."""
    _blocks: list[DecodedBlock] = field(default_factory=list)
    _places: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _rejects: list[tuple[int, int, bytes, list[Reason]]] = field(default_factory=list)

    def add(self, block: Block, decoded: DecodedBlock) -> None:
        """Takes the block's rows and rejects."""
        self.lines += len(block)
        self.size += len(block.data)
        indices, lines = decoded.indices, decoded.lines
        self.unfit += [len(self.raw) + row for row in decoded.dropped]
        self._rejects += [
            (int(block.numbers[i]), int(block.offsets[i]), block.lines[i].rstrip(b"\r\n"), reasons)
            for i, reasons in decoded.rejects
        ]
        hashes = np.fromiter(map(xxh3_64_intdigest, map(bytes.strip, lines)), np.uint64, len(lines))
        self.raw += lines
        self._blocks.append(decoded)
        self._places.append(np.stack([hashes.view(np.int64), block.numbers[indices], block.offsets[indices]]))

    def frame(self, decoder: BlockDecoder) -> pl.DataFrame:
        """All rows, as they are to be staged; the unfit ones among them."""
        places = np.concatenate(self._places, axis=1)
        columns = [pl.Series(name, place) for name, place in zip(PROOF_COLUMNS, places, strict=True)]
        return decoder.frame(self._blocks).with_columns(columns)

    def rejects(self) -> pl.DataFrame:
        """The lines that could not be decoded."""
        if not self._rejects:
            return pl.DataFrame(schema=REJECT_SCHEMA)
        numbers, offsets, raw, reasons = zip(*self._rejects, strict=True)
        series = reason_lists([[(r.field, r.rule, r.message) for r in found] for found in reasons])
        return pl.DataFrame([numbers, offsets, raw, series], schema=REJECT_SCHEMA)
