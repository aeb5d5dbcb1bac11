"""GoogleSQL to DuckDB. Here: the way through. What names and types mean is in `resolve`, what is allowed in `functions`, and what DuckDB
would do otherwise is corrected in `transforms*`.

What holds of the result: whenever GoogleSQL gives a result from finite numbers, DuckDB gives the same (floating point sums and
transcendental functions up to the last digits); where GoogleSQL has an error, DuckDB has one too. Overflow and NUMERIC on columns are
so only where the columns' types are known: with `tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

from gaelp_assets.catalog.references import NotAQueryError, parsed
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.sql.functions import problems_of
from gaelp_assets.sql.resolve import Resolved, resolve
from gaelp_assets.sql.scope import Tables, place
from gaelp_assets.sql.types import Described, OutputColumn, Type, output_column, type_of, type_of_field, typed
from gaelp_assets.sql.values import is_always_null

if TYPE_CHECKING:
    from sqlglot import exp


class BoundColumn(NamedTuple):
    """A column of a query's result."""

    name: str
    type: Type
    place: str
    """Where it is written, as `line 2, column 7`; empty where the parser has not kept it."""
    always_null: bool
    """Whether it is written as a NULL."""


class Bound(NamedTuple):
    """What a query means among relations: its columns (None where they cannot be known), and what is wrong with it."""

    duckdb: str
    """The translation; empty where there are problems."""
    columns: tuple[BoundColumn, ...] | None
    problems: tuple[Problem, ...]


def to_duckdb(sql: str, tables: Tables | None = None) -> str:
    """One GoogleSQL query as DuckDB's SQL, with `@name` parameters as `$name`.

    The session that runs it must have `TimeZone = 'UTC'`.

    Args:
        sql: the query.
        tables: the fields of every relation that the query may read, by `dataset.name`. Without them the columns of relations have
            types that are not known: what depends on a type is then decided by DuckDB when the query runs, or refused.

    Raises:
        GaelpError: not one query, a name or type that is wrong in GoogleSQL, or something that is not on the list of `functions`;
            all such things at once.
    """
    return _bound_or_refused(sql, tables).duckdb


def output_columns(sql: str, tables: Tables | None = None) -> tuple[OutputColumn, ...]:
    """Name, BigQuery type and mode of each column of a query's result, as far as `tables` tells.

    Raises:
        GaelpError: as `to_duckdb`, and for a `*` over a relation that `tables` does not have.

    >>> [(column.name, column.type) for column in output_columns("SELECT 1 AS n, 0.5, [DATE '2026-11-20'] AS days")]
    [('n', 'INTEGER'), ('f0_', 'FLOAT'), ('days', 'DATE')]
    """
    columns = _bound_or_refused(sql, tables).columns
    if columns is None:
        problem = Problem(
            "the columns of * are not known", "SQL", "the fields of all relations, or columns by name"
        )
        raise GaelpError(problem)
    return tuple(output_column(column.name, column.type) for column in columns)


def bind(sql: str, tables: Tables | None = None) -> Bound:
    """The query's meaning among relations of these fields, cached by the relations whose names stand in the text.

    Args:
        sql: the query.
        tables: as for `to_duckdb`.

    Raises:
        GaelpError: the text is not one query.

    >>> [problem.what for problem in bind("SELECT nme, COUNT(*) FROM a.t", {"a.t": ()}).problems]
    ['unrecognised name nme']
    """
    found = _bound(sql, _relevant(sql, tables))
    # The other relations are needed to say which one was meant.
    return _bound(sql, _Tables(tables)) if found.problems and tables is not None else found


def resolved_query(sql: str, tables: Tables) -> Resolved:
    """The query with every name and type resolved among relations of these fields. All who ask share the tree: nobody may change it.

    Raises:
        GaelpError: the text is not one query.
    """
    return _resolved(sql, _relevant(sql, tables))


def _relevant(sql: str, tables: Tables | None) -> _Tables | None:
    """The relations whose names stand in the text: with them alone, a large catalogue costs little."""
    if tables is None:
        return None
    return _Tables({id_: fields for id_, fields in tables.items() if id_.rpartition(".")[2] in sql})


def _bound_or_refused(sql: str, tables: Tables | None) -> Bound:
    found = bind(sql, tables)
    if found.problems:
        raise GaelpError(*found.problems)
    return found


class _Tables(Mapping[str, Sequence[Described] | None]):
    """Fields by relation, which can be a key of a cache: two are equal if their types are."""

    def __init__(self, fields: Tables) -> None:
        self._fields = fields
        self._types = tuple(
            (id_, None if own is None else tuple((f.name, type_of_field(f)) for f in own))
            for id_, own in sorted(fields.items())
        )
        self._hash = hash(self._types)

    def __getitem__(self, id_: str) -> Sequence[Described] | None:
        return self._fields[id_]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Tables) and self._types == other._types


@lru_cache(maxsize=512)
def _resolved(sql: str, tables: _Tables | None) -> Resolved:
    return resolve(parse(sql), tables)


@lru_cache(maxsize=1024)
def _bound(sql: str, tables: _Tables | None) -> Bound:
    tree = parse(sql)
    refused = problems_of(tree)
    resolved = _resolved(sql, tables)
    problems = list(dict.fromkeys([*refused, *resolved.problems]))
    columns, text = resolved.columns, ""
    if not problems:
        try:
            text = translate(resolved.tree).sql(dialect="duckdb", comments=False, copy=False)
        except GaelpError as error:
            problems += error.problems
    if columns is None:
        return Bound(text, None, tuple(problems))
    items, written = resolved.tree.selects, tree.selects
    # Names after AS are written by the resolver again, and `*` is several columns: a place is looked for in both trees.
    seen = written if len(written) == len(items) else items
    return Bound(
        text,
        tuple(
            BoundColumn(
                column.name,
                column.type,
                _line_and_column(item) or _line_and_column(as_written),
                is_always_null(item.unalias()),
            )
            for column, item, as_written in zip(columns, items, seen, strict=True)
        ),
        tuple(problems),
    )


def _line_and_column(node: exp.Expr) -> str:
    return place(node).removeprefix("SQL").removeprefix(", ")


def parse(sql: str) -> exp.Query:
    """The tree of one GoogleSQL query. All who ask share it: nobody may change it.

    Raises:
        GaelpError: the text is not one query; the message names line and column.
    """
    try:
        return parsed(sql)
    except NotAQueryError as error:
        place = f"SQL, {error.place}" if error.place else "SQL"
        raise GaelpError(Problem(error.what, place, "one GoogleSQL SELECT statement")) from None


def translate(tree: exp.Query) -> exp.Expr:
    """The tree in DuckDB's terms, the innermost expressions first.

    Raises:
        GaelpError: a form of an allowed function that has no equal.
    """
    from sqlglot import exp

    from gaelp_assets.sql import (
        transforms,
        transforms_cast,
        transforms_json,
        transforms_number,
        transforms_text,
        transforms_time,
    )
    from gaelp_assets.sql.template import finish_errors, is_key, mark_key, null_instead_of_error
    from gaelp_assets.sql.trees import copied

    rules = {
        **transforms.TRANSFORMS,
        **transforms_number.TRANSFORMS,
        **transforms_text.TRANSFORMS,
        **transforms_json.TRANSFORMS,
        **transforms_time.TRANSFORMS,
        **transforms_cast.TRANSFORMS,
    }
    root = exp.Tuple(expressions=[copied(tree)])
    for node in reversed(list(root.expressions[0].walk(bfs=False))):
        rule = rules.get(type(node))
        try:
            if isinstance(node.parent, exp.SafeFunc):
                node.parent.replace(typed(null_instead_of_error(node, rule), type_of(node)))
                continue
            if rule is None:
                continue
            becomes = rule(node)
        except GaelpError as error:
            where = place(node)
            raise GaelpError(
                *(replace(p, where=where) if p.where == "SQL" else p for p in error.problems)
            ) from None
        function_to_operator = isinstance(node, exp.Func) or not isinstance(node, exp.Binary)
        if function_to_operator and isinstance(becomes, exp.Binary) and not isinstance(becomes, exp.Dot):
            becomes = exp.Paren(this=becomes)
        if becomes is not node:
            node.replace(typed(mark_key(becomes) if is_key(node) else becomes, type_of(node)))
    finish_errors(root)
    return cast("exp.Expr", root.expressions[0])
