"""Batches and their fates between the ledger's rows, the settling query and the transaction's parameters."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from gaelp_assets.catalog import Slice
from gaelp_assets.warehouse.batches import Corrections, Known, corrections
from gaelp_assets.warehouse.keys import Displaced
from gaelp_assets.warehouse.ledger import LineCounts, Note, counts_in
from gaelp_assets.warehouse.loader import StagedBatch


@dataclass
class MergeResult:
    """What became of staged rows whose keys are contested, by batch id."""

    counts: str | None = None
    duplicate: dict[str, int] = field(default_factory=dict)
    replaced: dict[str, int] = field(default_factory=dict)
    refused: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)
    displaced: dict[tuple[Slice, str], int] = field(default_factory=dict)
    """Rows that other slices hold and will not hold any more, by slice and batch id."""
    holders: dict[tuple[str, int], Slice] = field(default_factory=dict)
    """The other slice that holds the key of a refused row, by batch id and line number."""


def known_batches(ledger: pl.DataFrame) -> Known:
    """The batches of a ledger's rows."""
    return {row["batch_id"]: (counts_in(row), row["loaded_at"]) for row in ledger.to_dicts()}


def fates_of(batch: StagedBatch, counts: Mapping[str, int], settled: MergeResult) -> LineCounts:
    """What became of a batch's lines, given how many of its rows were staged, by batch id."""
    duplicate = settled.duplicate.get(batch.batch_id, 0)
    refused = len(settled.refused.get(batch.batch_id, ()))
    return LineCounts(
        batch_id=batch.batch_id,
        lines=batch.lines,
        loaded=counts.get(batch.batch_id, 0) - duplicate - refused,
        duplicate=duplicate,
        rejected=batch.rejected + refused,
        sorted=batch.sorted,
        superseded=batch.superseded,
        withdrawn=batch.withdrawn,
    )


def ledger_entry(
    batch: StagedBatch, counts: LineCounts, loaded_at: dt.datetime, position: int, note: Note | None
) -> dict[str, str | int | None]:
    """The ledger's row of a batch, as the parameter `ledger` of `transaction` holds it."""
    return {
        "batch_id": batch.batch_id,
        "file": batch.file,
        "bytes": batch.size,
        "lines": counts.lines,
        "loaded": counts.loaded,
        "duplicate": counts.duplicate,
        "rejected": counts.rejected,
        "sorted": counts.sorted,
        "loaded_at": loaded_at.astimezone(dt.UTC).isoformat(),
        "position": position,
        "superseded": counts.superseded,
        "withdrawn": counts.withdrawn,
        "revision": batch.revision,
        "superseded_by": batch.superseded_by,
        "corrected_by": note.corrected_by if note else None,
        "reason": note.reason if note else None,
    }


def displaced_entries(displaced: Displaced) -> str:
    """What the parameter `displaced` of `transaction` holds."""
    entries = [
        {"batch_id": batch_id, "date": str(slice_.date), "environment": slice_.environment, "rows": rows}
        for (slice_, batch_id), rows in displaced.items()
    ]
    return json.dumps(entries)


def known_corrections(ledger: pl.DataFrame) -> Corrections:
    """What a ledger's rows say of revisions and withdrawals."""
    return corrections(ledger.select("batch_id", "revision", "corrected_by", "reason").iter_rows())
