"""Validates one gateway file and stages it: clean rows and rejected lines as Parquet files on this machine's disk, for one transaction.

Which files are loaded together, and what becomes of them in the gateway, is up to `ingest.load` and `ingest.sort`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.gateway import Gateway, GatewayFile, Stage
from gaelp_assets.gateway.explanation import RejectedLines
from gaelp_assets.gateway.names import is_live
from gaelp_assets.gateway.paths import times_replayed
from gaelp_assets.ingest.preview import Row, first_rows, shown_columns
from gaelp_assets.ingest.prospects import Prospect, shortest_line
from gaelp_assets.ingest.read.limits import TextLimit
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.reason_tally import ReasonTally, counted
from gaelp_assets.ingest.rejected_lines import LinesRefused, rejected_lines
from gaelp_assets.ingest.validate import ValidatedChunk, Validator
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.protocol import StagedBatch

# No run takes as long (its limit is six hours): a staging folder older than this belongs to a process that was killed.
LEFTOVER_SECONDS: Final = 24 * 3600
_SHOWN: Final = 3

OnFileProgress = Callable[[str, int, int], None]
"""Called with a file's name, the number of lines validated so far, and the number of stored bytes read so far."""


@dataclass(frozen=True)
class StagedFile:
    """A gateway file, its staged batch, and why lines of it were rejected (`REASON_SCHEMA`)."""

    file: GatewayFile
    batch: StagedBatch
    reasons: pl.DataFrame
    preview: Sequence[Row] = ()
    """The first of its rows, as `ingest.preview` shows them."""

    def told(self, gateway: Gateway) -> RejectedLines:
        """What is told of its rejected lines where it is set aside for them."""
        batch = self.batch
        return rejected_lines(
            gateway, self.file, batch.rejects, self.reasons, read=batch.lines, rejected=batch.rejected
        )


@contextmanager
def staging_folder(platform: Platform) -> Iterator[Path]:
    """A folder of one's own for staged files, removed afterwards; what killed processes left is removed after a day.

    Raises:
        TransientError: the disk is full, or staging cannot be written for another reason of the system's.
    """
    staging = platform.settings.staging
    try:
        staging.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(staging)
        folder = Path(tempfile.mkdtemp(dir=staging))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise TransientError(
            Problem(
                f"validated rows cannot be staged: {error}",
                str(staging),
                remedy="Free some space, or move GAELP_HOME, then run it again; the files are still in the queue.",
            )
        ) from error


def _remove_leftovers(staging: Path) -> None:
    for folder in staging.iterdir():
        with suppress(OSError):  # another process removes it too
            if time.time() - folder.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def stage_file(
    gateway: Gateway,
    file: GatewayFile,
    validator: Validator,
    folder: Path,
    *,
    known: Collection[str] = (),
    on_chunk: Callable[[ValidatedChunk], None] | None = None,
    on_progress: OnFileProgress | None = None,
) -> StagedFile:
    """Reads and validates a file, and stages its rows and rejects in Parquet files below the folder.

    With `on_chunk`, the clean rows go there instead of being staged, and count as sorted. `known` are ids of batches that were loaded
    once, and are staged however many of their lines are rejected.

    Raises:
        GaelpError: the file cannot be loaded as a whole (not what its ending says, empty); `LinesRefused` of too many rejected lines.
        ObjectChanged: somebody else has moved or replaced the file.
    """
    # What is replayed stands in the dead letter already, and belongs there again rather than in failed/. Streamed rows are proved as they
    # come: a share of bad ones in what happened to arrive together says nothing of the others.
    if not times_replayed(file.path) and not is_live(file.path):
        limit = _limit(file)
        possible = limit.possible if limit is not None else sys.maxsize
        shortest = shortest_line(validator.compiled.relation)
        prospect = Prospect(file.relation.max_reject_fraction, possible, shortest)
        staged = _stage(gateway, file, validator, folder, prospect, known, on_chunk, on_progress)
        if staged is not None:
            return staged
    staged = _stage(gateway, file, validator, folder, None, known, on_chunk, on_progress)
    assert staged is not None
    return staged


def _stage(
    gateway: Gateway,
    file: GatewayFile,
    validator: Validator,
    folder: Path,
    prospect: Prospect | None,
    known: Collection[str],
    on_chunk: Callable[[ValidatedChunk], None] | None,
    on_progress: OnFileProgress | None,
) -> StagedFile | None:
    """Stages the file, however many of its lines are rejected if there is no prospect; None if that is what a known batch needs.

    With a prospect, reading ends as soon as the file is certain to be set aside.
    """
    parts = Parts(folder, shown_columns(validator.compiled.relation))
    with gateway.open(file) as stream:
        reader = LineReader(stream, file.name, _limit(file))
        write = partial(parts.write, with_rows=on_chunk is None)
        with closing(validator.map(write, reader)) as chunks:
            for written in chunks:
                parts.add(written)
                if prospect is not None and prospect.is_lost(parts.lines, parts.rejected, written.end):
                    break
                if on_chunk is not None:
                    assert written.chunk is not None
                    on_chunk(written.chunk)
                if on_progress is not None:
                    on_progress(file.name, parts.lines, reader.size)
            else:
                if prospect is not None and not prospect.is_lost(
                    parts.lines, parts.rejected, prospect.text_bytes
                ):
                    prospect = None
        if prospect is not None:
            to_the_end = reader.exhausted
            if known and reader.skip() in known:
                parts.remove()
                return None
            rejected = rejected_lines(
                gateway,
                file,
                parts.rejects,
                parts.reasons,
                read=parts.lines,
                rejected=parts.rejected,
                to_the_end=to_the_end,
            )
            raise LinesRefused(too_many_rejected(file.relation, parts), rejected)
    batch = StagedBatch(
        batch_id=reader.digest,
        file=file.path,
        size=reader.size,
        lines=parts.lines,
        rejected=parts.rejected,
        sorted=parts.lines - parts.rejected if on_chunk is not None else 0,
        rows=tuple(parts.rows),
        rejects=tuple(parts.rejects),
        raw_line=LineFetcher(gateway, file),
    )
    return StagedFile(file, batch, parts.reasons, parts.preview)


def _limit(file: GatewayFile) -> TextLimit | None:
    """None for a file that was accepted once: its rows are in the table, and a limit that came later must not keep them from a rebuild."""
    if file.stage is Stage.SENT:
        return None
    return TextLimit(file.name, file.stored.size, file.relation.max_unfolded_bytes)


def moved(gateway: Gateway, staged: StagedFile, file: GatewayFile) -> StagedFile:
    """The same staged batch, whose file lies elsewhere by now."""
    batch = replace(staged.batch, raw_line=LineFetcher(gateway, file))
    return replace(staged, file=file, batch=batch)


@dataclass(frozen=True)
class Written:
    """What is left of a chunk once it is staged."""

    lines: int
    rejected: int
    end: int
    """A byte of the decompressed file, up to which it has been read with the chunk."""
    first_rejected: int | None
    """The number of its first rejected line; None if there is none."""
    reasons: pl.DataFrame
    """How many of its lines each reason rejected (`REASON_SCHEMA`)."""
    rows: Path | None
    """The Parquet file of its clean rows; None where they are not staged."""
    rejects: Path | None
    """The Parquet file of its rejected lines; None if there are none."""
    preview: Sequence[Row]
    """The first of its rows, where it is the first chunk of its file and they are staged."""
    chunk: ValidatedChunk | None
    """The chunk itself, where its rows are not staged."""


class Parts:
    """The Parquet files that a batch is staged in, the tally of reasons, and a preview of these columns."""

    def __init__(self, folder: Path, columns: list[str]) -> None:
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._columns = columns
        self.rows: list[Path] = []
        self.rejects: list[Path] = []
        self.lines = 0
        self.rejected = 0
        self.first_rejected: int | None = None
        self.preview: Sequence[Row] = ()
        self._reasons = ReasonTally()

    def write(self, number: int, chunk: ValidatedChunk, *, with_rows: bool = True) -> Written:
        """Stages a chunk, whose number is part of its files' names. May be called by several threads at once."""
        rejects = chunk.rejects
        return Written(
            lines=chunk.lines,
            rejected=rejects.height,
            end=chunk.end,
            first_rejected=rejects["line_number"][0] if rejects.height else None,
            reasons=counted(rejects["reasons"]),
            rows=self._write(chunk.rows, f"rows-{number}.parquet") if with_rows else None,
            rejects=self._write(rejects, f"rejects-{number}.parquet"),
            preview=first_rows(chunk.rows, self._columns) if with_rows and number == 0 else (),
            chunk=None if with_rows else chunk,
        )

    def add(self, written: Written) -> None:
        """Takes what was written, in the chunks' order."""
        self.lines += written.lines
        self.rejected += written.rejected
        self._reasons.add(written.reasons)
        self.preview = self.preview or written.preview
        if self.first_rejected is None:
            self.first_rejected = written.first_rejected
        if written.rows is not None:
            self.rows.append(written.rows)
        if written.rejects is not None:
            self.rejects.append(written.rejects)

    def remove(self) -> None:
        """Frees the disk of what was staged."""
        shutil.rmtree(self._folder)

    @property
    def reasons(self) -> pl.DataFrame:
        """How many lines each reason rejected (`REASON_SCHEMA`), the commonest first."""
        return self._reasons.frame

    def _write(self, frame: pl.DataFrame, name: str) -> Path | None:
        if not frame.height:
            return None
        path = self._folder / name
        # Read once, and soon, out of the page cache: compressing (LZ4: 40 % smaller) would take longer than all the rest of writing.
        frame.write_parquet(path, compression="uncompressed", statistics=False)
        return path


def too_many_rejected(relation: Relation, parts: Parts) -> Problem:
    """The problem of a file so bad that it is set aside whole, told from what was read of it."""
    commonest = "; ".join(
        f"{row['field'] or 'line'}: {row['rule']} ({row['lines']} lines)"
        for row in parts.reasons.head(_SHOWN).to_dicts()
    )
    return Problem(
        f"{parts.rejected} of {parts.lines} lines are rejected, line {parts.first_rejected} first, most for {commonest}; "
        "no further line could change that",
        expected=f"at most {relation.max_reject_fraction:.0%} of the lines (max_reject_fraction of {relation.id})",
        remedy=f"The reasons of its lines: gaelp dead-letter list --table {relation.id}. "
        "Mend the producer, or raise max_reject_fraction, then: gaelp gateway retry",
    )


class LineFetcher:
    """Fetches raw lines of a file by their byte offsets; cheapest when the offsets ascend."""

    def __init__(self, gateway: Gateway, file: GatewayFile) -> None:
        self._gateway = gateway
        self._file = file
        self._cursor: Iterator[tuple[int, bytes]] = iter(())
        self._passed = -1

    def __call__(self, offset: int) -> bytes:
        """The line that starts at that byte of the decompressed file, without its end."""
        if offset <= self._passed or self._passed < 0:
            self._cursor = self._read()
        for start, line in self._cursor:
            self._passed = start
            if start == offset:
                return line
        raise LookupError(f"{self._file.name} has no line that starts at byte {offset}")

    def _read(self) -> Iterator[tuple[int, bytes]]:
        with self._gateway.open(self._file) as stream:
            for block in LineReader(stream, self._file.name):
                for start, line in zip(block.offsets.tolist(), block.lines, strict=True):
                    yield start, line.rstrip(b"\r\n")
