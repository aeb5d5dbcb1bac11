"""What sqlglot would get silently wrong about dates and timestamps. All of it in UTC: the session's time zone is UTC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import ALLOWED, refused
from gaelp_assets.sql.template import fill, integer
from gaelp_assets.sql.transforms import Transform

_MICROSECONDS: Final = {
    "MICROSECOND": 1, "MILLISECOND": 1_000, "SECOND": 1_000_000, "MINUTE": 60_000_000, "HOUR": 3_600_000_000, "DAY": 86_400_000_000,
}  # fmt: skip
_MONTHS: Final = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_PARTS: Final = {
    "DAYOFWEEK": "EXTRACT(DAYOFWEEK FROM _x) + 1",
    "DAY": "EXTRACT(DAY FROM _x)",
    "DAYOFYEAR": "EXTRACT(DAYOFYEAR FROM _x)",
    "WEEK": "CAST(STRFTIME(_x, '%U') AS BIGINT)",
    "ISOWEEK": "EXTRACT(WEEK FROM _x)",
    "ISOYEAR": "EXTRACT(ISOYEAR FROM _x)",
    "MONTH": "EXTRACT(MONTH FROM _x)",
    "QUARTER": "EXTRACT(QUARTER FROM _x)",
    "YEAR": "EXTRACT(YEAR FROM _x)",
    "HOUR": "EXTRACT(HOUR FROM _x)",
    "MINUTE": "EXTRACT(MINUTE FROM _x)",
    "SECOND": "EXTRACT(SECOND FROM _x)",
    "MILLISECOND": "EXTRACT(MILLISECOND FROM _x) % 1000",
    "MICROSECOND": "EXTRACT(MICROSECOND FROM _x) % 1000000",
    "DATE": "CAST(_x AS DATE)",
}
_TRUNCATED_TO: Final = frozenset(
    {"MICROSECOND", "MILLISECOND", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "QUARTER", "YEAR"}
)
_FORMATS: Final = re.compile(r"(?:[^%]|%[YmdHMSjyFTabABpI%])*")


def _unit(node: exp.Expr) -> str:
    """The unit in capitals; a week that starts on Monday is ISOWEEK, one that starts on Sunday WEEK."""
    unit = node.args.get("unit") or node.this
    if isinstance(unit, exp.WeekStart):
        return {"SUNDAY": "WEEK", "MONDAY": "ISOWEEK"}.get(str(unit.this).upper(), f"WEEK({unit.this})")
    return str(unit.name or unit).upper()


def _refuse(node: exp.Expr, unit: str, allowed: Mapping[str, object] | frozenset[str]) -> GaelpError:
    return GaelpError(
        refused(
            f"{ALLOWED[type(node).__name__].names[0]} with {unit}", "one of " + ", ".join(sorted(allowed))
        )
    )


def _amount(node: exp.Expr) -> exp.Expr:
    """The number of an interval; sqlglot holds a written one as a string."""
    amount: exp.Expr = node.expression
    if isinstance(amount, exp.Literal) and amount.is_string:
        return exp.Literal.number(str(amount.this))
    return amount


def date_diff(node: exp.Expr) -> exp.Expr:
    """Counts the boundaries between two dates."""
    unit = _unit(node)
    a, b = fill("CAST(_d AS DATE)", d=node.this), fill("CAST(_d AS DATE)", d=node.expression)
    if unit in {"WEEK", "ISOWEEK"}:
        shift = 1 if unit == "WEEK" else 0
        text = f"(CAST(DATE_TRUNC('week', _a + {shift}) AS DATE) - CAST(DATE_TRUNC('week', _b + {shift}) AS DATE)) // 7"
        return fill(text, a=a, b=b)
    if unit not in {"DAY", *_MONTHS}:
        raise _refuse(node, unit, frozenset({"DAY", "WEEK", "ISOWEEK", *_MONTHS}))
    return fill(f"DATE_DIFF('{unit.lower()}', _b, _a)", a=a, b=b)


def date_shift(node: exp.Expr) -> exp.Expr:
    """A DATE stays a DATE; DuckDB makes it a TIMESTAMP."""
    unit, sign = _unit(node), "-" if isinstance(node, exp.DateSub) else "+"
    factor = {"DAY": 1, "WEEK": 7, **_MONTHS}.get(unit)
    if factor is None:
        raise _refuse(node, unit, frozenset({"DAY", "WEEK", *_MONTHS}))
    amount = _amount(node)
    written = integer(amount)
    scaled = (
        exp.Literal.number(written * factor)
        if written is not None
        else fill(f"CAST(_n * {factor} AS INTEGER)", n=amount)
    )
    text = f"CAST(_d {sign} TO_MONTHS(_n) AS DATE)" if unit in _MONTHS else f"_d {sign} _n"
    return fill(text, d=fill("CAST(_d AS DATE)", d=node.this), n=scaled)


def truncate(node: exp.Expr) -> exp.Expr:
    """The result has the type of its argument; weeks start on Sunday unless told otherwise."""
    unit = _unit(node)
    if unit == "WEEK":
        text = "CAST_TO_TYPE(DATE_TRUNC('week', _x + INTERVAL '1' DAY) - INTERVAL '1' DAY, _x)"
    elif unit == "ISOWEEK":
        text = "CAST_TO_TYPE(DATE_TRUNC('week', _x), _x)"
    elif unit in _TRUNCATED_TO:
        text = f"CAST_TO_TYPE(DATE_TRUNC('{unit.lower()}', _x), _x)"
    else:
        raise _refuse(node, unit, _TRUNCATED_TO | {"WEEK", "ISOWEEK"})
    return fill(text, x=node.this)


def timestamp_diff(node: exp.Expr) -> exp.Expr:
    """Counts whole units; DuckDB's DATE_DIFF counts boundaries."""
    unit = _unit(node)
    if unit not in _MICROSECONDS:
        raise _refuse(node, unit, _MICROSECONDS)
    difference = fill("EPOCH_US(_a) - EPOCH_US(_b)", a=node.this, b=node.expression)
    return difference if unit == "MICROSECOND" else fill(f"_d // {_MICROSECONDS[unit]}", d=difference)


def timestamp_shift(node: exp.Expr) -> exp.Expr:
    """Whole microseconds, so that a day is 24 hours."""
    unit, sign = _unit(node), "-" if isinstance(node, exp.TimestampSub) else "+"
    if unit not in _MICROSECONDS:
        raise _refuse(node, unit, _MICROSECONDS)
    text = f"CAST(_t AS TIMESTAMPTZ) {sign} TO_MICROSECONDS(CAST(_n AS BIGINT) * {_MICROSECONDS[unit]})"
    return fill(text, t=node.this, n=_amount(node))


def extract(node: exp.Expr) -> exp.Expr:
    """The day of the week counts from 1 (Sunday), WEEK from Sunday, and parts of a second do not hold the seconds."""
    part = _unit(node)
    if part not in _PARTS:
        raise _refuse(node, part, _PARTS)
    return fill(_PARTS[part], x=node.expression)


def unix(microseconds: int) -> Transform:
    """Rounds down, before 1970 too."""

    def transform(node: exp.Expr) -> exp.Expr:
        n = microseconds
        return fill(f"(EPOCH_US(_t) - ((EPOCH_US(_t) % {n}) + {n}) % {n}) // {n}", t=node.this)

    return transform


def from_unix(node: exp.Expr) -> exp.Expr:
    """A TIMESTAMP, not a naive one, and exact."""
    scale = node.args.get("scale")
    factor = 10 ** (6 - ((integer(scale) or 0) if scale is not None else 0))
    return fill(f"MAKE_TIMESTAMPTZ(_n * {factor})", n=node.this)


def formatted(node: exp.Expr) -> exp.Expr:
    """Elements that both engines write alike, with two-digit days, hours and minutes."""
    text = node.args["format"]
    if not isinstance(text, exp.Literal) or not _FORMATS.fullmatch(str(text.this)):
        raise GaelpError(
            refused("this date format", "a string of %Y %m %d %H %M %S %F %T %j %y %a %A %b %B %p %I %%")
        )
    return fill("STRFTIME(_x, _f)", x=node.this, f=text)


def date_array(node: exp.Expr) -> exp.Expr:
    """An array of DATE, day by day or in steps of days."""
    step = node.args.get("step")
    days = "1"
    if isinstance(step, exp.Interval):
        days = str(step.this.name)
        if str(step.args["unit"]).upper() != "DAY" or not days.lstrip("-").isdigit():
            raise GaelpError(refused("GENERATE_DATE_ARRAY with this step", "INTERVAL n DAY, n a number"))
    text = f"CAST(GENERATE_SERIES(CAST(_a AS DATE), CAST(_b AS DATE), INTERVAL '{days}' DAY) AS DATE[])"
    return fill(text, a=node.args["start"], b=node.args["end"])


def interval(node: exp.Expr) -> exp.Expr:
    """Only inside a function: DATE plus INTERVAL is another type there than here."""
    if not isinstance(node.parent, exp.GenerateDateArray):
        raise GaelpError(refused("INTERVAL as a value", "DATE_ADD, DATE_SUB, TIMESTAMP_ADD or TIMESTAMP_SUB"))
    return node


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.DateAdd: date_shift,
    exp.DateDiff: date_diff,
    exp.DateSub: date_shift,
    exp.DateTrunc: truncate,
    exp.Extract: extract,
    exp.GenerateDateArray: date_array,
    exp.Interval: interval,
    exp.TimeToStr: formatted,
    exp.TimestampAdd: timestamp_shift,
    exp.TimestampDiff: timestamp_diff,
    exp.TimestampSub: timestamp_shift,
    exp.TimestampTrunc: truncate,
    exp.UnixMillis: unix(1_000),
    exp.UnixSeconds: unix(1_000_000),
    exp.UnixToTime: from_unix,
}
