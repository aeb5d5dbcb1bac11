"""What sqlglot would get silently wrong about dates and timestamps. All of it in UTC: the session's time zone is UTC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import ALLOWED, refused
from gaelp_assets.sql.template import Transform, fill, integer
from gaelp_assets.sql.types import DATE, DATETIME, TIMESTAMP, Type, type_of

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
    "TIME": "CAST(CAST(_x AS TIMESTAMP) AS TIME)",
}
_TRUNCATED_TO: Final = frozenset(
    {"MICROSECOND", "MILLISECOND", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "QUARTER", "YEAR"}
)
_FORMATS: Final = re.compile(r"(?:[^%]|%(?:E3S|E4Y|S\.%f|[YmdHMSjyFTabABpIDGVUWhuw%]))*")
_OTHERWISE: Final = {"%D": "%m/%d/%y", "%h": "%b", "%E3S": "%S.%g", "%E4Y": "%Y"}
"""Elements that DuckDB has by another name. The parser has written `%E6S` as `%S.%f` already."""


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


_RANGE: Final = {
    "DATE": ("DATE '0001-01-01'", "DATE '9999-12-31'"),
    "DATETIME": ("TIMESTAMP '0001-01-01 00:00:00'", "TIMESTAMP '9999-12-31 23:59:59.999999'"),
    "TIMESTAMP": ("TIMESTAMPTZ '0001-01-01 00:00:00+00'", "TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'"),
}
_ZONE_NAME: Final = re.compile(r"UTC|[A-Z][A-Za-z_]+(/[A-Za-z_+\-0-9]+)+")


def in_range(value: exp.Expr, kind: str, start: exp.Expr, amount: exp.Expr) -> exp.Expr:
    """What a date or moment becomes by an amount, or an error where GoogleSQL's years 1 to 9999 end.

    An amount that no calendar has is NULL in `value`, and is told from a NULL by its start.
    """
    low, high = _RANGE[kind]
    written = integer(amount)
    small = written is not None and abs(written) < 1_000_000
    lost = "" if small else " OR (_v IS NULL AND NOT _s IS NULL AND NOT _a IS NULL)"
    text = f"CASE WHEN _v < {low} OR _v > {high}{lost} THEN ERROR('{kind} out of range') ELSE _v END"
    return fill(text, v=value, s=start, a=amount)


def scaled(amount: exp.Expr, factor: int, kind: str) -> exp.Expr:
    """An amount of smaller units; NULL if it does not fit."""
    written = integer(amount)
    if written is not None and abs(written * factor) < 2**31:
        return exp.Literal.number(written * factor)
    return fill(f"TRY_CAST(CAST(_n AS HUGEINT) * {factor} AS {kind})", n=amount)


def zone_name(zone: exp.Expr) -> exp.Expr:
    """A time zone by its name, which both engines know."""
    if not isinstance(zone, exp.Literal) or not _ZONE_NAME.fullmatch(str(zone.this)):
        raise GaelpError(refused("this time zone", "UTC or a name such as 'Europe/Berlin', written out"))
    return zone


def in_zone(moment: exp.Expr, zone: exp.Expr) -> exp.Expr:
    """What the clocks of a time zone show at a TIMESTAMP, as a DATETIME."""
    return fill("TIMEZONE(_z, CAST(_t AS TIMESTAMPTZ))", z=zone_name(zone), t=moment)


def from_zone(clock: exp.Expr, zone: exp.Expr) -> exp.Expr:
    """The TIMESTAMP at which the clocks of a time zone show a DATETIME; the first one, where they show it twice."""
    local = fill("TIMEZONE(_z, CAST(_c AS TIMESTAMP))", z=zone_name(zone), c=clock)
    text = (
        "CASE WHEN TIMEZONE(_z, _t - TO_HOURS(1)) = CAST(_c AS TIMESTAMP) THEN _t - TO_HOURS(1) ELSE _t END"
    )
    return fill(text, z=zone, t=local, c=clock)


def date_diff(node: exp.Expr) -> exp.Expr:
    """Counts the boundaries between two dates, or two DATETIMEs; whole units between two TIMESTAMPs."""
    unit = _unit(node)
    if type_of(node.this) == TIMESTAMP:
        return timestamp_diff(node)
    if unit in _MICROSECONDS and unit != "DAY" and type_of(node.this) == DATETIME:
        return fill(f"DATE_DIFF('{unit.lower()}', _b, _a)", a=node.this, b=node.expression)
    a, b = fill("CAST(_d AS DATE)", d=node.this), fill("CAST(_d AS DATE)", d=node.expression)
    if unit in {"WEEK", "ISOWEEK"}:
        shift = 1 if unit == "WEEK" else 0
        text = f"(CAST(DATE_TRUNC('week', _a + {shift}) AS DATE) - CAST(DATE_TRUNC('week', _b + {shift}) AS DATE)) // 7"
        return fill(text, a=a, b=b)
    if unit not in {"DAY", *_MONTHS}:
        raise _refuse(node, unit, frozenset({"DAY", "WEEK", "ISOWEEK", *_MONTHS}))
    return fill(f"DATE_DIFF('{unit.lower()}', _b, _a)", a=a, b=b)


def date_shift(node: exp.Expr) -> exp.Expr:
    """A DATE stays a DATE; DuckDB makes it a TIMESTAMP. A DATETIME keeps its time of day."""
    unit, subtract = _unit(node), isinstance(node, exp.DateSub | exp.DatetimeSub)
    kind = type_of(node).name
    if kind in {"DATETIME", "TIMESTAMP"}:
        return _shifted(node.this, node.expression, unit, kind, subtract=subtract, node=node)
    sign, amount = "-" if subtract else "+", node.expression
    factor = {"DAY": 1, "WEEK": 7, **_MONTHS}.get(unit)
    if factor is None:
        raise _refuse(node, unit, frozenset({"DAY", "WEEK", *_MONTHS}))
    date = node.this if type_of(node.this) == DATE else fill("CAST(_d AS DATE)", d=node.this)
    text = f"CAST(_d {sign} TO_MONTHS(_n) AS DATE)" if unit in _MONTHS else f"_d {sign} _n"
    return in_range(fill(text, d=date, n=scaled(amount, factor, "INTEGER")), "DATE", date, amount)


def _shifted(
    value: exp.Expr, amount: exp.Expr, unit: str, kind: str, *, subtract: bool, node: exp.Expr
) -> exp.Expr:
    """A DATETIME or TIMESTAMP some units later; whole microseconds, so that a day is 24 hours."""
    sign = "-" if subtract else "+"
    if unit in _MICROSECONDS or (unit == "WEEK" and kind == "DATETIME"):
        factor = _MICROSECONDS.get(unit, 7 * _MICROSECONDS["DAY"])
        text, steps = f"_t {sign} TO_MICROSECONDS(_n)", scaled(amount, factor, "BIGINT")
    elif kind == "DATETIME" and unit in _MONTHS:
        text, steps = f"_t {sign} TO_MONTHS(_n)", scaled(amount, _MONTHS[unit], "INTEGER")
    else:
        more = frozenset({"WEEK", *_MONTHS}) if kind == "DATETIME" else frozenset()
        raise _refuse(node, unit, frozenset(_MICROSECONDS) | more)
    start: exp.Expr = fill(f"CAST(_v AS {'TIMESTAMP' if kind == 'DATETIME' else 'TIMESTAMPTZ'})", v=value)
    return in_range(fill(text, t=start, n=steps), kind, value, amount)


def add_interval(value: exp.Expr, interval: exp.Expr, kind: Type, *, subtract: bool) -> exp.Expr:
    """`x + INTERVAL n UNIT`: a DATETIME of a DATE or DATETIME, a TIMESTAMP of a TIMESTAMP."""
    amount = interval.this
    if isinstance(amount, exp.Literal) and amount.is_string:
        if not re.fullmatch(r"-?\d+", str(amount.this)):
            raise GaelpError(refused("this INTERVAL", "INTERVAL n UNIT, n a whole number"))
        amount = exp.Literal.number(int(amount.this))
    return _shifted(value, amount, _unit(interval), kind.name, subtract=subtract, node=interval)


def truncate(node: exp.Expr) -> exp.Expr:
    """The result has the type of its argument; weeks start on Sunday unless told otherwise."""
    unit, zone = _unit(node), node.args.get("zone")
    if zone is not None and type_of(node) != DATETIME:
        clock = in_zone(node.this, zone)
        if unit in {"MICROSECOND", "MILLISECOND", "SECOND", "MINUTE", "HOUR"}:
            return fill(
                "CAST(_t AS TIMESTAMPTZ) - (_c - _r)", t=node.this, c=clock, r=_truncated(node, clock, unit)
            )
        return from_zone(_truncated(node, clock, unit), zone)
    return _truncated(node, node.this, unit)


def _truncated(node: exp.Expr, value: exp.Expr, unit: str) -> exp.Expr:
    if unit == "WEEK":
        text = "CAST_TO_TYPE(DATE_TRUNC('week', _x + INTERVAL '1' DAY) - INTERVAL '1' DAY, _x)"
    elif unit == "ISOWEEK":
        text = "CAST_TO_TYPE(DATE_TRUNC('week', _x), _x)"
    elif unit in _TRUNCATED_TO:
        text = f"CAST_TO_TYPE(DATE_TRUNC('{unit.lower()}', _x), _x)"
    else:
        raise _refuse(node, unit, _TRUNCATED_TO | {"WEEK", "ISOWEEK"})
    return fill(text, x=value)


def last_day(node: exp.Expr) -> exp.Expr:
    """The last day of the month."""
    unit = _unit(node) if node.args.get("unit") else "MONTH"
    if unit != "MONTH":
        raise _refuse(node, unit, frozenset({"MONTH"}))
    return fill("LAST_DAY(CAST(_d AS DATE))", d=node.this)


def timestamp_diff(node: exp.Expr) -> exp.Expr:
    """Counts whole units; DuckDB's DATE_DIFF counts boundaries."""
    unit = _unit(node)
    if unit not in _MICROSECONDS:
        raise _refuse(node, unit, _MICROSECONDS)
    difference = fill("EPOCH_US(_a) - EPOCH_US(_b)", a=node.this, b=node.expression)
    return difference if unit == "MICROSECOND" else fill(f"_d // {_MICROSECONDS[unit]}", d=difference)


def timestamp_shift(node: exp.Expr) -> exp.Expr:
    """Whole microseconds, so that a day is 24 hours."""
    subtract = isinstance(node, exp.TimestampSub)
    return _shifted(node.this, node.expression, _unit(node), "TIMESTAMP", subtract=subtract, node=node)


def extract(node: exp.Expr) -> exp.Expr:
    """The day of the week counts from 1 (Sunday), WEEK from Sunday, and parts of a second do not hold the seconds."""
    part, value = _unit(node), node.expression
    if part not in _PARTS:
        raise _refuse(node, part, _PARTS)
    if isinstance(value, exp.AtTimeZone):
        value = in_zone(value.this, value.args["zone"])
    found = fill(_PARTS[part], x=value)
    # Of a NULL that is known beforehand, DuckDB's part is a DOUBLE.
    return (
        found
        if part in {"DATE", "TIME"} or isinstance(value, exp.Column)
        else fill("CAST(_f AS BIGINT)", f=found)
    )


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
    moment = fill("MAKE_TIMESTAMPTZ(_n)", n=scaled(node.this, factor, "BIGINT"))
    return in_range(moment, "TIMESTAMP", node.this, node.this)


def time_of_parts(node: exp.Expr) -> exp.Expr:
    """TIME(hour, minute, second); a sixtieth second is the first one of the next minute."""
    text = (
        "CASE WHEN NOT (_h BETWEEN 0 AND 23 AND _m BETWEEN 0 AND 59 AND _s BETWEEN 0 AND 60) THEN ERROR('no time of day')"
        " ELSE TIME '00:00:00' + TO_SECONDS(_h * 3600 + _m * 60 + _s) END"
    )
    return fill(text, h=node.args["hour"], m=node.args["min"], s=node.args["sec"])


def now(target: str) -> Transform:
    """CURRENT_DATE and CURRENT_DATETIME: in UTC, or in a time zone."""

    def transform(node: exp.Expr) -> exp.Expr:
        clock = in_zone(exp.CurrentTimestamp(), node.this or exp.Literal.string("UTC"))
        return fill(f"CAST(_c AS {target})", c=clock)

    return transform


def from_unix_date(node: exp.Expr) -> exp.Expr:
    """The day of that number, counted from 1970-01-01."""
    days = scaled(node.this, 1, "INTEGER")
    return in_range(fill("DATE '1970-01-01' + _n", n=days), "DATE", node.this, node.this)


def formatted(node: exp.Expr) -> exp.Expr:
    """Elements that both engines write alike, with two-digit days, hours and minutes."""
    text, value, zone = node.args["format"], node.this, node.args.get("zone")
    if not isinstance(text, exp.Literal) or not _FORMATS.fullmatch(str(text.this)):
        raise GaelpError(
            refused(
                "this date format",
                "a string of %Y %m %d %H %M %S %F %T %j %y %a %A %b %h %B %p %I %D %G %V %U %W %u %w %E3S %E6S %%, written out",
            )
        )
    written = re.sub(
        r"%(?:E\dS|E4Y|.)", lambda m: _OTHERWISE.get(m[0], m[0]), str(text.this), flags=re.DOTALL
    )
    return fill(
        "STRFTIME(_x, _f)", x=value if zone is None else in_zone(value, zone), f=exp.Literal.string(written)
    )


_READ: Final = {
    "Y": r"\d{4}",
    "m": r"\d{1,2}",
    "d": r"\d{1,2}",
    "H": r"\d{1,2}",
    "M": r"\d{1,2}",
    "S": r"\d{1,2}",
}


def parsed(target: str) -> Transform:
    """PARSE_DATE, PARSE_DATETIME and PARSE_TIMESTAMP. Parts that the format lacks are those of 1970-01-01 00:00:00."""

    def transform(node: exp.Expr) -> exp.Expr:
        given = node.args["format"]
        text = str(given.this) if isinstance(given, exp.Literal) else ""
        elements = re.findall(r"%(.)", text)
        if (
            not elements
            or not set(elements) <= _READ.keys()
            or len(set(elements)) < len(elements)
            or "Y" not in elements
        ):
            raise GaelpError(
                refused(
                    "this format to parse", "a string of %Y %m %d %H %M %S %F %T with the year, written out"
                )
            )
        pattern = re.sub(
            r"%(.)", lambda m: _READ[m[1]], re.sub(r"[^%A-Za-z0-9\s]", lambda m: "\\" + m[0], text)
        )
        pattern = r"\s*" + re.sub(r"\s+", r"\\s*", pattern.strip()) + r"\s*"
        missing = [e for e in "md" if e not in elements]
        full = re.sub(r"\s+", " ", text.strip()) + "".join(f" %{e}" for e in missing)
        read = "TRIM(REGEXP_REPLACE(_x, '\\s+', ' ', 'g'))" + (
            f" || '{' 01' * len(missing)}'" if missing else ""
        )
        fits = "REGEXP_FULL_MATCH(_x, _p) AND NOT STARTS_WITH(TRIM(_x), '0000')"
        moment = fill(f"CASE WHEN {fits} THEN TRY_STRPTIME({read}, _f) END", x=node.this,
                      p=exp.Literal.string(pattern), f=exp.Literal.string(full))  # fmt: skip
        failed = "CASE WHEN NOT _x IS NULL THEN ERROR('a text does not have the format') END"
        zone = node.args.get("zone")
        if target == "TIMESTAMPTZ" and zone is not None:
            moment = from_zone(moment, zone)
        return fill(f"COALESCE(CAST(_m AS {target}), {failed})", m=moment, x=node.this)

    return transform


def date_array(node: exp.Expr) -> exp.Expr:
    """An array of DATE in steps of days, or of months."""
    step = node.args.get("step")
    days, months = 1, 0
    if isinstance(step, exp.Interval):
        written = str(step.this.name)
        unit = _unit(step)
        if (
            not re.fullmatch(r"-?\d+", written)
            or unit not in {"DAY", "WEEK", *_MONTHS}
            or (unit in _MONTHS and written.startswith("-"))
        ):
            raise GaelpError(
                refused(
                    "GENERATE_DATE_ARRAY with this step",
                    "INTERVAL n DAY, WEEK, MONTH, QUARTER or YEAR, n a number",
                )
            )
        days, months = int(written) * {"WEEK": 7}.get(unit, 1), int(written) * _MONTHS.get(unit, 0)
    holes = {
        "a": fill("CAST(_d AS DATE)", d=node.args["start"]),
        "b": fill("CAST(_d AS DATE)", d=node.args["end"]),
    }
    step_text = f"'{months}' MONTH" if months else f"'{days}' DAY"
    return fill(f"CAST(GENERATE_SERIES(_a, _b, INTERVAL {step_text}) AS DATE[])", **holes)


def interval(node: exp.Expr) -> exp.Expr:
    """Only inside a function: DATE plus INTERVAL is another type there than here."""
    added = isinstance(node.parent, exp.Add | exp.Sub) and type_of(node.parent).name in {
        "DATETIME",
        "TIMESTAMP",
    }
    if not isinstance(node.parent, exp.GenerateDateArray) and not added:
        raise GaelpError(refused("INTERVAL as a value", "DATE_ADD, DATE_SUB, TIMESTAMP_ADD or TIMESTAMP_SUB"))
    return node


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.DateAdd: date_shift,
    exp.DateDiff: date_diff,
    exp.DateSub: date_shift,
    exp.CurrentDate: now("DATE"),
    exp.CurrentDatetime: now("TIMESTAMP"),
    exp.DateTrunc: truncate,
    exp.DateFromUnixDate: from_unix_date,
    exp.DatetimeAdd: date_shift,
    exp.DatetimeDiff: date_diff,
    exp.DatetimeSub: date_shift,
    exp.DatetimeTrunc: truncate,
    exp.LastDay: last_day,
    exp.ParseDatetime: parsed("TIMESTAMP"),
    exp.StrToDate: parsed("DATE"),
    exp.StrToTime: parsed("TIMESTAMPTZ"),
    exp.UnixDate: lambda node: fill("CAST(_d - DATE '1970-01-01' AS BIGINT)", d=node.this),
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
    exp.TimeFromParts: time_of_parts,
    exp.UnixToTime: from_unix,
}
