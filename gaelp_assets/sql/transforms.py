"""What sqlglot would get silently wrong: literals, aggregates and arrays. Numbers are in `transforms_number`, text is in
`transforms_text`, dates are in `transforms_time`, casts in `transforms_cast`.

Each transform takes one node of the GoogleSQL tree, whose children are translated already, and returns what stands in its
place in DuckDB's SQL. It raises `GaelpError` for forms that have no equal. One example of each stands in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from sqlglot import exp

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.template import Transform, fill, integer
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import type_of
from gaelp_assets.sql.values import sqlglot_type

_COMPARISONS = (
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.Between,
    exp.In,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
)
_BARE_NUMBER = (
    exp.Bracket, exp.DataTypeParam, exp.Extract, exp.Group, exp.Interval, exp.JSONPathSubscript, exp.Limit, exp.Log, exp.Offset,
    exp.Ordered, exp.Pad, exp.RegexpExtract, exp.WindowSpec, *_COMPARISONS,
)  # fmt: skip

_BEYOND: Final = 2**31
"""A place after the end of every array."""


def literal(node: exp.Expr) -> exp.Expr:
    """DuckDB takes 1 for an INT32 and 0.5 for a DECIMAL; GoogleSQL for INT64 and FLOAT64."""
    text = str(node.this)
    if cast("exp.Literal", node).is_string:
        return node
    target = type_of(node).name
    if target == "NUMERIC":
        if float(text) >= 1e29:
            raise GaelpError(Problem("a number beyond NUMERIC", "SQL", "less than 1e29"))
        return fill("CAST(_x AS DECIMAL(38, 9))", x=exp.Literal.string(text))
    if target == "FLOAT64" and text.isdigit():
        return exp.Literal.number(f"{text}e0")
    if text.lower().startswith("0x"):
        return fill("CAST(_x AS BIGINT)", x=exp.Literal.number(int(text, 16)))
    if not text.isdigit():
        return node if "e" in text.lower() else exp.Literal.number(f"{text}e0")
    if isinstance(node.parent, (*_BARE_NUMBER, exp.Neg)) or _typed_by_neighbour(node):
        return node
    return fill("CAST(_x AS BIGINT)", x=node)


def _typed_by_neighbour(node: exp.Expr) -> bool:
    """Whether the number's type does not matter: beside a column, which is INT64 already, or as a count."""
    parent = node.parent
    if isinstance(parent, exp.Nullif):
        return node.arg_key == "expression"
    if isinstance(parent, exp.Add | exp.Sub | exp.Mul | exp.Div | exp.IntDiv | exp.Mod):
        other = parent.expression if node.arg_key == "this" else parent.this
        return integer(other) is None
    counted = {"decimals", "start", "length", "offset", "year", "month", "day", "times"}
    return node.arg_key in counted and not isinstance(parent, exp.GenerateSeries | exp.GenerateDateArray)


def negative(node: exp.Expr) -> exp.Expr:
    """The smallest INT64 has no positive twin that could be cast first."""
    is_integer = (
        isinstance(node.this, exp.Literal)
        and str(node.this.this).isdigit()
        and type_of(node.this).name != "FLOAT64"
    )
    if is_integer and not isinstance(node.parent, _BARE_NUMBER) and not _typed_by_neighbour(node):
        return fill("CAST(_x AS BIGINT)", x=exp.Literal.number(f"-{node.this.this}"))
    return node


def null(node: exp.Expr) -> exp.Expr:
    """A NULL has a type in GoogleSQL, on which the type of what it stands in may depend."""
    kind = type_of(node)
    if kind.name in {"NULL", "EMPTY", "ANY"} or not kind.known or isinstance(node.parent, exp.Cast):
        return node
    return exp.Cast(this=copied(node), to=sqlglot_type(kind))


def count_if(node: exp.Expr) -> exp.Expr:
    """DuckDB counts to INT128, and to NULL where all is NULL."""
    return fill("COUNT(CASE WHEN _x THEN 1 END)", x=node.this)


def by_extreme(node: exp.Expr) -> exp.Expr:
    """MAX_BY and MIN_BY return NULL where the row of the extreme has NULL; ARG_MAX passes over such rows."""
    name = "ARG_MAX_NULL" if isinstance(node, exp.ArgMax) else "ARG_MIN_NULL"
    return fill(f"{name}(_x, _y)", x=node.this, y=node.expression)


def array_agg(node: exp.Expr) -> exp.Expr:
    """LIMIT and IGNORE NULLS inside ARRAY_AGG."""
    ignore_nulls = isinstance(node, exp.IgnoreNulls)
    if ignore_nulls and isinstance(node.this, exp.PercentileCont | exp.PercentileDisc):
        return copied(node.this)
    if ignore_nulls and not isinstance(node.this, exp.ArrayAgg):
        return node
    if not ignore_nulls and isinstance(node.parent, exp.IgnoreNulls):
        return node
    aggregate = node.this if ignore_nulls else node
    limit = aggregate.this if isinstance(aggregate.this, exp.Limit) else None
    if limit is not None:
        aggregate.set("this", limit.this)
    if ignore_nulls:
        value = aggregate.this.this if isinstance(aggregate.this, exp.Order) else aggregate.this
        value = value.expressions[0] if isinstance(value, exp.Distinct) else value
        call: exp.Expr = exp.Filter(
            this=copied(aggregate), expression=exp.Where(this=fill("NOT _x IS NULL", x=value))
        )
    else:
        call = copied(aggregate)
    return call if limit is None else fill("LIST_SLICE(_a, 1, _n)", a=call, n=limit.expression)


def array_concat(node: exp.Expr) -> exp.Expr:
    """NULL if one of the arrays is."""
    joined = node.this
    for other in node.expressions:
        joined = fill("LIST_CONCAT(_a, _b)", a=joined, b=other)
    missing = exp.or_(*(fill("_a IS NULL", a=a) for a in (node.this, *node.expressions)), copy=False)
    return fill("CASE WHEN NOT _m THEN _j END", m=exp.Paren(this=missing), j=joined)


def array_concat_agg(node: exp.Expr) -> exp.Expr:
    """Arrays one after the other; those that are NULL are passed over."""
    value = node.this.this if isinstance(node.this, exp.Order) else node.this
    if isinstance(node.this, exp.Limit):
        raise GaelpError(
            refused("ARRAY_CONCAT_AGG with LIMIT", "ARRAY_CONCAT_AGG over a subquery with LIMIT")
        )
    call = exp.Filter(
        this=exp.ArrayAgg(this=copied(node.this)), expression=exp.Where(this=fill("NOT _x IS NULL", x=value))
    )
    return fill("FLATTEN(_a)", a=call)


def approximate_count(node: exp.Expr) -> exp.Expr:
    """The exact number, which is as near as an approximation can be."""
    return fill("COUNT(DISTINCT _x)", x=node.this)


def correlation(node: exp.Expr) -> exp.Expr:
    """NULL of fewer than two pairs, which is NaN in DuckDB."""
    if isinstance(node.parent, exp.Window):
        raise GaelpError(refused("CORR over a window", "CORR with GROUP BY"))
    return fill("CASE WHEN REGR_COUNT(_a, _b) >= 2 THEN CORR(_a, _b) END", a=node.this, b=node.expression)


def quantiles(node: exp.Expr) -> exp.Expr:
    """APPROX_QUANTILES(x, n): the exact ones, n + 1 of them from the least to the greatest."""
    number = integer(node.expression)
    if number is None or not 1 <= number <= 1000 or isinstance(node.this, exp.Distinct):
        raise GaelpError(
            refused("this APPROX_QUANTILES", "APPROX_QUANTILES(x, n), n between 1 and 1000, written out")
        )
    places = ", ".join(f"{i / number!r}" for i in range(number + 1))
    return fill(f"QUANTILE_DISC(_x, [{places}])", x=node.this)


def string_agg(node: exp.Expr) -> exp.Expr:
    """Without a LIMIT, which DuckDB would ignore."""
    if node.find(exp.Limit):
        raise GaelpError(refused("STRING_AGG with LIMIT", "STRING_AGG over a subquery with LIMIT"))
    return node


def element(node: exp.Expr) -> exp.Expr:
    """OFFSET counts from 0, ORDINAL from 1; beyond the end is an error, unless SAFE; DuckDB counts a negative one from the end."""
    bare = node.args.get("offset") is None
    if len(node.expressions) != 1 or (bare and type_of(node.this).name != "ARRAY"):
        raise GaelpError(
            refused("an index without OFFSET or ORDINAL", "array[OFFSET(i)], array[SAFE_OFFSET(i)]")
        )
    index, base = node.expressions[0], 0 if bare else int(node.args["offset"])
    at = integer(index)
    if at is not None:
        place: exp.Expr = exp.Literal.number(min(max(at - base + 1, 0), _BEYOND))
    else:
        place = fill(f"_i + {1 - base}", i=index)
    holes = {
        "a": node.this,
        "p": place,
        "element": exp.Anonymous(this="LIST_EXTRACT", expressions=[copied(node.this), copied(place)]),
    }
    if node.args.get("safe"):
        if at is not None:
            return fill("_element", **holes)
        return fill(f"CASE WHEN _i >= {base} AND _i < {_BEYOND} THEN _element END", i=index, **holes)
    text = "CASE WHEN _p < 1 OR _p > LEN(_a) THEN ERROR('array index out of bounds') ELSE _element END"
    return fill(text, **holes)


def error(node: exp.Expr) -> exp.Expr:
    """ERROR('a message'), which is shown as it is written. One that is computed could hold values: it is not."""
    message = node.expressions[0]
    written = isinstance(message, exp.Literal) and message.is_string
    shown = message.name if written else "the query's own ERROR"
    return exp.Anonymous(this="ERROR", expressions=[exp.Literal.string(shown)])


def struct(node: exp.Expr) -> exp.Expr:
    """Every field needs its name: an inferred one differs between engines."""
    if not all(isinstance(field, exp.PropertyEQ) for field in node.expressions):
        raise GaelpError(refused("a STRUCT field without a name", "STRUCT(x AS x, ...)"))
    return node


def unnest(node: exp.Expr) -> exp.Expr:
    """A subquery that spreads the array, and counts from 0 for WITH OFFSET. The resolver has named all of it."""
    if not isinstance(node.parent, exp.From | exp.Join):
        return node
    alias, offset, array = node.args["alias"], node.args.get("offset"), node.expressions[0]
    columns = [exp.alias_(fill("UNNEST(_a)", a=array), copied(alias.columns[0]))]
    if offset:
        columns.append(exp.alias_(fill("UNNEST(RANGE(LEN(_a)))", a=array), copied(offset)))
    if isinstance(node.parent, exp.Join) and not node.parent.args.get("on") and node.parent.side:
        node.parent.set("on", exp.true())
    return exp.Subquery(this=exp.select(*columns), alias=exp.TableAlias(this=copied(alias.this)))


def whole_select(node: exp.Expr) -> exp.Expr:
    """`*` over UNNEST: GoogleSQL spreads the fields of structs, DuckDB does not."""
    sources = [node.args.get("from_"), *(node.args.get("joins") or [])]
    has_star = any(isinstance(e, exp.Star) for e in node.expressions)
    if has_star and any(s is not None and isinstance(s.this, exp.Unnest) for s in sources):
        raise GaelpError(refused("* over UNNEST", "the columns, by name"))
    return node


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.Anonymous: error,
    exp.ArgMax: by_extreme,
    exp.ArgMin: by_extreme,
    exp.ApproxDistinct: approximate_count,
    exp.ApproxQuantiles: quantiles,
    exp.ArrayAgg: array_agg,
    exp.ArrayConcat: array_concat,
    exp.ArrayConcatAgg: array_concat_agg,
    exp.Bracket: element,
    exp.Corr: correlation,
    exp.CountIf: count_if,
    exp.GroupConcat: string_agg,
    exp.IgnoreNulls: array_agg,
    exp.Literal: literal,
    exp.Neg: negative,
    exp.Null: null,
    # An array keeps its NULLs unless told otherwise.
    exp.RespectNulls: lambda node: copied(node.this) if isinstance(node.this, exp.ArrayAgg) else node,
    exp.Select: whole_select,
    exp.Struct: struct,
    exp.Unnest: unnest,
}
