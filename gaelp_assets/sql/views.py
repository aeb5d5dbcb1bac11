"""What is wrong with derived relations: their queries against the fields that the catalogue declares, before anything runs.

Here, as far as GoogleSQL's rules of names and types tell. What DuckDB says of the translation is in `warehouse.duckdb.binding`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import Field, Relation
from gaelp_assets.catalog.references import NotAQueryError, parsed
from gaelp_assets.catalog.texts import references
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.sql.measures import measure_problems
from gaelp_assets.sql.scope import Tables, place
from gaelp_assets.sql.slicing import slice_problems
from gaelp_assets.sql.tables import tables_of
from gaelp_assets.sql.transpile import Bound, BoundColumn, bind
from gaelp_assets.sql.types import Type, is_assignable, output_column, type_of_field

_FITS = {
    "FLOAT64": "FLOAT64, NUMERIC or INT64",
    "NUMERIC": "NUMERIC or INT64",
    "DATETIME": "DATETIME or DATE",
}
"""What a field of a type takes; every other takes its own type alone."""


def view_problems(catalog: Catalog) -> dict[str, list[Problem]]:
    """What is wrong with each derived relation of a catalogue by itself, by its id; those without problems are left out.

    A relation is bound against the declared fields of what it reads, so that a broken view breaks none that reads it.

    >>> from gaelp_assets.catalog import load_catalog
    >>> view_problems(load_catalog())
    {}
    """
    return problems_of_views(catalog)


def problems_of_views(relations: Iterable[Relation]) -> dict[str, list[Problem]]:
    """As `view_problems`, of relations that are no catalogue yet: names that none of them has are taken for relations of any fields.

    What keeps a text from being a query at all, and names of relations, are for `catalog.validate`, and not told again.
    """
    known = list(relations)
    tables = tables_of(known)
    found = {
        relation.id: query_problems(relation, tables, known) for relation in known if relation.is_derived
    }
    return {relation_id: problems for relation_id, problems in found.items() if problems}


def query_problems(relation: Relation, tables: Tables, relations: Iterable[Relation]) -> list[Problem]:
    """What is wrong with a derived relation's query: names, types, columns other than those declared, slices that it cannot be kept in.

    Args:
        relation: a derived one.
        tables: the fields of the relations that there are, by id.
        relations: the relations that there are.
    """
    if relation.sql is None:
        return measure_problems(relation)
    found = _bound(relation, tables)
    if found is None:
        return []
    file = relation.where(sql=True)
    # Every problem of a query starts with `SQL`; here it is known which.
    own = [replace(problem, where=file + problem.where.removeprefix("SQL")) for problem in found.problems]
    problems = [*own, *_parameters(relation), *_differences(relation, found), *measure_problems(relation)]
    return [*problems, *(slice_problems(relations, relation) if _gives_slices(relation, found) else ())]


def _gives_slices(relation: Relation, bound: Bound) -> bool:
    """Whether the query is valid, and has the columns that its relation is sliced by."""
    by = relation.partitioning
    given = {column.name.lower() for column in bound.columns or ()}
    wanted = {name.lower() for name in (by.date, by.environment) if name is not None} if by else set()
    return not bound.problems and not relation.unread and bound.columns is not None and wanted <= given


def _bound(relation: Relation, tables: Tables) -> Bound | None:
    """The relation's query among these tables and, beside them, relations of any fields; None if it is no query."""
    assert relation.sql is not None
    try:
        read = references(relation.sql)
        names = {name for known in tables for name in (known, known.rpartition(".")[2])}
        return bind(relation.sql, {**tables, **dict.fromkeys(read - names)})
    except NotAQueryError:
        return None


def _parameters(relation: Relation) -> Iterator[Problem]:
    if "@" not in (relation.sql or ""):
        return
    from sqlglot import exp

    for parameter in parsed(relation.sql or "").find_all(exp.Parameter):
        where = relation.where(sql=True) + place(parameter).removeprefix("SQL")
        yield Problem(
            f"the parameter @{parameter.name}", where, "no parameters: a view has nobody to give them"
        )


def check_columns(relation: Relation, catalog: Catalog) -> None:
    """Lets a derived relation pass whose query gives the columns that it declares, so that storing its rows casts and drops nothing.

    What else is wrong with a query, each engine says when it runs it.

    Args:
        relation: a derived one.
        catalog: what it is of.

    Raises:
        GaelpError: with every difference.
    """
    found = _bound(relation, tables_of(catalog))
    problems = list(_differences(relation, found)) if found is not None else []
    if problems:
        raise GaelpError(*problems)


def _differences(relation: Relation, bound: Bound) -> Iterator[Problem]:
    """Where the columns of a query are not those that its relation declares."""
    if bound.columns is None:
        return  # a * over a relation whose fields cannot be read
    file = relation.where(sql=True)
    given = {column.name.lower(): column for column in bound.columns}
    declared = {field.name.lower(): field for field in relation.fields}
    start = bound.columns[0].place if bound.columns else ""
    for name, field in declared.items():
        if name not in given and relation.is_read(field.name):
            where = _where(file, start, field.name)
            yield _not_given(field, where, given.keys() - declared.keys())
    for name, column in given.items():
        where = _where(file, column.place, column.name)
        if name not in declared:
            if "fields" not in relation.unread:
                yield _not_declared(column, where, declared.keys() - given.keys(), relation)
        elif relation.is_read(declared[name].name):
            yield from _type_problems(column, declared[name], where)


def _where(file: str, line_and_column: str, field: str) -> str:
    return ", ".join(part for part in (file, line_and_column, f"field {field}") if part)


def _not_given(field: Field, where: str, others: Collection[str]) -> Problem:
    return Problem(
        f"the query gives no column {field.name}" + _did_you_mean(field.name, others),
        where,
        "a column for each declared field",
        f"Write AS {field.name} after its expression, or take the field away.",
    )


def _not_declared(column: BoundColumn, where: str, others: Collection[str], relation: Relation) -> Problem:
    declared = f" ({_declaration(column)})" if column.type.known else ""
    return Problem(
        f"no field declares the column {column.name}" + _did_you_mean(column.name, others),
        where,
        f"a field of that name in {relation.name}.json",
        f"Declare it{declared}, or take it out of the query.",
    )


def _type_problems(column: BoundColumn, field: Field, where: str) -> Iterator[Problem]:
    wanted = type_of_field(field)
    if not is_assignable(column.type, wanted):
        fits = _FITS.get(wanted.name, str(wanted))
        yield Problem(
            f"the query gives {column.type}, the field is declared as {_words(field)}",
            where,
            fits,
            _remedy(column, wanted),
        )
    elif field.required and column.always_null:
        yield Problem("the query gives NULL, the field is REQUIRED", where, "a value, or mode NULLABLE")


def _remedy(column: BoundColumn, wanted: Type) -> str:
    declare = f"eclare the field as {_declaration(column)}."
    if column.type.name in {"NULL", "EMPTY"}:
        return f"Write CAST(NULL AS {wanted}), or d{declare}"
    scalars = not {"ARRAY", "STRUCT"} & {column.type.name, wanted.name}
    if scalars and (column.type.name, wanted.name) == ("FLOAT64", "INT64"):
        return f"Say in the query how it becomes whole (CAST(ROUND(...) AS INT64), say), or d{declare}"
    return f"Write CAST(... AS {wanted}) in the query, or d{declare}" if scalars else f"D{declare}"


def _declaration(column: BoundColumn) -> str:
    """The type of a field that takes the column, in the words of a catalogue file."""
    found = output_column(column.name, column.type)
    return found.type if found.mode == "NULLABLE" else f"{found.type}, mode {found.mode}"


def _words(field: Field) -> str:
    if field.type == "RECORD":
        return f"RECORD ({type_of_field(field)})"
    return f"{field.type}, mode REPEATED" if field.repeated else field.type


def _did_you_mean(name: str, others: Collection[str]) -> str:
    near = difflib.get_close_matches(name.lower(), sorted(others), n=1)
    return f", did you mean {near[0]!r}?" if near else ""
