"""What a DuckDB file holds of the catalogue's relations, and how one follows: reads DuckDB's own tables, runs `ddl`'s statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Final

import duckdb

from gaelp_assets.catalog import Relation
from gaelp_assets.sql.scope import Tables
from gaelp_assets.warehouse.duckdb.connection import first_row, scalar
from gaelp_assets.warehouse.duckdb.ddl import found_column, found_view, statements, table_name, wanted_shape
from gaelp_assets.warehouse.duckdb.dialect import quote
from gaelp_assets.warehouse.schema.diff import diff
from gaelp_assets.warehouse.schema.model import (
    ColumnSchema,
    Dataset,
    ObjectType,
    RelationPlan,
    SchemaScope,
    TableSchema,
)
from gaelp_assets.warehouse.schema.widening import with_kept_values

_RELATIONS: Final = (
    "SELECT schema_name || '.' || table_name AS id, schema_name AS dataset, table_name AS name, FALSE AS is_view, comment "
    "FROM duckdb_tables() WHERE database_name = current_database() UNION ALL "
    "SELECT schema_name || '.' || view_name, schema_name, view_name, TRUE, comment "
    "FROM duckdb_views() WHERE database_name = current_database()"
)


def ids(con: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The ids of all tables and views in the file."""
    return frozenset(str(found) for (found,) in con.execute(f"SELECT id FROM ({_RELATIONS})").fetchall())


def column_names(con: duckdb.DuckDBPyConnection, relation: Relation) -> list[str]:
    """The names of the columns that the file holds of a relation, in order."""
    columns = con.execute(f"SELECT * FROM {table_name(relation)} LIMIT 0").description
    return [str(column[0]) for column in columns or ()]


def shapes(con: duckdb.DuckDBPyConnection, relations: Sequence[Relation]) -> dict[str, TableSchema]:
    """The shapes of those relations that the file holds, by id."""
    ids = [relation.id for relation in relations]
    there = con.execute(
        f"SELECT id, is_view, comment FROM ({_RELATIONS}) WHERE list_contains($ids::VARCHAR[], id)",
        {"ids": ids},
    ).fetchall()
    if not there:  # DuckDB lists the columns of all relations to tell those of some
        return {}
    columns: dict[str, list[ColumnSchema]] = {}
    # No join and no order here: DuckDB's first one in a new connection costs ten times what the rest of this does.
    for relation_id, name, type_, nullable, comment, _ in sorted(
        con.execute(
            "SELECT schema_name || '.' || table_name AS id, column_name, data_type, is_nullable, comment, column_index "
            "FROM duckdb_columns() WHERE database_name = current_database() AND list_contains($ids::VARCHAR[], id)",
            {"ids": ids},
        ).fetchall(),
        key=itemgetter(5),
    ):
        column = found_column(name, type_, nullable=nullable, comment=comment)
        columns.setdefault(relation_id, []).append(column)
    found: dict[str, TableSchema] = {}
    for relation_id, is_view, comment in there:
        schema = tuple(columns.get(relation_id, ()))
        found[relation_id] = (
            found_view(schema, comment)
            if is_view
            else TableSchema(ObjectType.TABLE, schema, description=comment or "")
        )
    return found


def compared(
    con: duckdb.DuckDBPyConnection,
    relations: Sequence[Relation],
    tables: Tables,
    scope: SchemaScope = SchemaScope.ALL,
    found: Mapping[str, TableSchema] | None = None,
) -> list[RelationPlan]:
    """What brings each of these relations up to the catalogue; `found` are their `shapes`, where these are known."""
    if not relations:
        return []
    schema = shapes(con, relations) if found is None else found
    plans = (
        diff(
            relation,
            schema.get(relation.id),
            wanted_shape(relation, tables),
            partial(is_empty, con, relation),
            scope,
        )
        for relation in relations
    )
    return [
        with_kept_values(planned, partial(_altered, con, planned.relation), table_name(planned.relation))
        for planned in plans
    ]


def _altered(con: duckdb.DuckDBPyConnection, relation: Relation, path: str, type_: str) -> int:
    """How many values are others as a FLOAT: HUGEINT holds every whole one of both types, and DECIMAL each part of a NUMERIC."""
    value = ".".join(quote(part) for part in path.split("."))
    exact = "HUGEINT" if type_ == "INTEGER" else "DECIMAL(38, 9)"
    return scalar(
        con,
        f"SELECT count(*) FROM {table_name(relation)} "
        f"WHERE TRY_CAST({value}::DOUBLE AS {exact}) IS DISTINCT FROM {value}::{exact}",
    )


def is_empty(con: duckdb.DuckDBPyConnection, relation: Relation) -> bool:
    """Whether a table has no rows."""
    return first_row(con, f"SELECT 1 FROM {table_name(relation)} LIMIT 1") is None


def carry_out(con: duckdb.DuckDBPyConnection, planned: RelationPlan, tables: Tables) -> None:
    """Runs what a plan without refusals asks for."""
    for statement in statements(planned, tables):
        con.execute(statement)


def survey(con: duckdb.DuckDBPyConnection, datasets: Sequence[str]) -> Mapping[str, Dataset]:
    """The schemas of these names, and what lies in each."""
    schemas = {
        name
        for (name,) in con.execute(
            "SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database()"
        ).fetchall()
    }
    rows = con.execute(f"SELECT dataset, name, is_view FROM ({_RELATIONS}) ORDER BY ALL").fetchall()
    return {
        dataset: Dataset(
            dataset,
            dataset in schemas,
            {
                name: ObjectType.VIEW if is_view else ObjectType.TABLE
                for schema, name, is_view in rows
                if schema == dataset
            },
        )
        for dataset in datasets
    }
