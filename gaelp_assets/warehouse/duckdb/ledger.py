"""The ledger and the dead letter in DuckDB: what a write reads from them, and what it adds, in the write's transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

import duckdb

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.catalog.slices import WHOLE
from gaelp_assets.warehouse.batches import Corrections, corrections
from gaelp_assets.warehouse.duckdb.connection import scalar
from gaelp_assets.warehouse.duckdb.ddl import table_name
from gaelp_assets.warehouse.duckdb.dialect import literal
from gaelp_assets.warehouse.duckdb.entries import Entry, add_entries
from gaelp_assets.warehouse.duckdb.merge import MergeResult
from gaelp_assets.warehouse.ledger import LineCounts, Note, WriteMode, counts_in
from gaelp_assets.warehouse.loader import SliceWrite, StagedBatch
from gaelp_assets.warehouse.losses import Ledger

_HELD: Final = (
    "batch_id", "lines", "loaded", "duplicate", "rejected", "sorted", "superseded", "withdrawn", "loaded_at", "definition",
)  # fmt: skip


class SliceLedger:
    """Ledger and dead letter of one slice (or, for `SORT`, of a table's raw files)."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, ledger: Relation, dead_letter: Relation, write: SliceWrite
    ) -> None:
        self._con = con
        self._ledger, self._dead_letter = table_name(ledger), table_name(dead_letter)
        self._write = write
        self._sorts = write.mode is WriteMode.SORT
        self._slice = WHOLE if self._sorts else write.slice
        self._of_slice = _of_slice(write.relation, self._slice, sorts=self._sorts)

    def read(self) -> Ledger:
        """The batches that the ledger holds, with the moment when each was first loaded, and under which definitions they were.

        What adds to a slice is told of its own batches alone: a slice that is streamed to has tens of thousands.
        """
        of_write = (
            "" if self._write.mode is WriteMode.REBUILD else "AND batch_id IN (SELECT unnest($batches))"
        )
        found = self._con.execute(
            f"SELECT {', '.join(_HELD)} FROM {self._ledger} WHERE {self._of_slice} {of_write}",
            {"batches": [batch.batch_id for batch in self._write.batches]} if of_write else {},
        ).fetchall()
        rows = [dict(zip(_HELD, row, strict=True)) for row in found]
        known = {row["batch_id"]: (counts_in(row), row["loaded_at"]) for row in rows}
        definitions = self._con.execute(
            f"SELECT DISTINCT definition FROM {self._ledger} WHERE {self._of_slice} AND definition IS NOT NULL"
        ).fetchall()
        return Ledger(known, frozenset(definition for (definition,) in definitions))

    def corrections(self) -> Corrections:
        """What the ledger says of revisions and withdrawals."""
        rows = self._con.execute(
            f"SELECT batch_id, revision, corrected_by, reason FROM {self._ledger} WHERE {self._of_slice} "
            "AND coalesce(revision::VARCHAR, corrected_by) IS NOT NULL"
        ).fetchall()
        return corrections(rows)

    def clear(self) -> None:
        """Forgets the slice; which dead letters were replayed or acknowledged is kept for `add`."""
        dead_letters = self._dead_letters_of_slice()
        self._con.execute(
            "CREATE OR REPLACE TEMP TABLE _settled AS SELECT batch_id, line_number, replayed_at, acknowledged_at "
            f"FROM {self._dead_letter} WHERE {dead_letters} AND coalesce(replayed_at, acknowledged_at) IS NOT NULL"
        )
        self._con.execute(f"DELETE FROM {self._dead_letter} WHERE {dead_letters}")
        self._con.execute(f"DELETE FROM {self._ledger} WHERE {self._of_slice}")

    def next_position(self) -> int:
        """Where the slice's next batch stands. Clocks differ between processes, and a load can wait for its lock: the position, not the
        time, is the order."""
        return scalar(
            self._con, f"SELECT coalesce(max(position) + 1, 0) FROM {self._ledger} WHERE {self._of_slice}"
        )

    def add(
        self,
        batches: Sequence[StagedBatch],
        moments: Sequence[dt.datetime],
        settled: MergeResult,
        notes: Mapping[str, Note],
    ) -> list[LineCounts]:
        """Adds the ledger's rows and the dead letters of the batches, and takes back what they replaced; the fates, in their order.

        `notes` are those that the ledger held: a batch without one of its own keeps them.

        Raises:
            GaelpError: a batch's lines do not add up, or its staged rejects are not as many as it says.
        """
        first = self.next_position()
        entries = [
            Entry(batch, moment, self._slice, position, batch.note or notes.get(batch.batch_id))
            for position, (batch, moment) in enumerate(zip(batches, moments, strict=True), start=first)
        ]
        counts = add_entries(self._con, self._ledger, self._dead_letter, self._write, entries, settled)
        if self._write.mode is WriteMode.REBUILD:
            self._con.execute(
                f"UPDATE {self._dead_letter} AS d SET replayed_at = r.replayed_at, acknowledged_at = r.acknowledged_at FROM _settled AS r "
                f"WHERE {_of_table(self._write.relation, self._slice)} AND d.batch_id = r.batch_id AND d.line_number = r.line_number"
            )
        for batch_id, count in settled.replaced.items():
            self._con.execute(
                f"UPDATE {self._ledger} SET loaded = loaded - $count, duplicate = duplicate + $count "
                f"WHERE {self._of_slice} AND batch_id = $batch_id",
                {"count": count, "batch_id": batch_id},
            )
        for (slice_, batch_id), count in settled.displaced.items():
            # With another moment, since what was computed from that slice is stale.
            self._con.execute(
                f"UPDATE {self._ledger} SET loaded = loaded - $count, duplicate = duplicate + $count, written_at = now() "
                f"WHERE {_of_slice(self._write.relation, slice_)} AND batch_id = $batch_id",
                {"count": count, "batch_id": batch_id},
            )
        return counts

    def has_other_slices(self) -> bool:
        """Whether the table holds rows of other slices, as far as the ledger knows."""
        relation = self._write.relation
        row = self._con.execute(
            f'SELECT 1 FROM {self._ledger} WHERE dataset = {literal(relation.dataset)} AND "table" = {literal(relation.name)} '
            f"AND loaded > 0 AND mode <> {literal(WriteMode.SORT.value)} AND ({self._of_slice}) IS NOT TRUE LIMIT 1"
        ).fetchall()
        return bool(row)

    def _dead_letters_of_slice(self) -> str:
        """Dead letters have no mode: those of the slice's own batches, not those of its sorted raw files."""
        return (
            f"{_of_table(self._write.relation, self._slice)} "
            f"AND batch_id IN (SELECT batch_id FROM {self._ledger} WHERE {self._of_slice})"
        )


def _of_slice(relation: Relation, slice_: Slice, *, sorts: bool = False) -> str:
    """The condition of the ledger's rows of a slice's batches or (with `sorts`) of the table's sorted raw files."""
    return f"{_of_table(relation, slice_)} AND mode {'=' if sorts else '<>'} {literal(WriteMode.SORT.value)}"


def forget_statements(ledger: Relation, dead_letter: Relation, relation: Relation) -> list[str]:
    """What takes a dropped table out of ledger and dead letter; its sorted raw files stay."""
    of_table = f'dataset = {literal(relation.dataset)} AND "table" = {literal(relation.name)}'
    loads = f"{of_table} AND mode <> {literal(WriteMode.SORT.value)}"
    return [
        f"DELETE FROM {table_name(dead_letter)} WHERE {of_table} "
        f"AND batch_id IN (SELECT batch_id FROM {table_name(ledger)} WHERE {loads})",
        f"DELETE FROM {table_name(ledger)} WHERE {loads}",
    ]


def _of_table(relation: Relation, slice_: Slice) -> str:
    parts = [f"dataset = {literal(relation.dataset)}", f'"table" = {literal(relation.name)}']
    parts.append("slice_date IS NULL" if slice_.date is None else f"slice_date = {literal(slice_.date)}")
    parts.append(
        "slice_environment IS NULL"
        if slice_.environment is None
        else f"slice_environment = {literal(slice_.environment)}"
    )
    return " AND ".join(parts)
