"""The ledger and the dead letter in DuckDB: what a write reads from them, and what it adds, in the write's transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

import duckdb
import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.catalog.definition import definition_of
from gaelp_assets.catalog.slices import WHOLE
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.batches import Corrections, check_balance, corrections
from gaelp_assets.warehouse.duckdb.connection import scalar
from gaelp_assets.warehouse.duckdb.ddl import table_name
from gaelp_assets.warehouse.duckdb.dialect import literal
from gaelp_assets.warehouse.duckdb.merge import MergeResult, stage_files
from gaelp_assets.warehouse.keys import conflict_message
from gaelp_assets.warehouse.ledger import LineCounts, Note, WriteMode, counts_in
from gaelp_assets.warehouse.loader import SliceWrite, StagedBatch
from gaelp_assets.warehouse.losses import Ledger

# Raw lines are fetched and written so many at a time, so that a load full of conflicts does not fill the memory.
_LINES_AT_ONCE: Final = 5_000
_HELD: Final = (
    "batch_id", "lines", "loaded", "duplicate", "rejected", "sorted", "superseded", "withdrawn", "loaded_at", "definition",
)  # fmt: skip
_DEAD_LETTER_SCHEMA: Final[dict[str, pl.DataType]] = {
    "_batch": pl.Int64(),
    "line_number": pl.Int64(),
    "byte_offset": pl.Int64(),
    "raw": pl.Binary(),
    "reasons": pl.List(pl.Struct({"field": pl.String(), "rule": pl.String(), "message": pl.String()})),
}
_LEDGER_SCHEMA: Final[dict[str, pl.DataType]] = {
    "batch_id": pl.String(),
    "file": pl.String(),
    "bytes": pl.Int64(),
    "lines": pl.Int64(),
    "loaded": pl.Int64(),
    "duplicate": pl.Int64(),
    "rejected": pl.Int64(),
    "sorted": pl.Int64(),
    "loaded_at": pl.Datetime("us", "UTC"),
    "position": pl.Int64(),
    "superseded": pl.Int64(),
    "withdrawn": pl.Int64(),
    "revision": pl.Int64(),
    "superseded_by": pl.String(),
    "corrected_by": pl.String(),
    "reason": pl.String(),
}


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
        """The batches that the ledger holds, with the moment when each was first loaded, and under which definitions they were."""
        found = self._con.execute(
            f"SELECT {', '.join(_HELD)} FROM {self._ledger} WHERE {self._of_slice}"
        ).fetchall()
        rows = [dict(zip(_HELD, row, strict=True)) for row in found]
        known = {row["batch_id"]: (counts_in(row), row["loaded_at"]) for row in rows}
        return Ledger(known, frozenset(row["definition"] for row in rows if row["definition"] is not None))

    def corrections(self) -> Corrections:
        """What the ledger says of revisions and withdrawals."""
        rows = self._con.execute(
            f"SELECT batch_id, revision, corrected_by, reason FROM {self._ledger} WHERE {self._of_slice} "
            "AND coalesce(revision::VARCHAR, corrected_by) IS NOT NULL"
        ).fetchall()
        return corrections(rows)

    def clear(self) -> None:
        """Forgets the slice; which dead letters were replayed or acknowledged is kept for `add_dead_letters`."""
        dead_letters = self._dead_letters_of_slice()
        self._con.execute(
            "CREATE OR REPLACE TEMP TABLE _settled AS SELECT batch_id, line_number, replayed_at, acknowledged_at "
            f"FROM {self._dead_letter} WHERE {dead_letters} AND coalesce(replayed_at, acknowledged_at) IS NOT NULL"
        )
        self._con.execute(f"DELETE FROM {self._dead_letter} WHERE {dead_letters}")
        self._con.execute(f"DELETE FROM {self._ledger} WHERE {self._of_slice}")

    def add_dead_letters(
        self, batches: Sequence[StagedBatch], moments: Sequence[dt.datetime], settled: MergeResult
    ) -> None:
        """Adds the dead letters of the batches: lines that were rejected before, and rows in conflict.

        Raises:
            GaelpError: a batch's staged rejects are not as many as it says.
        """
        con = self._con
        info = pl.DataFrame(
            {
                "_batch": pl.Series(range(len(batches)), dtype=pl.Int64),
                "batch_id": pl.Series([batch.batch_id for batch in batches], dtype=pl.String),
                "file": pl.Series([batch.file for batch in batches], dtype=pl.String),
                "rejected_at": pl.Series(moments, dtype=pl.Datetime("us", "UTC")),
            }
        )
        con.register("_letter_info", info.to_arrow())
        found: dict[int, int] = {}
        if stage_files(con, "_reject", [batch.rejects for batch in batches]):
            found = dict(con.execute("SELECT _batch, count(*) FROM _reject GROUP BY 1").fetchall())
            self._insert_dead_letters("_reject")
        for index, batch in enumerate(batches):
            if found.get(index, 0) != batch.rejected:
                raise GaelpError(
                    Problem(
                        f"{found.get(index, 0)} rejected lines are staged",
                        batch.file,
                        f"{batch.rejected} of them",
                    )
                )
            conflicts = settled.conflicts.get(index, [])
            for start in range(0, len(conflicts), _LINES_AT_ONCE):
                self._insert_conflicts(
                    index, batch, conflicts[start : start + _LINES_AT_ONCE], settled.holders
                )
        con.unregister("_letter_info")
        if self._write.mode is WriteMode.REBUILD:
            con.execute(
                f"UPDATE {self._dead_letter} AS d SET replayed_at = r.replayed_at, acknowledged_at = r.acknowledged_at FROM _settled AS r "
                f"WHERE {_of_table(self._write.relation, self._slice)} AND d.batch_id = r.batch_id AND d.line_number = r.line_number"
            )

    def add_batches(
        self,
        batches: Sequence[StagedBatch],
        moments: Sequence[dt.datetime],
        settled: MergeResult,
        notes: Mapping[str, Note],
    ) -> list[LineCounts]:
        """Adds the ledger's rows of the batches and takes back what they replaced; the fates, in the batches' order.

        `notes` are those that the ledger held: a batch without one of its own keeps them.

        Raises:
            GaelpError: a batch's lines do not add up.
        """
        counts = [_fates(batch, index, settled) for index, batch in enumerate(batches)]
        check_balance(batches, counts)
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
        self._insert_ledger_rows(batches, moments, counts, [b.note or notes.get(b.batch_id) for b in batches])
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

    def _insert_dead_letters(self, source: str) -> None:
        self._con.execute(
            f"INSERT INTO {self._dead_letter} BY NAME SELECT i.batch_id, {_constants(self._write.relation, self._slice)}, i.file, "
            f"l.line_number, l.byte_offset, l.raw, l.reasons, i.rejected_at, $run_id AS run_id "
            f"FROM {source} AS l JOIN _letter_info AS i USING (_batch)",
            {"run_id": self._write.run_id},
        )

    def _insert_conflicts(
        self,
        index: int,
        batch: StagedBatch,
        rows: Sequence[tuple[int, int]],
        holders: Mapping[tuple[int, int], Slice],
    ) -> None:
        relation = self._write.relation
        key = relation.primary_key
        reason = {"field": key[0] if len(key) == 1 else None, "rule": "key_conflict"}
        dead_letters = pl.DataFrame(
            {
                "_batch": [index] * len(rows),
                "line_number": [line for line, _ in rows],
                "byte_offset": [offset for _, offset in rows],
                "raw": [batch.raw_line(offset) for _, offset in rows],
                "reasons": [
                    [{**reason, "message": conflict_message(relation, holders.get((index, line)))}]
                    for line, _ in rows
                ],
            },
            schema=_DEAD_LETTER_SCHEMA,
        )
        self._con.register("_conflict", dead_letters.to_arrow())
        self._insert_dead_letters("_conflict")
        self._con.unregister("_conflict")

    def _insert_ledger_rows(
        self,
        batches: Sequence[StagedBatch],
        moments: Sequence[dt.datetime],
        counts: Sequence[LineCounts],
        notes: Sequence[Note | None],
    ) -> None:
        # Clocks differ between processes, and a load can wait for its lock: the position, not the time, is the order.
        first = scalar(
            self._con,
            f"SELECT coalesce(max(position) + 1, 0) FROM {self._ledger} WHERE {self._of_slice}",
        )
        rows = [
            (
                b.batch_id,
                b.file,
                b.size,
                f.lines,
                f.loaded,
                f.duplicate,
                f.rejected,
                f.sorted,
                moment,
                position,
                f.superseded,
                f.withdrawn,
                b.revision,
                b.superseded_by,
                note and note.corrected_by,
                note and note.reason,
            )
            for position, (b, moment, f, note) in enumerate(
                zip(batches, moments, counts, notes, strict=True), start=first
            )
        ]
        frame = pl.DataFrame(rows, schema=_LEDGER_SCHEMA, orient="row")
        self._con.register("_ledger_row", frame.to_arrow())
        self._con.execute(
            f"INSERT INTO {self._ledger} BY NAME SELECT *, {_constants(self._write.relation, self._slice)}, "
            f"{literal(self._write.mode.value)} AS mode, $run_id AS run_id, now() AS written_at, $definition AS definition "
            "FROM _ledger_row",
            {"run_id": self._write.run_id, "definition": str(definition_of(self._write.relation))},
        )
        self._con.unregister("_ledger_row")


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


def _constants(relation: Relation, slice_: Slice) -> str:
    date = "NULL" if slice_.date is None else literal(slice_.date)
    environment = "NULL" if slice_.environment is None else literal(slice_.environment)
    return (
        f'{literal(relation.dataset)} AS dataset, {literal(relation.name)} AS "table", '
        f"{date}::DATE AS slice_date, {environment}::VARCHAR AS slice_environment"
    )


def _fates(batch: StagedBatch, index: int, settled: MergeResult) -> LineCounts:
    return LineCounts(
        batch_id=batch.batch_id,
        lines=batch.lines,
        loaded=settled.loaded(index),
        duplicate=settled.duplicate.get(index, 0),
        rejected=batch.rejected + len(settled.conflicts.get(index, ())),
        sorted=batch.sorted,
        superseded=batch.superseded,
        withdrawn=batch.withdrawn,
    )
