"""Which relations a GoogleSQL text reads, and in which order relations that read one another are made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter

from gaelp_assets.errors import GaelpError, Problem


@lru_cache(maxsize=1024)
def references(sql: str) -> frozenset[str]:
    """The `dataset.name` (or bare names) of the tables that a query reads, without its own common table expressions.

    Raises:
        ValueError: the text is not one GoogleSQL query; the message names line and column.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    try:
        statements = [s for s in sqlglot.parse(sql, dialect="bigquery") if s is not None]
    except sqlglot.errors.SqlglotError as error:
        raise ValueError(_first_error(error)) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise ValueError("not one SELECT statement")
    found = set()
    for scope in traverse_scope(statements[0]):
        for source in scope.sources.values():
            if isinstance(source, exp.Table):
                found.add(".".join(part.name for part in source.parts))
    return frozenset(found)


def place_of_reference(sql: str, name: str) -> str:
    """Where a query first reads a relation of that name, as `line 1, column 15`; empty if the parser has not kept it.

    >>> place_of_reference("SELECT id FROM media.frame", "media.frame")
    'line 1, column 16'
    """
    import sqlglot
    from sqlglot import exp

    for table in sqlglot.parse_one(sql, dialect="bigquery").find_all(exp.Table):
        place = table.parts[0].meta
        if ".".join(part.name for part in table.parts) == name and "line" in place:
            return f"line {place['line']}, column {place['col'] - (place['end'] - place['start'])}"
    return ""


def _first_error(error: Exception) -> str:
    details = getattr(error, "errors", None)
    if not details:
        return str(error).splitlines()[0]
    first = details[0]
    return f"line {first['line']}, column {first['col']}: {first['description']}"


def topological_order(upstream: Mapping[str, frozenset[str]]) -> list[str]:
    """The ids, each after those that it reads.

    Raises:
        GaelpError: some of them read one another in a circle.
    """
    try:
        return list(TopologicalSorter(upstream).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise GaelpError(
            Problem(f"relations read one another in a circle: {circle}", error.args[1][-1], "no circle")
        ) from None
