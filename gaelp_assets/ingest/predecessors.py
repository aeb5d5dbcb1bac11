"""The earlier versions of a file, wherever they are: in the ledger, loaded or sorted, or still in the load queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.gateway.corrections import version
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ledger import LEDGER, WriteMode


@dataclass(frozen=True)
class Predecessors:
    """What is known of a file's versions below a number, withdrawals left out."""

    slices: frozenset[Slice]
    """The slices in which one of them counts, or will once the queue is loaded."""
    known: frozenset[Slice]
    """All slices that they are or were of."""
    rejected: int
    """The lines that were rejected of them, while sorting and loading."""

    @classmethod
    def of(
        cls, platform: PlatformReader, relation: Relation, stem: str, *, below: int | None = None
    ) -> Predecessors:
        """Those of the file with that name, as it is without version and ending.

        Args:
            platform: where ledger and queue are.
            relation: the table.
            stem: what the producer calls the file.
            below: only versions below this number; all by default.
        """
        rows = [row for row in ledger_rows(platform, relation) if _is_earlier(row["file"], stem, below)]
        loads = [row for row in rows if row["mode"] != WriteMode.SORT.value]
        queued = {
            file.slice
            for file in platform.gateway.pending().files
            if file.relation.id == relation.id and _is_earlier(file.path, stem, below)
        }
        return cls(
            frozenset({slice_of(row) for row in loads if row["superseded_by"] is None} | queued),
            frozenset({slice_of(row) for row in loads} | queued),
            sum(row["rejected"] for row in rows),
        )


def slice_of(row: dict[str, Any]) -> Slice:
    """The slice that a row of the ledger is of."""
    return Slice(row["slice_date"], row["slice_environment"])


def ledger_rows(platform: PlatformReader, relation: Relation) -> list[dict[str, Any]]:
    """What the ledger says of a table's files: `batch_id`, `file`, `mode`, slice, and what corrections made of them."""
    return platform.warehouse.query(
        "SELECT batch_id, file, mode, slice_date, slice_environment, rejected, superseded, withdrawn, superseded_by, corrected_by "
        f"FROM {LEDGER} WHERE dataset = @dataset AND `table` = @table_name ORDER BY slice_date, slice_environment, file, batch_id",
        {"dataset": relation.dataset, "table_name": relation.name},
        labels={"asset": LEDGER},
    ).frame.to_dicts()


def _is_earlier(path: str, stem: str, below: int | None) -> bool:
    own = version(path)
    return own.stem == stem and not own.withdraws and (below is None or own.number < below)
