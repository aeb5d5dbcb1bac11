"""What carries the slice of a row through a query: columns, range variables, and the forms of expressions that change no date and no id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp

from gaelp_assets.sql.scope import place

DATE: Final = "date"
ENVIRONMENT: Final = "environment"
Dimensions = frozenset[str]
NONE: Final[Dimensions] = frozenset()
_CLAUSES: Final = ("partition_by", "order", "spec")
OUTER: Final = ""
"""Stands for the row of the query around a subquery among the range variables that are linked."""


@dataclass(frozen=True)
class Rows:
    """What a query or relation gives: each column's name with the dimensions that it carries."""

    columns: tuple[tuple[str, Dimensions], ...]
    sliced: bool
    """Whether its rows are made of slices at all. Those of dimensions and constants go with every slice."""

    def carries(self, name: str) -> Dimensions:
        """What the column of that name carries, whatever its case."""
        return next((found for column, found in self.columns if column.lower() == name.lower()), NONE)


@dataclass
class RangeVariables:
    """The range variables of a SELECT, those of the queries around it, and what is linked by equal carriers, for each dimension."""

    wanted: Dimensions
    """The dimensions that are looked at."""
    sources: dict[str, Rows] = field(default_factory=dict)
    never_all_null: list[frozenset[str]] = field(default_factory=list)
    """Sets of range variables of which each row has one at least: outer joins fill the others with NULL."""
    outer: RangeVariables | None = None
    links: dict[str, dict[str, str]] = field(default_factory=lambda: {DATE: {}, ENVIRONMENT: {}})

    def root(self, dimension: str, alias: str) -> str:
        """The one that stands for all that are linked with this one."""
        parents = self.links[dimension]
        while alias in parents:
            alias = parents[alias]
        return alias

    def link(self, dimension: str, one: str, other: str) -> None:
        """Notes that rows of both are of one slice."""
        one, other = self.root(dimension, one), self.root(dimension, other)
        if one != other:
            # The row around a subquery stays the root of what is linked with it.
            self.links[dimension][max(one, other)] = min(one, other)


def place_in(node: exp.Expr) -> str:
    """The place of a node in the text; where the parser has kept none, that of what it is a part of."""
    found = place(node)
    while found == "SQL" and node.parent is not None:
        node = node.parent
        found = place(node)
    return found


def whole_window(window: exp.Window, named: Mapping[str, exp.Window]) -> exp.Window:
    """A window with the clauses of the named one that it begins with."""
    base = named.get(str(window.alias).lower())
    if base is None or base is window:
        return window
    clauses = {
        key: value for key, value in whole_window(base, named).args.items() if key in _CLAUSES and value
    }
    return exp.Window(
        this=window.this, **{**clauses, **{k: v for k, v in window.args.items() if k in _CLAUSES and v}}
    )


def unwrapped(value: exp.Expr) -> exp.Expr:
    """The expression without what changes neither a date nor an id: parentheses, and the UTC day of a moment."""
    value = value.unnest()
    if isinstance(value, exp.Cast) and value.is_type("date"):
        return unwrapped(value.this)
    if (
        isinstance(value, exp.Date | exp.TsOrDsToDate)
        and not value.args.get("zone")
        and not value.expressions
    ):
        return unwrapped(value.this)
    if (
        isinstance(value, exp.TimestampTrunc)
        and value.text("unit").upper() == "DAY"
        and not value.args.get("zone")
    ):
        return unwrapped(value.this)
    if isinstance(value, exp.Extract) and value.name.upper() == "DATE":
        return unwrapped(value.expression)
    return value


def value_of(item: exp.Expr) -> exp.Expr:
    """What an item of a SELECT list gives, without its name."""
    value: exp.Expr = item.this if isinstance(item, exp.Alias) else item
    return value


def items_named(tree: exp.Expr, name: str) -> list[exp.Expr]:
    """The items of the SELECT lists that give a column: one for each part of a set operation; else the whole query."""
    selects = [tree]
    while (found := next((q for q in selects if not isinstance(q, exp.Select)), None)) is not None:
        place_of = selects.index(found)
        parts = [found.this, *([found.expression] if isinstance(found, exp.SetOperation) else [])]
        if not isinstance(found, exp.SetOperation | exp.Subquery):
            return [tree]
        selects[place_of : place_of + 1] = parts
    names = [item.alias_or_name.lower() for item in selects[0].expressions]
    if name.lower() not in names:
        return [tree]
    return [select.expressions[names.index(name.lower())] for select in selects]


def conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    """The conditions that all hold where this one does: the sides of its AND."""
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        yield from conjuncts(condition.this)
        yield from conjuncts(condition.expression)
    else:
        yield condition


def own_nodes(node: exp.Expr) -> Iterator[exp.Expr]:
    """The nodes of a SELECT that are not of a query inside it."""
    for child in node.iter_expressions():
        if not isinstance(child, exp.Query):
            yield child
            yield from own_nodes(child)


def subqueries_of(node: exp.Expr) -> Iterator[exp.Expr]:
    """The outermost queries inside an expression."""
    if isinstance(node, exp.Query):
        yield node
        return
    for child in node.iter_expressions():
        yield from subqueries_of(child)
