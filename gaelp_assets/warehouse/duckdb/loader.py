"""Loads the embedded warehouse: one transaction under the lock of the file for each write."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.catalog.keys import spans_slices
from gaelp_assets.catalog.slices import words
from gaelp_assets.warehouse.batches import counts_by_batch, unique_batches
from gaelp_assets.warehouse.duckdb.connection import scalar
from gaelp_assets.warehouse.duckdb.ddl import names, slice_predicate, slices_predicate, table_name
from gaelp_assets.warehouse.duckdb.dialect import duckdb_type, literal, quote
from gaelp_assets.warehouse.duckdb.engine import DuckDBEngine
from gaelp_assets.warehouse.duckdb.ledger import SliceLedger
from gaelp_assets.warehouse.duckdb.losses import held_rows, remember_rows
from gaelp_assets.warehouse.duckdb.merge import MergeResult, merge_rows
from gaelp_assets.warehouse.duckdb.plain_appends import append_plain
from gaelp_assets.warehouse.keys import other_slices_condition
from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER, REFRESHES, LineCounts, WriteMode
from gaelp_assets.warehouse.loader import SliceChanged, SliceWrite, StagedBatch
from gaelp_assets.warehouse.refreshes import (
    known_entries,
    query_of_slices,
    refresh_entries,
    refuse_to_query,
)


class DuckDBLoader(DuckDBEngine):
    """Keeps `loader.Loader`."""

    def write(self, write: SliceWrite) -> list[LineCounts]:
        """Carries out a `SliceWrite` in one transaction."""
        with self._file.writing(f"{write.mode.value} {write.relation.id} {write.slice}") as con:
            return self._write(con, write)

    def write_all(self, writes: Sequence[SliceWrite]) -> list[list[LineCounts]]:
        """Carries out appends to several slices in one transaction: all of them, or none."""
        slices = [write.slice for write in writes]
        with self._file.writing(f"append to {writes[0].relation.id} {words(slices)}") as con:
            plain = append_plain(
                con, table_name(self._catalog[LEDGER]), table_name(self._catalog[DEAD_LETTER]), writes
            )
            return [
                plain[place] if place in plain else self._write(con, write)
                for place, write in enumerate(writes)
            ]

    def _write(self, con: duckdb.DuckDBPyConnection, write: SliceWrite) -> list[LineCounts]:
        ledger = SliceLedger(con, self._catalog[LEDGER], self._catalog[DEAD_LETTER], write)
        held, corrected = ledger.read(), ledger.corrections()
        known = held.known
        if write.mode is WriteMode.REBUILD:
            unknown = known.keys() - {batch.batch_id for batch in write.batches}
            if unknown or corrected.overtake(write.batches):
                raise SliceChanged(
                    f"{write.relation.id} {write.slice} holds batches that came after the rebuild began"
                )
            new = unique_batches(write.batches, frozenset())
            ledger.clear()
            predicate = slice_predicate(write.relation, write.slice)
            remember_rows(con, write.relation, predicate)
            con.execute(f"DELETE FROM {table_name(write.relation)} WHERE {predicate}")
        else:
            new = unique_batches(write.batches, known.keys())
            if new and write.mode is WriteMode.APPEND and corrected.revisions:
                raise SliceChanged(f"{write.relation.id} {write.slice} holds corrections")
        if not new and write.mode is not WriteMode.REBUILD:
            return [known[batch.batch_id][0] for batch in write.batches]
        if write.mode is WriteMode.APPEND:
            held.check_definition(write.relation)
        moments = [known[b.batch_id][1] if b.batch_id in known else write.loaded_at for b in new]
        settled = self._settle(con, write, ledger, new, moments)
        written = {counts.batch_id: counts for counts in ledger.add(new, moments, settled, corrected.notes)}
        if write.mode is WriteMode.REBUILD and not write.accept_loss:
            rows = held_rows(con, write.relation, predicate, known.keys())
            staged = {batch.batch_id: settled.staged.get(index, 0) for index, batch in enumerate(new)}
            held.check_losses(write.relation, rows, written.values(), staged)
        return counts_by_batch(write.batches, written, known)

    def refresh(self, relation: Relation, *slices: Slice, run_id: str = "") -> int:
        """Computes slices of a stored derived relation again; the number of rows that they then hold.

        DuckDB would cast what it inserts, so a query whose columns are not those that the relation declares is refused.
        """
        refuse_to_query(relation)
        from gaelp_assets.sql.transpile import to_duckdb
        from gaelp_assets.sql.views import check_columns

        check_columns(relation, self._catalog)
        table, columns = table_name(relation), names(relation.fields)
        predicate = slices_predicate(relation, slices)
        query, parameters = query_of_slices(self._catalog, relation, slices)
        sql = to_duckdb(query, self._tables).strip().rstrip(";")
        entries = to_duckdb(refresh_entries(self._catalog, relation, slices))
        with self._file.writing(f"refresh {relation.id} {words(slices)}") as con:
            con.execute(f"DELETE FROM {table} WHERE {predicate}")
            con.execute(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({sql}) WHERE {predicate}", parameters
            )
            con.execute(
                f"INSERT INTO {table_name(self._catalog[REFRESHES])} BY NAME {entries}", {"run_id": run_id}
            )
            return scalar(con, f"SELECT count(*) FROM {table} WHERE {predicate}")

    def replace_rows(
        self,
        relation: Relation,
        slices: Sequence[Slice],
        rows: pl.DataFrame,
        entries: pl.DataFrame,
        *,
        run_id: str = "",
    ) -> int:
        """Puts rows that were computed outside in the place of slices of a stored derived relation, in one transaction; their number."""
        from gaelp_assets.sql.transpile import to_duckdb

        table, columns = table_name(relation), names(relation.fields)
        values = ", ".join(f"{quote(field.name)}::{duckdb_type(field)}" for field in relation.fields)
        with tempfile.TemporaryDirectory(prefix="gaelp-duckdb-") as folder:
            file = Path(folder) / "rows.parquet"
            rows.write_parquet(file)
            with self._file.writing(f"refresh {relation.id} {words(slices)}") as con:
                con.execute(f"DELETE FROM {table} WHERE {slices_predicate(relation, slices)}")
                con.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {values} FROM read_parquet({literal(str(file))})"
                )
                con.execute(
                    f"INSERT INTO {table_name(self._catalog[REFRESHES])} BY NAME {to_duckdb(known_entries(entries))}",
                    {"run_id": run_id},
                )
        return rows.height

    def mark_replayed(
        self, relation: Relation, batch_id: str, lines: Sequence[int], replayed_at: dt.datetime
    ) -> None:
        """Notes on dead letters that their lines went back into the gateway."""
        self._mark("replayed", relation, batch_id, lines, replayed_at)

    def mark_acknowledged(
        self, relation: Relation, batch_id: str, lines: Sequence[int], acknowledged_at: dt.datetime
    ) -> None:
        """Notes on dead letters that their lines stay rejected."""
        self._mark("acknowledged", relation, batch_id, lines, acknowledged_at)

    def _mark(
        self, what: str, relation: Relation, batch_id: str, lines: Sequence[int], moment: dt.datetime
    ) -> None:
        with self._file.writing(f"mark dead letters as {what}") as con:
            con.execute(
                f"UPDATE {table_name(self._catalog[DEAD_LETTER])} SET {what}_at = $moment "
                'WHERE dataset = $dataset AND "table" = $table_name AND batch_id = $batch_id '
                "AND line_number IN (SELECT unnest($lines::BIGINT[]))",
                {
                    "moment": moment,
                    "dataset": relation.dataset,
                    "table_name": relation.name,
                    "batch_id": batch_id,
                    "lines": list(lines),
                },
            )

    def _settle(
        self,
        con: duckdb.DuckDBPyConnection,
        write: SliceWrite,
        ledger: SliceLedger,
        batches: Sequence[StagedBatch],
        moments: Sequence[dt.datetime],
    ) -> MergeResult:
        if write.mode is WriteMode.SORT:
            return MergeResult()
        relation = write.relation
        predicate = slice_predicate(relation, write.slice)
        elsewhere = None
        if spans_slices(relation) and ledger.has_other_slices():
            elsewhere = other_slices_condition(relation, write.slice, slice_predicate)
        return merge_rows(con, relation, predicate, batches, [literal(m) for m in moments], elsewhere)
