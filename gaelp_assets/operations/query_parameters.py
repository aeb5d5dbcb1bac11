"""`name=value` and `name:TYPE=value` as a query's parameters: values, never text of the query. Pure.

Without a type, the value's looks decide: a whole number, a number with a point or exponent, true or false, a day, a moment with its
zone, or else a text. No message quotes a value.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from gaelp_assets.catalog.references import NotAQueryError, parsed
from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.ingest.decode.scalars import parse_numeric
from gaelp_assets.warehouse.parameters import ParameterScalar

_GIVEN: Final = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<type>[A-Za-z0-9_]*))?=(?P<value>.*)", re.DOTALL
)
_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?")
_LEAST, _MOST = -(2**63), 2**63 - 1


def query_parameters(sql: str, texts: Sequence[str]) -> dict[str, ParameterScalar]:
    """The values of a query's `@names`, by the names as the query spells them.

    Args:
        sql: one GoogleSQL query.
        texts: `name=value` or `name:TYPE=value` each.

    Raises:
        GaelpError: a text is not of that form, a type is unknown, a value is none of its type, a name comes twice, or the query and
            the names do not fit; all such things at once.

    >>> query_parameters("SELECT @run_date, @seed", ["run_date=2026-11-20", "seed:STRING=7"])
    {'run_date': datetime.date(2026, 11, 20), 'seed': '7'}
    """
    asked = _names(sql)
    found: dict[str, ParameterScalar] = {}
    problems: list[Problem] = []
    named: set[str] = set()
    for number, text in enumerate(texts, start=1):
        match = _GIVEN.fullmatch(text)
        if match is None:
            form = "name=value or name:TYPE=value, such as run_date=2026-11-20"
            problems.append(Problem("is no parameter", f"-p, number {number}", form))
            continue
        name = match["name"]
        where = f"-p {name}"
        if asked and name.lower() not in asked:
            problems.append(unknown("parameter", name, asked.values(), where=where))
        elif not asked:
            problems.append(Problem("the query has no parameters", where, f"@{name} in the query"))
        if name.lower() in named:
            problems.append(Problem("comes more than once", where, "one value"))
            continue
        named.add(name.lower())
        value = _value(match["type"], match["value"], where)
        if isinstance(value, Problem):
            problems.append(value)
        else:
            found[asked.get(name.lower(), name)] = value
    problems += [
        Problem("has no value", f"@{asked[name]}", remedy=f"Add: -p {asked[name]}=...")
        for name in asked
        if name not in named
    ]
    if problems:
        raise GaelpError(*problems)
    return found


def _names(sql: str) -> dict[str, str]:
    """The query's parameters in their order: in small letters, as GoogleSQL compares them, and as they are spelled first."""
    from sqlglot import exp

    try:
        tree = parsed(sql)
    except NotAQueryError:
        return {}  # what is wrong with it is said where it is asked
    names: dict[str, str] = {}
    for parameter in tree.find_all(exp.Parameter):
        names.setdefault(parameter.name.lower(), parameter.name)
    return names


def value_of(type_: str, text: str, where: str) -> ParameterScalar | Problem:
    """The value that a text says, of that one of GoogleSQL's types; or what is wrong with it, at that place.

    >>> value_of("DATE", "2026-11-20", "first")
    datetime.date(2026, 11, 20)
    """
    parse = _TYPES.get(type_)
    if parse is None:
        return unknown("type", type_, _TYPES, where=where)
    try:
        return parse[1](text)
    except (ValueError, OverflowError):
        return Problem(f"the value is no {type_}", where, parse[0])


def _value(type_: str | None, text: str, where: str) -> ParameterScalar | Problem:
    if type_ is None:
        type_ = _type_by_looks(text)
    if type_.upper() not in _TYPES:
        return unknown("type", type_, _TYPES, where=where)
    found = value_of(type_.upper(), text, where)
    if isinstance(found, Problem) and type_.upper() != "STRING":
        return replace(found, remedy=f"If a text is meant: {where}:STRING=...")
    return found


def _type_by_looks(text: str) -> str:
    if _INTEGER.fullmatch(text):
        return "INT64"
    if _FLOAT.fullmatch(text):
        return "FLOAT64"
    if text.lower() in {"true", "false"}:
        return "BOOL"
    if _DAY.fullmatch(text):
        return "DATE"
    return "TIMESTAMP" if _MOMENT.fullmatch(text) else "STRING"


def _int64(text: str) -> int:
    number = int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else None
    if number is None or not _LEAST <= number <= _MOST:
        raise ValueError
    return number


def _float64(text: str) -> float:
    number = float(text)
    special = text.strip().lstrip("+-").lower() in {"nan", "inf", "infinity"}
    if "_" in text or (not special and not math.isfinite(number)):
        raise ValueError
    return number


def _bool(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError
    return text.lower() == "true"


def _date(text: str) -> dt.date:
    if not _DAY.fullmatch(text):
        raise ValueError
    return dt.date.fromisoformat(text)


def _moment(text: str, *, zoned: bool) -> dt.datetime:
    match = _MOMENT.fullmatch(text)
    if match is None or (match["zone"] is not None) != zoned:
        raise ValueError
    zone = (match["zone"] or "").upper().replace("Z", "+00:00")
    moment = dt.datetime.fromisoformat(f"{match['day']}T{match['time']}{zone}")
    return moment.astimezone(dt.UTC) if zoned else moment


def _time(text: str) -> dt.time:
    if not _TIME.fullmatch(text):
        raise ValueError
    return dt.time.fromisoformat(text)


def _numeric(text: str) -> Decimal:
    number = parse_numeric(text)
    if number is None:
        raise ValueError
    return number


_TYPES: Final[Mapping[str, tuple[str, Callable[[str], ParameterScalar]]]] = {
    "BOOL": ("true or false", _bool),
    "DATE": ("YYYY-MM-DD, a day that there is", _date),
    "DATETIME": ("YYYY-MM-DDTHH:MM:SS without a zone", lambda text: _moment(text, zoned=False)),
    "FLOAT64": ("a number, NaN, Infinity or -Infinity", _float64),
    "INT64": (f"a whole number from {_LEAST} to {_MOST}", _int64),
    "NUMERIC": ("a decimal number with 29 digits before the point and 9 behind it at most", _numeric),
    "STRING": ("any text", str),
    "TIME": ("HH:MM:SS", _time),
    "TIMESTAMP": (
        "YYYY-MM-DDTHH:MM:SS with its zone, such as 2026-11-20T06:00:00Z",
        lambda text: _moment(text, zoned=True),
    ),
}
"""By GoogleSQL's name of the type: what its values look like, in words, and what reads one."""
