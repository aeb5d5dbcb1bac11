"""What DuckDB says of derived relations before there is a row: each query, translated, is bound on empty tables in memory."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.model import stored_fields
from gaelp_assets.catalog.texts import references
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.duckdb.ddl import found_column, table_name, view_sql
from gaelp_assets.warehouse.duckdb.dialect import duckdb_type, quote

if TYPE_CHECKING:
    import duckdb


def duckdb_problems(relations: Iterable[Relation], views: Iterable[Relation]) -> dict[str, list[Problem]]:
    """What is wrong with each of the `views` in DuckDB, by its id; those without problems are left out.

    Args:
        relations: all that there are; a view that another reads stands in memory as an empty table, too.
        views: derived relations that `sql.views.view_problems` finds nothing wrong with.
    """
    import duckdb

    known = {relation.id: relation for relation in relations}
    tables = {relation.id: stored_fields(relation) for relation in known.values()}
    looked_at = list(views)
    read = sorted({id_ for view in looked_at for id_ in references(view.sql or "") if id_ in known})
    found: dict[str, list[Problem]] = {}
    with duckdb.connect(":memory:", config={"threads": 1}) as con:
        con.execute("SET TimeZone = 'UTC'")
        for dataset, group in groupby(map(known.__getitem__, read), key=lambda relation: relation.dataset):
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(dataset)}")
            for relation in group:
                columns = (f"{quote(f.name)} {duckdb_type(f)}" for f in tables[relation.id])
                con.execute(f"CREATE TABLE {table_name(relation)} ({', '.join(columns)})")
        for view in looked_at:
            try:
                problems = _differences(con, view, view_sql(view, tables))
            except GaelpError as error:
                problems = list(error.problems)
            except duckdb.Error as error:
                # There are no rows here whose values a message could quote.
                what = f"DuckDB refuses the query: {str(error).splitlines()[0]}"
                problems = [Problem(what, view.where(sql=True), "a query that both engines take")]
            if problems:
                found[view.id] = problems
    return found


def _differences(con: duckdb.DuckDBPyConnection, view: Relation, sql: str) -> list[Problem]:
    """Columns that DuckDB would cast when it stores them, whatever GoogleSQL's rules say of their types."""
    from gaelp_assets.sql.types import is_assignable, type_of_field

    declared = {field.name.lower(): field for field in view.fields}
    problems = []
    for name, type_, *_ in con.execute(f"DESCRIBE {sql}").fetchall():
        field = declared[name.lower()]
        given = found_column(name, type_, nullable=True, comment=None)
        if not is_assignable(type_of_field(given), type_of_field(field)):
            where = f"{view.where(sql=True)}, field {field.name}"
            problems.append(
                Problem(f"DuckDB gives {type_}, the field is declared as {field.type}", where, field.type)
            )
    return problems
