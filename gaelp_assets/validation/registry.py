"""The registry of check rules: which there are, which fields each fits, and what it asks of a value.

A rule is a row of the registry: its arguments, the field types that it fits, a Polars expression, what it expects in words, and an
example that it passes and one that it rejects. The built-in ones carry Pandera's names and arguments. What turns rules
into a schema stands in `validation.schema`, what looks for mistakes in a catalogue's checks in `validation.rules`.

A NULL passes every rule but `any_given`: whether a value may be missing is the field's mode.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal, NamedTuple, cast

import polars as pl
from polars import selectors

from gaelp_assets.catalog.slices import (
    ENVIRONMENT_ID,
    ENVIRONMENT_ID_ADVICE,
    ENVIRONMENT_ID_LENGTH,
    ENVIRONMENT_ID_WORDS,
)

RuleScope = Literal["value", "array", "row"]
ArgumentKind = Literal[
    "value",
    "values",
    "number",
    "boolean",
    "pattern",
    "text",
    "field",
    "fields",
    "operator",
    "rule",
    "any_fields",
    "flag",
]
"""`any_fields` may be of any types and modes; a `flag` is a BOOLEAN field."""

NUMBERS: Final = frozenset({"INTEGER", "FLOAT", "NUMERIC"})
TIMES: Final = frozenset({"DATE", "DATETIME", "TIMESTAMP", "TIME"})
ORDERED: Final = NUMBERS | TIMES | {"STRING"}
ANY: Final = ORDERED | {"BYTES", "BOOLEAN", "JSON", "RECORD"}
TEXT: Final = frozenset({"STRING"})

Arguments = Mapping[str, object]
"""Arguments of a rule by name: as a catalogue file has them or, where a rule is evaluated, with values of the field's type."""

OPERATORS: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Argument:
    """An argument of a rule: what it has to be, and whether it can be left out."""

    kind: ArgumentKind
    required: bool = True


@dataclass(frozen=True)
class Example:
    """Values (for a row rule: rows) of a type that a rule with these arguments passes and rejects."""

    type: str | Mapping[str, str]
    """Of a row rule whose fields are of several types: the type of each."""
    passes: object
    rejects: object
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """A check rule."""

    name: str
    scope: RuleScope
    """What it looks at: each value (each element, in an array), an array as a whole, or several fields of a row."""
    types: frozenset[str]
    """The field types that it fits."""
    arguments: Mapping[str, Argument]
    expression: Callable[..., pl.Expr]
    """Of the value's expression (a row rule gets none) and the arguments by name: True, or NULL, is a pass."""
    expected: Callable[..., str]
    """What is asked, in words, of the arguments by name."""
    example: Example
    built_in: bool = False
    """Whether Pandera's own check of that name does the same. (Not so `str_matches`: it looks at the beginning of the text only.)"""


class FieldRule(NamedTuple):
    """A rule of one field that is itself the argument of another rule."""

    name: str
    field: str
    arguments: Arguments


def field_rule(value: object) -> FieldRule:
    """The rule that an argument of the kind "rule" stands for.

    Raises:
        ValueError: it is not an object with the texts `name` and `field` and, if need be, an object `arguments`.
    """
    if isinstance(value, Mapping) and {"name", "field"} <= set(value) <= {"name", "field", "arguments"}:
        name, field, arguments = value["name"], value["field"], value.get("arguments", {})
        if isinstance(name, str) and isinstance(field, str) and isinstance(arguments, Mapping):
            return FieldRule(name, field, arguments)
    raise ValueError("expected an object with name, field and, if need be, arguments")


def whole(pattern: str) -> str:
    """The regular expression that matches a whole string where `pattern` does; `$` would let a final newline pass."""
    return rf"\A(?:{pattern})\z"


def expectation(name: str, arguments: Arguments) -> str:
    """What the rule asks with these arguments, in words: `expected a value from 0 to 1`."""
    return f"expected {RULES[name].expected(**arguments)}"


def matches(value: pl.Expr, pattern: str) -> pl.Expr:
    """Whether the whole text matches the pattern."""
    return value.str.contains(whole(pattern))


def in_range(
    value: pl.Expr, min_value: object, max_value: object, include_min: bool = True, include_max: bool = True
) -> pl.Expr:
    """Whether the value lies between two others."""
    low = value.ge(min_value) if include_min else value.gt(min_value)
    return low & (value.le(max_value) if include_max else value.lt(max_value))


def _in_range_words(
    min_value: object, max_value: object, include_min: bool = True, include_max: bool = True
) -> str:
    low = f"from {min_value}" if include_min else f"above {min_value}"
    return f"a value {low} " + (f"to {max_value}" if include_max else f"and below {max_value}")


def _between(value: pl.Expr, minimum: int | None, maximum: int | None) -> pl.Expr:
    return value.is_between(minimum or 0, 2**32 - 1 if maximum is None else maximum)


def str_length(
    value: pl.Expr, min_value: int | None = None, max_value: int | None = None, exact_value: int | None = None
) -> pl.Expr:
    """Whether the text has that many characters."""
    length = value.str.len_chars()
    return length.eq(exact_value) if exact_value is not None else _between(length, min_value, max_value)


def _count_words(minimum: int | None, maximum: int | None, exact: int | None, what: str) -> str:
    last = next((number for number in (exact, maximum, minimum) if number is not None), None)
    what = what if last == 1 else f"{what}s"
    if exact is not None:
        return f"exactly {exact} {what}"
    if maximum is None:
        return f"at least {minimum} {what}"
    return f"at most {maximum} {what}" if not minimum else f"{minimum} to {maximum} {what}"


def _str_length_words(
    min_value: int | None = None, max_value: int | None = None, exact_value: int | None = None
) -> str:
    return _count_words(min_value, max_value, exact_value, "character")


def array_length(value: pl.Expr, min_value: int | None = None, max_value: int | None = None) -> pl.Expr:
    """Whether the array has that many elements."""
    return _between(value.list.len(), min_value, max_value)


def environment_id(value: pl.Expr) -> pl.Expr:
    """Whether the text can be an environment's id: in rows, and so in paths and partition keys (`catalog.slices`)."""
    return matches(value, ENVIRONMENT_ID) & (value.str.len_bytes() <= ENVIRONMENT_ID_LENGTH)


def imei(value: pl.Expr) -> pl.Expr:
    """Whether the text is 15 digits of which the last is the Luhn check digit of the others (3GPP TS 23.003, annex B)."""
    shape = matches(value, "[0-9]{15}")
    number = pl.when(shape).then(value).cast(pl.Int64)
    # Four digits at a time: a step for each digit costs more than all other rules of a table together.
    sums = pl.lit(_luhn_sums())
    total = pl.sum_horizontal(sums.gather(number // 10**shift % 10_000) for shift in (0, 4, 8, 12))
    return shape & total.mod(10).eq(0)


@cache
def _luhn_sums() -> pl.Series:
    """For each number of four digits: the sum of its digits, of which every second one from the last leftwards counts double, and
    where that makes two digits, as their sum."""
    digits = [(n // 1000, n // 100 % 10, n // 10 % 10, n % 10) for n in range(10_000)]
    return pl.Series(
        [b + d + sum(divmod(2 * a, 10)) + sum(divmod(2 * c, 10)) for a, b, c, d in digits], dtype=pl.Int64
    )


def when(field: str, equals: object, then: object) -> pl.Expr:
    """Whether a field keeps a rule (`field_rule`), in the rows where another field has that value."""
    rule = field_rule(then)
    return pl.col(field).ne(equals) | RULES[rule.name].expression(pl.col(rule.field), **rule.arguments)


def _when_words(field: str, equals: object, then: object) -> str:
    rule = field_rule(then)
    value = str(equals).lower() if isinstance(equals, bool) else equals  # as JSON and SQL write it
    return f"{RULES[rule.name].expected(**rule.arguments)} where {field} is {value}"


def compare(left: str, operator: str, right: str) -> pl.Expr:
    """Whether one field stands in that relation to another."""
    return OPERATORS[operator](pl.col(left), pl.col(right))


def not_both(first: str, second: str, unless: str | None = None) -> pl.Expr:
    """Whether at most one of two BOOLEAN fields is true; a third one, where true, allows both."""
    one = ~(pl.col(first) & pl.col(second))
    return one if unless is None else one | pl.col(unless)


def any_true(fields: Iterable[str]) -> pl.Expr:
    """Whether at least one of several BOOLEAN fields is true; one that is NULL could be."""
    return pl.any_horizontal(pl.col(name) for name in fields)


def any_given(fields: Iterable[str], where: str | None = None) -> pl.Expr:
    """Whether at least one of several fields holds a value (an array: an element), in all rows or in those where a BOOLEAN is true."""
    named = selectors.by_name(*fields)
    given = pl.any_horizontal(
        (named & selectors.list()).list.len() > 0, (named - selectors.list()).is_not_null()
    )
    return given if where is None else given | ~pl.col(where)


def utc_day(date: str, of: str) -> pl.Expr:
    """Whether a DATE field is the day, in UTC, of a TIMESTAMP field."""
    return pl.col(date).eq(pl.col(of).dt.date())


def _one_of(values: Iterable[object]) -> str:
    return "one of " + ", ".join(str(value) for value in values)


_VALUE: Final = {"value": Argument("value")}
_BUILT_IN: Final = (
    Rule("equal_to", "value", ORDERED | {"BOOLEAN"}, _VALUE, lambda v, value: v.eq(value),
         lambda value: f"{value}", Example("INTEGER", 1, 2, {"value": 1}), True),
    Rule("not_equal_to", "value", ORDERED | {"BOOLEAN"}, _VALUE, lambda v, value: v.ne(value),
         lambda value: f"anything but {value}", Example("INTEGER", 2, 1, {"value": 1}), True),
    Rule("greater_than", "value", ORDERED, {"min_value": Argument("value")}, lambda v, min_value: v.gt(min_value),
         lambda min_value: f"a value above {min_value}", Example("FLOAT", 0.5, 0.0, {"min_value": 0}), True),
    Rule("greater_than_or_equal_to", "value", ORDERED, {"min_value": Argument("value")}, lambda v, min_value: v.ge(min_value),
         lambda min_value: f"a value of at least {min_value}", Example("INTEGER", 0, -1, {"min_value": 0}), True),
    Rule("less_than", "value", ORDERED, {"max_value": Argument("value")}, lambda v, max_value: v.lt(max_value),
         lambda max_value: f"a value below {max_value}", Example("INTEGER", 9, 10, {"max_value": 10}), True),
    Rule("less_than_or_equal_to", "value", ORDERED, {"max_value": Argument("value")}, lambda v, max_value: v.le(max_value),
         lambda max_value: f"a value of at most {max_value}",
         Example("DATE", "2026-01-31", "2026-02-01", {"max_value": "2026-01-31"}), True),
    Rule("in_range", "value", ORDERED,
         {"min_value": Argument("value"), "max_value": Argument("value"), "include_min": Argument("boolean", False),
          "include_max": Argument("boolean", False)},
         in_range, _in_range_words, Example("NUMERIC", "0.5", "1", {"min_value": 0, "max_value": 1, "include_max": False}), True),
    Rule("isin", "value", ORDERED - {"FLOAT"}, {"allowed_values": Argument("values")},
         lambda v, allowed_values: v.is_in(list(allowed_values)), lambda allowed_values: _one_of(allowed_values),
         Example("STRING", "cpu", "CPU", {"allowed_values": ["cpu", "gpu"]}), True),
    Rule("notin", "value", ORDERED - {"FLOAT"}, {"forbidden_values": Argument("values")},
         lambda v, forbidden_values: ~v.is_in(list(forbidden_values)), lambda forbidden_values: f"not {_one_of(forbidden_values)}",
         Example("STRING", "a", "none", {"forbidden_values": ["none", "null"]}), True),
    Rule("str_matches", "value", TEXT, {"pattern": Argument("pattern")}, matches,
         lambda pattern: f"text that matches {pattern} as a whole", Example("STRING", "DE", "DE\n", {"pattern": "^[A-Z]{2}$"})),
    Rule("str_contains", "value", TEXT, {"pattern": Argument("pattern")}, lambda v, pattern: v.str.contains(pattern),
         lambda pattern: f"text with a part that matches {pattern}", Example("STRING", "a1", "a", {"pattern": "[0-9]"}), True),
    Rule("str_startswith", "value", TEXT, {"string": Argument("text")}, lambda v, string: v.str.starts_with(string),
         lambda string: f"text that starts with {string}", Example("STRING", "gs://b", "b", {"string": "gs://"}), True),
    Rule("str_endswith", "value", TEXT, {"string": Argument("text")}, lambda v, string: v.str.ends_with(string),
         lambda string: f"text that ends with {string}", Example("STRING", "a.pt", "a.pt\n", {"string": ".pt"}), True),
    Rule("str_length", "value", TEXT,
         {"min_value": Argument("number", False), "max_value": Argument("number", False), "exact_value": Argument("number", False)},
         str_length, _str_length_words, Example("STRING", "éé", "ééé", {"max_value": 2}), True),
)  # fmt: skip

VIN_PATTERN: Final = "[A-HJ-NPR-Z0-9]{17}"  # ISO 3779: no I, O, Q
MAC_PATTERN: Final = "[0-9A-Fa-f]{2}(?:[:-]?[0-9A-Fa-f]{2}){5}"
UUID_PATTERN: Final = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_LENGTHS: Final = {"min_value": Argument("number", False), "max_value": Argument("number", False)}
_OWN: Final = (
    Rule("finite", "value", frozenset({"FLOAT"}), {}, lambda v: v.is_finite(), lambda: "a finite number",
         Example("FLOAT", 1e300, float("inf"))),
    Rule("environment_id", "value", TEXT, {}, environment_id, lambda: f"{ENVIRONMENT_ID_WORDS}; {ENVIRONMENT_ID_ADVICE}",
         Example("STRING", "ALE.Pong-v5", "ALE..Pong-v5")),
    Rule("vin", "value", TEXT, {}, lambda v: matches(v, VIN_PATTERN),
         lambda: "a VIN of 17 characters (digits and capital letters without I, O and Q)",
         Example("STRING", "1HGCM82633A004352", "1HGCM82633A00435O")),
    Rule("imei", "value", TEXT, {}, imei, lambda: "an IMEI of 15 digits, the last of them its check digit",
         Example("STRING", "490154203237518", "490154203237519")),
    Rule("mac", "value", TEXT, {}, lambda v: matches(v, MAC_PATTERN),
         lambda: "a MAC address of 6 bytes in hexadecimal, with ':', '-' or nothing between them",
         Example("STRING", "00:1b:44:11:3A:B7", "00:1b:44:11:3A")),
    Rule("uuid", "value", TEXT, {}, lambda v: matches(v, UUID_PATTERN), lambda: "a UUID as 8-4-4-4-12 hexadecimal digits",
         Example("STRING", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000")),
    Rule("sha256_hex", "value", TEXT, {}, lambda v: matches(v, "[0-9a-f]{64}"),
         lambda: "a SHA-256 as 64 hexadecimal digits in small letters", Example("STRING", "a0" * 32, "A0" * 32)),
    Rule("json_object", "value", frozenset({"JSON"}), {}, lambda v: v.str.starts_with("{"), lambda: "a JSON object",
         Example("JSON", "{}", "[]")),
    Rule("array_length", "array", ANY, _LENGTHS, array_length,
         lambda min_value=None, max_value=None: _count_words(min_value, max_value, None, "element"),
         Example("FLOAT", [1.0], [], {"min_value": 1})),
    Rule("when", "row", ANY, {"field": Argument("field"), "equals": Argument("value"), "then": Argument("rule")}, when,
         _when_words,
         Example("STRING", {"kind": "VIN", "text": "1HGCM82633A004352"}, {"kind": "VIN", "text": "1"},
                 {"field": "kind", "equals": "VIN", "then": {"name": "vin", "field": "text"}})),
    Rule("compare", "row", ORDERED, {"left": Argument("field"), "operator": Argument("operator"), "right": Argument("field")}, compare,
         lambda left, operator, right: f"{left} {operator} {right}",
         Example("INTEGER", {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"left": "a", "operator": "<=", "right": "b"})),
    Rule("not_both", "row", frozenset({"BOOLEAN"}),
         {"first": Argument("field"), "second": Argument("field"), "unless": Argument("field", False)}, not_both,
         lambda first, second, unless=None: f"{first} and {second} not both true" + (f" unless {unless}" if unless else ""),
         Example("BOOLEAN", {"terminated": True, "truncated": False}, {"terminated": True, "truncated": True},
                 {"first": "terminated", "second": "truncated"})),
    Rule("any_true", "row", frozenset({"BOOLEAN"}), {"fields": Argument("fields")}, any_true,
         lambda fields: f"{' or '.join(fields)} true",
         Example("BOOLEAN", {"terminated": False, "truncated": True}, {"terminated": False, "truncated": False},
                 {"fields": ["terminated", "truncated"]})),
    Rule("any_given", "row", ANY, {"fields": Argument("any_fields"), "where": Argument("flag", False)}, any_given,
         lambda fields, where=None: f"{' or '.join(fields)} given" + (f" where {where} is true" if where else ""),
         Example({"value": "FLOAT", "text": "STRING", "due": "BOOLEAN"}, {"value": None, "text": "NaN", "due": True},
                 {"value": None, "text": None, "due": True}, {"fields": ["value", "text"], "where": "due"})),
    Rule("utc_day", "row", frozenset({"DATE", "TIMESTAMP"}), {"date": Argument("field"), "of": Argument("field")}, utc_day,
         lambda date, of: f"{date} to be the day of {of} in UTC",
         # 23:50 of the 20th in Los Angeles.
         Example({"date": "DATE", "ended_at": "TIMESTAMP"}, {"date": "2026-11-21", "ended_at": "2026-11-21T07:50:00Z"},
                 {"date": "2026-11-20", "ended_at": "2026-11-21T07:50:00Z"}, {"date": "date", "of": "ended_at"})),
)  # fmt: skip

RULES: Final[Mapping[str, Rule]] = {rule.name: rule for rule in (*_BUILT_IN, *_OWN)}


def blamed_field(name: str, arguments: Arguments) -> str:
    """The field that a reason of this row rule names."""
    if name == "when":
        return field_rule(arguments["then"]).field
    if name in {"any_true", "any_given"}:
        return str(next(iter(cast("Iterable[object]", arguments["fields"]))))
    return str(next((arguments[key] for key in ("left", "first", "date") if key in arguments), ""))
