"""What a load, a rebuild or a sort did: for asset metadata, the command line and the accounting law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from gaelp_assets.catalog import Slice
from gaelp_assets.errors import Problem
from gaelp_assets.ingest.preview import Row
from gaelp_assets.warehouse.ledger import LineCounts, WriteMode

REASON_SCHEMA = {"field": pl.String, "rule": pl.String, "message": pl.String, "lines": pl.Int64}


@dataclass(frozen=True)
class FileReport:
    """One gateway file: its lines' fates, and the problems with the file itself. Without fates it was set aside whole."""

    file: str
    size: int
    counts: LineCounts | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class SliceReport:
    """One slice of one table after a load or rebuild (or one raw file's relation after a sort)."""

    relation_id: str
    slice: Slice
    mode: WriteMode
    files: Sequence[FileReport]
    seconds: float
    reasons: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REASON_SCHEMA))
    """Why lines were rejected before their keys were compared: `field`, `rule`, `message`, `lines`."""
    preview: Sequence[Row] = ()
    """A few rows that were loaded, as `ingest.preview` shows them."""

    @property
    def counts(self) -> list[LineCounts]:
        """The fates of the files that were loaded, or had been loaded before."""
        return [file.counts for file in self.files if file.counts is not None]

    @property
    def written(self) -> list[LineCounts]:
        """The fates of what this run itself wrote: without batches that the ledger held already."""
        return [counts for counts in self.counts if not counts.already_in_ledger]

    @property
    def set_aside(self) -> list[FileReport]:
        """The files that could not be loaded and were moved to `failed/`."""
        return [file for file in self.files if file.problems and file.counts is None]

    def total(self, count: str) -> int:
        """The sum of one count (`lines`, `loaded`, `duplicate`, `rejected`, `sorted`) over what this run wrote."""
        return sum(int(getattr(counts, count)) for counts in self.written)
