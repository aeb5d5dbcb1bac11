"""Proves a gateway file: every line becomes a clean row or a reject with all its reasons, chunk by chunk.

Lines are judged in chunks, because a pass of checks has fixed costs; memory is bounded by the few chunks that are under way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.slices import (
    ENVIRONMENT_ID,
    ENVIRONMENT_ID_ADVICE,
    ENVIRONMENT_ID_LENGTH,
    ENVIRONMENT_ID_WORDS,
    Slice,
)
from gaelp_assets.ingest.decode import native
from gaelp_assets.ingest.decode.chunks import (
    REJECT_SCHEMA,
    DecodedChunk,
    NativeDecoder,
    PartialRows,
    PythonDecoder,
    value_rules,
)
from gaelp_assets.ingest.parallel import ordered_map
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.validation.registry import matches
from gaelp_assets.validation.row_rules import RowRule
from gaelp_assets.validation.verdict import REASONS, Verdict

MAX_THREADS: Final = 4  # each holds a chunk or two; more would wait for the one that reads


@dataclass(frozen=True)
class ValidatedChunk:
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


def oldest_kept(relation: Relation, last_date: dt.date) -> dt.date | None:
    """The oldest day whose rows a warehouse keeps by `retention_days`, on the day before `last_date` (see `Platform.last_date`).

    A BigQuery partition expires `retention_days` after its day began (UTC):
    https://cloud.google.com/bigquery/docs/managing-partitioned-tables#partition-expiration
    """
    if relation.retention_days is None or relation.partitioning is None:
        return None
    return last_date - dt.timedelta(days=relation.retention_days)


def _slice_rules(
    relation: Relation, first_date: dt.date, last_date: dt.date, slice_: Slice | None
) -> Iterator[RowRule]:
    partitioning = relation.partitioning
    if partitioning is None:
        return
    columns = slice_columns(relation)

    yield RowRule(
        partitioning.date,
        "date_out_of_range",
        f"expected a day from {first_date} to {last_date}",
        columns["date"].is_between(first_date, last_date),
    )
    oldest = oldest_kept(relation, last_date)
    if oldest is not None:
        yield RowRule(
            partitioning.date,
            "older_than_retention",
            f"expected a day from {oldest} on, since rows are kept for {relation.retention_days} days",
            columns["date"] >= oldest,
        )
    if slice_ is not None and slice_.date is not None:
        text = f"expected {slice_.date}, the date of the slice that the file's path names"
        yield RowRule(partitioning.date, "wrong_slice", text, columns["date"] == slice_.date)
    if partitioning.environment is None:
        return
    yield RowRule(
        partitioning.environment,
        "environment_id",
        f"expected {ENVIRONMENT_ID_WORDS}; {ENVIRONMENT_ID_ADVICE}",
        matches(columns["environment"], ENVIRONMENT_ID)
        & (columns["environment"].str.len_bytes() <= ENVIRONMENT_ID_LENGTH),
    )
    if slice_ is not None and slice_.environment is not None:
        text = f"expected {slice_.environment}, the environment of the slice that the file's path names"
        yield RowRule(
            partitioning.environment, "wrong_slice", text, columns["environment"] == slice_.environment
        )


class Validator:
    """Proves files of one relation. Rows of a sliced relation must lie between two dates, both included.

    `natively`: decode with the native library, or in Python alone; None takes the library if it has been built. `threads` work on
    chunks at once; by default as many as Polars has (the processors that the process may use, or POLARS_MAX_THREADS).
    """

    def __init__(
        self,
        relation: Relation,
        *,
        first_date: dt.date,
        last_date: dt.date,
        natively: bool | None = None,
        threads: int | None = None,
    ) -> None:
        self._relation = relation
        self._first_date = first_date
        self._last_date = last_date
        if natively is None:
            natively = native.library() is not None
        self._way = NativeDecoder(relation) if natively else PythonDecoder(relation)
        self.threads = threads or min(pl.thread_pool_size(), MAX_THREADS)
        self._rules = Verdict.of(relation).rules
        self._open_rules = value_rules(relation)

    def validate(self, reader: LineReader, *, slice_: Slice | None = None) -> Iterator[ValidatedChunk]:
        """The file's lines as chunks; with a slice, rows that belong to another one are rejected.

        Raises:
            GaelpError: what reading the file raises.
        """
        slice_rules = [*_slice_rules(self._relation, self._first_date, self._last_date, slice_)]
        # Without a value a row is in no slice; in a remainder, it has been asked for already.
        strict = (replace(rule, holds=rule.holds.fill_null(value=False)) for rule in slice_rules)
        judge = partial(_judge, Verdict([*self._rules, *strict]), Verdict([*self._open_rules, *slice_rules]))
        way = self._way
        if isinstance(way, PythonDecoder):
            yield from map(judge, way.chunks(reader))
            return
        yield from ordered_map(lambda block: judge(way.chunk(block)), way.blocks(reader), self.threads)


def _judge(verdict: Verdict, of_remainders: Verdict, chunk: DecodedChunk) -> ValidatedChunk:
    frame, lines, rejects = chunk.frame, chunk.raw, chunk.rejects
    if chunk.partial_rows is not None:
        rejects = _with_reasons(rejects, chunk.partial_rows, of_remainders)
    keep = np.ones(frame.height, np.bool_)
    keep[list(chunk.invalid_rows)] = False
    broken, reasons = verdict.failing(frame)
    judged = keep[broken.to_numpy()]  # a row that does not fit has stand-ins for values
    if not judged.all():
        broken, reasons = broken.filter(pl.Series(judged)), reasons.filter(pl.Series(judged))
    if broken.len():
        keep[broken.to_numpy()] = False
        rejects = _merge(rejects, frame[broken], [lines[i] for i in broken.to_list()], reasons)
    if not keep.all():
        frame = frame.filter(pl.Series(keep))
        lines = lines.without(np.flatnonzero(~keep).tolist())
    return ValidatedChunk(frame, rejects, chunk.lines, lines)


def _with_reasons(rejects: pl.DataFrame, partial_rows: PartialRows, verdict: Verdict) -> pl.DataFrame:
    """The rejects, with the reasons of their remainders after their own."""
    broken, reasons = verdict.failing(partial_rows.frame, partial_rows.unreported)
    if not broken.len():
        return rejects
    owners = partial_rows.rejects[broken.to_numpy()]
    which = np.full(rejects.height, broken.len())
    which[owners] = np.arange(broken.len())
    more = pl.concat([reasons, pl.Series([[]], dtype=REASONS)]).gather(which)
    return rejects.with_columns(pl.concat_list("reasons", more).alias("reasons"))


def _merge(
    rejects: pl.DataFrame, broken: pl.DataFrame, lines: Sequence[bytes], reasons: pl.Series
) -> pl.DataFrame:
    more = pl.DataFrame(
        {
            "line_number": broken["_line_number"],
            "byte_offset": broken["_byte_offset"],
            "raw": pl.Series(lines, dtype=pl.Binary),
            "reasons": reasons,
        },
        schema=REJECT_SCHEMA,
    )
    return pl.concat([rejects, more]).sort("line_number")
