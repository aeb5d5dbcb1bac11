"""What sqlglot would get silently wrong about numbers: overflow, division, rounding, and NUMERIC.

INT64 is BIGINT, FLOAT64 is DOUBLE, NUMERIC is DECIMAL(38, 9). DuckDB multiplies decimals to more digits and divides them as DOUBLE, so
that NUMERIC is computed in HUGEINT, of billionths; what does not fit there is refused when it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.template import REFUSED, Transform, behind, fill, guarded, integer, is_key, unguarded
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import FLOAT64, INT64, NUMERIC, type_of

_OVERFLOW: Final = "double overflow"
_ARITHMETIC: Final = (exp.Add, exp.Sub, exp.Mul)
_DEVIATIONS: Final = (exp.Stddev, exp.StddevPop, exp.StddevSamp)
_AGGREGATES: Final = (exp.Sum, exp.Avg, *_DEVIATIONS)
_LARGE: Final = f"{REFUSED}NUMERIC beyond what is computed exactly"
_BILLIONTHS: Final = "CAST(_{0} * 1000000000 AS HUGEINT)"
_BACK: Final = "CAST({0} AS DECIMAL(38, 0)) * CAST('0.000000001' AS DECIMAL(10, 9))"
_A, _B = _BILLIONTHS.format("a"), _BILLIONTHS.format("b")
_SIGN: Final = "CASE WHEN (_a < 0) <> (_b < 0) THEN -1 ELSE 1 END"
_QUOTIENT: Final = _BACK.format(f"{_SIGN} * ((2 * ABS({_A}) * 1000000000 + ABS({_B})) // (2 * ABS({_B})))")
_ZERO: Final = "_b = 0 AND NOT _a IS NULL THEN ERROR('division by zero')"


def arithmetic(node: exp.Expr) -> exp.Expr:
    """Overflow of FLOAT64 is an error: seen once for a whole sum of products, since infinity and NaN stay what they are."""
    kind = type_of(node)
    if kind == NUMERIC and isinstance(node, exp.Mul):
        text = (
            f"CASE WHEN ABS(CAST(_a AS DOUBLE) * CAST(_b AS DOUBLE)) >= 9e19 THEN ERROR('{_LARGE}')"
            " ELSE CAST(_a * _b AS DECIMAL(38, 9)) END"
        )
        return fill(text, a=node.this, b=node.expression)
    if kind.name in {"DATE", "DATETIME", "TIMESTAMP"}:
        return _moved(node)
    if kind != FLOAT64 or _within_arithmetic(node):
        return node
    leaves = list(_leaves(node))
    operands, branches = [], []
    for leaf in leaves:
        raw, before = unguarded(leaf)
        branches += before
        operands.append(raw)
        if raw is not leaf:
            leaf.replace(raw if isinstance(raw, exp.Column | exp.Func) else exp.Paren(this=copied(raw)))
    if _bound(node) >= 1e308:
        branches.append(overflow(node, operands))
    return behind(branches, node)


def overflow(value: exp.Expr, operands: list[exp.Expr]) -> exp.Expr:
    """The guard of a value that is no finite number although its operands are. NULL is none of this."""
    floats = [o for o in operands if type_of(o) != INT64 and not isinstance(o, exp.Literal)]
    condition = exp.and_(
        fill("NOT ISFINITE(_v)", v=value), *(fill("ISFINITE(_o)", o=o) for o in floats), copy=False
    )
    error = exp.Anonymous(this="ERROR", expressions=[exp.Literal.string(_OVERFLOW)])
    return exp.If(this=condition, true=error)


def _within_arithmetic(node: exp.Expr) -> bool:
    parent = node.parent
    while isinstance(parent, exp.Paren | exp.Neg) and not is_key(parent):
        parent = parent.parent
    return not is_key(node) and isinstance(parent, _ARITHMETIC) and type_of(parent) == FLOAT64


def _leaves(node: exp.Expr, *, inner: bool = False) -> Iterator[exp.Expr]:
    if inner and is_key(node):
        yield node
    elif isinstance(node, exp.Paren | exp.Neg):
        yield from _leaves(node.this, inner=True)
    elif isinstance(node, _ARITHMETIC) and type_of(node) == FLOAT64:
        yield from _leaves(node.this, inner=True)
        yield from _leaves(node.expression, inner=True)
    else:
        yield node


def _bound(node: exp.Expr) -> float:
    """A number that the value's size does not exceed; infinity if none is known."""
    if isinstance(node, exp.Paren | exp.Neg):
        return _bound(node.this)
    if isinstance(node, exp.Literal) and not node.is_string:
        return abs(float(node.this))
    if type_of(node) == INT64:
        return 2.0**63
    if isinstance(node, _ARITHMETIC) and type_of(node) == FLOAT64:
        a, b = _bound(node.this), _bound(node.expression)
        return a * b if isinstance(node, exp.Mul) else a + b
    return float("inf")


def _moved(node: exp.Expr) -> exp.Expr:
    """A date plus days, or a date or moment plus an INTERVAL."""
    from gaelp_assets.sql.transforms_time import add_interval, in_range, scaled

    a, b = node.this, node.expression
    if type_of(a) == INT64:
        a, b = b, a
    if isinstance(b, exp.Interval):
        return add_interval(a, b, type_of(node), subtract=isinstance(node, exp.Sub))
    sign = "-" if isinstance(node, exp.Sub) else "+"
    return in_range(fill(f"_a {sign} _n", a=a, n=scaled(b, 1, "INTEGER")), "DATE", a, b)


def divide(node: exp.Expr) -> exp.Expr:
    """Division by zero is an error, not infinity."""
    a, b = node.this, node.expression
    if type_of(node) == NUMERIC:
        return _numeric_division(a, b, _ZERO)
    (x, before), (y, more) = unguarded(a), unguarded(b)
    quotient: exp.Expr = fill("_a / _b", a=x, b=y)
    divisor = y.unnest()
    safe = integer(divisor) or (
        isinstance(divisor, exp.Literal) and not divisor.is_string and abs(float(divisor.this)) >= 1
    )
    branches = [*before, *more]
    if not safe and not isinstance(divisor, exp.Nullif):
        known = isinstance(x, exp.Literal) or integer(x) is not None
        zero = "_b = 0" if known else "_b = 0 AND NOT _a IS NULL"
        error = exp.Anonymous(this="ERROR", expressions=[exp.Literal.string("division by zero")])
        branches.append(exp.If(this=fill(zero, a=x, b=y), true=error))
    if not safe and type_of(b) == FLOAT64:
        branches.append(overflow(exp.Paren(this=quotient), [x, y]))
    return behind(branches, quotient)


def _numeric_division(a: exp.Expr, b: exp.Expr, zero: str, quotient: str = _QUOTIENT) -> exp.Expr:
    text = (
        f"CASE WHEN {zero} WHEN ABS(_a) >= 40000000000000000000 OR ABS(_b) >= 40000000000000000000 THEN ERROR('{_LARGE}')"
        f" ELSE {quotient} END"
    )
    return fill(text, a=a, b=b)


def integer_division(node: exp.Expr) -> exp.Expr:
    """An operator in DuckDB, around which sqlglot leaves out the parentheses."""
    if type_of(node) == NUMERIC:
        quotient = f"CAST({_SIGN} * (ABS({_A}) // ABS({_B})) AS DECIMAL(38, 9))"
        return _numeric_division(node.this, node.expression, _ZERO, quotient)
    return fill("(_a // _b)", a=node.this, b=node.expression)


def modulo(node: exp.Expr) -> exp.Expr:
    """The sign is that of the dividend on both engines."""
    if type_of(node) == NUMERIC:
        return _numeric_division(node.this, node.expression, _ZERO, _BACK.format(f"({_A} % {_B})"))
    return node


def sum_(node: exp.Expr) -> exp.Expr:
    """As written, inside a window; the window's transform finishes it."""
    return node if over_of(node) is not None else finished(node, lambda aggregate: aggregate)


def finished(node: exp.Expr, over: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """A SUM, AVG or STDDEV with GoogleSQL's type and overflow. `over` puts the window around an aggregate, if there is one.

    DuckDB sums INT64 to INT128, and takes infinity for the sum of large FLOAT64, and of their squares.
    """
    value = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
    kind, is_sum = type_of(value), isinstance(node, exp.Sum)
    whole = over(copied(node))
    if isinstance(node, _DEVIATIONS) and kind != FLOAT64:
        return whole
    if kind == INT64:
        return fill("CAST(_s AS BIGINT)", s=whole) if is_sum else whole
    if kind == NUMERIC:
        if is_sum:
            return whole
        count = over(exp.Count(this=copied(node.this), big_int=True))
        total = over(exp.Sum(this=copied(node.this)))
        return _numeric_division(total, fill("CAST(_n AS DECIMAL(38, 9))", n=count), "_b = 0 THEN NULL")
    if kind == FLOAT64:
        all_finite = over(fill("BOOL_AND(ISFINITE(_x))", x=value))
        if isinstance(node, _DEVIATIONS):
            message = f"{REFUSED}STDDEV of numbers whose squares overflow"
        else:
            message = _OVERFLOW if is_sum else f"{REFUSED}AVG of numbers whose sum overflows"
        return guarded([("NOT ISFINITE(_s) AND _f", message)], "_s", s=whole, f=all_finite)
    if not is_sum:
        return whole
    return fill(
        "CAST_TO_TYPE(_s, _x)",
        s=whole,
        x=value if over_of(node) is not None else fill("ANY_VALUE(_x)", x=value),
    )


def over_of(node: exp.Expr) -> exp.Expr | None:
    """The window that a function stands in, if it does."""
    parent = node.parent
    while isinstance(parent, exp.IgnoreNulls | exp.RespectNulls):
        parent = parent.parent
    return parent if isinstance(parent, exp.Window) and node.arg_key == "this" else None


def window(node: exp.Expr) -> exp.Expr:
    """What a SUM, AVG or STDDEV over a window becomes as a whole."""

    def over(aggregate: exp.Expr) -> exp.Expr:
        copy = copied(node)
        copy.set("this", aggregate)
        return copy

    return finished(node.this, over) if isinstance(node.this, _AGGREGATES) else node


def round_(node: exp.Expr) -> exp.Expr:
    """FLOAT64 even of an INT64. Digits after the point: by the exact decimal value (2.675 is below the half), as text.

    DuckDB multiplies first, which makes a half of what is none. Halves go away from zero; from 2^52 on, all are whole.
    """
    written = node.args.get("decimals")
    digits = 0 if written is None else integer(written)
    if digits is None or not -15 <= digits <= 15:
        raise GaelpError(
            refused(
                "ROUND to a computed number of digits", "a number of digits between -15 and 15, written out"
            )
        )
    if type_of(node) == NUMERIC:
        return fill(f"CAST(ROUND(_x, {min(digits, 9)}) AS DECIMAL(38, 9))", x=node.this)
    if digits <= 0:
        return fill(
            "ROUND(CAST(_x AS DOUBLE))" if written is None else f"ROUND(CAST(_x AS DOUBLE), {digits})",
            x=node.this,
        )
    exact = f"CAST(CAST(FORMAT('{{:.60f}}', CAST(_x AS DOUBLE)) AS DECIMAL(38, {digits})) AS DOUBLE)"
    return fill(f"CASE WHEN ABS(_x) < 4503599627370496 THEN {exact} ELSE CAST(_x AS DOUBLE) END", x=node.this)


def whole(node: exp.Expr) -> exp.Expr:
    """FLOOR, CEIL and TRUNC: FLOAT64 of an INT64, NUMERIC of a NUMERIC."""
    name = type(node).__name__.upper()
    target = "DECIMAL(38, 9)" if type_of(node) == NUMERIC else "DOUBLE"
    return fill(
        f"CAST({name}(_x) AS {target})" if target != "DOUBLE" else f"{name}(CAST(_x AS DOUBLE))", x=node.this
    )


def sign(node: exp.Expr) -> exp.Expr:
    """DuckDB's sign is an INT8, and that of NaN 0; GoogleSQL's has the type of its argument, and that of NaN is NaN."""
    kind = type_of(node)
    if kind in {INT64, NUMERIC}:
        return fill(f"CAST(SIGN(_x) AS {'BIGINT' if kind == INT64 else 'DECIMAL(38, 9)'})", x=node.this)
    return fill(
        "CASE WHEN ISNAN(CAST(_x AS DOUBLE)) THEN _x ELSE CAST_TO_TYPE(SIGN(_x), _x) END", x=node.this
    )


def checked(condition: str, message: str, call: str) -> Transform:
    """A function whose domain error is NaN or infinity in DuckDB."""

    def transform(node: exp.Expr) -> exp.Expr:
        holes = {"x": node.this, "y": node.args.get("expression") or exp.Null()}
        return guarded([(condition, message)], call, **holes)

    return transform


def shifted(*, left: bool) -> Transform:
    """Bits that move out are lost, and zeros come in on both sides; 64 places and more leave none."""
    bits = "((CAST(_x AS HUGEINT) + 18446744073709551616) % 18446744073709551616)"
    moved = (
        f"({bits} * CAST(POW(2, _n) AS HUGEINT)) % 18446744073709551616"
        if left
        else f"{bits} // CAST(POW(2, _n) AS HUGEINT)"
    )
    # Of 63 places, the product would be beyond HUGEINT: the lowest bit is the highest then, and the other way round.
    last = (
        "CASE WHEN _x % 2 <> 0 THEN -9223372036854775808 ELSE 0 END"
        if left
        else "CASE WHEN _x < 0 THEN 1 ELSE 0 END"
    )
    text = (
        "CASE WHEN _x IS NULL THEN NULL WHEN _n < 0 THEN ERROR('shift by a negative number') WHEN _n > 63 THEN CAST(0 AS BIGINT)"
        f" WHEN _n = 63 THEN CAST({last} AS BIGINT) WHEN NOT _n IS NULL THEN"
        " CAST(CASE WHEN _m >= 9223372036854775808 THEN _m - 18446744073709551616 ELSE _m END AS BIGINT) END"
    )

    def transform(node: exp.Expr) -> exp.Expr:
        x, places = node.this, node.expression
        return fill(text, x=x, n=places, m=exp.Paren(this=fill(moved, x=x, n=places)))

    return transform


def logarithm(node: exp.Expr) -> exp.Expr:
    """LOG(x), LOG(x, base) and LOG10(x); sqlglot holds the base first where there is one."""
    x, base = (node.expression, node.this) if node.args.get("expression") else (node.this, None)
    if base is None or integer(base) == 10:
        name = "LN" if base is None else "LOG10"
        return guarded([("_x <= 0", "logarithm of zero or less")], f"{name}(_x)", x=x)
    wrong = "NOT _x IS NULL AND NOT _b IS NULL AND (_x <= 0 OR _b <= 0 OR _b = 1)"
    return guarded([(wrong, "logarithm of zero or less, or to such a base")], "LN(_x) / LN(_b)", x=x, b=base)


def extreme(node: exp.Expr) -> exp.Expr:
    """GREATEST and LEAST: NULL if one of the values is, which DuckDB passes over."""
    values = [node.this, *node.expressions]
    holes = {f"v{number}": value for number, value in enumerate(values)}
    missing = " OR ".join(
        f"_{name} IS NULL" for name, value in holes.items() if not isinstance(value, exp.Literal)
    )
    name = "GREATEST" if isinstance(node, exp.Greatest) else "LEAST"
    call = f"{name}({', '.join(f'_{hole}' for hole in holes)})"
    return guarded([], f"CASE WHEN {missing} THEN NULL ELSE {call} END" if missing else call, **holes)


def safe_divide(node: exp.Expr) -> exp.Expr:
    """NULL for a zero divisor, and for a quotient of finite numbers beyond FLOAT64."""
    if type_of(node) == NUMERIC:
        return _numeric_division(node.this, node.expression, "_b = 0 THEN NULL")
    infinite = "NOT (ISFINITE(CAST(_a AS DOUBLE)) AND ISFINITE(CAST(_b AS DOUBLE)))"
    condition = f"_b <> 0 AND (ISFINITE(_a / _b) OR {infinite})"
    return fill(f"CASE WHEN {condition} THEN _a / _b END", a=node.this, b=node.expression)


def safe_arithmetic(operator: str) -> Transform:
    """NULL on overflow; an error of an argument stays an error."""

    def transform(node: exp.Expr) -> exp.Expr:
        kind = type_of(node)
        if kind == FLOAT64:
            text = (
                f"CASE WHEN ISFINITE(_a {operator} _b) OR NOT (ISFINITE(CAST(_a AS DOUBLE)) AND ISFINITE(CAST(_b AS DOUBLE)))"
                f" THEN _a {operator} _b END"
            )
        elif kind == NUMERIC:
            raise GaelpError(
                refused(
                    f"SAFE_ arithmetic of NUMERIC ({operator})",
                    "the operator, which computes NUMERIC exactly",
                )
            )
        elif kind == INT64:
            text = f"TRY_CAST(CAST(_a AS HUGEINT) {operator} CAST(_b AS HUGEINT) AS BIGINT)"
        else:
            text = f"TRY(_a {operator} _b)"
        return fill(text, a=node.this, b=node.expression)

    return transform


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.Add: arithmetic,
    exp.Avg: sum_,
    exp.BitwiseCount: lambda node: fill("CAST(BIT_COUNT(_x) AS BIGINT)", x=node.this),
    exp.BitwiseLeftShift: shifted(left=True),
    exp.BitwiseRightShift: shifted(left=False),
    exp.BitwiseXor: lambda node: fill("XOR(_a, _b)", a=node.this, b=node.expression),
    exp.Ceil: whole,
    exp.Div: divide,
    exp.Exp: checked(
        "_x > 709.782712893384e0 AND ISFINITE(CAST(_x AS DOUBLE))",
        "floating point overflow in EXP",
        "EXP(_x)",
    ),
    exp.Floor: whole,
    exp.Greatest: extreme,
    exp.IntDiv: integer_division,
    exp.Least: extreme,
    exp.Ln: checked("_x <= 0", "logarithm of zero or less", "LN(_x)"),
    exp.Log: logarithm,
    exp.Mod: modulo,
    exp.Mul: arithmetic,
    exp.Pow: checked(
        "NOT ISFINITE(POW(_x, _y)) AND ISFINITE(CAST(_x AS DOUBLE)) AND ISFINITE(CAST(_y AS DOUBLE))",
        "floating point error in POW",
        "POW(_x, _y)",
    ),
    exp.Round: round_,
    exp.SafeAdd: safe_arithmetic("+"),
    exp.SafeDivide: safe_divide,
    exp.SafeMultiply: safe_arithmetic("*"),
    exp.SafeSubtract: safe_arithmetic("-"),
    exp.Sign: sign,
    exp.Sqrt: checked("_x < 0", "square root of a negative number", "SQRT(_x)"),
    **dict.fromkeys(_DEVIATIONS, sum_),
    exp.Sub: arithmetic,
    exp.Sum: sum_,
    exp.Trunc: whole,
    exp.Window: window,
}
