"""Sorts raw files: validates their rows, and hands each clean line on, unaltered, in a `cloud_ready/` file of one slice.

A raw file is claimed by moving it to `transformed/`. Its slices' files have names made from their own bytes, so that a sort that was
killed and runs again publishes the same files, which the ledger then knows as the same batches; and publishes others where
rules were mended in between, beside those that still wait.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import polars as pl

from gaelp_assets.catalog import WHOLE, Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import GatewayFile, ObjectChanged
from gaelp_assets.gateway.corrections import version, withdrawal_name
from gaelp_assets.gateway.names import LIVE_TIME
from gaelp_assets.gateway.paths import sorted_name
from gaelp_assets.ingest.in_force import too_many_rejected
from gaelp_assets.ingest.predecessors import Predecessors, Successor
from gaelp_assets.ingest.rejected_lines import LinesRefused, rejected_of
from gaelp_assets.ingest.report import REASON_SCHEMA, FileReport, SliceReport
from gaelp_assets.ingest.staging import OnFileProgress, StagedFile, stage_file, staging_folder
from gaelp_assets.ingest.validate import ValidatedChunk, Validators
from gaelp_assets.ingest.withdrawals import every_row, key_relation, not_keys
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.protocol import LineCounts, SliceWrite, WriteMode

BLOCK_BYTES: Final = 1 << 20


def sort_raw(
    platform: Platform, *, run_id: str, on_progress: OnFileProgress | None = None
) -> list[SliceReport]:
    """Sorts every file of `raw/`, and those of `cloud_ready/` that name no slice. A file that cannot be sorted goes to `failed/`.

    New files of streams are left to the receivers that wrote them, for `LIVE_TIME`.

    Misplaced objects, whose names say nothing that the catalogue knows, go to `failed/` too.

    Raises:
        TransientError: gateway or warehouse are out of reach, locked or full; nothing is lost, try again later.
    """
    listing = platform.gateway.unsorted(live_until=dt.datetime.now(dt.UTC) - LIVE_TIME)
    for stored, problem in (*listing.misplaced, *platform.gateway.pending().misplaced):
        with suppress(ObjectChanged):  # somebody else has set it aside
            platform.gateway.fail(stored, [problem])
    validators = Validators.for_run(platform)
    return [sort_file(platform, file, validators, run_id, on_progress) for file in listing.files]


def sort_file(
    platform: Platform,
    file: GatewayFile,
    validators: Validators,
    run_id: str,
    on_progress: OnFileProgress | None = None,
) -> SliceReport:
    """Sorts one file; one that cannot be sorted goes to `failed/`, and its problems into the report. Raises as `sort_raw` does."""
    started = time.monotonic()
    reasons = pl.DataFrame(schema=REASON_SCHEMA)
    try:
        file = platform.gateway.claim(file)
        report, reasons = _sort_claimed(platform, file, validators, run_id, on_progress)
    except ObjectChanged:
        report = FileReport(file.path, file.stored.size)  # somebody else sorts it
    except GaelpError as error:
        if not error.permanent:
            raise
        with suppress(ObjectChanged):  # somebody else has set it aside
            platform.gateway.fail(file, error.problems, rejected_of(error))
        report = FileReport(file.path, file.stored.size, problems=error.problems)
    return SliceReport(file.relation.id, WHOLE, WriteMode.SORT, [report], time.monotonic() - started, reasons)


def _sort_claimed(
    platform: Platform,
    file: GatewayFile,
    validators: Validators,
    run_id: str,
    on_progress: OnFileProgress | None,
) -> tuple[FileReport, pl.DataFrame]:
    platform.ensure(file.relation)
    with staging_folder(platform) as folder:
        own = version(file.path)
        validator = (
            validators.of_variant(key_relation(file.relation, sliced=True))
            if own.withdraws
            else validators.of(file.relation)
        )
        sorter = SliceFiles(validator.compiled.slice_columns, folder)
        staged = stage_file(
            platform.gateway, file, validator, folder, on_chunk=sorter.add, on_progress=on_progress
        )
        if own.withdraws and staged.batch.rejected:
            problem = not_keys(file.relation, staged.batch.rejected)
            raise LinesRefused(problem, staged.told(platform.gateway))
        if own.corrects and not own.withdraws:
            before = Predecessors.of(platform, file.relation, own.stem, below=own.number)
            refusal = too_many_rejected(staged.batch.rejected, before.rejected)
            if refusal is not None:
                raise LinesRefused(refusal, staged.told(platform.gateway))
        _hand_on(platform, file, sorter)
        [counts] = _record(platform, [staged], run_id)
        _take_out(platform, file, frozenset(sorter.files))
    platform.gateway.archive_raw(file, staged.batch.batch_id)
    return FileReport(file.path, staged.batch.size, counts), staged.reasons


@dataclass(frozen=True)
class SortedFile:
    """What became of one of the files that were sorted together."""

    lines: int = 0
    rejected: int = 0
    went_on: int = 0
    """Of `lines`, those in files of one slice each."""
    reasons: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REASON_SCHEMA))
    """Why lines were rejected."""
    problems: tuple[Problem, ...] = ()
    """Why it was set aside, if it was."""


def sort_together(
    platform: Platform,
    relation: Relation,
    files: Sequence[GatewayFile],
    validators: Validators,
    run_id: str,
    slices: set[Slice],
) -> list[SortedFile | None]:
    """Sorts files of one table that correct nothing, each as `sort_file` would, with one transaction for all of them.

    Args:
        platform: the gateway and the warehouse.
        relation: the table.
        files: of it, in `raw/` or `transformed/`.
        validators: those of the run.
        run_id: what the ledger names as the run.
        slices: gets those that lines went on to, also where this raises.

    Returns:
        What became of each; None where somebody else has the file.

    Raises:
        TransientError: gateway or warehouse are out of reach, locked or full; nothing is lost, try again later.
        GaelpError: the warehouse refuses the table.
    """
    validators.ensure(platform, relation)
    validator = validators.of(relation)
    outcomes: list[SortedFile | None] = []
    staged: list[StagedFile] = []
    with staging_folder(platform) as folder:
        for file in files:
            claimed = file
            try:
                claimed = _claim_again(platform, file)
                sorter = SliceFiles(validator.compiled.slice_columns, Path(tempfile.mkdtemp(dir=folder)))
                one = stage_file(platform.gateway, claimed, validator, folder, on_chunk=sorter.add)
                slices.update(sorter.files)
                _hand_on(platform, claimed, sorter)
                staged.append(one)
                batch = one.batch
                outcomes.append(SortedFile(batch.lines, batch.rejected, batch.sorted, one.reasons))
            except ObjectChanged:
                outcomes.append(None)
            except GaelpError as error:
                if not error.permanent:
                    raise
                with suppress(ObjectChanged):
                    platform.gateway.fail(claimed, error.problems)
                outcomes.append(SortedFile(problems=error.problems))
        if staged:
            _record(platform, staged, run_id)
    for one in staged:
        with suppress(ObjectChanged):
            platform.gateway.archive_raw(one.file, one.batch.batch_id)
    return outcomes


def _claim_again(platform: Platform, file: GatewayFile) -> GatewayFile:
    """Claims a file, also one that an attempt before this one has claimed and not finished."""
    try:
        return platform.gateway.claim(file)
    except ObjectChanged:
        claimed = platform.gateway.claimed(file)
        if claimed is None:
            raise
        return claimed


def _take_out(platform: Platform, file: GatewayFile, slices: frozenset[Slice]) -> None:
    """Withdraws what a revision has no row of any more: earlier versions in other slices, and the file itself if its revision came first.

    It looks at the other versions after it has published and noted its own: of two that are sorted at once, one sees the other.

    Args:
        platform: the gateway and the warehouse.
        file: what is sorted.
        slices: those that its rows are of.
    """
    own = version(file.path)
    if own.withdraws:
        return
    gone: dict[Slice, int] = {}
    if own.corrects:
        before = Predecessors.of(platform, file.relation, own.stem, below=own.number)
        gone |= dict.fromkeys(before.slices - slices, own.number)
    if (after := Successor.of(platform, file.relation, own)) is not None:
        gone |= dict.fromkeys(slices - after.slices, after.number)
    content = every_row(own.stem)
    for slice_ in sorted(gone, key=lambda s: s.sort_key):
        platform.gateway.publish(file.relation, slice_, withdrawal_name(own.stem, gone[slice_]), [content])


def _hand_on(platform: Platform, file: GatewayFile, sorter: SliceFiles) -> None:
    """Publishes a file's clean lines, slice by slice."""
    for slice_, path in sorter.files.items():
        name = sorted_name(file, digest(path))
        platform.gateway.publish(file.relation, slice_, name, _blocks(path))


def _record(platform: Platform, staged: Sequence[StagedFile], run_id: str) -> list[LineCounts]:
    """Enters files of one table into the ledger as sorted, in one transaction."""
    versions = [version(one.file.path) for one in staged]
    return platform.warehouse.write(
        SliceWrite(
            relation=staged[0].file.relation,
            slice=WHOLE,
            mode=WriteMode.SORT,
            batches=[
                replace(one.batch, revision=own.number if own.corrects else None)
                for one, own in zip(staged, versions, strict=True)
            ],
            loaded_at=dt.datetime.now(dt.UTC),
            run_id=run_id,
        )
    )


def rows_by_slice(columns: Mapping[str, pl.Expr], rows: pl.DataFrame) -> Iterator[tuple[Slice, list[int]]]:
    """The slices that clean rows belong to, each with the places of its rows in the frame.

    Args:
        columns: the relation's `compiled.slice_columns`.
        rows: of the relation.
    """
    if rows.is_empty():
        return
    if not columns:
        yield WHOLE, list(range(rows.height))
        return
    slices = rows.select(**columns).with_row_index("_row")
    for key, places in slices.group_by(list(columns), maintain_order=True):
        yield Slice(**dict(zip(columns, key, strict=True))), places["_row"].to_list()


class SliceFiles:
    """Appends the raw lines of clean rows to a local file for each slice."""

    def __init__(self, columns: Mapping[str, pl.Expr], folder: Path) -> None:
        self._columns = columns
        self._folder = folder
        self.files: dict[Slice, Path] = {}

    def add(self, chunk: ValidatedChunk) -> None:
        """Sorts the clean rows of a chunk."""
        for slice_, rows in rows_by_slice(self._columns, chunk.rows):
            self._append(slice_, [chunk.raw[row] for row in rows])

    def _append(self, slice_: Slice, lines: Sequence[bytes]) -> None:
        path = self.files.setdefault(slice_, self._folder / f"slice-{len(self.files)}.ndjson")
        # Opened for each chunk: a raw file may hold more slices than a process may have files open.
        with path.open("ab") as stream:
            stream.writelines(line + b"\n" for line in lines)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            yield block
