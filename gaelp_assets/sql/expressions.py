"""The names and types of an expression: every column becomes a reference that means it alone, every value is noted with its type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import Problem
from gaelp_assets.sql.functions import ALLOWED
from gaelp_assets.sql.scope import NameProblem, Scope, at, fields_of, identifier, place, refused_name
from gaelp_assets.sql.signatures import Argument, match
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
)  # fmt: skip

_DATA_TYPES: Final = {
    exp.DType.BIGINT: "INT64", exp.DType.INT: "INT64", exp.DType.DOUBLE: "FLOAT64", exp.DType.TEXT: "STRING", exp.DType.BOOLEAN: "BOOL",
    exp.DType.DATE: "DATE", exp.DType.TIMESTAMPTZ: "TIMESTAMP", exp.DType.DATETIME: "DATETIME", exp.DType.TIMESTAMP: "DATETIME",
    exp.DType.TIME: "TIME", exp.DType.BINARY: "BYTES", exp.DType.VARBINARY: "BYTES", exp.DType.JSON: "JSON", exp.DType.DECIMAL: "NUMERIC",
}  # fmt: skip
_SQLGLOT: Final = {
    "INT64": "BIGINT", "FLOAT64": "DOUBLE", "STRING": "TEXT", "BOOL": "BOOLEAN", "DATE": "DATE", "TIMESTAMP": "TIMESTAMPTZ",
    "DATETIME": "TIMESTAMP", "TIME": "TIME", "BYTES": "VARBINARY", "JSON": "JSON",
}  # fmt: skip
TO_STRING: Final = frozenset({"INT64", "FLOAT64", "NUMERIC", "BOOL", "DATE", "DATETIME", "TIME", "TIMESTAMP"})
_WHOLE: Final = re.compile(r"-?\d+")
_TRANSPARENT: Final = (exp.Paren, exp.Order, exp.Limit, exp.HavingMax, exp.IgnoreNulls, exp.RespectNulls, exp.SafeFunc)  # fmt: skip
_OPERATORS: Final = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Not, exp.Neg,
    exp.Like)  # fmt: skip
_ONLY_OVER: Final = (exp.RowNumber, exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist, exp.Ntile, exp.Lag, exp.Lead, exp.FirstValue,
    exp.LastValue, exp.NthValue, exp.PercentileCont)  # fmt: skip


def data_type(node: exp.Expr) -> Type:
    """The type that a CAST names; ANY of one that is not known here."""
    if not isinstance(node, exp.DataType):
        return ANY
    if node.this == exp.DType.ARRAY:
        return array_of(data_type(node.expressions[0])) if node.expressions else ANY
    if node.this == exp.DType.STRUCT:
        return struct_of(
            (f.name, data_type(f.args["kind"])) if isinstance(f, exp.ColumnDef) else ("", data_type(f))
            for f in node.expressions
        )
    return Type(_DATA_TYPES[node.this]) if node.this in _DATA_TYPES else ANY


def sqlglot_type(type_: Type) -> exp.DataType:
    """The type as sqlglot's trees have it, written for DuckDB."""
    if type_.name in {"ARRAY", "EMPTY"}:
        return exp.DataType(
            this=exp.DType.ARRAY, expressions=[sqlglot_type(type_.element or INT64)], nested=True
        )
    if type_.name == "STRUCT":
        fields = [exp.ColumnDef(this=exp.to_identifier(n), kind=sqlglot_type(t)) for n, t in type_.fields]
        return exp.DataType(this=exp.DType.STRUCT, expressions=fields, nested=True)
    if type_.name == "NUMERIC":
        return exp.DataType.build("DECIMAL(38, 9)")
    return exp.DataType.build(_SQLGLOT.get(type_.name, "BIGINT"))


def is_literal(node: exp.Expr) -> bool:
    """Whether a value is written out, so that its type follows its neighbours'."""
    while isinstance(node, exp.Paren | exp.Neg):
        node = node.this
    if isinstance(node, exp.Array):
        return all(is_literal(element) for element in node.expressions)
    return isinstance(node, exp.Literal | exp.RawString | exp.Null | exp.ByteString)


def is_constant(node: exp.Expr) -> bool:
    """Whether a value is written out, without its type before it."""
    return is_literal(node) or isinstance(node.unnest(), exp.Boolean)


def coerced(node: exp.Expr, target: Type) -> exp.Expr:
    """The value as the type that its context asks for."""
    source = type_of(node)
    if source == target or not target.known or not source.known:
        return node
    if source.name in {"NULL", "EMPTY"} or target.name in {"ARRAY", "STRUCT"}:
        return typed(node, target) if source.name in {"NULL", "EMPTY"} else node
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        node.this.replace(coerced(node.this, target))
        return typed(node, target)
    if isinstance(node, exp.Literal) and not node.is_string and target.name in {"FLOAT64", "NUMERIC"}:
        return typed(node, target)
    if target == FLOAT64 and source == INT64:
        return node
    cast = exp.Cast(this=node.copy(), to=sqlglot_type(target))
    cast.meta["implied"] = True
    return typed(cast, target)


class Expressions:
    """Resolves expressions in place; what is wrong is collected in `problems`, and its type is then ANY."""

    def __init__(self, problems: list[Problem], query: Callable[[exp.Expr, Scope], list[Type]]) -> None:
        self.problems = problems
        self._query = query
        self._named_windows: list[set[str]] = []

    def resolve(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        """The resolved expression, which has taken the place of `node` in its tree."""
        found = self._visit(node, scope)
        if found is not node and node.parent is not None:
            node.replace(found)
        return found

    def wrong(self, what: str, node: exp.Expr, expected: str = "", remedy: str = "") -> None:
        """Notes a problem at the place of a node."""
        self.problems.append(Problem(what, place(node), expected, remedy))

    def boolean(self, node: exp.Expr, scope: Scope, clause: str) -> exp.Expr:
        """A condition, which must be a BOOL."""
        condition = self.resolve(node, scope)
        if cost(type_of(condition), BOOL) is None:
            self.wrong(f"{clause} expects a BOOL, got {type_of(condition)}", condition)
        return condition

    def _visit(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        match node:
            case exp.Column():
                return self._column(node, scope)
            case exp.Dot():
                return self._dot(node, scope)
            case exp.Subquery() | exp.Exists():
                return self._subquery(node, scope)
            case exp.Array() if node.expressions and isinstance(node.expressions[0], exp.Query):
                types = self._query(node.expressions[0], scope)
                if len(types) != 1:
                    self.wrong("ARRAY(SELECT ...) takes one column", node, remedy="Use SELECT AS STRUCT.")
                return typed(node, array_of(types[0] if types else ANY))
            case exp.In() if node.args.get("query") is not None:
                return self._in_query(node, scope)
            case exp.Window():
                return self._window(node, scope)
            case exp.Var() | exp.DataType() | exp.JSONPath() | exp.Identifier() | exp.WeekStart():
                return node
        if isinstance(node, exp.Struct):
            _name_fields(node)
        amount = node.args.get("expression")
        if node.args.get("unit") is not None and isinstance(amount, exp.Literal) and amount.is_string:
            # The parser keeps a written number of an interval as text.
            node.set(
                "expression",
                exp.Literal.number(int(amount.this)) if _WHOLE.fullmatch(amount.this) else amount,
            )
        for name, value in node.args.items():
            if isinstance(value, exp.Expr):
                if name not in {"to", "unit", "alias"} and not (
                    isinstance(node, exp.PropertyEQ) and name == "this"
                ):
                    self.resolve(value, scope)
            elif isinstance(value, list):
                for child in list(value):
                    if isinstance(child, exp.Expr):
                        self.resolve(child, scope)
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            return typed(node, handler(self, node))
        return self._call(node)

    def _column(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        if isinstance(node.this, exp.Star):
            self.wrong("* stands for columns only in a SELECT list and in COUNT(*)", node)
            return typed(node, ANY)
        path = [part.name for part in node.parts]  # type: ignore[attr-defined]
        return self._path(node, path, scope)

    def _path(self, node: exp.Expr, path: Sequence[str], scope: Scope) -> exp.Expr:
        try:
            return at(scope.resolve(path), node)
        except NameProblem as error:
            self.problems.append(refused_name(error, node))
            return typed(node, ANY)

    def _dot(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        inner, names = node, []
        while isinstance(inner, exp.Dot):
            names.append(inner.expression.name)
            inner = inner.this
        names.reverse()
        if isinstance(inner, exp.Column) and not isinstance(inner.this, exp.Star):
            return self._path(node, [*(part.name for part in inner.parts), *names], scope)
        value = self.resolve(inner, scope)
        try:
            return fields_of(value.copy(), names)
        except NameProblem as error:
            self.problems.append(refused_name(error, node))
            return typed(node, ANY)

    def _subquery(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        types = self._query(node.this, scope)
        if isinstance(node, exp.Exists):
            return typed(node, BOOL)
        if len(types) != 1:
            self.wrong(
                "a scalar subquery with more than one column", node, "one column", "Use SELECT AS STRUCT."
            )
        return typed(node, types[0] if types else ANY)

    def _in_query(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        value = self.resolve(node.this, scope)
        query = node.args["query"]
        types = self._query(query.this if isinstance(query, exp.Subquery) else query, scope)
        if len(types) != 1:
            self.wrong("IN takes a subquery with one column", node)
        elif common_type([(type_of(value), is_literal(value)), (types[0], False)]) is None:
            self.wrong(
                f"IN compares {type_of(value)} with {types[0]}", node, "values of one type", "Use CAST."
            )
        return typed(node, BOOL)

    def _window(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        """A function over a window; only its own result has a type."""
        function = self.resolve(node.this, scope)
        for part in node.args.get("partition_by") or []:
            item = self.resolve(part, scope)
            if type_of(item).name in {"FLOAT64", "JSON", "ARRAY", "STRUCT"}:
                self.wrong(
                    f"PARTITION BY {type_of(item)}", item, "a type that can be compared exactly", "Use CAST."
                )
        order = node.args.get("order")
        if order is not None:
            self.order(order, scope)
        spec = node.args.get("spec")
        if spec is not None:
            for side in ("start", "end"):
                if isinstance(spec.args.get(side), exp.Expr):
                    self.resolve(spec.args[side], scope)
        self._check_window(node, function)
        return typed(node, type_of(function))

    def _check_window(self, node: exp.Expr, function: exp.Expr) -> None:
        inner = function
        while isinstance(inner, exp.IgnoreNulls | exp.RespectNulls):
            inner = inner.this
        ordered = node.args.get("order") is not None or isinstance(node.args.get("alias"), exp.Identifier)
        needs_order = (exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist, exp.Ntile, exp.Lag, exp.Lead, exp.FirstValue,
            exp.LastValue, exp.NthValue)  # fmt: skip
        if isinstance(inner, needs_order) and not ordered:
            self.wrong(f"{_called(inner)} needs ORDER BY in its window", node)
        if isinstance(getattr(inner, "this", None), exp.Distinct) and ordered:
            self.wrong("DISTINCT in a window with ORDER BY", node, "a window without ORDER BY")

    def order(self, order: exp.Expr, scope: Scope) -> None:
        """The items of an ORDER BY inside an expression."""
        for item in order.expressions:
            value = self.resolve(item.this, scope)
            self.orderable(value)

    def orderable(self, value: exp.Expr) -> None:
        """Notes a problem if values of the type have no order."""
        if type_of(value).name in {"JSON", "ARRAY", "STRUCT"}:
            self.wrong(f"ORDER BY {type_of(value)}", value, "a type that has an order")

    def _call(self, node: exp.Expr) -> exp.Expr:
        """A function or operator by its signature; its arguments become the types that it asks for."""
        allowed = ALLOWED.get(type(node).__name__)
        if allowed is None or not allowed.signatures:
            return typed(node, ANY)
        values: list[exp.Expr] = []
        for name in allowed.arguments:
            value = node.args.get(name)
            values += value if isinstance(value, list) else [value] if isinstance(value, exp.Expr) else []
        if isinstance(node, _OPERATORS) and any(isinstance(v.unnest(), exp.Null) for v in values):
            self.wrong(f"an operand of {_called(node)} is a NULL without a type", node, "CAST(NULL AS ...)")
            return typed(node, ANY)
        if isinstance(node, exp.Log) and len(values) == 2:
            values.reverse()
        arguments = [Argument(type_of(v), is_literal(v)) for v in values]
        found = match(allowed.signatures, arguments)
        if found is None or not found.supported:
            given = ", ".join(str(a.type) for a in arguments)
            what = f"{_called(node)} of {given}" if given else f"{_called(node)} without arguments"
            takes = " or ".join(
                s.split("->")[0].strip() for s in allowed.signatures.split(";") if "!" not in s
            )
            if found is None:
                self.wrong(f"no matching signature: {what}", node, _readable(takes), "Use CAST.")
            else:
                remedy = "Use CAST AS FLOAT64." if "NUMERIC" in given else ""
                self.wrong(f"{what} is not used here", node, _readable(takes), remedy)
            return typed(node, ANY)
        for value, target in zip(values, found.arguments, strict=True):
            becomes = coerced(value, target)
            if isinstance(node, exp.Nullif) and becomes is value and target == FLOAT64 != type_of(value):
                becomes = typed(exp.Cast(this=value.copy(), to=sqlglot_type(target)), target)
            if becomes is not value:
                value.replace(becomes)
        if type(node) in (exp.Neg,) and isinstance(node.this, exp.Literal):
            return typed(node, type_of(node.this))
        return typed(node, found.result)

    def _common(self, node: exp.Expr, values: Sequence[exp.Expr]) -> Type:
        """The common type of values, each of which becomes it."""
        result = common_type([(type_of(v), is_literal(v)) for v in values])
        if result is None:
            names = ", ".join(dict.fromkeys(str(type_of(v)) for v in values))
            self.wrong(f"{_called(node)} of {names}", node, "values of one type", "Use CAST.")
            return ANY
        if result == NULL:
            result = INT64
        for value in values:
            becomes = coerced(value, result)
            if becomes is not value:
                value.replace(becomes)
        return result


def _called(node: exp.Expr) -> str:
    allowed = ALLOWED.get(type(node).__name__)
    written = str(node.meta.get("bigquery_name") or "") if node._meta else ""
    if allowed is None:
        return type(node).__name__.upper()
    return written if written in allowed.names else allowed.names[0]


def _readable(takes: str) -> str:
    words = {
        "N": "number",
        "B": "STRING",
        "O": "value with an order",
        "E": "value that can be compared",
        "T": "value",
        "A": "value",
    }
    return "arguments " + " ".join(words.get(w.strip("[]?."), w) for w in takes.split()) if takes else ""


def _name_fields(struct: exp.Expr) -> None:
    """A field that is a path has the name of the path's last part."""
    for value in list(struct.expressions):
        name = implied_name(value)
        if name:
            value.replace(exp.PropertyEQ(this=identifier(name), expression=value.copy()))


def implied_name(node: exp.Expr) -> str:
    """The name of a column without AS: the last of a path."""
    if isinstance(node, exp.Column):
        return str(node.name)
    if isinstance(node, exp.Dot):
        return str(node.expression.name)
    return ""


def _literal(_self: Expressions, node: exp.Expr) -> Type:
    if node.is_string:
        return STRING
    return INT64 if str(node.this).isdigit() or str(node.this).lower().startswith("0x") else FLOAT64


def _cast(self: Expressions, node: exp.Expr) -> Type:
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


def _case(self: Expressions, node: exp.Expr) -> Type:
    branches = node.args["ifs"]
    operand = node.args.get("this")
    if operand is not None:
        self._common(node, [operand, *(branch.this for branch in branches)])
    else:
        for branch in branches:
            if cost(type_of(branch.this), BOOL) is None:
                self.wrong(f"CASE WHEN expects a BOOL, got {type_of(branch.this)}", branch)
    results = [branch.args["true"] for branch in branches]
    if node.args.get("default") is not None:
        results.append(node.args["default"])
    return self._common(node, results)


def _if(self: Expressions, node: exp.Expr) -> Type:
    if isinstance(node.parent, exp.Case):
        return ANY
    return type_of(self._call(node))


def _in(self: Expressions, node: exp.Expr) -> Type:
    unnest = node.args.get("unnest")
    if unnest is not None:
        array = type_of(unnest.expressions[0])
        element = array.element or ANY
        if array.name not in {"ARRAY", "ANY", "NULL", "EMPTY"} or (
            common_type([(type_of(node.this), is_literal(node.this)), (element, is_literal(unnest.expressions[0]))]) is None
        ):  # fmt: skip
            self.wrong(f"IN compares {type_of(node.this)} with {array}", node, "an array of its type")
    elif not isinstance(node.this, exp.Tuple):
        compared = self._common(node, [node.this, *node.expressions])
        if compared.name in {"JSON", "ARRAY"}:
            self.wrong(f"IN of {compared}", node, "a type that can be compared")
    return BOOL


def _array(self: Expressions, node: exp.Expr) -> Type:
    if not node.expressions:
        return EMPTY
    element = self._common(node, node.expressions)
    if element.name == "ARRAY":
        self.wrong("an array of arrays", node, "an array of STRUCT")
    return array_of(INT64 if element == NULL else element)


def _struct(_self: Expressions, node: exp.Expr) -> Type:
    return struct_of(
        (f.name, type_of(f.expression)) if isinstance(f, exp.PropertyEQ) else ("", type_of(f))
        for f in node.expressions
    )


def _bracket(self: Expressions, node: exp.Expr) -> Type:
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


def _is(self: Expressions, node: exp.Expr) -> Type:
    if isinstance(node.expression, exp.Boolean) and cost(type_of(node.this), BOOL) is None:
        self.wrong(f"IS TRUE or IS FALSE of {type_of(node.this)}", node, "a BOOL")
    return BOOL


def _concat(self: Expressions, node: exp.Expr) -> Type:
    values = node.expressions if isinstance(node, exp.Concat) else [node.this, node.expression]
    if any(type_of(v).name == "ARRAY" for v in values):
        self.wrong("|| of arrays is not used here", node, "ARRAY_CONCAT")
        return ANY
    if isinstance(node, exp.DPipe) and any(isinstance(v.unnest(), exp.Null) for v in values):
        self.wrong("an operand of || is a NULL without a type", node, "CAST(NULL AS STRING)")
    for value in values:
        if type_of(value).name in TO_STRING:
            value.replace(typed(exp.Cast(this=value.copy(), to=sqlglot_type(STRING)), STRING))
    if isinstance(node, exp.Concat):
        return type_of(self._call(node))
    return self._common(node, [node.this, node.expression])


def _at_time_zone(self: Expressions, node: exp.Expr) -> Type:
    if cost(type_of(node.this), TIMESTAMP, literal=is_literal(node.this)) is None:
        self.wrong(f"AT TIME ZONE of {type_of(node.this)}", node, "a TIMESTAMP")
    return TIMESTAMP


def _extract(self: Expressions, node: exp.Expr) -> Type:
    part = str(node.this.name).upper()
    result = type_of(self._call(node))
    source = type_of(node.expression).name
    clock, calendar = {"HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND", "TIME"}, {"DATE"}
    if (source == "DATE" and part in clock | calendar) or (source == "TIME" and part not in clock - {"TIME"}):
        self.wrong(f"EXTRACT({part} FROM {source})", node, "a part that it has")
    return {"DATE": DATE, "TIME": TIME}.get(part, result)


def _distinct(self: Expressions, node: exp.Expr) -> Type:
    value = type_of(node.expressions[0])
    if value.holds(frozenset({"JSON"})):
        self.wrong(f"DISTINCT of {value}", node, "a type that can be compared", "Use TO_JSON_STRING.")
    return value


def _ordered(self: Expressions, node: exp.Expr) -> Type:
    self.orderable(node.this)
    return type_of(node.this)


_HANDLERS: Final[Mapping[type[exp.Expr], Callable[[Expressions, exp.Expr], Type]]] = {
    exp.Array: _array,
    exp.AtTimeZone: _at_time_zone,
    exp.Boolean: lambda _self, _node: BOOL,
    exp.Bracket: _bracket,
    exp.ByteString: lambda _self, _node: BYTES,
    exp.Case: _case,
    exp.Cast: _cast,
    exp.Concat: _concat,
    exp.DPipe: _concat,
    exp.Distinct: _distinct,
    exp.Extract: _extract,
    exp.If: _if,
    exp.In: _in,
    exp.Interval: lambda _self, _node: INTERVAL,
    exp.Is: _is,
    exp.Literal: _literal,
    exp.Null: lambda _self, _node: NULL,
    exp.Ordered: _ordered,
    exp.Parameter: lambda _self, _node: ANY,
    exp.PropertyEQ: lambda _self, node: type_of(node.expression),
    exp.RawString: lambda _self, _node: STRING,
    exp.Star: lambda _self, _node: INT64,
    exp.Struct: _struct,
    exp.TryCast: _cast,
    exp.Tuple: lambda _self, node: struct_of(("", type_of(v)) for v in node.expressions),
    **dict.fromkeys(_TRANSPARENT, lambda _self, node: type_of(node.this)),
}
