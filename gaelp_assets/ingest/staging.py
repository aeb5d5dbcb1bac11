"""Validates one gateway file and stages it: clean rows and rejected lines as Parquet files on this machine's disk, for one transaction.

Which files are loaded together, and what becomes of them in the gateway, is up to `ingest.load` and `ingest.sort`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.gateway import Gateway, GatewayFile
from gaelp_assets.gateway.paths import times_replayed
from gaelp_assets.ingest.parallel import ordered_map
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.report import REASON_SCHEMA
from gaelp_assets.ingest.validate import ValidatedChunk, Validator
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.protocol import StagedBatch

# No run takes as long (its limit is six hours): a staging folder older than this belongs to a process that was killed.
LEFTOVER_SECONDS: Final = 24 * 3600

OnFileProgress = Callable[[str, int, int], None]
"""Called with a file's name, the number of lines validated so far, and the number of stored bytes read so far."""


@dataclass(frozen=True)
class StagedFile:
    """A gateway file, its staged batch, and why lines of it were rejected (`REASON_SCHEMA`)."""

    file: GatewayFile
    batch: StagedBatch
    reasons: pl.DataFrame


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
        GaelpError: the file cannot be loaded as a whole (not what its ending says, empty, too many rejected lines).
        ObjectChanged: somebody else has moved or replaced the file.
    """
    relation = file.relation
    parts = Parts(folder)
    lines = 0
    with gateway.open(file) as stream:
        reader = LineReader(stream, file.name)
        write = partial(parts.write, with_rows=on_chunk is None)
        for written in ordered_map(write, enumerate(validator.validate(reader)), validator.threads):
            lines += written.chunk.lines
            parts.add(written)
            if on_chunk is not None:
                on_chunk(written.chunk)
            if on_progress is not None:
                on_progress(file.name, lines, reader.size)
    rejected = parts.rejected
    # What is replayed stands in the dead letter already, and belongs there again rather than in failed/.
    exempt = reader.digest in known or times_replayed(file.path)
    if rejected > relation.max_reject_fraction * lines and not exempt:
        raise GaelpError(too_many_rejected(relation, lines, rejected, parts.reasons))
    batch = StagedBatch(
        batch_id=reader.digest,
        file=file.path,
        size=reader.size,
        lines=lines,
        rejected=rejected,
        sorted=lines - rejected if on_chunk is not None else 0,
        rows=tuple(parts.rows),
        rejects=tuple(parts.rejects),
        raw_line=LineFetcher(gateway, file),
    )
    return StagedFile(file, batch, parts.reasons)


def moved(gateway: Gateway, staged: StagedFile, file: GatewayFile) -> StagedFile:
    """The same staged batch, whose file lies elsewhere by now."""
    batch = replace(staged.batch, raw_line=LineFetcher(gateway, file))
    return replace(staged, file=file, batch=batch)


@dataclass(frozen=True)
class Written:
    """A chunk, and the Parquet files that its clean rows and its rejected lines are staged in; None where there are none."""

    chunk: ValidatedChunk
    rows: Path | None
    rejects: Path | None


class Parts:
    """The Parquet files that a batch is staged in, and the tally of reasons."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self.rows: list[Path] = []
        self.rejects: list[Path] = []
        self.rejected = 0
        self._reasons: list[pl.DataFrame] = []

    def write(self, numbered: tuple[int, ValidatedChunk], *, with_rows: bool = True) -> Written:
        """Stages a chunk, whose number is part of its files' names. May be called by several threads at once."""
        number, chunk = numbered
        return Written(
            chunk,
            self._write(chunk.rows, f"rows-{number}.parquet") if with_rows else None,
            self._write(chunk.rejects, f"rejects-{number}.parquet"),
        )

    def add(self, written: Written) -> None:
        """Takes what was written, in the chunks' order, and counts reasons."""
        if written.rows is not None:
            self.rows.append(written.rows)
        if written.rejects is not None:
            rejects = written.chunk.rejects
            self.rejects.append(written.rejects)
            self.rejected += rejects.height
            self._reasons.append(rejects.select(pl.col("reasons").explode().struct.unnest()))

    @property
    def reasons(self) -> pl.DataFrame:
        """How many lines each reason rejected, the commonest first."""
        if not self._reasons:
            return pl.DataFrame(schema=REASON_SCHEMA)
        return tally(pl.concat(self._reasons).with_columns(lines=pl.lit(1, pl.Int64)))

    def _write(self, frame: pl.DataFrame, name: str) -> Path | None:
        if not frame.height:
            return None
        path = self._folder / name
        # Read once, and soon, out of the page cache: compressing (LZ4: 40 % smaller) would take longer than all the rest of writing.
        frame.write_parquet(path, compression="uncompressed", statistics=False)
        return path


def tally(reasons: pl.DataFrame) -> pl.DataFrame:
    """Adds up the `lines` of equal reasons (`REASON_SCHEMA`), the commonest first."""
    return (
        reasons.group_by("field", "rule", "message")
        .agg(pl.col("lines").sum())
        .sort("lines", "field", "rule", descending=[True, False, False])
    )


def too_many_rejected(relation: Relation, lines: int, rejected: int, reasons: pl.DataFrame) -> Problem:
    """The problem of a file so bad that it is set aside whole."""
    commonest = "; ".join(
        f"{row['field'] or 'line'}: {row['rule']} ({row['lines']} lines)"
        for row in reasons.head(3).to_dicts()
    )
    return Problem(
        f"{rejected} of {lines} lines are rejected, most for {commonest}",
        expected=f"at most {relation.max_reject_fraction:.0%} of the lines (max_reject_fraction of {relation.id})",
        remedy="Mend the producer, or raise max_reject_fraction, then: gaelp gateway retry",
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
