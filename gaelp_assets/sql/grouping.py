"""What may stand beside aggregates: group keys, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sqlglot import exp

from gaelp_assets.sql.template import mark_key

_WRAPPERS: Final = (exp.IgnoreNulls, exp.RespectNulls)

_KEY_INSIDE: Final = "a subquery that refers to a group key which is no plain column is not used here"

_ONCE: Final = "A computed key is found again as a whole column or by its name only: for more, compute it in a subquery in FROM."


class Ungrouped(NamedTuple):
    """What GROUP BY forbids, where it stands, and what to do instead."""

    what: str
    node: exp.Expr
    remedy: str = ""


class Late(NamedTuple):
    """What comes after GROUP BY: the items of ORDER BY that are written out, the conditions of HAVING and QUALIFY, and if there is any."""

    ordered: Sequence[exp.Expr] = ()
    conditions: Sequence[exp.Expr] = ()
    exists: bool = False


def has_aggregate(node: exp.Expr) -> bool:
    """Whether an aggregate function stands in an expression, not counting subqueries and functions over windows."""
    return next(_aggregates(node), None) is not None


def has_window(node: exp.Expr) -> bool:
    """Whether a function over a window stands in an expression, not counting subqueries."""
    return any(isinstance(n, exp.Window) for n in node.walk(prune=lambda n: isinstance(n, exp.Query)))


def check_grouping(
    items: Sequence[exp.Expr],
    late: Late,
    keys: Sequence[exp.Expr] | None,
    aliases: set[str],
) -> Ungrouped | None:
    """The first thing that GROUP BY forbids; None if all is well.

    Args:
        items: those of the SELECT list, resolved.
        late: what comes after GROUP BY, resolved.
        keys: the group keys, resolved; None without GROUP BY.
        aliases: the range variables of FROM, in small letters.
    """
    expressions = [*items, *late.ordered, *late.conditions]
    for key in keys or ():
        if has_aggregate(key) or has_window(key):
            return Ungrouped("an aggregate or window function in GROUP BY", key)
    for node in expressions:
        for aggregate in _aggregates(node):
            if any(has_aggregate(child) for child in aggregate.iter_expressions()):
                return Ungrouped("an aggregate of an aggregate", aggregate, "Use a subquery.")
            if any(has_window(child) for child in aggregate.iter_expressions()):
                return Ungrouped("a window function inside an aggregate", aggregate, "Use a subquery.")
    if keys is None and not any(map(has_aggregate, expressions)):
        return None
    owners = [_owner(key, items) for key in keys or ()]
    for number, node in enumerate(expressions):
        whole = [
            key
            for key, owner in zip(keys or (), owners, strict=True)
            if number < len(items) + len(late.ordered)
            and (owner == number or number >= len(items) or not late.exists)
        ]
        loose = _loose(node, keys or (), aliases, whole=whole)
        if loose is not None:
            return loose
    return None


def _owner(key: exp.Expr, items: Sequence[exp.Expr]) -> int:
    """The number of the item that a key is: of several equal ones only this one is found, once something comes after GROUP BY."""
    same = [n for n, item in enumerate(items) if item is key] or [
        n for n, item in enumerate(items) if item.unnest() == key.unnest()
    ]
    return same[0] if same else -1


def _aggregates(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.Query):
        return
    if isinstance(node, exp.Window):
        function = node.this
        while isinstance(function, _WRAPPERS):
            function = function.this
        for child in function.iter_expressions():
            yield from _aggregates(child)
        for name, value in node.args.items():
            if name != "this":
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, exp.Expr):
                        yield from _aggregates(child)
        return
    if isinstance(node, exp.AggFunc):
        yield node
        return
    for child in node.iter_expressions():
        yield from _aggregates(child)


def _loose(
    node: exp.Expr,
    keys: Sequence[exp.Expr],
    aliases: set[str],
    *,
    whole: Sequence[exp.Expr] = (),
    inside: bool = False,
) -> Ungrouped | None:
    """A column of this query's FROM that is in no key and in no aggregate; or, in a subquery, a key that DuckDB finds only as a column."""
    if any(node is key or (node == key and _found_again(node, whole=key in whole)) for key in keys):
        if inside and not isinstance(node, exp.Column) and node.find(exp.Column):
            return Ungrouped(_KEY_INSIDE, node, _ONCE)
        mark_key(node)
        return None
    if isinstance(node, exp.AggFunc) and not inside and not _over(node):
        return None
    if isinstance(node, exp.Column):
        if str(node.table).lower() not in aliases or any(_may_be(node, key) for key in keys):
            return None
        computed = any(key.find(exp.Column) and not _is_path(key) for key in keys)
        return Ungrouped(
            f"column {node.name} is neither grouped nor aggregated", node, _ONCE if computed else ""
        )
    within = inside or isinstance(node, exp.Query)
    for child in node.iter_expressions():
        found = _loose(
            child, keys, aliases, whole=whole if isinstance(node, exp.Paren) else (), inside=within
        )
        if found is not None:
            return found
    return None


def _may_be(column: exp.Column, key: exp.Expr) -> bool:
    """Whether a key without a table, of relations whose fields are not known, may be this column: DuckDB will say."""
    return isinstance(key, exp.Column) and not key.table and key.name.lower() == column.name.lower()


def _found_again(node: exp.Expr, *, whole: bool) -> bool:
    """Whether GoogleSQL finds an expression that equals a key to be this key.

    A name or a path of names is found everywhere, another expression only as a whole item, one with a subquery not at all.
    """
    if node._meta and node.meta.get("by_name"):
        return True
    return _is_path(node) or (whole and node.find(exp.Query) is None)


def _is_path(node: exp.Expr) -> bool:
    while isinstance(node, exp.Dot):
        node = node.this
    return isinstance(node, exp.Column)


def _over(node: exp.Expr) -> bool:
    parent = node.parent
    while isinstance(parent, _WRAPPERS):
        parent = parent.parent
    return isinstance(parent, exp.Window)


def ordinal(node: exp.Expr) -> int | None:
    """The number of an item of SELECT that stands for it in GROUP BY or ORDER BY; None for another expression."""
    node = node.unnest()
    if isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdigit():
        return int(node.this)
    return None


def group_items(group: exp.Expr) -> Iterator[exp.Expr]:
    """The expressions of GROUP BY, those inside ROLLUP, CUBE and GROUPING SETS too."""
    for item in group.expressions:
        if isinstance(item, exp.Rollup | exp.Cube | exp.GroupingSets | exp.Tuple):
            yield from group_items(item)
        elif isinstance(item, exp.Paren):
            yield item.this
        else:
            yield item
