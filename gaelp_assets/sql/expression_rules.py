"""The type of each kind of expression that has no signature, such as a CASE or a CAST."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from sqlglot import exp

from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import (
    ANY,
    BOOL,
    BYTES,
    DATE,
    EMPTY,
    FLOAT64,
    INT64,
    INTERVAL,
    NULL,
    STRING,
    TIME,
    TIMESTAMP,
    Type,
    array_of,
    common_type,
    cost,
    struct_of,
    type_of,
    typed,
)
from gaelp_assets.sql.values import data_type, is_literal, sqlglot_type

_TO_STRING: Final = frozenset(
    {"INT64", "FLOAT64", "NUMERIC", "BOOL", "DATE", "DATETIME", "TIME", "TIMESTAMP"}
)
_CLOCK: Final = frozenset({"HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"})
_TRANSPARENT: Final = (exp.Paren, exp.Order, exp.Limit, exp.HavingMax, exp.SafeFunc)  # fmt: skip

_NULLS_EITHER: Final = (exp.ArrayAgg, exp.FirstValue, exp.LastValue, exp.NthValue)
_NULLS_IGNORED: Final = (exp.PercentileCont, exp.PercentileDisc)
"""Those that pass over NULLs anyway, and have no equal that does not."""


class Typing(Protocol):
    """What the rules ask of `expressions.Expressions`, which calls them."""

    def wrong(self, what: str, node: exp.Expr, expected: str = "", remedy: str = "") -> None:
        """Notes a problem at the place of a node."""
        ...

    def call(self, node: exp.Expr) -> exp.Expr:
        """A function or operator by its signature; its arguments become the types that it asks for."""
        ...

    def common(self, node: exp.Expr, values: Sequence[exp.Expr]) -> Type:
        """The common type of values, each of which becomes it."""
        ...

    def orderable(self, value: exp.Expr) -> None:
        """Notes a problem if values of the type have no order."""
        ...


def _literal(_self: Typing, node: exp.Expr) -> Type:
    if node.is_string:
        return STRING
    return INT64 if str(node.this).isdigit() or str(node.this).lower().startswith("0x") else FLOAT64


def _cast(self: Typing, node: exp.Expr) -> Type:
    target = data_type(node.args["to"])
    if not target.known:
        self.wrong(
            f"CAST AS {node.args['to'].sql(dialect='bigquery')} is not used here",
            node,
            "one of INT64, FLOAT64, NUMERIC, STRING, BYTES, BOOL, DATE, DATETIME, TIME, TIMESTAMP",
        )
    elif node.args["to"].expressions and target.name not in {"ARRAY", "STRUCT"}:
        self.wrong("a type with parameters in CAST is not used here", node, target.name)
    return target


def _case(self: Typing, node: exp.Expr) -> Type:
    branches = node.args["ifs"]
    operand = node.args.get("this")
    if operand is not None:
        self.common(node, [operand, *(branch.this for branch in branches)])
    else:
        for branch in branches:
            if cost(type_of(branch.this), BOOL) is None:
                self.wrong(f"CASE WHEN expects a BOOL, got {type_of(branch.this)}", branch)
    results = [branch.args["true"] for branch in branches]
    if node.args.get("default") is not None:
        results.append(node.args["default"])
    return self.common(node, results)


def _if(self: Typing, node: exp.Expr) -> Type:
    if isinstance(node.parent, exp.Case):
        return ANY
    return type_of(self.call(node))


def _in(self: Typing, node: exp.Expr) -> Type:
    unnest = node.args.get("unnest")
    if unnest is not None:
        array = type_of(unnest.expressions[0])
        element = array.element or ANY
        if array.name not in {"ARRAY", "ANY", "NULL", "EMPTY"} or (
            common_type([(type_of(node.this), is_literal(node.this)), (element, is_literal(unnest.expressions[0]))]) is None
        ):  # fmt: skip
            self.wrong(f"IN compares {type_of(node.this)} with {array}", node, "an array of its type")
    elif not isinstance(node.this, exp.Tuple):
        compared = self.common(node, [node.this, *node.expressions])
        if compared.name in {"JSON", "ARRAY"}:
            self.wrong(f"IN of {compared}", node, "a type that can be compared")
    return BOOL


def _array(self: Typing, node: exp.Expr) -> Type:
    if not node.expressions:
        return EMPTY
    element = self.common(node, node.expressions)
    if element.name == "ARRAY":
        self.wrong("an array of arrays", node, "an array of STRUCT")
    return array_of(INT64 if element == NULL else element)


def _struct(_self: Typing, node: exp.Expr) -> Type:
    return struct_of(
        (f.name, type_of(f.expression)) if isinstance(f, exp.PropertyEQ) else ("", type_of(f))
        for f in node.expressions
    )


def _bracket(self: Typing, node: exp.Expr) -> Type:
    array = type_of(node.this)
    if array.name not in {"ARRAY", "ANY"}:
        self.wrong(
            f"an index of {array}",
            node,
            "an array" + (", or JSON_QUERY of a JSON" if array.name == "JSON" else ""),
        )
    for index in node.expressions:
        if cost(type_of(index), INT64) is None:
            self.wrong(f"an array's index of type {type_of(index)}", node, "an INT64")
    return array.element or ANY


def _is(self: Typing, node: exp.Expr) -> Type:
    if isinstance(node.expression, exp.Boolean) and cost(type_of(node.this), BOOL) is None:
        self.wrong(f"IS TRUE or IS FALSE of {type_of(node.this)}", node, "a BOOL")
    return BOOL


def _concat(self: Typing, node: exp.Expr) -> Type:
    values = node.expressions if isinstance(node, exp.Concat) else [node.this, node.expression]
    if any(type_of(v).name == "ARRAY" for v in values):
        self.wrong("|| of arrays is not used here", node, "ARRAY_CONCAT")
        return ANY
    if isinstance(node, exp.DPipe) and any(isinstance(v.unnest(), exp.Null) for v in values):
        self.wrong("an operand of || is a NULL without a type", node, "CAST(NULL AS STRING)")
    for value in values:
        if type_of(value).name in _TO_STRING:
            value.replace(typed(exp.Cast(this=copied(value), to=sqlglot_type(STRING)), STRING))
    if isinstance(node, exp.Concat):
        return type_of(self.call(node))
    return self.common(node, [node.this, node.expression])


def _at_time_zone(self: Typing, node: exp.Expr) -> Type:
    if cost(type_of(node.this), TIMESTAMP, literal=is_literal(node.this)) is None:
        self.wrong(f"AT TIME ZONE of {type_of(node.this)}", node, "a TIMESTAMP")
    return TIMESTAMP


def _extract(self: Typing, node: exp.Expr) -> Type:
    part = str(node.this.name).upper()
    result = type_of(self.call(node))
    source = type_of(node.expression).name
    if (source == "DATE" and part in _CLOCK | {"TIME", "DATE"}) or (source == "TIME" and part not in _CLOCK):
        self.wrong(f"EXTRACT({part} FROM {source})", node, "a part that it has")
    return {"DATE": DATE, "TIME": TIME}.get(part, result)


def _by_unit(self: Typing, node: exp.Expr) -> Type:
    """A DATE has no time of day, also where the function would take it for a DATETIME."""
    unit = node.args.get("unit")
    part = unit.name.upper() if isinstance(unit, exp.Expr) else ""
    if type_of(node.this) == DATE and part in _CLOCK:
        self.wrong(
            f"a DATE has no {part}", node, "DAY, WEEK, MONTH, QUARTER or YEAR", "Use CAST AS DATETIME."
        )
    return type_of(self.call(node))


def _distinct(self: Typing, node: exp.Expr) -> Type:
    value = type_of(node.expressions[0])
    if value.holds(frozenset({"JSON"})):
        self.wrong(f"DISTINCT of {value}", node, "a type that can be compared", "Use TO_JSON_STRING.")
    return value


def _nulls(self: Typing, node: exp.Expr) -> Type:
    """IGNORE NULLS and RESPECT NULLS, which few functions have."""
    ignored = isinstance(node, exp.IgnoreNulls)
    words = "IGNORE NULLS" if ignored else "RESPECT NULLS"
    if not isinstance(node.this, (*_NULLS_EITHER, *(_NULLS_IGNORED if ignored else ()))):
        instead = "IGNORE NULLS" if isinstance(node.this, _NULLS_IGNORED) else "WHERE x IS NOT NULL"
        self.wrong(f"{words} in this function is not used here", node, instead)
    return type_of(node.this)


def _ordered(self: Typing, node: exp.Expr) -> Type:
    self.orderable(node.this)
    return type_of(node.this)


RULES: Final[Mapping[type[exp.Expr], Callable[[Typing, exp.Expr], Type]]] = {
    exp.Array: _array,
    exp.AtTimeZone: _at_time_zone,
    exp.Boolean: lambda _self, _node: BOOL,
    exp.Bracket: _bracket,
    exp.ByteString: lambda _self, _node: BYTES,
    exp.Case: _case,
    exp.DateDiff: _by_unit,
    exp.DateTrunc: _by_unit,
    exp.DatetimeAdd: _by_unit,
    exp.DatetimeSub: _by_unit,
    exp.TimestampTrunc: _by_unit,
    exp.Cast: _cast,
    exp.Concat: _concat,
    exp.DPipe: _concat,
    exp.Distinct: _distinct,
    exp.Extract: _extract,
    exp.If: _if,
    exp.IgnoreNulls: _nulls,
    exp.In: _in,
    exp.Interval: lambda _self, _node: INTERVAL,
    exp.Is: _is,
    exp.Literal: _literal,
    exp.Null: lambda _self, _node: NULL,
    exp.Ordered: _ordered,
    exp.Parameter: lambda _self, _node: ANY,
    exp.PropertyEQ: lambda _self, node: type_of(node.expression),
    exp.RespectNulls: _nulls,
    exp.RawString: lambda _self, _node: STRING,
    exp.Star: lambda _self, _node: INT64,
    exp.Struct: _struct,
    exp.TryCast: _cast,
    exp.Tuple: lambda _self, node: struct_of(("", type_of(v)) for v in node.expressions),
    **dict.fromkeys(_TRANSPARENT, lambda _self, node: type_of(node.this)),
}
