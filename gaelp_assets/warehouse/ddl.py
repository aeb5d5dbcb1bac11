"""DuckDB's statements that make a relation, or bring one that exists up to the catalogue. Text only: nothing is run here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gaelp_assets.catalog import Field, Relation, Slice
from gaelp_assets.catalog.model import LOAD_FIELDS
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.common import slice_condition
from gaelp_assets.warehouse.types import duckdb_type, literal, quote

# DuckDB's own names of a row's place; a column of that name would hide it.
RESERVED: Final = ("rowid", "file_index")


@dataclass(frozen=True)
class Column:
    """A column that the warehouse holds: DuckDB's name of its type, and whether it may be NULL."""

    type: str
    nullable: bool


@dataclass(frozen=True)
class Found:
    """What the warehouse holds under a relation's name."""

    is_view: bool
    comment: str | None
    columns: Mapping[str, Column]
    empty: bool = True
    """Whether a table has no rows; not looked up for a view."""


def table_name(relation: Relation) -> str:
    """`"dataset"."name"`."""
    return f"{quote(relation.dataset)}.{quote(relation.name)}"


def stored_fields(relation: Relation) -> tuple[Field, ...]:
    """The columns that the relation's table has: its fields and, where it is loaded, the platform's."""
    return (*relation.fields, *LOAD_FIELDS) if relation.is_loaded else relation.fields


def names(fields: tuple[Field, ...], prefix: str = "") -> str:
    """The fields' names as a list for SQL: `"a", "b"`, each after the prefix."""
    return ", ".join(prefix + quote(field.name) for field in fields)


def create_statements(relation: Relation) -> list[str]:
    """What makes the relation where there is none. Plain views are translated; stored ones start empty.

    Raises:
        GaelpError: a column has a name that DuckDB keeps for itself, or a view's SQL cannot be translated.
    """
    for name in set(RESERVED) & {field.name.lower() for field in relation.fields}:
        raise GaelpError(Problem(f"the field name {name!r} is DuckDB's own", relation.id, "another name"))
    schema = f"CREATE SCHEMA IF NOT EXISTS {quote(relation.dataset)}"
    if not relation.is_stored:
        name, sql = table_name(relation), view_sql(relation)
        return [
            schema,
            f"CREATE OR REPLACE VIEW {name} AS {sql}",
            f"COMMENT ON VIEW {name} IS {literal(digest(sql))}",
        ]
    columns = ", ".join(
        f"{quote(field.name)} {duckdb_type(field)}{' NOT NULL' if field.required else ''}"
        for field in stored_fields(relation)
    )
    return [schema, f"CREATE TABLE {table_name(relation)} ({columns})"]


def evolve_statements(relation: Relation, found: Found) -> list[str]:
    """What brings a relation that exists up to the catalogue; nothing if it is. Columns that the catalogue no longer has
    stay, without NOT NULL.

    Raises:
        GaelpError: a column's type differs, or a REQUIRED one is missing, and the table has rows; or a table with loaded
            rows would become a view.
    """
    if not relation.is_stored:
        if found.is_view:
            current = found.comment == digest(view_sql(relation))
            return [] if current else create_statements(relation)
        if "_batch_id" in found.columns and not found.empty:
            raise GaelpError(
                Problem(
                    "holds loaded rows, and is a view in the catalogue",
                    where=relation.id,
                    remedy="Drop the table, or give the view another name.",
                )
            )
        return [f"DROP TABLE {table_name(relation)}", *create_statements(relation)]
    if found.is_view:
        return [f"DROP VIEW {table_name(relation)}", *create_statements(relation)]
    return _evolve_table(relation, found)


def _evolve_table(relation: Relation, found: Found) -> list[str]:
    name = table_name(relation)
    statements: list[str] = []
    problems: list[Problem] = []
    wanted = {field.name: field for field in stored_fields(relation)}
    for field in wanted.values():
        where = f"{relation.id}, field {field.name}"
        column = found.columns.get(field.name)
        if column is None:
            if field.required:
                problems.append(Problem("a new field is REQUIRED", where, "NULLABLE, as rows exist already"))
            statements.append(f"ALTER TABLE {name} ADD COLUMN {quote(field.name)} {duckdb_type(field)}")
            continue
        if not same_type(column.type, duckdb_type(field)):
            if not _widens(column.type, field):
                problems.append(
                    Problem(
                        f"the warehouse holds {column.type}",
                        where,
                        duckdb_type(field),
                        "Give the field a new name, or drop the table and load it again.",
                    )
                )
            statements.append(
                f"ALTER TABLE {name} ALTER COLUMN {quote(field.name)} SET DATA TYPE {duckdb_type(field)}"
            )
        if not column.nullable and not field.required:
            statements.append(f"ALTER TABLE {name} ALTER COLUMN {quote(field.name)} DROP NOT NULL")
    statements += [
        f"ALTER TABLE {name} ALTER COLUMN {quote(extra)} DROP NOT NULL"
        for extra, column in found.columns.items()
        if extra not in wanted and not column.nullable
    ]
    if problems and found.empty:
        return [f"DROP TABLE {name}", *create_statements(relation)]
    if problems:
        raise GaelpError(*problems)
    return statements


def same_type(left: str, right: str) -> bool:
    """Whether two texts name the same DuckDB type."""
    import duckdb

    return str(duckdb.type(left)) == str(duckdb.type(right))


def _widens(found: str, field: Field) -> bool:
    """Whether the field only adds nested fields to the record that the warehouse holds."""
    import duckdb

    return _only_adds(duckdb.type(found), duckdb.type(duckdb_type(field)))


def _only_adds(old: object, new: object) -> bool:
    kind = getattr(old, "id", None)
    if kind != getattr(new, "id", None) or kind not in {"struct", "list"}:
        return str(old) == str(new)
    before, after = (dict(getattr(type_, "children", ())) for type_ in (old, new))
    return all(name in after and _only_adds(child, after[name]) for name, child in before.items())


def view_sql(relation: Relation) -> str:
    """The DuckDB SQL of a derived relation's query."""
    from gaelp_assets.sql.transpile import to_duckdb

    assert relation.sql is not None
    return to_duckdb(relation.sql).strip().rstrip(";")


def digest(sql: str) -> str:
    """What a view's comment says of the SQL that it was made from."""
    return f"gaelp {hashlib.sha256(sql.encode()).hexdigest()}"


def slice_predicate(relation: Relation, slice_: Slice, prefix: str = "") -> str:
    """The slice as a DuckDB condition of constants (see `common.slice_condition`)."""
    return slice_condition(relation, slice_, prefix, quote, literal)
