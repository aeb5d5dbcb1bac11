"""The names and types of an expression: every column becomes a reference that means it alone, every value is noted with its type."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import Problem
from gaelp_assets.sql.expression_rules import RULES
from gaelp_assets.sql.functions import ALLOWED, key_of
from gaelp_assets.sql.scope import NameProblem, Scope, at, fields_of, identifier, place, refused_name
from gaelp_assets.sql.signatures import Argument, match
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import (
    ANY,
    BOOL,
    FLOAT64,
    INT64,
    NULL,
    Type,
    array_of,
    common_type,
    cost,
    type_of,
    typed,
)
from gaelp_assets.sql.values import coerced, implied_name, is_literal, sqlglot_type

_WHOLE: Final = re.compile(r"-?\d+")
_OPERATORS: Final = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Not, exp.Neg,
    exp.Like)  # fmt: skip
ONLY_OVER: Final = (exp.RowNumber, exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist, exp.Ntile, exp.Lag, exp.Lead, exp.FirstValue,
    exp.LastValue, exp.NthValue, exp.PercentileCont)  # fmt: skip


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
        handler = RULES.get(type(node))
        if handler is not None:
            return typed(node, handler(self, node))
        return self.call(node)

    def _column(self, node: exp.Column, scope: Scope) -> exp.Expr:
        if isinstance(node.this, exp.Star):
            self.wrong("* stands for columns only in a SELECT list and in COUNT(*)", node)
            return typed(node, ANY)
        path = [part.name for part in node.parts]
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
            return fields_of(copied(value), names)
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

    def call(self, node: exp.Expr) -> exp.Expr:
        """A function or operator by its signature; its arguments become the types that it asks for."""
        allowed = ALLOWED.get(key_of(node))
        if allowed is None or not allowed.signatures:
            return typed(node, ANY)
        if isinstance(node, ONLY_OVER) and not _is_over(node):
            self.wrong(f"{_called(node)} without OVER", node, f"{_called(node)}(...) OVER (PARTITION BY ...)")
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
                becomes = typed(exp.Cast(this=copied(value), to=sqlglot_type(target)), target)
            if becomes is not value:
                value.replace(becomes)
        if type(node) in (exp.Neg,) and isinstance(node.this, exp.Literal):
            return typed(node, type_of(node.this))
        return typed(node, found.result)

    def common(self, node: exp.Expr, values: Sequence[exp.Expr]) -> Type:
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
    allowed = ALLOWED.get(key_of(node))
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
            value.replace(exp.PropertyEQ(this=identifier(name), expression=copied(value)))


def _is_over(node: exp.Expr) -> bool:
    parent = node.parent
    while isinstance(parent, exp.IgnoreNulls | exp.RespectNulls):
        parent = parent.parent
    return isinstance(parent, exp.Window)
