"""The embedded warehouse: one DuckDB file that any number of processes share, one short operation at a time."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import duckdb
import polars as pl

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.load import with_upstream
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.batches import counts_by_batch, unique_batches
from gaelp_assets.warehouse.duckdb import schema as schema
from gaelp_assets.warehouse.duckdb.connection import DuckDBFile, scalar
from gaelp_assets.warehouse.duckdb.ddl import names, slice_predicate, table_name, view_sql, wanted_form
from gaelp_assets.warehouse.duckdb.dialect import literal, quote
from gaelp_assets.warehouse.duckdb.ledger import SliceLedger, forget_statements, ledger_query
from gaelp_assets.warehouse.duckdb.merge import MergeResult, merge_rows
from gaelp_assets.warehouse.duckdb.pandas import pandas_frame
from gaelp_assets.warehouse.protocol import (
    DEAD_LETTER,
    LEDGER,
    REFRESHES,
    Capabilities,
    Cost,
    LineCounts,
    QueryResult,
    RelationState,
    SliceChanged,
    SliceWrite,
    StagedBatch,
    WriteMode,
)
from gaelp_assets.warehouse.refreshes import forget_statement, refresh_entry, with_ledgers
from gaelp_assets.warehouse.schema.model import (
    Dataset,
    ObjectType,
    RelationPlan,
    SchemaScope,
    Status,
    plan_create,
    recheck,
    refuse,
)

if TYPE_CHECKING:
    import pandas as pd

CAPABILITIES: Final = Capabilities(
    engine="duckdb",
    dialect="duckdb",
    incremental_materialized_views=False,
    requires_partition_filter=False,
    bounds_bytes=False,
    parallel_changes=False,
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
        self._sessions = DuckDBFile(file, lock_timeout)

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return CAPABILITIES

    @property
    def location(self) -> str:
        """The path of the file."""
        return str(self._file)

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Makes these relations, and those that derived ones among them read, fit for rows of the catalogue's shape."""
        ordered = with_upstream(self._catalog, with_ledgers(self._catalog, relations))
        if all(planned.status is Status.UNCHANGED for planned in self.diff(ordered, scope=SchemaScope.ROWS)):
            return
        with self._sessions.writing("create relations") as con:
            plans = schema.compared(con, ordered, SchemaScope.ROWS)
            refuse(plans)
            for planned in plans:
                self._carry_out(con, planned)

    def object_type(self, relation: Relation) -> ObjectType:
        """A table of each stored relation, a view of each other."""
        return wanted_form(relation)

    def survey(self, datasets: Sequence[str]) -> Mapping[str, Dataset]:
        """The schemas of these names, and what lies in each."""
        if not self._file.exists():
            return {dataset: Dataset(dataset, exists=False) for dataset in datasets}
        with self._sessions.reading("look for relations") as con:
            return schema.survey(con, datasets)

    def diff(
        self,
        relations: Sequence[Relation],
        *,
        scope: SchemaScope = SchemaScope.ALL,
        jobs: int = 1,  # noqa: ARG002 - one look at the file tells of all of them
    ) -> list[RelationPlan]:
        """What brings each of these relations up to the catalogue."""
        if not self._file.exists():
            return [plan_create(relation, wanted_form(relation)) for relation in relations]
        with self._sessions.reading("look for changes of the catalogue") as con:
            return schema.compared(con, relations, scope)

    def make_dataset(self, dataset: str) -> None:
        """Makes a schema; nothing happens if it is there."""
        with self._sessions.writing(f"make the dataset {dataset}") as con:
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(dataset)}")

    @contextmanager
    def changing(self) -> Iterator[Callable[[RelationPlan], RelationPlan]]:
        """Carries out plans, each in a transaction of its own, under one lock of the file."""
        with self._sessions.writing("change relations") as con:

            def apply(planned: RelationPlan) -> RelationPlan:
                with self._sessions.savepoint(con, f"change {planned.relation.id}"):
                    (now,) = schema.compared(con, [planned.relation])
                    done = recheck(planned, now)
                    self._carry_out(con, done)
                return done

            yield apply

    def ledger(self, relation: Relation, slice_: Slice) -> pl.DataFrame:
        """The ledger's rows of a slice in order of loading."""
        self._make_file()
        with self._sessions.reading("read the ledger") as con:
            return _frame(con, ledger_query(self._catalog[LEDGER], relation, slice_), {})

    def write(self, write: SliceWrite) -> list[LineCounts]:
        """Carries out a `SliceWrite` in one transaction."""
        with self._sessions.writing(f"{write.mode.value} {write.relation.id} {write.slice}") as con:
            ledger = SliceLedger(con, self._catalog[LEDGER], self._catalog[DEAD_LETTER], write)
            known = ledger.known()
            if write.mode is WriteMode.REBUILD:
                if known.keys() - {batch.batch_id for batch in write.batches}:
                    raise SliceChanged(
                        f"{write.relation.id} {write.slice} holds batches that came after the rebuild began"
                    )
                new = unique_batches(write.batches, frozenset())
                ledger.clear()
                predicate = slice_predicate(write.relation, write.slice)
                con.execute(f"DELETE FROM {table_name(write.relation)} WHERE {predicate}")
            else:
                new = unique_batches(write.batches, known.keys())
            if not new and write.mode is not WriteMode.REBUILD:
                return [known[batch.batch_id][0] for batch in write.batches]
            moments = [known[b.batch_id][1] if b.batch_id in known else write.loaded_at for b in new]
            settled = self._settle(con, write, new, moments)
            ledger.add_dead_letters(new, moments, settled)
            written = {counts.batch_id: counts for counts in ledger.add_batches(new, moments, settled)}
        return counts_by_batch(write.batches, written, known)

    def refresh(self, relation: Relation, slice_: Slice, *, run_id: str = "") -> int:
        """Computes a stored derived relation again for a slice; the number of rows that it then holds there."""
        if not (relation.is_derived and relation.is_stored):
            raise GaelpError(
                Problem(f"a {relation.kind} is not refreshed", relation.id, "a stored derived relation")
            )
        from gaelp_assets.sql.transpile import to_duckdb

        table, columns = table_name(relation), names(relation.fields)
        predicate, sql = slice_predicate(relation, slice_), view_sql(relation)
        entry = f"INSERT INTO {table_name(self._catalog[REFRESHES])} BY NAME {to_duckdb(refresh_entry(self._catalog, relation, slice_))}"
        with self._sessions.writing(f"refresh {relation.id} {slice_}") as con:
            con.execute(f"DELETE FROM {table} WHERE {predicate}")
            con.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({sql}) WHERE {predicate}")
            con.execute(entry, {"run_id": run_id})
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

    def to_pandas(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> pd.DataFrame:
        """The result of one GoogleSQL SELECT with the types that `pandas-gbq` gives a frame."""
        return pandas_frame(self.query(sql, parameters, labels=labels).frame)

    def quota_left(self) -> None:
        """A file sets no limits."""

    def mark_replayed(
        self, relation: Relation, batch_id: str, lines: Sequence[int], replayed_at: dt.datetime
    ) -> None:
        """Notes on dead letters that their lines went back into the gateway."""
        with self._sessions.writing("mark dead letters as replayed") as con:
            con.execute(
                f"UPDATE {table_name(self._catalog[DEAD_LETTER])} SET replayed_at = $replayed_at "
                'WHERE dataset = $dataset AND "table" = $table_name AND batch_id = $batch_id '
                "AND line_number IN (SELECT unnest($lines::BIGINT[]))",
                {
                    "replayed_at": replayed_at,
                    "dataset": relation.dataset,
                    "table_name": relation.name,
                    "batch_id": batch_id,
                    "lines": list(lines),
                },
            )

    def describe(self, relation: Relation) -> RelationState | None:
        """What the warehouse holds under the relation's name; None if nothing."""
        if not self._file.exists():
            return None
        with self._sessions.reading(f"describe {relation.id}") as con:
            if not schema.shapes(con, [relation]):
                return None
            columns = con.execute(f"DESCRIBE {table_name(relation)}").fetchall()
            rows = scalar(con, f"SELECT count(*) FROM {table_name(relation)}")
        return RelationState({name: type_ for name, type_, *_ in columns}, rows)

    def drop(self, relation: Relation) -> None:
        """Removes the relation, its rows, and (for a loaded table) its loads from ledger and dead letter."""
        if not self._file.exists():
            return
        ledger, dead_letter = self._catalog[LEDGER], self._catalog[DEAD_LETTER]
        with self._sessions.writing(f"drop {relation.id}") as con:
            found = schema.shapes(con, [relation, ledger, dead_letter])
            if relation.id in found:
                kind = "VIEW" if found[relation.id].object_type is ObjectType.VIEW else "TABLE"
                con.execute(f"DROP {kind} {table_name(relation)}")
            self._forget_refreshes(con, relation)
            if relation.is_loaded and {ledger.id, dead_letter.id} <= found.keys():
                for statement in forget_statements(ledger, dead_letter, relation):
                    con.execute(statement)

    def _carry_out(self, con: duckdb.DuckDBPyConnection, planned: RelationPlan) -> None:
        if planned.status in {Status.CREATE, Status.REPLACE}:
            self._forget_refreshes(con, planned.relation)
        schema.carry_out(con, planned)

    def _forget_refreshes(self, con: duckdb.DuckDBPyConnection, relation: Relation) -> None:
        """What is made again is empty, whatever was computed for it before."""
        refreshes = [each for each in with_ledgers(self._catalog, [relation]) if each.id == REFRESHES]
        if refreshes and schema.shapes(con, refreshes):
            con.execute(forget_statement(relation, table_name(*refreshes)))

    def _settle(
        self,
        con: duckdb.DuckDBPyConnection,
        write: SliceWrite,
        batches: Sequence[StagedBatch],
        moments: Sequence[dt.datetime],
    ) -> MergeResult:
        if write.mode is WriteMode.SORT:
            return MergeResult()
        predicate = slice_predicate(write.relation, write.slice)
        return merge_rows(con, write.relation, predicate, batches, [literal(moment) for moment in moments])

    def _make_file(self) -> None:
        """A warehouse that nobody has written to yet is an empty one."""
        if not self._file.exists():
            with self._sessions.writing("make the warehouse"):
                pass


def _frame(con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]) -> pl.DataFrame:
    relation = con.sql(sql, params=dict(parameters) or None)
    assert relation is not None
    return cast("pl.DataFrame", relation.pl())


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
