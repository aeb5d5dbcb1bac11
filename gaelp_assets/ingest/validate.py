"""Validates a gateway file: every line becomes a clean row or a reject with all its reasons, chunk by chunk.

Here decoded lines meet the rules: those of the relation, and those that the run's days and the file's slice add. How lines are decoded
stands in `ingest.decode`, where the rows go in `ingest.staging` and `ingest.sort`. Lines are judged in chunks, because a pass of checks
has fixed costs; memory is bounded by the few chunks that are under way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import polars as pl

from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.slices import WHOLE, Slice
from gaelp_assets.ingest.compiled import CompiledRelation
from gaelp_assets.ingest.decode.chunks import REJECT_SCHEMA, PartialRows
from gaelp_assets.ingest.parallel import ordered_map
from gaelp_assets.ingest.read.lines import Block, LineReader
from gaelp_assets.platform import Platform
from gaelp_assets.validation.registry import RULES, expectation
from gaelp_assets.validation.row_rules import RowRule
from gaelp_assets.validation.verdict import REASONS, Verdict
from gaelp_assets.warehouse.layout import refuse_otherwise
from gaelp_assets.warehouse.reader import Reader

T = TypeVar("T")
CHUNK_REJECTS: Final = 3_500
"""How many bad lines a chunk has at most, about: while its reasons are found, one takes ten times the memory of a good one."""
MAX_THREADS: Final = 4  # each holds a chunk or two; more would wait for the one that reads


@dataclass(frozen=True)
class ValidatedChunk:
    """Some consecutive lines of a file, validated: `lines = rows.height + rejects.height`."""

    rows: pl.DataFrame
    """The clean rows in the file's order: the relation's columns, `_row_hash`, `_line_number`, `_byte_offset`."""
    rejects: pl.DataFrame
    """The other lines in the file's order: `REJECT_SCHEMA`."""
    lines: int
    raw: Sequence[bytes]
    """The line of each of `rows`, as stored, without its line end."""
    end: int = 0
    """A byte of the decompressed file, up to which it has been read with these lines."""


class Validator:
    """Validates files whose rows belong to one slice of one relation.

    Args:
        compiled: the relation, compiled.
        first_date: the first day that a row of a sliced relation may be of.
        last_date: the last such day, included.
        slice_: the slice that every row has to belong to; WHOLE takes the rows of all.
        threads: how many work on chunks at once. By default as many as Polars has (the processors that the process may use, or
            POLARS_MAX_THREADS), but no more than `MAX_THREADS`.
    """

    def __init__(
        self,
        compiled: CompiledRelation,
        *,
        first_date: dt.date,
        last_date: dt.date,
        slice_: Slice = WHOLE,
        threads: int | None = None,
    ) -> None:
        self.compiled: Final = compiled
        self.threads: Final = threads or min(pl.thread_pool_size(), MAX_THREADS)
        slice_rules = [*_slice_rules(compiled, first_date, last_date, slice_)]
        # Without a value a row is in no slice; a partial row's missing value has been reported already.
        strict = [replace(rule, holds=rule.holds.fill_null(value=False)) for rule in slice_rules]
        self._verdict = Verdict([*compiled.rules, *strict])
        self._partial_verdict = Verdict([*compiled.value_rules, *slice_rules])

    def validate(self, reader: LineReader) -> Iterator[ValidatedChunk]:
        """The file's lines as chunks.

        Raises:
            GaelpError: what reading the file raises.
        """
        return self.map(lambda _, chunk: chunk, reader)

    def map(
        self, function: Callable[[int, ValidatedChunk], T], reader: LineReader
    ) -> Generator[T, None, None]:
        """What the function makes of each chunk and its number, in order; it may be called by several threads at once.

        Chunks that nobody holds any more are freed, so that only a few of them are in memory.

        Raises:
            GaelpError: what reading the file raises.
        """
        # Python decodes in one thread at a time: several would only wait for each other.
        threads = self.threads if self.compiled.natively else 1
        share = 1.0  # of bad lines, as the last chunk had them; none is known of the first

        def blocks() -> Iterator[Block]:
            for block in self.compiled.decoder.blocks(reader):
                yield from _with_few_rejects(block, share)

        def work(numbered: tuple[int, Block]) -> T:
            nonlocal share
            chunk = self._chunk(numbered[1])
            share = chunk.rejects.height / max(chunk.lines, 1)
            return function(numbered[0], chunk)

        return ordered_map(work, enumerate(blocks()), threads)

    def _chunk(self, block: Block) -> ValidatedChunk:
        chunk = self.compiled.decoder.chunk(block)
        frame, lines, rejects = chunk.frame, chunk.raw, chunk.rejects
        if chunk.partial_rows is not None:
            rejects = _with_reasons(rejects, chunk.partial_rows, self._partial_verdict)
        keep = chunk.valid_rows
        broken, reasons = self._verdict.failing(frame)
        judged = keep[broken.to_numpy()]  # an invalid row has stand-ins for values, which no rule may blame
        if not judged.all():
            broken, reasons = broken.filter(pl.Series(judged)), reasons.filter(pl.Series(judged))
        if broken.len():
            keep[broken.to_numpy()] = False
            rejects = _merge(rejects, frame[broken], [lines[i] for i in broken.to_list()], reasons)
        if not keep.all():
            frame = frame.filter(pl.Series(keep))
            lines = lines.without(np.flatnonzero(~keep).tolist())
        return ValidatedChunk(frame, rejects, chunk.lines, lines, block.end)


class Validators:
    """The validators of one run, which share what they can: each relation is compiled once, and all take rows of the same days.

    Belongs to one thread at a time; the validators that it gives do not.

    Args:
        first_date: the first day that rows may be of.
        last_date: the last one, included. It stays the same for the whole run, also if that goes on past midnight.
    """

    def __init__(self, *, first_date: dt.date, last_date: dt.date) -> None:
        self._first_date = first_date
        self._last_date = last_date
        self._compiled: dict[str, CompiledRelation] = {}
        self._laid_out: set[str] = set()
        self._ensured: set[str] = set()

    @classmethod
    def for_run(cls, platform: Platform) -> Validators:
        """Those of a run that starts now."""
        return cls(first_date=platform.settings.first_date, last_date=platform.last_date)

    def oldest_kept(self, relation: Relation) -> dt.date | None:
        """The oldest day whose rows the relation keeps by its `retention_days`; None where it keeps all."""
        return oldest_kept(relation, self._last_date)

    def check_layout(self, warehouse: Reader, relation: Relation) -> None:
        """Nothing, if rows can be loaded into slices of the table (see `warehouse.layout`); the ledger is asked once in a run.

        Raises:
            GaelpError: the table was loaded by another partitioning or key.
        """
        if relation.id not in self._laid_out:
            refuse_otherwise(warehouse, relation)
            self._laid_out.add(relation.id)

    def ensure(self, platform: Platform, relation: Relation) -> None:
        """Makes the relation in the warehouse (see `Platform.ensure`), once in a run."""
        if relation.id not in self._ensured:
            platform.ensure(relation)
            self._ensured.add(relation.id)

    def of(self, relation: Relation, slice_: Slice = WHOLE) -> Validator:
        """The validator of files of that slice; of WHOLE, of files with rows of any."""
        compiled = self._compiled.get(relation.id)
        if compiled is None or compiled.relation is not relation:
            compiled = self._compiled[relation.id] = CompiledRelation(relation)
        return Validator(compiled, first_date=self._first_date, last_date=self._last_date, slice_=slice_)

    def of_variant(self, relation: Relation) -> Validator:
        """The validator of a relation that the catalogue does not hold, made from one that it does."""
        return Validator(CompiledRelation(relation), first_date=self._first_date, last_date=self._last_date)


def oldest_kept(relation: Relation, last_date: dt.date) -> dt.date | None:
    """The oldest day whose rows a warehouse keeps by `retention_days`, on the day before `last_date` (see `Platform.last_date`).

    A BigQuery partition expires `retention_days` after its day began (UTC):
    https://cloud.google.com/bigquery/docs/managing-partitioned-tables#partition-expiration
    """
    if relation.retention_days is None or relation.partitioning is None:
        return None
    return last_date - dt.timedelta(days=relation.retention_days)


def _with_few_rejects(block: Block, share: float) -> Iterator[Block]:
    """The block in parts that have about `CHUNK_REJECTS` bad lines each, if that share of the lines is bad."""
    rejects = share * np.count_nonzero(np.frombuffer(block.buffer, np.uint8) == ord("\n")) if share else 0
    if rejects <= CHUNK_REJECTS:
        yield block
    else:
        yield from block.parts(int(len(block.buffer) * CHUNK_REJECTS / rejects) + 1)


def _slice_rules(
    compiled: CompiledRelation, first_date: dt.date, last_date: dt.date, slice_: Slice
) -> Iterator[RowRule]:
    partitioning = compiled.relation.partitioning
    if partitioning is None:
        return
    columns = compiled.slice_columns
    yield RowRule(
        partitioning.date,
        "date_out_of_range",
        f"expected a day from {first_date} to {last_date}",
        columns["date"].is_between(first_date, last_date),
    )
    oldest = oldest_kept(compiled.relation, last_date)
    if oldest is not None:
        yield RowRule(
            partitioning.date,
            "older_than_retention",
            f"expected a day from {oldest} on, since rows are kept for {compiled.relation.retention_days} days",
            columns["date"] >= oldest,
        )
    if slice_.date is not None:
        text = f"expected {slice_.date}, the date of the slice that the file's path names"
        yield RowRule(partitioning.date, "wrong_slice", text, columns["date"] == slice_.date)
    if partitioning.environment is None:
        return
    if all(
        check.name != "environment_id" for check in compiled.relation.field(partitioning.environment).checks
    ):
        yield RowRule(
            partitioning.environment,
            "environment_id",
            expectation("environment_id", {}),
            RULES["environment_id"].expression(columns["environment"]),
        )
    if slice_.environment is not None:
        text = f"expected {slice_.environment}, the environment of the slice that the file's path names"
        yield RowRule(
            partitioning.environment, "wrong_slice", text, columns["environment"] == slice_.environment
        )


def _with_reasons(rejects: pl.DataFrame, partial_rows: PartialRows, verdict: Verdict) -> pl.DataFrame:
    """The rejects, each with the reasons that rules find in its valid fields after its own."""
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
