"""How a value uses the columns that it is made of, in OpenLineage's words, and what becomes of that on its way through expressions.

Only the algebra: how it is read from a query is in `lineage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from gaelp_assets.sql.types import Type


class How(StrEnum):
    """What a column is used for. The first three are direct: a value is computed from it; the others decide about values or rows."""

    IDENTITY = "IDENTITY"  # the value itself, unchanged
    TRANSFORMATION = "TRANSFORMATION"  # an expression of one row
    AGGREGATION = "AGGREGATION"  # an aggregate of several rows
    CONDITIONAL = "CONDITIONAL"  # the condition of an IF or CASE
    WINDOW = "WINDOW"  # which rows, and in what order, a function over a window looks at
    SORT = "SORT"  # the order of rows, or of what is aggregated
    FILTER = "FILTER"  # which rows there are: WHERE, HAVING, QUALIFY, EXCEPT, INTERSECT
    JOIN = "JOIN"  # which rows meet: ON, USING, the length of an array that is unnested
    GROUP_BY = "GROUP_BY"  # which rows become one: GROUP BY, DISTINCT

    @property
    def is_direct(self) -> bool:
        """Whether values are computed from the column."""
        return self in _DIRECT


_DIRECT: Final = (How.IDENTITY, How.TRANSFORMATION, How.AGGREGATION)


class Use(NamedTuple):
    """A column of a relation, and what it is used for."""

    relation: str
    column: str
    """Its name; of a field of a RECORD its dotted path."""
    how: How


Uses = frozenset[Use]
NOTHING: Final[Uses] = frozenset()


def passed_on(how: How, uses: Iterable[Use]) -> Uses:
    """The uses of a value that is itself used in a way: the outermost indirect use counts, else the strongest direct one.

    >>> passed_on(How.AGGREGATION, [Use("a.t", "x", How.IDENTITY), Use("a.t", "y", How.CONDITIONAL)]) == {
    ...     Use("a.t", "x", How.AGGREGATION), Use("a.t", "y", How.CONDITIONAL)}
    True
    """
    if not how.is_direct:
        return frozenset(use._replace(how=how) for use in uses)
    rank = _DIRECT.index(how)
    return frozenset(
        use._replace(how=how) if use.how.is_direct and _DIRECT.index(use.how) < rank else use for use in uses
    )


class Lineage(NamedTuple):
    """What a query's result is made of."""

    columns: dict[str, Uses]
    """For each column, what its values depend on; for each field of a STRUCT too, by its dotted path, where fields are told apart."""
    rows: Uses
    """What decides which rows there are, and in which order."""

    def sources(self, column: str) -> list[tuple[str, str]]:
        """The columns `(relation id, column)` that the values of a column depend on, in any way, in order."""
        return sorted({(use.relation, use.column) for use in self.columns.get(column, ())})


@dataclass(frozen=True)
class Value:
    """What a value is made of: as a whole, and field by field of a STRUCT, or by the elements of an ARRAY, where that is known."""

    whole: Uses = NOTHING
    fields: tuple[tuple[str, Value], ...] = ()
    element: Value | None = None

    def field(self, name: str) -> Value:
        """A field of a STRUCT; where its fields are not told apart, the whole."""
        return next((value for own, value in self.fields if own.lower() == name.lower()), Value(self.whole))

    @property
    def elements(self) -> Value:
        """Any element of an ARRAY."""
        return self.element if self.element is not None else Value(self.whole)

    def used(self, how: How) -> Value:
        """The value after it is used in a way that keeps its structure."""
        return Value(
            passed_on(how, self.whole),
            tuple((name, value.used(how)) for name, value in self.fields),
            self.element.used(how) if self.element is not None else None,
        )

    def beside(self, uses: Uses) -> Value:
        """The value if it depends on these, too, with every part."""
        if not uses:
            return self
        return Value(
            self.whole | uses,
            tuple((name, value.beside(uses)) for name, value in self.fields),
            self.element.beside(uses) if self.element is not None else None,
        )


CONSTANT: Final = Value()


def any_of(values: Sequence[Value]) -> Value:
    """The value that is one of these, which have one type: fields are told apart by their places, with the names of the first."""
    if not values:
        return CONSTANT
    # A constant, such as NULL, has every field of the others, and nothing is used for any of them.
    shaped = [value for value in values if value.fields] or [values[0]]
    fields = shaped[0].fields
    if any(value.fields and len(value.fields) != len(fields) for value in shaped) or any(
        value.whole and not value.fields for value in values
    ):
        fields = ()
    elements = [value.elements for value in values if value.element is not None or value.whole]
    return Value(
        frozenset().union(*(value.whole for value in values)),
        tuple((name, any_of([value.fields[n][1] for value in shaped])) for n, (name, _) in enumerate(fields)),
        any_of(elements) if any(value.element is not None for value in values) else None,
    )


def struct(fields: Sequence[tuple[str, Value]]) -> Value:
    """The STRUCT of these values."""
    return Value(transformed(value for _, value in fields), tuple(fields))


def array(values: Sequence[Value]) -> Value:
    """The ARRAY that is written out from these values."""
    return Value(transformed(values), element=any_of(values))


def transformed(values: Iterable[Value]) -> Uses:
    """What is used by an expression of these values."""
    return passed_on(How.TRANSFORMATION, frozenset().union(*(value.whole for value in values)))


def column_value(relation: str, path: str, type_: Type) -> Value:
    """The value of a column of a relation, or of a field within one."""
    itself = frozenset({Use(relation, path, How.IDENTITY)})
    if type_.name == "ARRAY" and type_.element is not None:
        return Value(itself, element=column_value(relation, path, type_.element))
    return Value(
        itself,
        tuple((name, column_value(relation, f"{path}.{name}", inner)) for name, inner in type_.fields),
    )
