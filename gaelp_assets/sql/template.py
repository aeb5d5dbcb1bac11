"""Pieces of DuckDB SQL with holes, as trees: how transforms say what an expression becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import sqlglot
from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import ALLOWED, refused
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import type_of, typed

_SAFE_BY_CASE = frozenset(
    {"Exp", "Ln", "Log", "ParseDatetime", "Pow", "Sqrt", "StrToDate", "StrToTime", "Substring", "UnixToTime"}
)
_SAFE_BY_TRY = frozenset({"DateFromParts"})
_SAFE_IF = {
    "Abs": "_a <> -9223372036854775808",
    "IntDiv": "_b <> 0 AND (_b <> -1 OR _a <> -9223372036854775808)",
    "Mod": "_b <> 0",
}
_SAFE_FORMS = "SAFE_CAST, SAFE_DIVIDE, SAFE_ADD, SAFE_SUBTRACT, SAFE_MULTIPLY, or SAFE. before a function of numbers or SUBSTR"
Transform = Callable[[exp.Expr], exp.Expr]
"""Takes one node of the GoogleSQL tree, whose children are translated already, and returns what stands in its place for DuckDB."""
MARK = "gaelp: "
"""What the message of every error that translated SQL raises by itself starts with; no such message holds a value."""
REFUSED = "refused: "
"""What the message of a deliberate refusal at run time starts with; `SAFE.` does not turn these into NULL."""


@lru_cache(maxsize=256)
def _parsed(text: str) -> exp.Expr:
    return sqlglot.parse_one(text, dialect="duckdb")


def fill(text: str, **holes: exp.Expr) -> exp.Expr:
    """The DuckDB expression `text`, with each column `_name` replaced by a copy of the tree `name`."""
    return put(copied(_parsed(text)), **holes)


def put(tree: exp.Expr, **holes: exp.Expr) -> exp.Expr:
    """A tree with each column `_name` replaced by a copy of the tree `name`."""
    for column in list(tree.find_all(exp.Column)):
        name = column.name
        if name.startswith("_") and name[1:] in holes:
            piece = copied(holes[name[1:]])
            if isinstance(piece, exp.Binary | exp.Unary | exp.Between | exp.In) and not isinstance(
                piece, exp.Paren | exp.Dot
            ):
                piece = exp.Paren(this=piece)
            if column is tree:
                tree = piece
            else:
                column.replace(piece)
    return tree


def guarded(checks: Sequence[tuple[str, str]], value: str, **holes: exp.Expr) -> exp.Expr:
    """`value`, or the error of the first of the `checks` (a condition and a message) that holds.

    What is guarded already is put in without its guards, which then come first: each stands once, however deep the expression is.
    """
    opened = {name: unguarded(piece) for name, piece in holes.items()}
    raw = {name: piece for name, (piece, _) in opened.items()}
    before = [branch for _, branches in opened.values() for branch in branches]
    own = [
        exp.If(
            this=fill(condition, **raw),
            true=exp.Anonymous(this="ERROR", expressions=[exp.Literal.string(message)]),
        )
        for condition, message in checks
    ]
    return behind([*before, *own], fill(value, **raw))


def behind(branches: Iterable[exp.Expr], value: exp.Expr) -> exp.Expr:
    """A value behind guards, each of them once."""
    distinct = list(dict.fromkeys(branches))
    if not distinct:
        return value
    case = exp.Case(ifs=[copied(branch) for branch in distinct], default=copied(value))
    case.meta["guard"] = True
    return case


def mark_key(node: exp.Expr) -> exp.Expr:
    """Notes that a node is a group key, which has to be written in one way wherever it stands: nothing of it may move."""
    node.meta["key"] = True
    node.meta.pop("guard", None)
    return node


def is_key(node: exp.Expr) -> bool:
    """Whether a node is a group key."""
    return bool(node._meta and node.meta.get("key"))


def unguarded(node: exp.Expr) -> tuple[exp.Expr, list[exp.Expr]]:
    """A value without its guards, and the guards."""
    inner = node
    while isinstance(inner, exp.Paren) and not is_key(inner):
        inner = inner.this
    if isinstance(inner, exp.Case) and inner.meta.get("guard"):
        branches = inner.args["ifs"]
        if all(isinstance(b.args["true"], exp.Anonymous) for b in branches):
            return typed(inner.args["default"], type_of(node)), branches
    return node, []


def without_errors(tree: exp.Expr) -> exp.Expr:
    """The same expression with NULL where it would raise an error: what `SAFE.` means. Refusals stay errors."""
    for call in list(tree.find_all(exp.Anonymous)):
        if call.name.upper() == "ERROR" and not call.expressions[0].name.startswith(REFUSED):
            if call is tree:
                return exp.Null()
            call.replace(exp.Null())
    return tree


def finish_errors(tree: exp.Expr) -> None:
    """Marks the errors that the translation raises, and makes those in the keys of windows such as DuckDB allows there.

    `ERROR` is volatile, and a window's key must not be: a cast of the message does the same, as long as it depends on a column. A group
    key that stands in a window's key too is written in this way wherever it stands.
    """
    for call in tree.find_all(exp.Anonymous):
        if call.name.upper() == "ERROR":
            call.set("expressions", [exp.Literal.string(MARK + call.expressions[0].name)])
    keys: list[tuple[exp.Expr, exp.Expr | None]] = []
    for window in tree.find_all(exp.Window):
        order = window.args.get("order")
        own = [*(window.args.get("partition_by") or []), *(order.expressions if order is not None else [])]
        if any(is_key(node) for key in own for node in key.walk()):
            keys += [(key, _outer_column(key)) for key in _group_keys(window)]
        keys += [(key, _outer_column(key) or _outer_column(window) or _some_column(window)) for key in own]
    for key, column in keys:
        for call in list(key.find_all(exp.Anonymous)):
            if call.name.upper() == "ERROR" and column is not None:
                text = "CASE WHEN CAST(CONCAT(_m, LEFT(CAST(_c AS VARCHAR), 0)) AS BOOLEAN) THEN NULL END"
                call.replace(fill(text, m=call.expressions[0], c=column))


def _group_keys(window: exp.Expr) -> list[exp.Expr]:
    """The group keys of a window's query, wherever they stand in it."""
    select = window.find_ancestor(exp.Select)
    if select is None:
        return []
    nodes = list(select.walk(prune=lambda n: isinstance(n, exp.Query) and n is not select))
    return [node for node in nodes if is_key(node) or isinstance(node.parent, exp.Group)]


def _outer_column(key: exp.Expr) -> exp.Column | None:
    """A column in an expression that is visible in all of it: none of a relation that one of its subqueries reads."""
    inner = {alias.name for alias in key.find_all(exp.TableAlias)} | {t.name for t in key.find_all(exp.Table)}
    return next((c for c in key.find_all(exp.Column) if c.table not in inner), None)


def _some_column(window: exp.Expr) -> exp.Expr | None:
    """A column of the relation that a window's query reads."""
    select = window.find_ancestor(exp.Select)
    from_ = select.args.get("from_") if select is not None else None
    source = from_.this if from_ is not None else None
    if not isinstance(source, exp.Subquery) or not isinstance(source.this, exp.Query):
        return None
    return exp.column(source.this.selects[0].alias_or_name, table=source.alias)


def null_instead_of_error(function: exp.Expr, rule: Callable[[exp.Expr], exp.Expr] | None) -> exp.Expr:
    """`SAFE.function(...)` in DuckDB: NULL for an error of the function itself, while an error of its arguments stays one.

    Raises:
        GaelpError: `SAFE.` was not compared for the function, or an argument can fail by itself and cannot be told from it.
    """
    name = type(function).__name__
    if name not in _SAFE_BY_CASE | _SAFE_BY_TRY | _SAFE_IF.keys():
        raise GaelpError(refused(f"SAFE. before {ALLOWED[name].names[0]}", _SAFE_FORMS))
    if name in _SAFE_IF:
        call = rule(copied(function)) if rule else copied(function)
        return fill(
            f"CASE WHEN {_SAFE_IF[name]} THEN _f END",
            f=call,
            a=function.this,
            b=function.args.get("expression") or exp.Null(),
        )
    holes = {}
    for number, argument in enumerate(list(function.iter_expressions())):
        if isinstance(argument, exp.Literal | exp.Null | exp.Var | exp.Neg):
            continue
        holes[f"argument{number}"] = copied(argument)
        argument.replace(typed(exp.column(f"_argument{number}"), type_of(argument)))
    translated = rule(function) if rule else function
    if name in _SAFE_BY_CASE:
        return put(without_errors(copied(translated)), **holes)
    if any(can_fail(argument) for argument in holes.values()):
        raise GaelpError(
            refused("SAFE. around something that can fail by itself", "the inner expression in a subquery")
        )
    return put(fill("TRY(_x)", x=translated), **holes)


def can_fail(node: exp.Expr) -> bool:
    """Whether a translated expression may raise an error when it runs; a column or a literal may not."""
    return any(
        not isinstance(
            n, exp.Column | exp.Identifier | exp.Literal | exp.Null | exp.Paren | exp.Boolean | exp.Dot
        )
        and not (isinstance(n, exp.Cast) and isinstance(n.this, exp.Literal))
        and not isinstance(n, exp.DataType)
        for n in node.walk()
    )


def integer(node: exp.Expr) -> int | None:
    """The value of an integer literal, signed or not; None for anything else."""
    sign = 1
    while isinstance(node, exp.Neg | exp.Paren):
        sign = -sign if isinstance(node, exp.Neg) else sign
        node = node.this
    if isinstance(node, exp.Cast) and node.to.is_type(exp.DType.BIGINT):
        inner = integer(node.this)
        return None if inner is None else sign * inner
    if isinstance(node, exp.Literal) and str(node.this).lstrip("-").isdigit():
        return sign * int(node.this)
    return None
