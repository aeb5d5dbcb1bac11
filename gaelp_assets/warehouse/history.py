"""What the ledger says of all files of a table, in whatever slices: only a question, the same for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.warehouse.ledger import LEDGER, WriteMode
from gaelp_assets.warehouse.reader import Reader

_COLUMNS: Final = (
    "batch_id, file, mode, slice_date, slice_environment, `lines`, loaded, duplicate, rejected, superseded, withdrawn, revision, "
    "superseded_by, corrected_by"
)


def ledger_rows(
    warehouse: Reader, relation: Relation, *, only_corrections: bool = False
) -> list[dict[str, Any]]:
    """The ledger's rows of a table, those of sorted raw files too, in order of loading.

    Args:
        warehouse: asked once.
        relation: the table.
        only_corrections: whether to leave out files that correct nothing.

    Returns:
        A row for each batch and slice: its counts, and what corrections made of it.
    """
    corrections = "AND revision IS NOT NULL " if only_corrections else ""
    return warehouse.query(
        f"SELECT {_COLUMNS} FROM {LEDGER} WHERE dataset = @dataset AND `table` = @table_name {corrections}"
        "ORDER BY loaded_at, slice_date, slice_environment, position, file, batch_id",
        {"dataset": relation.dataset, "table_name": relation.name},
        labels={"asset": LEDGER},
    ).frame.to_dicts()


def is_load(row: Mapping[str, Any]) -> bool:
    """Whether a row of the ledger is of a slice, and not of a raw file that was sorted."""
    return bool(row["mode"] != WriteMode.SORT.value)


def slice_of(row: Mapping[str, Any]) -> Slice:
    """The slice that a row of the ledger is of."""
    return Slice(row["slice_date"], row["slice_environment"])
