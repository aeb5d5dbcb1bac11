"""Which range variables of a SELECT are of one slice: the conditions of its joins link them, and outer joins fill them with NULL."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlglot import exp

from gaelp_assets.sql.carriers import NONE, OUTER, Dimensions, RangeVariables, conjuncts, unwrapped


def link_joins(items: Sequence[exp.Expr], joins: Sequence[exp.Join], scope: RangeVariables) -> None:
    """Notes join by join which range variables are filled with NULL, and what the condition links.

    The rows of a LEFT or FULL join stay where its condition does not hold: it says what the joined row is of, not that two of the rows
    before it are of one slice. Where a RIGHT or FULL join follows, no condition says of what slice a row is by itself.
    """
    names = [item.alias_or_name.lower() for item in items]
    scope.never_all_null = [frozenset(names[:1])]
    mixes_outer = any(join.side in {"RIGHT", "FULL"} for join in joins)
    for number, join in enumerate(joins, start=1):
        here, earlier = names[number], frozenset(names[:number])
        keeps_earlier = join.side in {"LEFT", "FULL"}
        for part in conjuncts(join.args["on"]) if join.args.get("on") is not None else ():
            link_condition(
                part,
                scope,
                joined=here if keeps_earlier else None,
                earlier=earlier,
                by_outer=not mixes_outer,
            )
        match join.side:
            case "LEFT":
                pass
            case "RIGHT":
                scope.never_all_null = [frozenset({here})]
            case "FULL":
                scope.never_all_null = [found | {here} for found in scope.never_all_null]
            case _:
                scope.never_all_null.append(frozenset({here}))


def link_condition(
    condition: exp.Expr,
    scope: RangeVariables,
    *,
    joined: str | None = None,
    earlier: Collection[str] = (),
    by_outer: bool = True,
) -> None:
    """Notes an equality of carriers.

    Args:
        condition: what holds of each row, or, with `joined`, of each row that has one of `joined`.
        scope: the range variables.
        joined: what an outer join adds to rows that stay without it.
        earlier: the range variables before it.
        by_outer: whether the row around a subquery can be linked.
    """
    condition = condition.unnest()
    if not isinstance(condition, exp.EQ):
        return
    one, other = condition.this, condition.expression
    for dimension in dimensions_of(one, scope) & dimensions_of(other, scope):
        ends = {owner(one, scope), owner(other, scope)}
        if OUTER in ends and not by_outer:
            continue
        if joined is not None:
            links_nothing_else = all(
                scope.root(dimension, joined) != scope.root(dimension, alias) for alias in {*earlier, OUTER}
            )
            if joined not in ends or not links_nothing_else:
                continue
        if len(ends) > 1:
            scope.link(dimension, *ends)


def dimensions_of(value: exp.Expr, scope: RangeVariables, *, everywhere: bool = False) -> Dimensions:
    """The wanted dimensions that an expression carries where it is not NULL; with `everywhere`, only if it never is."""
    value = unwrapped(value)
    if isinstance(value, exp.Coalesce):
        # The merged column of a FULL JOIN: each side's, where the sides are linked.
        parts = [unwrapped(part) for part in [value.this, *value.expressions]]
        owners = [owner(part, scope) for part in parts]
        found = [dimensions_of(part, scope) for part in parts]
        if everywhere and not is_never_null(owners, scope):
            return NONE
        return frozenset(
            d for d in frozenset.intersection(*found) if len({scope.root(d, o) for o in owners}) == 1
        )
    if not isinstance(value, exp.Column):
        return NONE
    alias = value.table.lower()
    if alias in scope.sources:
        if everywhere and not is_never_null([alias], scope):
            return NONE
        return scope.sources[alias].carries(value.name) & scope.wanted
    return dimensions_of(value, scope.outer, everywhere=everywhere) if scope.outer is not None else NONE


def is_never_null(owners: Sequence[str], scope: RangeVariables) -> bool:
    """Whether one of these range variables at least has a row in each row of the joins."""
    return any(found <= set(owners) for found in scope.never_all_null)


def owner(value: exp.Expr, scope: RangeVariables) -> str:
    """The range variable that a carrier is of; `OUTER` for those of the queries around."""
    value = unwrapped(value)
    if isinstance(value, exp.Coalesce):
        value = unwrapped(value.this)
    alias = value.table.lower() if isinstance(value, exp.Column) else ""
    return alias if alias in scope.sources else OUTER


def carried(value: exp.Expr, scope: RangeVariables) -> Dimensions:
    """The wanted dimensions that the value of an expression carries, for every row."""
    return dimensions_of(value, scope, everywhere=True)
