"""`*` in a SELECT list, spelt out: of all relations, of one, or of the fields of a STRUCT; with EXCEPT and REPLACE."""

from __future__ import annotations

from typing import NamedTuple

from sqlglot import exp

from gaelp_assets.sql.expressions import Expressions
from gaelp_assets.sql.scope import Column, Scope, identifier
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import type_of, typed


class Item(NamedTuple):
    """An item of a SELECT list: its name ('' if it has none) and its resolved expression."""

    name: str
    value: exp.Expr


def is_star(node: exp.Expr) -> bool:
    """Whether an item of a SELECT list is `*`, `relation.*` or `struct.*`."""
    return (
        isinstance(node, exp.Star)
        or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star))
        or (isinstance(node, exp.Dot) and isinstance(node.expression, exp.Star))
    )


def spread_star(node: exp.Expr, scope: Scope, expressions: Expressions) -> list[Item] | None:
    """The items that a `*` stands for; None for those of a relation or record whose fields are not known, where it stays."""
    columns = _columns(node, scope, expressions)
    star = node if isinstance(node, exp.Star) else node.expression if isinstance(node, exp.Dot) else node.this
    if columns is None:
        for replaced in star.args.get("replace") or []:
            expressions.resolve(replaced.this, scope)
        return None
    left_out = {e.name.lower() for e in star.args.get("except_") or []}
    replaced = {e.alias.lower(): e.this for e in star.args.get("replace") or []}
    there = {c.name.lower() for c in columns}
    for name in sorted(left_out - there):
        expressions.wrong(f"* EXCEPT ({name}): there is no such column", node)
    for name in sorted(replaced.keys() - there):
        expressions.wrong(f"* REPLACE (... AS {name}): there is no such column", node)
    return [
        Item(
            c.name,
            expressions.resolve(replaced[c.name.lower()], scope)
            if c.name.lower() in replaced
            else c.reference(),
        )
        for c in columns
        if c.name.lower() not in left_out
    ]


def _columns(node: exp.Expr, scope: Scope, expressions: Expressions) -> list[Column] | None:
    if isinstance(node, exp.Dot):
        return _fields(node.this, node, scope, expressions)
    if isinstance(node, exp.Column) and node.args.get("table"):
        path = node.parts[:-1]
        source = next((s for s in scope.sources if s.name.lower() == path[0].name.lower()), None)
        if source is None or len(path) > 1:
            return _fields(exp.column(*reversed([p.name for p in path])), node, scope, expressions)
        node.args["table"].replace(identifier(source.alias))
        return source.columns
    if not scope.sources:
        expressions.wrong("* without FROM", node)
        return []
    if not scope.open:
        return scope.columns
    if scope.merged:
        expressions.wrong(
            "* over JOIN ... USING of relations whose fields are not known", node, "the columns, by name"
        )
    return None


def _fields(record: exp.Expr, node: exp.Expr, scope: Scope, expressions: Expressions) -> list[Column] | None:
    """The fields of a STRUCT as columns."""
    value = expressions.resolve(record, scope)
    kind = type_of(value)
    if kind.name == "ANY" and scope.sources and isinstance(node, exp.Column) and len(node.parts) == 2:
        return None
    if kind.name != "STRUCT":
        what = "something whose fields are not known" if kind.name == "ANY" else str(kind)
        expressions.wrong(f"* of {what}", node, "the fields, by name" if kind.name == "ANY" else "a STRUCT")
        return []
    return [
        Column(n, t, typed(exp.Dot(this=copied(value), expression=identifier(n)), t)) for n, t in kind.fields
    ]
