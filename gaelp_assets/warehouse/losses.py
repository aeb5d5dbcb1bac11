"""What a rebuild would lose: rows that the slice holds, and that its files do not bring back by today's definition of the table.

A row is known by the hash of its line, whichever file brings it. It is lost if its line is rejected by now, or if its key went to another
row that was there already. It is not lost where a table keeps the `latest` and a batch that is new brings a later version: an append
would replace it as well.

The engines count rows, in the transaction of the rebuild or under its ledger; what follows from the counts is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.definition import definition_of, keys_of
from gaelp_assets.catalog.model import Latest
from gaelp_assets.warehouse.batches import Known
from gaelp_assets.warehouse.ledger import LineCounts

# How many lost rows of a batch are looked up to tell why they are lost.
SAMPLE: Final = 1000


@dataclass(frozen=True)
class HeldRows:
    """Rows that a slice holds of one batch before a rebuild."""

    held: int
    gone: int
    """Of these, rows that the rebuilt slice does not hold."""
    superseded: int
    """Of the gone ones, rows whose key a batch that is new has in the rebuilt slice."""
    row_hashes: Sequence[int] = ()
    """Of gone rows that are not superseded, up to `SAMPLE`."""


class RowsLost(Exception):
    """A rebuild would lose rows, and was not told to accept that; nothing was changed."""

    def __init__(self, rows: Mapping[str, int], row_hashes: Mapping[str, Sequence[int]]) -> None:
        super().__init__(f"{sum(rows.values())} rows of {len(rows)} batches")
        self.rows: Final = rows
        """How many rows of each batch, by its id."""
        self.row_hashes: Final = row_hashes
        """The hashes of up to `SAMPLE` of them, likewise."""


class DefinitionChanged(Exception):
    """An append to a slice whose rows were loaded under another definition of the table: it has to be rebuilt."""


@dataclass(frozen=True)
class Ledger:
    """What the ledger says of a slice before a write."""

    known: Known
    definitions: frozenset[str] = field(default_factory=frozenset)
    """Under which its batches were loaded, where that is noted."""

    def check_definition(self, relation: Relation) -> None:
        """Nothing, if rows can be added.

        Raises:
            DefinitionChanged: rows were loaded under another definition.
        """
        if self.definitions - {str(definition_of(relation))}:
            raise DefinitionChanged(relation.id)

    def _corrected(self, batch_id: str, now: LineCounts | None) -> int:
        """How many more lines of a batch give way to corrections than before: their rows are accounted for, and not lost."""
        if now is None:
            return 0
        before = self.known[batch_id][0] if batch_id in self.known else None
        gave_way = before.superseded + before.withdrawn if before is not None else 0
        return max(0, now.superseded + now.withdrawn - gave_way)

    def check_losses(
        self,
        relation: Relation,
        held: Mapping[str, HeldRows],
        written: Iterable[LineCounts],
        staged: Mapping[str, int],
    ) -> None:
        """Nothing, if a rebuild keeps every row.

        Args:
            relation: the table.
            held: the rows that the slice held, by batch id.
            written: the fates of the batches of the rebuild.
            staged: how many valid rows each batch has, by its id.

        Raises:
            RowsLost: it would lose some.
        """
        same_keys = {keys_of(found) for found in self.definitions} <= {definition_of(relation).keys}
        supersedes = isinstance(relation.on_key_conflict, Latest) and same_keys
        counted = {counts.batch_id: counts for counts in written}
        loaded = {batch_id: counts.loaded for batch_id, counts in counted.items()}
        lost: dict[str, int] = {}
        for batch_id in {*held, *self.known}:
            rows = held.get(batch_id, HeldRows(0, 0, 0))
            corrected = self._corrected(batch_id, counted.get(batch_id))
            lost[batch_id] = max(0, rows.gone - (rows.superseded if supersedes else 0) - corrected)
            if batch_id in self.known:
                # A table that was dropped and made again: what the ledger knows to have been there has to come back.
                missing = self.known[batch_id][0].loaded - rows.held
                brought = (staged if supersedes else loaded).get(batch_id, 0) - (rows.held - rows.gone)
                lost[batch_id] += max(0, missing - brought) if missing > 0 else 0
        lost = {batch_id: rows for batch_id, rows in sorted(lost.items()) if rows}
        if lost:
            raise RowsLost(
                lost, {batch_id: rows.row_hashes for batch_id, rows in held.items() if batch_id in lost}
            )
