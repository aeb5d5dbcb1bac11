"""GoogleSQL's types: what a value can be coerced to, and the type that several values have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from sqlglot import exp


@dataclass(frozen=True, slots=True)
class Type:
    """A type by GoogleSQL's name; `ARRAY` has an `element`, `STRUCT` has `fields`.

    `ANY` is the type of what cannot be known, such as a column of a relation whose fields were not given; `NULL` is that of a NULL
    without a type, `EMPTY` that of the array `[]`.
    """

    name: str
    element: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()

    def __str__(self) -> str:
        if self.name == "ARRAY":
            return f"ARRAY<{self.element}>"
        if self.name == "STRUCT":
            return f"STRUCT<{', '.join(f'{name} {type_}'.strip() for name, type_ in self.fields)}>"
        return {"NULL": "INT64", "EMPTY": "ARRAY<INT64>", "ANY": "a type that is not known"}.get(
            self.name, self.name
        )

    def __deepcopy__(self, memo: object) -> Type:
        return self

    def field(self, name: str) -> Type | None:
        """The type of a STRUCT's field, whatever the case of its name; ANY of something unknown."""
        if self.name == "ANY":
            return ANY
        found = [type_ for field, type_ in self.fields if field.lower() == name.lower()]
        return found[0] if len(found) == 1 else None

    @property
    def known(self) -> bool:
        """Whether nothing in it is ANY."""
        return (
            self.name != "ANY"
            and (self.element is None or self.element.known)
            and all(t.known for _, t in self.fields)
        )

    def holds(self, names: frozenset[str]) -> bool:
        """Whether it is, or has within it, one of the types of these names."""
        inner = [self.element] if self.element else [t for _, t in self.fields]
        return self.name in names or any(t.holds(names) for t in inner)


ANY: Final = Type("ANY")
NULL: Final = Type("NULL")
EMPTY: Final = Type("EMPTY")
BOOL: Final = Type("BOOL")
INT64: Final = Type("INT64")
NUMERIC: Final = Type("NUMERIC")
FLOAT64: Final = Type("FLOAT64")
STRING: Final = Type("STRING")
BYTES: Final = Type("BYTES")
DATE: Final = Type("DATE")
DATETIME: Final = Type("DATETIME")
TIME: Final = Type("TIME")
TIMESTAMP: Final = Type("TIMESTAMP")
JSON: Final = Type("JSON")
INTERVAL: Final = Type("INTERVAL")
NUMBERS: Final = frozenset({"INT64", "NUMERIC", "FLOAT64"})
TEMPORAL: Final = frozenset({"DATE", "DATETIME", "TIME", "TIMESTAMP"})

_COERCIONS: Final = {
    ("INT64", "FLOAT64"): 1,
    ("INT64", "NUMERIC"): 2,
    ("NUMERIC", "FLOAT64"): 3,
    ("DATE", "DATETIME"): 1,
}
_NEVER_COERCED: Final = frozenset(
    {"BOOL", "STRING", "BYTES", "FLOAT64", "DATETIME", "TIME", "TIMESTAMP", "JSON"}
)
"""What a column beside others stays, whatever type those have."""
_OF_LITERALS: Final = {
    "STRING": TEMPORAL | {"BYTES"},
    "FLOAT64": frozenset({"NUMERIC"}),
}
"""What a constant of a type is coerced to, although a column is not."""
_OF_FIELDS: Final = {
    "INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT",
}  # fmt: skip
_BIGQUERY: Final = {google: bigquery for bigquery, google in _OF_FIELDS.items()}


def array_of(element: Type) -> Type:
    """The type of an array."""
    return Type("ARRAY", element)


def struct_of(fields: Iterable[tuple[str, Type]]) -> Type:
    """The type of a struct."""
    return Type("STRUCT", fields=tuple(fields))


class Described(Protocol):
    """A column in BigQuery's words: a catalogue's field, or what a query or a warehouse tells of one of its own."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def type(self) -> str:
        """BigQuery's word, such as `INTEGER` or `RECORD`; `ANY` where it is not known."""

    @property
    def mode(self) -> str:
        """`REQUIRED`, `NULLABLE` or `REPEATED`."""

    @property
    def fields(self) -> Sequence[Described]:
        """The fields of a RECORD."""


def type_of_field(field: Described) -> Type:
    """The type of a catalogue's field, or of a column that is described like one."""
    name = _OF_FIELDS.get(field.type, field.type)
    one = struct_of((f.name, type_of_field(f)) for f in field.fields) if name == "STRUCT" else Type(name)
    return array_of(one) if field.mode == "REPEATED" else one


class OutputColumn(NamedTuple):
    """A column of a query's result, in the words of a catalogue's field."""

    name: str
    type: str
    """BigQuery's word, such as `INTEGER` or `RECORD`; `UNKNOWN` where the fields of a relation were not given."""
    mode: str
    """`NULLABLE` or `REPEATED`."""
    fields: tuple[OutputColumn, ...] = ()


def output_column(name: str, type_: Type) -> OutputColumn:
    """The column of that name and type. A NULL without a type is an INT64, as in GoogleSQL."""
    if type_.name in {"ARRAY", "EMPTY"}:
        one = output_column(name, type_.element or INT64)
        return one._replace(mode="REPEATED")
    word = {"ANY": "UNKNOWN", "NULL": "INTEGER"}.get(type_.name, _BIGQUERY.get(type_.name, type_.name))
    return OutputColumn(name, word, "NULLABLE", tuple(output_column(n, t) for n, t in type_.fields))


def cost(source: Type, target: Type, *, literal: bool = False) -> int | None:
    """How far an implicit coercion goes: 0 for the same type, None where GoogleSQL has none."""
    if source == target or "ANY" in {source.name, target.name} or source.name == "NULL":
        return 0
    if source.name == "EMPTY":
        return 0 if target.name == "ARRAY" else None
    if source.name == target.name == "ARRAY" and source.element and target.element:
        if literal:
            return cost(source.element, target.element, literal=True)
        return 0 if source.element.name in {"ANY", "NULL"} or target.element.name == "ANY" else None
    if source.name == target.name == "STRUCT":
        if len(source.fields) != len(target.fields):
            return None
        costs = [
            cost(a, b, literal=literal) for (_, a), (_, b) in zip(source.fields, target.fields, strict=True)
        ]
        return None if None in costs else max((c for c in costs if c is not None), default=0)
    if literal and target.name in _OF_LITERALS.get(source.name, ()):
        return 3
    return _COERCIONS.get((source.name, target.name))


def is_assignable(source: Type, target: Type) -> bool:
    """Whether a query's column can be inserted into a column of the target's type: BigQuery's INSERT has no other coercions.

    Fields of records must have the same names in the same order besides: BigQuery pairs them by place, and DuckDB by name.
    Source: ZetaSQL's analyzer, asked for every pair of types, in the tests.
    """
    source = {"NULL": INT64, "EMPTY": array_of(INT64)}.get(source.name, source)
    if "ANY" in {source.name, target.name}:
        return True
    if source.name == target.name == "ARRAY" and source.element and target.element:
        return same_type(source.element, target.element)
    if source.name == target.name == "STRUCT":
        return _field_names(source) == _field_names(target) and all(
            is_assignable(a, b) for (_, a), (_, b) in zip(source.fields, target.fields, strict=True)
        )
    return source.name == target.name or (source.name, target.name) in _COERCIONS


def same_type(a: Type, b: Type) -> bool:
    """Whether the types are equal, whatever the case of fields' names and as far as they are known."""
    if "ANY" in {a.name, b.name}:
        return True
    if a.name == b.name == "ARRAY" and a.element and b.element:
        return same_type(a.element, b.element)
    if a.name == b.name == "STRUCT":
        return _field_names(a) == _field_names(b) and all(
            same_type(x, y) for (_, x), (_, y) in zip(a.fields, b.fields, strict=True)
        )
    return a.name == b.name


def _field_names(type_: Type) -> list[str]:
    return [name.lower() for name, _ in type_.fields]


def supertype(types: Sequence[tuple[Type, bool]]) -> Type | None:
    """The common type of values, each with whether it is a literal; None where they have none.

    Columns decide, and literals follow them if they can.
    """
    candidates = [t for t, literal in types if not literal and t.name not in {"NULL", "ANY", "EMPTY"}]
    candidates += [t for t, literal in types if literal and t.name not in {"NULL", "ANY", "EMPTY"}]
    candidates += [FLOAT64, DATETIME]
    for target in candidates:
        if all(cost(t, target, literal=literal) is not None for t, literal in types):
            decided = any(t.name in _NEVER_COERCED and not literal for t, literal in types)
            return target if decided or all(t.name != "ANY" for t, _ in types) else ANY
    return None


def common_type(types: Sequence[tuple[Type, bool]]) -> Type | None:
    """`supertype`, but ANY for only unknown ones and NULL for only untyped NULLs."""
    names = {t.name for t, _ in types}
    if names <= {"ANY", "NULL", "EMPTY"}:
        return next((t for n in ("ANY", "EMPTY", "NULL") for t, _ in types if t.name == n), NULL)
    return supertype(types)


def type_of(node: exp.Expr) -> Type:
    """The type that the resolver found; ANY of a node that it has not seen."""
    found = node.meta.get("googlesql_type") if node._meta else None
    return found if isinstance(found, Type) else ANY


def typed(node: exp.Expr, type_: Type) -> exp.Expr:
    """The node, noted to be of that type."""
    node.meta["googlesql_type"] = type_
    return node
