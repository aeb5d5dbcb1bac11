"""DuckDB's statements that make a relation, or bring one that exists up to the catalogue. Text only: nothing is run here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from gaelp_assets.catalog import Field, Relation, Slice
from gaelp_assets.catalog.model import stored_fields
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse import slices
from gaelp_assets.warehouse.duckdb.dialect import DUCKDB, duckdb_type, literal, quote
from gaelp_assets.warehouse.schema.model import (
    Action,
    Change,
    ColumnSchema,
    ObjectType,
    RelationPlan,
    Status,
    TableSchema,
    columns_of,
)

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

    from gaelp_assets.sql.scope import Tables

# DuckDB's own names of a row's place; a column of that name would hide it.
RESERVED: Final = ("rowid", "file_index")
_CATALOG_TYPES: Final = {name: word for word, name in DUCKDB.items()}


def table_name(relation: Relation) -> str:
    """`"dataset"."name"`."""
    return f"{quote(relation.dataset)}.{quote(relation.name)}"


def names(fields: tuple[Field, ...], prefix: str = "") -> str:
    """The fields' names as a list for SQL: `"a", "b"`, each after the prefix."""
    return ", ".join(prefix + quote(field.name) for field in fields)


def wanted_form(relation: Relation) -> ObjectType:
    """A table of each stored relation, a view of each other."""
    return ObjectType.TABLE if relation.is_stored else ObjectType.VIEW


def wanted_shape(relation: Relation, tables: Tables | None = None) -> TableSchema:
    """What DuckDB is to hold of a relation: it knows no labels, no partitions, and nothing of nested fields but their types.

    Raises:
        GaelpError: a view's SQL cannot be translated.
    """
    if wanted_form(relation) is ObjectType.VIEW:
        return TableSchema(
            ObjectType.VIEW, query=digest(view_sql(relation, tables)), description=relation.description
        )
    columns = (
        ColumnSchema(c.name, c.type, c.mode, c.description, _bare(c.fields))
        for c in columns_of(stored_fields(relation))
    )
    return TableSchema(
        ObjectType.TABLE, tuple(columns), description=relation.description, sql_name=table_name(relation)
    )


def _bare(columns: Sequence[ColumnSchema]) -> tuple[ColumnSchema, ...]:
    return tuple(
        ColumnSchema(c.name, c.type, "REPEATED" if c.mode == "REPEATED" else "NULLABLE", "", _bare(c.fields))
        for c in columns
    )


def found_column(name: str, type_: str, *, nullable: bool, comment: str | None) -> ColumnSchema:
    """A column as DuckDB's catalogue tells it, its type as DuckDB writes it."""
    import duckdb

    column = _column(name, duckdb.type(type_))
    mode = column.mode if column.mode == "REPEATED" or nullable else "REQUIRED"
    return ColumnSchema(name, column.type, mode, comment or "", column.fields)


def _column(name: str, type_: DuckDBPyType) -> ColumnSchema:
    mode = "NULLABLE"
    if type_.id == "list":
        type_, mode = cast("DuckDBPyType", type_.children[0][1]), "REPEATED"
    if type_.id == "struct":
        fields = (_column(field, cast("DuckDBPyType", child)) for field, child in type_.children)
        return ColumnSchema(name, "RECORD", mode, "", tuple(fields))
    return ColumnSchema(name, _CATALOG_TYPES.get(str(type_), f"DuckDB's {type_}"), mode)


def found_view(columns: tuple[ColumnSchema, ...], comment: str | None) -> TableSchema:
    """A view; its comment tells its description, and a digest of the SQL that it was made from."""
    description, _, made_from = (comment or "").rpartition("\n")
    return TableSchema(ObjectType.VIEW, columns, made_from, description)


def create_statements(relation: Relation, tables: Tables | None = None) -> list[str]:
    """What makes the relation where there is none. Plain views are translated; stored ones start empty.

    Raises:
        GaelpError: a column has a name that DuckDB keeps for itself, or a view's SQL cannot be translated.
    """
    for name in set(RESERVED) & {field.name.lower() for field in relation.fields}:
        raise GaelpError(Problem(f"the field name {name!r} is DuckDB's own", relation.id, "another name"))
    schema = f"CREATE SCHEMA IF NOT EXISTS {quote(relation.dataset)}"
    if not relation.is_stored:
        return [
            schema,
            f"CREATE OR REPLACE VIEW {table_name(relation)} AS {view_sql(relation, tables)}",
            _comment(relation, tables),
        ]
    columns = ", ".join(
        f"{quote(field.name)} {duckdb_type(field)}{' NOT NULL' if field.required else ''}"
        for field in stored_fields(relation)
    )
    described = [
        _comment_column(relation, field.name, field.description)
        for field in stored_fields(relation)
        if field.description
    ]
    return [schema, f"CREATE TABLE {table_name(relation)} ({columns})", _comment(relation), *described]


def empty_select(relation: Relation) -> str:
    """A query without rows that has the columns of the relation's table."""
    return f"SELECT {_nulls(stored_fields(relation))} WHERE FALSE"


def widened_select(relation: Relation, fields: Sequence[Field]) -> str:
    """A query of the relation's table with those fields besides, NULL in every row."""
    return f"SELECT *, {_nulls(fields)} FROM {table_name(relation)}"


def _nulls(fields: Sequence[Field]) -> str:
    return ", ".join(f"NULL::{duckdb_type(field)} AS {quote(field.name)}" for field in fields)


def statements(planned: RelationPlan, tables: Tables | None = None) -> list[str]:
    """What carries out a plan without refusals; nothing if the relation is what the catalogue says."""
    relation = planned.relation
    match planned.status:
        case Status.CREATE:
            return create_statements(relation, tables)
        case Status.REPLACE:
            kind = "VIEW" if planned.stored is ObjectType.VIEW else "TABLE"
            return [f"DROP {kind} {table_name(relation)}", *create_statements(relation, tables)]
        case _ if any(change.action is Action.QUERY for change in planned.changes):
            return create_statements(relation, tables)
    fields = {field.name.lower(): field for field in stored_fields(relation)}
    result: dict[str, None] = {}  # several nested changes are one change of their column's type
    for change in planned.changes:
        top = change.field.partition(".")[0]
        for statement in _change_statements(relation, change, top, fields.get(top.lower()), tables):
            result[statement] = None
    return list(result)


def _change_statements(
    relation: Relation, change: Change, top: str, field: Field | None, tables: Tables | None
) -> list[str]:
    table, column = f"ALTER TABLE {table_name(relation)}", f"ALTER COLUMN {quote(top)}"
    if change.action is Action.DESCRIBE and not change.field:
        return [_comment(relation, tables)]
    if change.action is Action.RENAME:
        return [f"{table} RENAME COLUMN {quote(change.found)} TO {quote(top)}"]
    if change.action is Action.RELAX:
        return [f"{table} {column} DROP NOT NULL"]
    assert field is not None, "a field that the catalogue does not have is relaxed, and no more"
    match change.action:
        case Action.ADD_FIELD if top == change.field:
            added = f"{table} ADD COLUMN {quote(top)} {duckdb_type(field)}"
            return [
                added,
                *([_comment_column(relation, top, field.description)] if field.description else []),
            ]
        case Action.ADD_FIELD | Action.WIDEN:
            return [f"{table} {column} SET DATA TYPE {duckdb_type(field)}"]
        case Action.DESCRIBE:
            return [_comment_column(relation, top, field.description)]
        case _:
            raise AssertionError(f"DuckDB has no {change.action}")


def _comment(relation: Relation, tables: Tables | None = None) -> str:
    if relation.is_stored:
        return f"COMMENT ON TABLE {table_name(relation)} IS {literal(relation.description)}"
    text = f"{relation.description}\n{digest(view_sql(relation, tables))}"
    return f"COMMENT ON VIEW {table_name(relation)} IS {literal(text)}"


def _comment_column(relation: Relation, name: str, text: str) -> str:
    return f"COMMENT ON COLUMN {table_name(relation)}.{quote(name)} IS {literal(text)}"


def view_sql(relation: Relation, tables: Tables | None = None) -> str:
    """The DuckDB SQL of a derived relation's query.

    Args:
        relation: a derived one.
        tables: the fields of what it may read, by id: with them the query is checked and computed by GoogleSQL's types.
    """
    from gaelp_assets.sql.transpile import to_duckdb

    assert relation.sql is not None
    return to_duckdb(relation.sql, tables).strip().rstrip(";")


def digest(sql: str) -> str:
    """What a view's comment says of the SQL that it was made from."""
    return f"gaelp {hashlib.sha256(sql.encode()).hexdigest()}"


def slice_predicate(relation: Relation, slice_: Slice, prefix: str = "") -> str:
    """The slice as a DuckDB condition of constants (see `slices.slice_condition`)."""
    return slices.slice_condition(relation, slice_, prefix, quote, literal)


def slices_predicate(relation: Relation, slices_: Sequence[Slice]) -> str:
    """Several slices as one condition (see `slices.slices_condition`)."""
    return slices.slices_condition(relation, slices_, "", quote, literal)
