"""The tree of a GoogleSQL text, where it reads a relation, and in which order relations that read one another are made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from gaelp_assets.errors import GaelpError, Problem

if TYPE_CHECKING:
    from sqlglot import exp


class NotAQueryError(ValueError):
    """A text that is not one GoogleSQL query; `place` is `line 1, column 15`, or empty."""

    def __init__(self, what: str, place: str = "") -> None:
        self.what, self.place = what, place
        super().__init__(f"{place}: {what}" if place else what)


@lru_cache(maxsize=512)
def parsed(sql: str) -> exp.Query:
    """The tree of one GoogleSQL query. All who ask share it: nobody may change it.

    Raises:
        NotAQueryError: the text is not one query.
    """
    import sqlglot
    from sqlglot import exp

    try:
        statements = [s for s in sqlglot.parse(sql, dialect="bigquery") if s is not None]
    except sqlglot.errors.ParseError as error:
        first = error.errors[0]
        what = str(first["description"]).partition(" but got <Token")[0]
        raise NotAQueryError(what, f"line {first['line']}, column {first['col']}") from None
    except sqlglot.errors.SqlglotError as error:
        raise NotAQueryError(str(error).splitlines()[0]) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise NotAQueryError("not one SELECT statement")
    return statements[0]


def place_of_reference(sql: str, name: str) -> str:
    """Where a query first reads a relation of that name, as `line 1, column 15`; empty if the parser has not kept it.

    >>> place_of_reference("SELECT id FROM media.frame", "media.frame")
    'line 1, column 16'
    """
    from sqlglot import exp

    for table in parsed(sql).find_all(exp.Table):
        place = table.parts[0].meta
        if ".".join(part.name for part in table.parts) == name and "line" in place:
            return f"line {place['line']}, column {place['col'] - (place['end'] - place['start'])}"
    return ""


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
