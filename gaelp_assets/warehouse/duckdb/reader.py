"""Answers questions about the embedded warehouse. The file is opened for reading only; one that does not exist is an empty one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import duckdb
import polars as pl

from gaelp_assets.catalog import Catalog, Field, Relation, Slice
from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.duckdb import schema
from gaelp_assets.warehouse.duckdb.connection import scalar
from gaelp_assets.warehouse.duckdb.ddl import empty_select, table_name, wanted_form, widened_select
from gaelp_assets.warehouse.duckdb.dialect import quote
from gaelp_assets.warehouse.duckdb.engine import HOLDER_TIMEOUT, LOCK_TIMEOUT, DuckDBEngine
from gaelp_assets.warehouse.duckdb.interrupts import ended_after
from gaelp_assets.warehouse.duckdb.pandas import pandas_frame
from gaelp_assets.warehouse.ledger import LEDGER, slice_query
from gaelp_assets.warehouse.notices import DriftNotices
from gaelp_assets.warehouse.parameters import Parameters, ParameterValue
from gaelp_assets.warehouse.reader import Capabilities, Cost, QueryResult, RelationState
from gaelp_assets.warehouse.schema.model import Dataset, ObjectType, RelationPlan, SchemaScope
from gaelp_assets.warehouse.substitutes import fields_to_come, lacking, relations_read, substitute

if TYPE_CHECKING:
    import pandas as pd
    from polars.datatypes import DataTypeClass

    from gaelp_assets.sql.scope import Tables

CAPABILITIES: Final = Capabilities(engine="duckdb", parallel_changes=False, slices_at_once=200)
_NUMERIC_UNIT: Final = Decimal("1e-9")
_NUMERIC_DIGITS: Final = Context(prec=38)


class DuckDBReader(DuckDBEngine):
    """Keeps `reader.Reader`."""

    def __init__(
        self,
        file: Path,
        catalog: Catalog,
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        holder_timeout: float = HOLDER_TIMEOUT,
    ) -> None:
        super().__init__(file, catalog, lock_timeout=lock_timeout, holder_timeout=holder_timeout)
        self._notices = DriftNotices()

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return CAPABILITIES

    @property
    def location(self) -> str:
        """The path of the file."""
        return str(self._file.file)

    def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        labels: Mapping[str, str] | None = None,  # noqa: ARG002 - there is no job that could carry them
        row_limit: int | None = None,
        time_limit: float | None = None,
        counting: float | None = None,
    ) -> QueryResult:
        """The result of one GoogleSQL SELECT, with GoogleSQL's types: INT64 whatever the width that DuckDB computed in.

        What the file lacks is looked for where DuckDB does not find it, and not before: small questions take milliseconds.
        """
        from gaelp_assets.sql.transpile import to_duckdb

        read = relations_read(self._catalog, sql)
        given = _bound(parameters or {})
        # One row more tells whether there are others to be counted.
        most = row_limit + 1 if row_limit is not None and counting is not None else row_limit
        started = time.perf_counter()

        def ask(con: duckdb.DuckDBPyConnection) -> tuple[pl.DataFrame, int | None]:
            self._notices.say(schema.compared(con, self._notices.due(read), self._tables, SchemaScope.ROWS))
            # A relation that is not what the catalogue says is read as it is: its columns are not known here.
            tables = None if self._notices.any_differs(read) else self._tables
            translated = to_duckdb(sql, tables).strip().rstrip(";")
            try:
                frame = _frame(con, _limited(translated, most), given)
            except (duckdb.BinderException, duckdb.CatalogException):
                substitutes = self._substitutes(con, read)
                if not substitutes:
                    raise
                translated = to_duckdb(substitute(sql, substitutes), self._with(tables, substitutes))
                translated = translated.strip().rstrip(";")
                frame = _frame(con, _limited(translated, most), given)
            if row_limit is None or frame.height != most:
                return frame, frame.height
            total = None if counting is None else _count(con, translated, given, counting)
            return frame.head(row_limit), total

        frame, total = self._file.answer("query", ask, time_limit=time_limit)
        widened = frame.cast({name: _googlesql_width(dtype) for name, dtype in frame.schema.items()})
        return QueryResult(widened, Cost(seconds=time.perf_counter() - started), total)

    def to_pandas(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        time_limit: float | None = None,
    ) -> pd.DataFrame:
        """The result of one GoogleSQL SELECT with the types that `pandas-gbq` gives a frame."""
        return pandas_frame(self.query(sql, parameters, labels=labels, time_limit=time_limit).frame)

    def version(self) -> str | None:
        """The version that those tell who take turns, and the file's own state, which others change."""
        return self._file.version()

    def ledger(self, relation: Relation, slice_: Slice) -> pl.DataFrame:
        """The ledger's rows of a slice in order of loading."""
        return self.query(*slice_query(self._catalog[LEDGER], relation, slice_)).frame

    def describe(self, relation: Relation) -> RelationState | None:
        """What the warehouse holds under the relation's name; None if nothing."""

        def look(con: duckdb.DuckDBPyConnection) -> RelationState | None:
            if relation.id not in schema.ids(con):
                return None
            # A view whose table is gone is there all the same.
            made = self._substitutes(con, [relation]) if _is_view(relation) else {}
            source = quote(made[relation.id]) if relation.id in made else table_name(relation)
            columns = con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
            rows = scalar(con, f"SELECT count(*) FROM {source}")
            return RelationState({name: type_ for name, type_, *_ in columns}, rows)

        return self._file.answer(f"describe {relation.id}", look)

    def object_type(self, relation: Relation) -> ObjectType:
        """A table of each stored relation, a view of each other."""
        return wanted_form(relation)

    def survey(self, datasets: Sequence[str]) -> Mapping[str, Dataset]:
        """The schemas of these names, and what lies in each."""
        return self._file.answer("look for relations", lambda con: schema.survey(con, datasets))

    def diff(
        self,
        relations: Sequence[Relation],
        *,
        scope: SchemaScope = SchemaScope.ALL,
        jobs: int = 1,  # noqa: ARG002 - one look at the file tells of all of them
    ) -> list[RelationPlan]:
        """What brings each of these relations up to the catalogue."""
        return self._file.answer(
            "look for changes of the catalogue",
            lambda con: schema.compared(con, relations, self._tables, scope),
        )

    def quota_left(self) -> None:
        """A file sets no limits."""

    def _substitutes(self, con: duckdb.DuckDBPyConnection, read: Sequence[Relation]) -> dict[str, str]:
        """Makes temporary views, which live as long as the connection, of what is read and the file lacks; their names by relation.

        Tables of the platform's own that lack fields count too (see `fields_to_come`).
        """
        from gaelp_assets.sql.transpile import to_duckdb

        there = schema.ids(con)
        made: dict[str, str] = {}

        def to_come(relation: Relation) -> tuple[Field, ...]:
            if relation.id not in there:
                return ()
            return fields_to_come(relation, lambda: schema.column_names(con, relation))

        for relation in lacking(
            self._catalog,
            read,
            is_view=_is_view,
            is_there=lambda relation: relation.id in there,
            is_short=lambda relation: bool(to_come(relation)),
        ):
            name = f"_lacking_{len(made)}"
            added = to_come(relation)
            text = widened_select(relation, added) if added else empty_select(relation)
            if _is_view(relation):
                assert relation.sql is not None
                text = to_duckdb(substitute(relation.sql, made), self._with(self._tables, made))
                text = text.strip().rstrip(";")
            con.execute(f"CREATE TEMP VIEW {quote(name)} AS {text}")
            made[relation.id] = name
        return made

    def _with(self, tables: Tables | None, substitutes: Mapping[str, str]) -> Tables | None:
        """The tables, and the substitutes under their own names."""
        if tables is None:
            return None
        return {**tables, **{name: tables[relation_id] for relation_id, name in substitutes.items()}}


def _limited(sql: str, row_limit: int | None) -> str:
    return sql if row_limit is None else f"SELECT * FROM ({sql}\n) LIMIT {int(row_limit)}"


def _count(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object], seconds: float
) -> int | None:
    """How many rows a query has; None if that takes longer."""
    try:
        with ended_after(con, seconds):
            return int(_frame(con, f"SELECT count(*) FROM ({sql}\n)", parameters).item())
    except GaelpError:
        return None


def _bound(parameters: Parameters) -> dict[str, object]:
    """The values as DuckDB takes them: an integer is an INT64, whatever width would hold it, a decimal a NUMERIC."""
    return {name: _typed(value) for name, value in parameters.items()}


def _typed(value: ParameterValue) -> object:
    if isinstance(value, Decimal):
        return value.quantize(_NUMERIC_UNIT, context=_NUMERIC_DIGITS)  # if whole, it would be an integer
    if type(value) is int:
        return duckdb.Value(value, duckdb.sqltypes.BIGINT)
    if isinstance(value, list | tuple) and value and all(type(each) is int for each in value):
        return duckdb.Value(list(value), duckdb.list_type(duckdb.sqltypes.BIGINT))
    return value


def _is_view(relation: Relation) -> bool:
    return wanted_form(relation) is ObjectType.VIEW


def _frame(con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object]) -> pl.DataFrame:
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


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return cast("pl.DataType", dtype() if isinstance(dtype, type) else dtype)
