"""What sqlglot would get silently wrong: numbers, aggregates and arrays. Text is in `transforms_text`, dates are in
`transforms_time`, casts in `transforms_cast`.

Each transform takes one node of the GoogleSQL tree, whose children are translated already, and returns what stands in its
place in DuckDB's SQL. It raises `GaelpError` for forms that have no equal. One example of each stands in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.template import fill, integer

Transform = Callable[[exp.Expr], exp.Expr]

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


def literal(node: exp.Expr) -> exp.Expr:
    """DuckDB takes 1 for an INT32 and 0.5 for a DECIMAL; GoogleSQL for INT64 and FLOAT64."""
    text = str(node.this)
    if cast("exp.Literal", node).is_string:
        return node
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
    is_integer = isinstance(node.this, exp.Literal) and str(node.this.this).isdigit()
    if is_integer and not isinstance(node.parent, _BARE_NUMBER) and not _typed_by_neighbour(node):
        return fill("CAST(_x AS BIGINT)", x=exp.Literal.number(f"-{node.this.this}"))
    return node


def divide(node: exp.Expr) -> exp.Expr:
    """Division by zero is an error, not infinity."""
    divisor = node.expression.unnest()
    if isinstance(divisor, exp.Nullif) or integer(divisor) or _nonzero_float(divisor):
        return node
    known = isinstance(node.this, exp.Literal) or integer(node.this) is not None
    zero = "_b = 0" if known else "_b = 0 AND NOT _a IS NULL"
    return fill(
        f"CASE WHEN {zero} THEN ERROR('division by zero') ELSE _a / _b END", a=node.this, b=node.expression
    )


def _nonzero_float(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string and float(node.this) != 0


def sum_(node: exp.Expr) -> exp.Expr:
    """DuckDB sums INT64 to INT128; GoogleSQL to INT64, or to an error. Kept whatever the argument's type is."""
    return (
        node
        if isinstance(node.parent, exp.Window)
        else fill("CAST_TO_TYPE(_sum, ANY_VALUE(_x))", sum=node, x=_summed(node))
    )


def _summed(node: exp.Expr) -> exp.Expr:
    return node.this.expressions[0] if isinstance(node.this, exp.Distinct) else cast("exp.Expr", node.this)


def window(node: exp.Expr) -> exp.Expr:
    """The type of a SUM over a window, which has to be cast as a whole."""
    if isinstance(node.this, exp.Sum):
        return fill("CAST_TO_TYPE(_w, _x)", w=node, x=_summed(node.this))
    return node


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
            this=aggregate.copy(), expression=exp.Where(this=fill("NOT _x IS NULL", x=value))
        )
    else:
        call = aggregate.copy()
    return call if limit is None else fill("LIST_SLICE(_a, 1, _n)", a=call, n=limit.expression)


def string_agg(node: exp.Expr) -> exp.Expr:
    """Without a LIMIT, which DuckDB would ignore."""
    if node.find(exp.Limit):
        raise GaelpError(refused("STRING_AGG with LIMIT", "STRING_AGG over a subquery with LIMIT"))
    return node


def round_(node: exp.Expr) -> exp.Expr:
    """FLOAT64 even of an INT64. Digits after the point: by the exact decimal value (2.675 is below the half), as text.

    DuckDB multiplies first, which makes a half of what is none. Halves go away from zero; from 2^52 on, all are whole.
    """
    written = node.args.get("decimals")
    if written is None:
        return fill("ROUND(CAST(_x AS DOUBLE))", x=node.this)
    digits = integer(written)
    if digits is None or not -15 <= digits <= 15:
        raise GaelpError(
            refused(
                "ROUND to a computed number of digits", "a number of digits between -15 and 15, written out"
            )
        )
    if digits <= 0:
        return fill(f"ROUND(CAST(_x AS DOUBLE), {digits})", x=node.this)
    exact = f"CAST(CAST(FORMAT('{{:.60f}}', CAST(_x AS DOUBLE)) AS DECIMAL(38, {digits})) AS DOUBLE)"
    return fill(f"CASE WHEN ABS(_x) < 4503599627370496 THEN {exact} ELSE CAST(_x AS DOUBLE) END", x=node.this)


def as_double(node: exp.Expr) -> exp.Expr:
    """TRUNC of an INT64 is FLOAT64."""
    node.set("this", fill("CAST(_x AS DOUBLE)", x=node.this))
    return node


def sign(node: exp.Expr) -> exp.Expr:
    """DuckDB's sign is an INT8, and that of NaN 0; GoogleSQL's has the type of its argument, and that of NaN is NaN."""
    return fill(
        "CASE WHEN ISNAN(CAST(_x AS DOUBLE)) THEN _x ELSE CAST_TO_TYPE(SIGN(_x), _x) END", x=node.this
    )


def guarded(condition: str, message: str, call: str) -> Transform:
    """A function whose domain error is NaN or infinity in DuckDB."""

    def transform(node: exp.Expr) -> exp.Expr:
        holes = {"x": node.this, "y": node.args.get("expression") or exp.Null()}
        return fill(f"CASE WHEN {condition} THEN ERROR('{message}') ELSE {call} END", **holes)

    return transform


def integer_division(node: exp.Expr) -> exp.Expr:
    """An operator in DuckDB, around which sqlglot leaves out the parentheses."""
    return fill("(_a // _b)", a=node.this, b=node.expression)


def logarithm(node: exp.Expr) -> exp.Expr:
    """LOG(x), LOG(x, base) and LOG10(x); sqlglot holds the base first where there is one."""
    x, base = (node.expression, node.this) if node.args.get("expression") else (node.this, None)
    if base is None:
        return fill("CASE WHEN _x <= 0 THEN ERROR('logarithm of zero or less') ELSE LN(_x) END", x=x)
    if integer(base) == 10:
        return fill("CASE WHEN _x <= 0 THEN ERROR('logarithm of zero or less') ELSE LOG10(_x) END", x=x)
    wrong = "NOT _x IS NULL AND NOT _b IS NULL AND (_x <= 0 OR _b <= 0 OR _b = 1)"
    text = f"CASE WHEN {wrong} THEN ERROR('logarithm of zero or less, or to such a base') ELSE LN(_x) / LN(_b) END"
    return fill(text, x=x, b=base)


def safe_divide(node: exp.Expr) -> exp.Expr:
    """NULL for a zero divisor, and for a quotient of finite numbers beyond FLOAT64."""
    infinite = "NOT (ISFINITE(CAST(_a AS DOUBLE)) AND ISFINITE(CAST(_b AS DOUBLE)))"
    condition = f"_b <> 0 AND (ISFINITE(_a / _b) OR {infinite})"
    return fill(f"CASE WHEN {condition} THEN _a / _b END", a=node.this, b=node.expression)


def safe_arithmetic(operator: str) -> Transform:
    """NULL on overflow."""

    def transform(node: exp.Expr) -> exp.Expr:
        return fill(f"TRY(_a {operator} _b)", a=node.this, b=node.expression)

    return transform


def element(node: exp.Expr) -> exp.Expr:
    """OFFSET counts from 0, ORDINAL from 1; beyond the end is an error, unless SAFE; DuckDB counts a negative one from the end."""
    if node.args.get("offset") is None or len(node.expressions) != 1:
        raise GaelpError(
            refused("an array index without OFFSET or ORDINAL", "array[OFFSET(i)], array[SAFE_OFFSET(i)]")
        )
    index, base = node.expressions[0], int(node.args["offset"])
    at = integer(index)
    if at is not None:
        place: exp.Expr = exp.Literal.number(max(at - base + 1, 0))
    else:
        place = fill(f"_i + {1 - base}", i=index)
    holes = {
        "a": node.this,
        "p": place,
        "element": exp.Anonymous(this="LIST_EXTRACT", expressions=[node.this.copy(), place.copy()]),
    }
    if node.args.get("safe"):
        return fill("_element" if at is not None else "CASE WHEN _p >= 1 THEN _element END", **holes)
    text = "CASE WHEN _p < 1 OR _p > LEN(_a) THEN ERROR('array index out of bounds') ELSE _element END"
    return fill(text, **holes)


def struct(node: exp.Expr) -> exp.Expr:
    """Every field needs its name: an inferred one differs between engines."""
    if not all(isinstance(field, exp.PropertyEQ) for field in node.expressions):
        raise GaelpError(refused("a STRUCT field without a name", "STRUCT(x AS x, ...)"))
    return node


def unnest(node: exp.Expr) -> exp.Expr:
    """WITH OFFSET counts from 0; sqlglot makes it WITH ORDINALITY, which counts from 1."""
    offset = node.args.get("offset")
    if not offset or not isinstance(node.parent, exp.From | exp.Join):
        return node
    alias = node.args.get("alias")
    if alias is None or not alias.columns:
        raise GaelpError(
            refused("UNNEST WITH OFFSET without an alias", "UNNEST(array) AS element WITH OFFSET AS position")
        )
    name, array = alias.columns[0], node.expressions[0]
    position = offset if isinstance(offset, exp.Identifier) else exp.to_identifier("offset")
    rows = exp.select(
        exp.alias_(fill("UNNEST(_a)", a=array), name.copy()),
        exp.alias_(fill("UNNEST(RANGE(LEN(_a)))", a=array), position.copy()),
    )
    if isinstance(node.parent, exp.Join) and not node.parent.args.get("on") and node.parent.side:
        node.parent.set("on", exp.true())
    return exp.Subquery(this=rows, alias=exp.TableAlias(this=exp.to_identifier(f"_unnest_{name.name}")))


def whole_select(node: exp.Expr) -> exp.Expr:
    """`*` over UNNEST: GoogleSQL spreads the fields of structs, DuckDB does not."""
    sources = [node.args.get("from_"), *(node.args.get("joins") or [])]
    has_star = any(isinstance(e, exp.Star) for e in node.expressions)
    if has_star and any(s is not None and isinstance(s.this, exp.Unnest) for s in sources):
        raise GaelpError(refused("* over UNNEST", "the columns, by name"))
    return node


def percentile(node: exp.Expr) -> exp.Expr:
    """An analytic function only, as in BigQuery."""
    if not isinstance(node.parent, exp.Window):
        raise GaelpError(
            refused("PERCENTILE_CONT without OVER", "PERCENTILE_CONT(x, 0.5) OVER (PARTITION BY ...)")
        )
    return node


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.ArgMax: by_extreme,
    exp.ArgMin: by_extreme,
    exp.ArrayAgg: array_agg,
    exp.Bracket: element,
    exp.CountIf: count_if,
    exp.Div: divide,
    exp.Exp: guarded(
        "_x > 709.782712893384e0 AND ISFINITE(CAST(_x AS DOUBLE))",
        "floating point overflow in EXP",
        "EXP(_x)",
    ),
    exp.GroupConcat: string_agg,
    exp.IgnoreNulls: array_agg,
    exp.IntDiv: integer_division,
    exp.Literal: literal,
    exp.Ln: guarded("_x <= 0", "logarithm of zero or less", "LN(_x)"),
    exp.Log: logarithm,
    exp.Neg: negative,
    exp.PercentileCont: percentile,
    exp.Pow: guarded(
        "NOT ISFINITE(POW(_x, _y)) AND ISFINITE(CAST(_x AS DOUBLE)) AND ISFINITE(CAST(_y AS DOUBLE))",
        "floating point error in POW",
        "POW(_x, _y)",
    ),
    exp.Round: round_,
    exp.SafeAdd: safe_arithmetic("+"),
    exp.SafeDivide: safe_divide,
    exp.SafeMultiply: safe_arithmetic("*"),
    exp.SafeSubtract: safe_arithmetic("-"),
    exp.Select: whole_select,
    exp.Sign: sign,
    exp.Sqrt: guarded("_x < 0", "square root of a negative number", "SQRT(_x)"),
    exp.Struct: struct,
    exp.Sum: sum_,
    exp.Trunc: as_double,
    exp.Unnest: unnest,
    exp.Window: window,
}
