"""The relations that the platform itself writes, in every warehouse, and what the ledger says.

They are the only catalogue names that code knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.warehouse.parameters import ParameterValue

LEDGER: Final = "ops.import_logs"
DEAD_LETTER: Final = "ops.dead_letter"
REFRESHES: Final = "ops.refreshes"


class WriteMode(StrEnum):
    """What a `SliceWrite` does with the rows that the slice holds already; the ledger notes it with each batch."""

    APPEND = "append"
    REBUILD = "rebuild"
    SORT = "sort"
    """No rows: only the rejected lines and the ledger row of a raw file whose other lines go on as files of one slice each."""


@dataclass(frozen=True)
class LineCounts:
    """What became of a batch's lines. The accounting law: `lines` is the sum of all fates."""

    batch_id: str
    lines: int
    loaded: int
    duplicate: int
    rejected: int
    sorted: int = 0
    superseded: int = 0
    withdrawn: int = 0
    already_in_ledger: bool = False
    """The ledger held the batch for this slice, and nothing was written (never so in a rebuild); the counts are the ledger's.
    Also true of a batch that stands in `batches` a second time."""

    @property
    def balanced(self) -> bool:
        """Whether every line has exactly one fate."""
        return self.lines == self.fates

    @property
    def fates(self) -> int:
        """The number of lines whose fate is known."""
        counted = self.loaded + self.duplicate + self.rejected + self.sorted
        return counted + self.superseded + self.withdrawn


def counts_in(row: Mapping[str, Any]) -> LineCounts:
    """The fates that a row of the ledger holds, of a batch that need not be written again."""
    return LineCounts(
        row["batch_id"],
        row["lines"],
        row["loaded"],
        row["duplicate"],
        row["rejected"],
        row["sorted"],
        row["superseded"] or 0,
        row["withdrawn"] or 0,
        already_in_ledger=True,
    )


@dataclass(frozen=True)
class Note:
    """Who made a correction, and why: free text, which must name no values."""

    corrected_by: str
    reason: str


def slice_query(ledger: Relation, relation: Relation, slice_: Slice) -> tuple[str, dict[str, ParameterValue]]:
    """The ledger's rows of the batches that a slice holds, in order of loading, without those of sorted raw files.

    Returns:
        GoogleSQL and the values of its parameters.
    """
    parameters: dict[str, ParameterValue] = {
        "dataset": relation.dataset,
        "table_name": relation.name,
        "sort": WriteMode.SORT.value,
    }
    conditions = ["dataset = @dataset", "`table` = @table_name", "mode <> @sort"]
    for name, value in (("slice_date", slice_.date), ("slice_environment", slice_.environment)):
        if value is None:
            conditions.append(f"{name} IS NULL")
        else:
            conditions.append(f"{name} = @{name}")
            parameters[name] = value
    fields = ", ".join(f"`{field.name}`" for field in ledger.fields)
    return (
        f"SELECT {fields} FROM {ledger.id} WHERE {' AND '.join(conditions)} ORDER BY position, loaded_at, batch_id",
        parameters,
    )
