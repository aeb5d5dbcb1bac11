"""The embedded warehouse: one DuckDB file that any number of processes share, one short operation at a time."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import duckdb
import polars as pl

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.books import Books, forget_statements, ledger_query
from gaelp_assets.warehouse.common import in_order, once, with_upstream
from gaelp_assets.warehouse.ddl import (
    Column,
    Found,
    create_statements,
    evolve_statements,
    names,
    slice_predicate,
    table_name,
    view_sql,
)
from gaelp_assets.warehouse.protocol import (
    DEAD_LETTER,
    LEDGER,
    Capabilities,
    Cost,
    Fates,
    ProvenBatch,
    QueryResult,
    RelationState,
    SliceChanged,
    SliceWrite,
    WriteMode,
)
from gaelp_assets.warehouse.session import Sessions, first_row, scalar
from gaelp_assets.warehouse.settle import Settled, settle_rows
from gaelp_assets.warehouse.types import literal

CAPABILITIES: Final = Capabilities(
    engine="duckdb",
    dialect="duckdb",
    incremental_materialized_views=False,
    requires_partition_filter=False,
    bounds_bytes=False,
)
# A commit of ten million rows takes about ten seconds; a few of them may stand in line.
LOCK_TIMEOUT: Final = 120.0


class DuckDBWarehouse:
    """Keeps `protocol.Warehouse` in one file, which is made when it is first needed.

    `lock_timeout` is how long, in seconds, an operation waits for others that use the file before it raises `TransientError`.
    """

    def __init__(self, file: Path, catalog: Catalog, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._file = file
        self._catalog = catalog
        self._sessions = Sessions(file, lock_timeout)

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return CAPABILITIES

    @property
    def location(self) -> str:
        """The path of the file."""
        return str(self._file)

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Creates or evolves these relations, and those that derived ones among them read."""
        ordered = with_upstream(self._catalog, relations)
        if self._file.exists():
            with self._sessions.reading("look for changes of the catalogue") as con:
                if not _changes(con, ordered):
                    return
        with self._sessions.writing("create relations") as con:
            # DuckDB binds a view as it is made: one by one, each after what it reads.
            for relation in ordered:
                for statement in _changes(con, [relation]):
                    con.execute(statement)

    def ledger(self, relation: Relation, slice_: Slice) -> pl.DataFrame:
        """The ledger's rows of a slice in order of loading."""
        self._make_file()
        with self._sessions.reading("read the ledger") as con:
            return _frame(con, ledger_query(self._catalog[LEDGER], relation, slice_), {})

    def write(self, write: SliceWrite) -> list[Fates]:
        """Carries out a `SliceWrite` in one transaction."""
        with self._sessions.writing(f"{write.mode.value} {write.relation.id} {write.slice}") as con:
            books = Books(con, self._catalog[LEDGER], self._catalog[DEAD_LETTER], write)
            known = books.known()
            if write.mode is WriteMode.REBUILD:
                if known.keys() - {batch.batch_id for batch in write.batches}:
                    raise SliceChanged(
                        f"{write.relation.id} {write.slice} holds batches that came after the rebuild began"
                    )
                new = once(write.batches, frozenset())
                books.clear()
                predicate = slice_predicate(write.relation, write.slice)
                con.execute(f"DELETE FROM {table_name(write.relation)} WHERE {predicate}")
            else:
                new = once(write.batches, known.keys())
            if not new and write.mode is not WriteMode.REBUILD:
                return [known[batch.batch_id][0] for batch in write.batches]
            moments = [known[b.batch_id][1] if b.batch_id in known else write.loaded_at for b in new]
            settled = self._settle(con, write, new, moments)
            books.note_rejects(new, moments, settled)
            written = {fates.batch_id: fates for fates in books.note_batches(new, moments, settled)}
        return in_order(write.batches, written, known)

    def refresh(self, relation: Relation, slice_: Slice) -> int:
        """Computes a stored derived relation anew for a slice; the number of rows that it then holds there."""
        if not (relation.is_derived and relation.is_stored):
            raise GaelpError(
                Problem(f"a {relation.kind} is not refreshed", relation.id, "a stored derived relation")
            )
        table, columns = table_name(relation), names(relation.fields)
        predicate, sql = slice_predicate(relation, slice_), view_sql(relation)
        with self._sessions.writing(f"refresh {relation.id} {slice_}") as con:
            con.execute(f"DELETE FROM {table} WHERE {predicate}")
            con.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({sql}) WHERE {predicate}")
            return scalar(con, f"SELECT count(*) FROM {table} WHERE {predicate}")

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,  # noqa: ARG002 - there is no job that could carry them
        row_limit: int | None = None,
    ) -> QueryResult:
        """The result of one GoogleSQL SELECT, with GoogleSQL's types: INT64 whatever the width that DuckDB computed in."""
        from gaelp_assets.sql.transpile import to_duckdb

        translated = to_duckdb(sql).strip().rstrip(";")
        if row_limit is not None:
            translated = f"SELECT * FROM ({translated}\n) LIMIT {int(row_limit)}"
        self._make_file()
        started = time.perf_counter()
        with self._sessions.reading("query") as con:
            frame = _frame(con, translated, parameters or {})
        widened = frame.cast({name: _googlesql_width(dtype) for name, dtype in frame.schema.items()})
        return QueryResult(widened, Cost(seconds=time.perf_counter() - started))

    def mark_replayed(self, batch_id: str, lines: Sequence[int], replayed_at: dt.datetime) -> None:
        """Notes on dead letters that their lines went back into the gateway."""
        with self._sessions.writing("mark dead letters as replayed") as con:
            con.execute(
                f"UPDATE {table_name(self._catalog[DEAD_LETTER])} SET replayed_at = $replayed_at "
                "WHERE batch_id = $batch_id AND line_number IN (SELECT unnest($lines::BIGINT[]))",
                {"replayed_at": replayed_at, "batch_id": batch_id, "lines": list(lines)},
            )

    def describe(self, relation: Relation) -> RelationState | None:
        """What the warehouse holds under the relation's name; None if nothing."""
        if not self._file.exists():
            return None
        with self._sessions.reading(f"describe {relation.id}") as con:
            found = _find(con, relation)
            if found is None:
                return None
            rows = scalar(con, f"SELECT count(*) FROM {table_name(relation)}")
        return RelationState({name: column.type for name, column in found.columns.items()}, rows)

    def drop(self, relation: Relation) -> None:
        """Removes the relation, its rows, and (for a loaded table) its loads from ledger and dead letter."""
        if not self._file.exists():
            return
        ledger, dead_letter = self._catalog[LEDGER], self._catalog[DEAD_LETTER]
        with self._sessions.writing(f"drop {relation.id}") as con:
            found = _find(con, relation)
            if found is not None:
                con.execute(f"DROP {'VIEW' if found.is_view else 'TABLE'} {table_name(relation)}")
            if relation.is_loaded and _find(con, ledger) and _find(con, dead_letter):
                for statement in forget_statements(ledger, dead_letter, relation):
                    con.execute(statement)

    def _settle(
        self,
        con: duckdb.DuckDBPyConnection,
        write: SliceWrite,
        batches: Sequence[ProvenBatch],
        moments: Sequence[dt.datetime],
    ) -> Settled:
        if write.mode is WriteMode.SORT:
            return Settled()
        predicate = slice_predicate(write.relation, write.slice)
        return settle_rows(con, write.relation, predicate, batches, [literal(moment) for moment in moments])

    def _make_file(self) -> None:
        """A warehouse that nobody has written to yet is an empty one."""
        if not self._file.exists():
            with self._sessions.writing("make the warehouse"):
                pass


def _frame(con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]) -> pl.DataFrame:
    relation = con.sql(sql, params=dict(parameters) or None)
    assert relation is not None
    return cast("pl.DataFrame", relation.pl())


def _find(con: duckdb.DuckDBPyConnection, relation: Relation) -> Found | None:
    columns = con.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = ? AND table_name = ? ORDER BY column_index",
        [relation.dataset, relation.name],
    ).fetchall()
    if not columns:
        return None
    view = first_row(
        con,
        "SELECT comment FROM duckdb_views() "
        "WHERE database_name = current_database() AND schema_name = ? AND view_name = ?",
        [relation.dataset, relation.name],
    )
    empty = view is not None or first_row(con, f"SELECT 1 FROM {table_name(relation)} LIMIT 1") is None
    return Found(
        is_view=view is not None,
        comment=view[0] if view else None,
        columns={name: Column(type_, nullable) for name, type_, nullable in columns},
        empty=empty,
    )


def _changes(con: duckdb.DuckDBPyConnection, relations: Sequence[Relation]) -> list[str]:
    statements = []
    for relation in relations:
        found = _find(con, relation)
        statements += create_statements(relation) if found is None else evolve_statements(relation, found)
    return statements


def _googlesql_width(dtype: pl.DataType) -> pl.DataType:
    """The type of a result column in GoogleSQL's terms, which has one width of integers and of floats."""
    if dtype.is_integer() or dtype == pl.Decimal(38, 0):
        return pl.Int64()
    if dtype == pl.Float32:
        return pl.Float64()
    if isinstance(dtype, pl.List):
        return pl.List(_googlesql_width(_instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(f.name, _googlesql_width(_instance(f.dtype))) for f in dtype.fields])
    return dtype


def _instance(dtype: Any) -> pl.DataType:
    return cast("pl.DataType", dtype() if isinstance(dtype, type) else dtype)


__all__ = ["CAPABILITIES", "LOCK_TIMEOUT", "DuckDBWarehouse"]
