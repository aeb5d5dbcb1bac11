"""Loads one slice of one table: files of a slice -> verdict per row -> one transaction -> `sent/`.

Append and rebuild differ only in which files they read and in whether the slice is emptied first; the ledger, not the folder, says
what has been loaded, so that both can be killed anywhere and run again.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import GatewayFile, ObjectChanged, Stage
from gaelp_assets.ingest.platform import Platform
from gaelp_assets.ingest.report import REASON_SCHEMA, FileReport, SliceReport
from gaelp_assets.ingest.stage import OnProgress, StagedFile, stage_file, staging_folder, tally
from gaelp_assets.warehouse.protocol import Fates, SliceChanged, SliceWrite, WriteMode

# What one append holds in staging at a time; a rebuild is one transaction, however large.
APPEND_BYTES: Final = 1 << 30
APPEND_FILES: Final = 200
REBUILD_ATTEMPTS: Final = 5


def load_slice(
    platform: Platform,
    relation: Relation,
    slice_: Slice,
    *,
    run_id: str,
    rebuild: bool = False,
    on_progress: OnProgress | None = None,
) -> SliceReport:
    """Appends what is pending for the slice or, with `rebuild`, replaces the slice by all of its files in `sent/` and `cloud_ready/`.

    A file that cannot be loaded is moved to `failed/` and reported, and the others go on.

    Raises:
        TransientError: gateway or warehouse are out of reach, locked or full; nothing is lost, try again later.
        GaelpError: a rebuild would lose rows, because files that the ledger holds are gone or can no longer be loaded.
    """
    started = time.monotonic()
    platform.ensure(relation)
    mode = WriteMode.REBUILD if rebuild else WriteMode.APPEND
    work = _Load(platform, relation, slice_, run_id, on_progress)
    if rebuild:
        work.rebuild()
    else:
        work.append()
    return SliceReport(
        relation.id,
        slice_,
        mode,
        work.reports,
        time.monotonic() - started,
        tally(pl.concat(work.reasons)) if work.reasons else pl.DataFrame(schema=REASON_SCHEMA),
    )


class _Load:
    def __init__(
        self,
        platform: Platform,
        relation: Relation,
        slice_: Slice,
        run_id: str,
        on_progress: OnProgress | None,
    ) -> None:
        self._platform = platform
        self._relation = relation
        self._slice = slice_
        self._run_id = run_id
        self._on_progress = on_progress
        self.reports: list[FileReport] = []
        self.reasons: list[pl.DataFrame] = []

    def append(self) -> None:
        files = self._platform.gateway.slice_files(self._relation, self._slice, Stage.CLOUD_READY)
        for group in _groups(files):
            with staging_folder(self._platform) as folder:
                staged = self._stage(group, folder)
                if staged:
                    self._finish(staged, self._write(staged, WriteMode.APPEND))

    def rebuild(self) -> None:
        """Reads `sent/` before `cloud_ready/`: a file that an append moves meanwhile is in the ledger, and is noticed there."""
        for attempt in range(1, REBUILD_ATTEMPTS + 1):
            self.reports, self.reasons = [], []
            gateway = self._platform.gateway
            files = gateway.slice_files(self._relation, self._slice, Stage.SENT)
            files += gateway.slice_files(self._relation, self._slice, Stage.CLOUD_READY)
            with staging_folder(self._platform) as folder:
                staged = self._stage(files, folder)
                ledger = self._platform.warehouse.ledger(self._relation, self._slice)
                missing = ledger.filter(~pl.col("batch_id").is_in([s.batch.batch_id for s in staged]))
                try:
                    if missing.is_empty():
                        ordered = _in_ledger_order(staged, ledger)
                        self._finish(ordered, self._write(ordered, WriteMode.REBUILD))
                        return
                except SliceChanged:
                    continue
            if attempt == REBUILD_ATTEMPTS or not self._appended_meanwhile(missing):
                raise GaelpError(*_would_lose(self._relation, self._slice, missing, self.reports))
        raise GaelpError(
            Problem(
                f"the slice changed during each of {REBUILD_ATTEMPTS} attempts to rebuild it",
                f"{self._relation.id}, {self._slice}",
                remedy="Run the rebuild again when fewer files arrive.",
            )
        )

    def _appended_meanwhile(self, missing: pl.DataFrame) -> bool:
        """Whether a missing batch's file has turned up since its folder was listed."""
        listed = {report.file for report in self.reports}
        now = self._platform.gateway.slice_files(self._relation, self._slice, Stage.SENT)
        return any(file.path not in listed for file in now) and not missing.is_empty()

    def _stage(self, files: Sequence[GatewayFile], folder: Path) -> list[StagedFile]:
        staged: dict[str, StagedFile] = {}
        for file in files:
            try:
                proven = stage_file(self._platform, file, self._slice, folder, on_progress=self._on_progress)
            except ObjectChanged:
                continue  # whoever moved it has loaded it, or has set it aside
            except GaelpError as error:
                if not error.permanent:
                    raise
                if file.stage is not Stage.SENT:
                    self._platform.gateway.fail(file, error.problems)
                self.reports.append(FileReport(file.path, file.stored.size, problems=error.problems))
                continue
            if proven.batch.batch_id in staged:
                # The same bytes under another name: the same batch. Its file only has to leave the queue.
                self._archive(proven)
                continue
            staged[proven.batch.batch_id] = proven
        return list(staged.values())

    def _write(self, staged: Sequence[StagedFile], mode: WriteMode) -> list[Fates]:
        return self._platform.warehouse.write(
            SliceWrite(
                relation=self._relation,
                slice=self._slice,
                mode=mode,
                batches=[s.batch for s in staged],
                loaded_at=dt.datetime.now(dt.UTC),
                run_id=self._run_id,
            )
        )

    def _finish(self, staged: Sequence[StagedFile], fates: Sequence[Fates]) -> None:
        for proven, fate in zip(staged, fates, strict=True):
            problems = self._archive(proven)
            self.reports.append(FileReport(proven.file.path, proven.batch.size, fate, problems))
            self.reasons.append(proven.reasons)

    def _archive(self, proven: StagedFile) -> tuple[Problem, ...]:
        if proven.file.stage is not Stage.CLOUD_READY:
            return ()
        try:
            self._platform.gateway.archive(proven.file, proven.batch.batch_id)
        except ObjectChanged:
            return (
                Problem(
                    "was replaced or removed while it was being loaded; the rows that were read are in the table",
                    proven.file.path,
                    "files that are written once",
                    "Give new content a new name. A rebuild of the slice needs the replaced file back in sent/.",
                ),
            )
        return ()


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


def _in_ledger_order(staged: Sequence[StagedFile], ledger: pl.DataFrame) -> list[StagedFile]:
    """First the batches that the ledger holds, in its order, then new ones by batch id: whoever rebuilds, the same rows win."""
    position = {batch_id: index for index, batch_id in enumerate(ledger["batch_id"])}
    return sorted(staged, key=lambda s: (position.get(s.batch.batch_id, len(position)), s.batch.batch_id))


def _would_lose(
    relation: Relation, slice_: Slice, missing: pl.DataFrame, reports: Sequence[FileReport]
) -> list[Problem]:
    unreadable = [problem for report in reports for problem in report.problems]
    return [
        Problem(
            f"rebuilding would lose {row['loaded']} rows of {row['file']}, loaded at {row['loaded_at']:%Y-%m-%d %H:%M:%S} UTC",
            f"{relation.id}, {slice_}",
            "its file in sent/ or cloud_ready/, loadable",
            "Bring the file back, or mend it, and rebuild; until then the slice stays as it is.",
        )
        for row in missing.to_dicts()
    ] + unreadable
