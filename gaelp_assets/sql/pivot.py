"""PIVOT and UNPIVOT, written out as the aggregation or the UNNEST that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.scope import Column, identifier
from gaelp_assets.sql.trees import copied

# Those whose result does not change by NULLs, which stand for the rows of other values.
_AGGREGATES: Final = (exp.Avg, exp.Count, exp.CountIf, exp.Max, exp.Min, exp.Sum)


def written_out(source: exp.Expr, pivot: exp.Expr, columns: Sequence[Column] | None) -> exp.Subquery:
    """The subquery that a relation with PIVOT or UNPIVOT stands for.

    Args:
        source: the relation, without its PIVOT.
        pivot: the PIVOT.
        columns: those of the relation; None where they are not known.

    Raises:
        GaelpError: a form that has no equal here.
    """
    name = "UNPIVOT" if pivot.args.get("unpivot") else "PIVOT"
    instead = (
        "UNNEST([STRUCT(a AS value, 'a' AS name), ...])"
        if name == "UNPIVOT"
        else "SUM(IF(key = value, x, NULL)) with GROUP BY"
    )
    fields = pivot.args["fields"]
    if columns is None:
        raise GaelpError(refused(f"{name} of a relation whose fields are not known", instead))
    if len(fields) != 1 or not isinstance(fields[0], exp.In) or not fields[0].expressions:
        raise GaelpError(refused(f"this {name}", instead))
    if not source.alias:
        source.set("alias", exp.TableAlias(this=identifier(source.name or "_rows")))
    build = _unpivoted if name == "UNPIVOT" else _pivoted
    query = build(source, pivot, fields[0], columns, instead)
    alias = pivot.args.get("alias") or (
        exp.TableAlias(this=identifier(source.alias)) if source.alias != "_rows" else None
    )
    return exp.Subquery(this=query, alias=alias)


def _pivoted(
    source: exp.Expr, pivot: exp.Expr, field: exp.In, columns: Sequence[Column], instead: str
) -> exp.Select:
    key, aggregates = field.this, pivot.expressions
    used = {c.name.lower() for part in [key, *aggregates] for c in part.find_all(exp.Column)}
    rest = [
        exp.column(identifier(c.name), identifier(source.alias))
        for c in columns
        if c.name.lower() not in used
    ]
    items: list[exp.Expr] = []
    for given in field.expressions:
        value = given.this if isinstance(given, exp.PivotAlias) else given
        label = given.args["alias"].name if isinstance(given, exp.PivotAlias) else value.name
        if not isinstance(value, exp.Literal) or (
            not value.is_string and not isinstance(given, exp.PivotAlias)
        ):
            raise GaelpError(
                refused("this value of PIVOT", "a string, or a number with its alias", "Write AS.")
            )
        for aggregate in aggregates:
            call = copied(aggregate.this if isinstance(aggregate, exp.Alias) else aggregate)
            if not isinstance(call, _AGGREGATES) or (
                not isinstance(aggregate, exp.Alias) and len(aggregates) > 1
            ):
                raise GaelpError(
                    refused("this aggregate in PIVOT", f"AVG, COUNT, COUNTIF, MAX, MIN or SUM, or {instead}")
                )
            condition = exp.EQ(this=copied(key), expression=copied(value))
            if isinstance(call.this, exp.Star):
                one = exp.If(this=condition, true=exp.Literal.number(1), false=exp.Null())
                call = exp.Count(this=one)
            else:
                argument = call.this.expressions[0] if isinstance(call.this, exp.Distinct) else call.this
                argument.replace(exp.If(this=condition, true=copied(argument), false=exp.Null()))
            prefix = f"{aggregate.alias}_" if isinstance(aggregate, exp.Alias) else ""
            items.append(exp.alias_(call, identifier(prefix + label), copy=False))
    query = exp.Select(expressions=[*rest, *items], from_=exp.From(this=source))
    if rest:
        query.set("group", exp.Group(expressions=[copied(column) for column in rest]))
    return query


def _unpivoted(
    source: exp.Expr, pivot: exp.Expr, field: exp.In, columns: Sequence[Column], instead: str
) -> exp.Select:
    value, key = pivot.expressions[0], field.this
    if (
        len(pivot.expressions) != 1
        or not isinstance(value, exp.Identifier)
        or not isinstance(key, exp.Identifier)
    ):
        raise GaelpError(refused("this UNPIVOT", instead))
    structs: list[exp.Expr] = []
    spread: set[str] = set()
    for given in field.expressions:
        column = given.this if isinstance(given, exp.PivotAlias) else given
        label = given.args["alias"] if isinstance(given, exp.PivotAlias) else exp.Literal.string(column.name)
        if not isinstance(column, exp.Column) or not isinstance(label, exp.Literal):
            raise GaelpError(refused("this column of UNPIVOT", instead))
        spread.add(column.name.lower())
        one = exp.column(identifier(column.name), identifier(source.alias))
        pair = [(value.name, one), (key.name, copied(label))]
        structs.append(
            exp.Struct(expressions=[exp.PropertyEQ(this=identifier(n), expression=v) for n, v in pair])
        )
    pairs = identifier("_unpivoted")
    rest = [
        exp.column(identifier(c.name), identifier(source.alias))
        for c in columns
        if c.name.lower() not in spread
    ]
    unnest = exp.Unnest(expressions=[exp.Array(expressions=structs)], alias=exp.TableAlias(columns=[pairs]))
    query = exp.Select(
        expressions=[*rest, *(exp.column(identifier(n), copied(pairs)) for n in (value.name, key.name))],
        from_=exp.From(this=source),
        joins=[exp.Join(this=unnest, kind="CROSS")],
    )
    if not pivot.args.get("include_nulls"):
        there = exp.Not(
            this=exp.Is(this=exp.column(identifier(value.name), copied(pairs)), expression=exp.Null())
        )
        query.set("where", exp.Where(this=there))
    return query
