"""Loads one slice of one table: files of a slice -> verdict per row -> one transaction -> `sent/`.

Where a file corrects others, or the slice holds corrections, an append is a rebuild: `ingest.in_force` says which lines then count.

Append and rebuild differ only in which files they read and in whether the slice is emptied first; the ledger, not the folder, says
what has been loaded, so that both can be killed anywhere and run again.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.gateway import Gateway, GatewayFile, ObjectChanged, Stage
from gaelp_assets.gateway.corrections import version
from gaelp_assets.gateway.explanation import RejectedLines
from gaelp_assets.gateway.paths import archived_name
from gaelp_assets.ingest import in_force
from gaelp_assets.ingest.lost_rows import rows_lost
from gaelp_assets.ingest.preview import Row
from gaelp_assets.ingest.reason_tally import tally
from gaelp_assets.ingest.rejected_lines import rejected_of
from gaelp_assets.ingest.report import REASON_SCHEMA, FileReport, SliceReport
from gaelp_assets.ingest.staging import OnFileProgress, StagedFile, moved, stage_file, staging_folder
from gaelp_assets.ingest.validate import Validator, Validators
from gaelp_assets.ingest.withdrawals import stage_withdrawal
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.ledger import Note, counts_in
from gaelp_assets.warehouse.losses import DefinitionChanged, RowsLost
from gaelp_assets.warehouse.protocol import LineCounts, SliceChanged, SliceWrite, StagedBatch, WriteMode

# What one append holds in staging at a time; a rebuild is one transaction, however large.
APPEND_BYTES: Final = 1 << 30
APPEND_FILES: Final = 200
ATTEMPTS: Final = 20
# What a slice may have at most to be loaded beside others; more is worth a transaction of its own.
FEW_FILES: Final = 20
FEW_BYTES: Final = 1 << 20


def load_slice(
    platform: Platform,
    relation: Relation,
    slice_: Slice,
    *,
    run_id: str,
    rebuild: bool = False,
    accept_loss: bool = False,
    validators: Validators | None = None,
    on_progress: OnFileProgress | None = None,
    notes: Mapping[str, Note] | None = None,
) -> SliceReport:
    """Appends what is pending for the slice or, with `rebuild`, replaces the slice by all of its files in `sent/` and `cloud_ready/`.

    A file that cannot be loaded is moved to `failed/` and reported, and the others go on. A slice whose rows were loaded under another
    definition of the table is rebuilt where rows would be added, so that it holds what a fresh load of all its files would.

    Args:
        platform: the gateway and the warehouse to load between.
        relation: the table.
        slice_: its slice; WHOLE of a table without slices.
        run_id: what the ledger names as the run that loaded the rows.
        rebuild: whether to replace the slice.
        accept_loss: whether a rebuild may lose rows that the slice holds, whose lines then go to the dead letter.
        validators: those of the run, if it loads several slices; by default those of a run that starts now.
        on_progress: called after each chunk of a file.
        notes: who made a correction and why, by the batch id of its file.

    Raises:
        TransientError: gateway or warehouse are out of reach, locked or full; nothing is lost, try again later.
        GaelpError: a rebuild would lose rows, because files that the ledger holds are gone or can no longer be loaded, because lines are
            no rows any more by the table's definition, or because the slice is older than the table's retention; or the table
            was loaded by another partitioning or key.
    """
    started = time.monotonic()
    validators = validators or Validators.for_run(platform)
    validators.check_layout(platform.warehouse, relation)
    work = SliceLoad(
        platform, relation, slice_, validators, run_id, on_progress, notes or {}, accept_loss=accept_loss
    )
    if rebuild:
        work.check_age()
    validators.ensure(platform, relation)
    if rebuild:
        work.rebuild()
    else:
        work.append()
    return work.report(time.monotonic() - started)


class SliceLoad:
    """The load of one slice under way, and what is to be said of it; see `load_slice` for what it is made of."""

    def __init__(
        self,
        platform: Platform,
        relation: Relation,
        slice_: Slice,
        validators: Validators,
        run_id: str,
        on_progress: OnFileProgress | None,
        notes: Mapping[str, Note],
        *,
        accept_loss: bool,
    ) -> None:
        self._platform = platform
        self._relation = relation
        self.slice: Final = slice_
        self._validators = validators
        self._validator: Validator = validators.of(relation, slice_)
        self._run_id = run_id
        self._on_progress = on_progress
        self._notes = notes
        self._accept_loss = accept_loss
        self.mode = WriteMode.APPEND
        self.reports: list[FileReport] = []
        self.reasons: list[pl.DataFrame] = []
        self.preview: Sequence[Row] = ()

    def check_age(self) -> None:
        """Refuses a slice that a rebuild would find too old to keep."""
        oldest = self._validators.oldest_kept(self._relation)
        if oldest is not None and self.slice.date is not None and self.slice.date < oldest:
            raise GaelpError(_too_old(self._relation, self.slice, oldest))

    def report(self, seconds: float) -> SliceReport:
        """What the load did, in that time."""
        return SliceReport(
            self._relation.id,
            self.slice,
            self.mode,
            self.reports,
            seconds,
            tally(pl.concat(self.reasons)) if self.reasons else pl.DataFrame(schema=REASON_SCHEMA),
            self.preview,
        )

    def few_files(self) -> list[GatewayFile] | None:
        """What one append can take beside those of other slices; None where that is too much, or the slice is to be rebuilt."""
        files = self._files(Stage.CLOUD_READY)
        size = sum(file.stored.size for file in files)
        few = len(files) <= FEW_FILES and size <= FEW_BYTES
        return files if few and not any(version(file.path).corrects for file in files) else None

    def append(self) -> None:
        """Loads what is pending, in as few transactions as can be; where rows cannot be added, by a rebuild."""
        files = self._files(Stage.CLOUD_READY)
        if any(version(file.path).corrects for file in files):
            self._correct()
            return
        try:
            for group in _groups(files):
                self._append(group)
        except DefinitionChanged:
            self.rebuild(asked_for=False)
        except SliceChanged:  # it holds corrections
            self._correct()

    def _correct(self) -> None:
        self.check_age()
        self.rebuild(always=False, asked_for=False)

    def _append(self, group: Sequence[GatewayFile]) -> None:
        """Loads the files in one transaction.

        Its dead letters are read from the files once more. If one of these has been moved or replaced since it was staged, the
        transaction is undone, and the files are staged again: without that one, which is no longer the file that was listed.
        """
        for _ in range(ATTEMPTS):
            with staging_folder(self._platform) as folder, suppress(ObjectChanged):
                staged = self.stage(group, folder)
                write = self.appended(staged)
                self.finish(staged, self._platform.warehouse.write(write) if staged else [])
                return
        raise TransientError(
            Problem(
                f"files were moved or replaced while they were loaded, in each of {ATTEMPTS} attempts",
                f"{self._relation.id}, {self.slice}",
                "files that are written once",
                "Give new content a new name; load the slice again when its files stay as they are.",
            )
        )

    def rebuild(self, *, always: bool = True, asked_for: bool = True) -> None:
        """Replaces the slice; without `always`, only if a file is not in the ledger yet.

        Reads `sent/` before `cloud_ready/`: a file that an append moves at the same time is in the ledger, and is noticed there.

        What has been staged stays so through the attempts: each has only the files to read that came since the one before.
        """
        self.mode = WriteMode.REBUILD
        ready = _Staged(self._platform.gateway)
        with staging_folder(self._platform) as folder:
            for _ in range(ATTEMPTS):
                files = self._files(Stage.SENT) + self._files(Stage.CLOUD_READY)
                ledger = self._platform.warehouse.ledger(self._relation, self.slice)
                superseded = self._superseded(files, ledger)
                unread = [f for f in files if not ready.has(f) and f.stored.name not in superseded]
                ready.add(self.stage(unread, folder, frozenset(ledger["batch_id"])))
                staged = ready.of(files)
                ordered = _in_ledger_order(self._accepted(staged, ledger), ledger)
                found = in_force.InForce(self._relation, ordered, ledger)
                if found.missing.is_empty():
                    try:
                        with suppress(SliceChanged, ObjectChanged):
                            if not always and all(in_force.is_known(s, ledger) for s in ordered):
                                counts = [counts_in(row) for row in ledger.to_dicts()]
                            else:
                                batches = found.batches(folder, self._notes)
                                counts = self._platform.warehouse.write(
                                    self._write(batches, WriteMode.REBUILD)
                                )
                            self.finish(ordered, counts)
                            return
                    except RowsLost as lost:
                        problems = rows_lost(self._relation, self.slice, lost, ordered, asked_for=asked_for)
                        raise GaelpError(*problems) from None
                elif _versions(self._files(Stage.SENT)) <= _versions(files):
                    raise GaelpError(*_would_lose(self._relation, self.slice, found.missing, self.reports))
        raise TransientError(
            Problem(
                f"the slice changed during each of {ATTEMPTS} attempts to rebuild it",
                f"{self._relation.id}, {self.slice}",
                remedy="Run the rebuild again when fewer files arrive.",
            )
        )

    def _superseded(self, files: Sequence[GatewayFile], ledger: pl.DataFrame) -> set[str]:
        """The files that are superseded for good, and need not be read again."""
        if not any(file.stage is Stage.SENT and version(file.path).corrects for file in files):
            return set()
        return in_force.unread(files, ledger)

    def _accepted(self, staged: Sequence[StagedFile], ledger: pl.DataFrame) -> list[StagedFile]:
        """The files without revisions that would lose rows: those are set aside. What lies in `sent/` has been accepted."""
        accepted = []
        for staged_file in staged:
            problem = None
            if staged_file.file.stage is Stage.CLOUD_READY and not in_force.is_known(staged_file, ledger):
                problem = in_force.refusal(staged_file, staged, ledger)
            if problem is None:
                accepted.append(staged_file)
                continue
            self._set_aside(staged_file.file, (problem,), staged_file.told(self._platform.gateway))
        return accepted

    def _set_aside(
        self, file: GatewayFile, problems: tuple[Problem, ...], rejected: RejectedLines | None
    ) -> None:
        if file.stage is not Stage.SENT:
            with suppress(ObjectChanged):  # somebody else has set it aside
                self._platform.gateway.fail(file, problems, rejected)
        self.reports.append(FileReport(file.path, file.stored.size, problems=problems))

    def _files(self, stage: Stage) -> list[GatewayFile]:
        return self._platform.gateway.slice_files(self._relation, self.slice, stage)

    def stage(
        self, files: Sequence[GatewayFile], folder: Path, known: Collection[str] = ()
    ) -> list[StagedFile]:
        """Stages files; one of a `known` batch however many of its lines are rejected by now: what of its rows is lost is told in rows."""
        staged: list[StagedFile] = []
        for file in files:
            try:
                staged.append(self._stage_file(file, folder, known))
            except ObjectChanged:
                continue  # the process that moved it has loaded it, or has set it aside
            except GaelpError as error:
                if not error.permanent:
                    raise
                self._set_aside(file, error.problems, rejected_of(error))
        return staged

    def _stage_file(self, file: GatewayFile, folder: Path, known: Collection[str]) -> StagedFile:
        gateway, on_progress = self._platform.gateway, self._on_progress
        if version(file.path).withdraws:
            return stage_withdrawal(gateway, file, self._validators, folder, on_progress=on_progress)
        return stage_file(gateway, file, self._validator, folder, known=known, on_progress=on_progress)

    def appended(self, staged: Sequence[StagedFile]) -> SliceWrite:
        """What adds the staged files to the slice."""
        return self._write(_each_batch(staged), WriteMode.APPEND)

    def _write(self, batches: Sequence[StagedBatch], mode: WriteMode) -> SliceWrite:
        return SliceWrite(
            relation=self._relation,
            slice=self.slice,
            mode=mode,
            batches=batches,
            loaded_at=dt.datetime.now(dt.UTC),
            run_id=self._run_id,
            accept_loss=self._accept_loss,
        )

    def finish(self, staged: Sequence[StagedFile], counts: Sequence[LineCounts]) -> None:
        """Moves the files to `sent/`. The same bytes under another name are the same batch: that file only has to leave the queue."""
        by_batch = {fate.batch_id: fate for fate in counts}
        for staged_file in staged:
            problems = self._archive(staged_file)
            fate = by_batch.get(staged_file.batch.batch_id)
            if fate is not None:
                self.reports.append(FileReport(staged_file.file.path, staged_file.batch.size, fate, problems))
                self.reasons.append(staged_file.reasons)
                by_batch[fate.batch_id] = replace(fate, already_in_ledger=True)
                # Only where each row of the file became one of the slice.
                if (
                    fate.loaded
                    and fate.loaded + staged_file.batch.rejected == fate.lines
                    and not fate.already_in_ledger
                ):
                    self.preview = self.preview or staged_file.preview

    def _archive(self, staged_file: StagedFile) -> tuple[Problem, ...]:
        if staged_file.file.stage is not Stage.CLOUD_READY:
            return ()
        try:
            self._platform.gateway.archive(staged_file.file, staged_file.batch.batch_id)
        except ObjectChanged:
            return (
                Problem(
                    "was replaced or removed while it was being loaded; the rows that were read are in the table",
                    staged_file.file.path,
                    "files that are written once",
                    "Give new content a new name. A rebuild of the slice needs the replaced file back in sent/.",
                ),
            )
        return ()


class _Staged:
    """Files that one rebuild has staged so far, by name; a file that was moved to `sent/` since is still known there."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._files: dict[str, StagedFile] = {}

    def add(self, staged: Sequence[StagedFile]) -> None:
        """Keeps what was staged."""
        for staged_file in staged:
            self._files[staged_file.file.stored.name] = staged_file

    def has(self, file: GatewayFile) -> bool:
        """Whether that version of the file is staged, under this name or under the one that it had in the queue."""
        known = self._files.get(file.stored.name)
        if known is None and file.stage is Stage.SENT:
            for staged_file in list(self._files.values()):
                if archived_name(staged_file.file, staged_file.batch.batch_id) == file.stored.name:
                    known = moved(self._gateway, staged_file, file)
                    self.add([known])
                    break
        return known is not None and known.file.stored.version == file.stored.version

    def of(self, files: Sequence[GatewayFile]) -> list[StagedFile]:
        """What is staged of these files, in their order."""
        return [self._files[file.stored.name] for file in files if self.has(file)]


def _groups(files: Sequence[GatewayFile]) -> list[list[GatewayFile]]:
    """The files in their order, in groups that are staged and committed together."""
    numbers = []
    number = size = count = 0
    for file in files:
        if count and (size + file.stored.size > APPEND_BYTES or count >= APPEND_FILES):
            number, size, count = number + 1, 0, 0
        size, count = size + file.stored.size, count + 1
        numbers.append((number, file))
    return [[file for _, file in group] for _, group in groupby(numbers, key=lambda pair: pair[0])]


def _versions(files: Sequence[GatewayFile]) -> set[tuple[str, str]]:
    """Names and versions: the same bytes, sent once more, come to lie under the same name in `sent/`, in another version."""
    return {(file.stored.name, file.stored.version) for file in files}


def _in_ledger_order(staged: Sequence[StagedFile], ledger: pl.DataFrame) -> list[StagedFile]:
    """First the batches that the ledger holds, in its order, then new ones as an append takes them: the same rows win."""
    position = {batch_id: index for index, batch_id in enumerate(ledger["batch_id"])}
    return sorted(staged, key=lambda s: position.get(s.batch.batch_id, len(position)))


def _each_batch(staged: Sequence[StagedFile]) -> list[StagedBatch]:
    """The batches of these files in their order, each once."""
    return list({s.batch.batch_id: s.batch for s in reversed(staged)}.values())[::-1]


def _too_old(relation: Relation, slice_: Slice, oldest: dt.date) -> Problem:
    """A rebuild would reject what was young enough when it was loaded."""
    return Problem(
        f"the slice is older than the {relation.retention_days} days that rows are kept for",
        f"{relation.id}, {slice_}",
        f"a day from {oldest} on",
        "Leave it out of the rebuild, or raise retention_days.",
    )


def _what(batch: Mapping[str, Any]) -> str:
    return f"{batch['loaded']} rows" + (" and the corrections" if batch["revision"] else "")


def _would_lose(
    relation: Relation, slice_: Slice, missing: pl.DataFrame, reports: Sequence[FileReport]
) -> list[Problem]:
    unreadable = [problem for report in reports for problem in report.problems]
    return [
        Problem(
            f"rebuilding would lose {_what(row)} of {row['file']}, loaded at {row['loaded_at']:%Y-%m-%d %H:%M:%S} UTC",
            f"{relation.id}, {slice_}",
            "its file in sent/ or cloud_ready/, loadable",
            "Bring the file back, or mend it, and rebuild; until then the slice stays as it is.",
        )
        for row in missing.to_dicts()
    ] + unreadable
