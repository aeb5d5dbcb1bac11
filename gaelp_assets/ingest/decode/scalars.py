"""JSON with nothing lost, and which of its values a field of each scalar type takes.

`parse_json` keeps what other parsers drop: a number is bytes, as written; an object is a tuple of its pairs, duplicates included. The other
values are as `json` has them. What is wrong with a value is told in words that never quote it. Arrays and records, and what is wrong with a
line as a whole, belong to `reasons`.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, TypeGuard


class Constant(str):
    """NaN, Infinity or -Infinity, which `json` takes and JSON does not know."""

    __slots__ = ()


_DECODER: Final = json.JSONDecoder(
    parse_int=str.encode, parse_float=str.encode, parse_constant=Constant, object_pairs_hook=tuple
)
Pairs = tuple[tuple[str, object], ...]
"""An object."""
quoted: Final = json.encoder.encode_basestring
_TIME_OF_DAY: Final = r"(?P<time>(?:[01][0-9]|2[0-3])(?::[0-5][0-9](?::[0-5][0-9](?P<fraction>\.[0-9]+)?)?)?)"
_ZONE: Final = r"(?P<zone>Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?"
_MOMENT: Final = re.compile(rf"(?P<date>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[T ]{_TIME_OF_DAY}{_ZONE}", re.ASCII)
_TIME: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?P<fraction>\.[0-9]+)?")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

Found = tuple[str, str] | None
"""A rule that a value breaks, and what was expected; None if it is fine."""


_KINDS: Final = {
    tuple: "an object",
    list: "an array",
    bool: "a boolean",
    type(None): "null",
    Constant: "no JSON number",
}


def kind_of(value: object) -> str:
    """What a value is, in words."""
    if type(value) is bytes:
        return "an integer" if is_integer(value) else "a number with a fraction or exponent"
    return _KINDS.get(type(value), "a string")


def is_integer(value: object) -> TypeGuard[bytes]:
    """Whether a value is a number without fraction and exponent."""
    return type(value) is bytes and value.removeprefix(b"-").isdigit()


def parse_json(text: str) -> object:
    """The value of JSON without space around it.

    Raises:
        json.JSONDecodeError: it is none, or more than one.
    """
    value, end = _DECODER.raw_decode(text)
    return value if end == len(text) else _DECODER.decode(text)  # which tells what is wrong


def to_json(value: object) -> str:
    """A decoded value as JSON, numbers as written."""
    if type(value) is str:
        return quoted(value)
    if type(value) is bytes:
        return value.decode()
    if type(value) is tuple:
        return "{" + ",".join([f"{quoted(name)}:{to_json(inner)}" for name, inner in value]) + "}"
    if type(value) is list:
        return "[" + ",".join(map(to_json, value)) + "]"
    if type(value) is bool:
        return "true" if value else "false"
    return "null"


def _wrong_type(expected: str, value: object) -> Found:
    return "wrong_type", f"expected {expected}, found {kind_of(value)}"


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value is a string."""
    return type(value) is str


def _string(value: object) -> Found:
    return None if is_text(value) else _wrong_type("a string", value)


def _boolean(value: object) -> Found:
    return None if isinstance(value, bool) else _wrong_type("true or false", value)


def _integer(value: object) -> Found:
    if not is_integer(value):
        return _wrong_type("an integer without quotes, fraction or exponent", value)
    digits = value.lstrip(b"-")
    if len(digits) > 19 or not -(2**63) <= int(value) < 2**63:
        return (
            "out_of_range",
            "expected an integer of 64 bits, from -9223372036854775808 to 9223372036854775807",
        )
    return None


def _float(value: object) -> Found:
    if type(value) is not bytes:
        return _wrong_type("a number without quotes", value)
    number = float(value)
    if number in (float("inf"), float("-inf")):
        return "out_of_range", "expected a number of at most about 1.8e308 in magnitude"
    if is_integer(value) and (len(value) > 400 or int(number) != int(value)):
        return "lost_precision", "expected an integer that a 64-bit floating-point number holds without loss"
    return None


def parse_numeric(text: str) -> Decimal | None:
    """The decimal that a JSON number, or a string with one, stands for, if BigQuery's NUMERIC(38, 9) holds it without loss."""
    if not _DECIMAL.fullmatch(text):
        return None
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    stripped = list(digits)
    while len(stripped) > 1 and stripped[-1] == 0:
        stripped.pop()
        exponent += 1
    if stripped == [0]:
        return Decimal(0)
    if exponent < -9 or len(stripped) + exponent > 29:
        return None
    return Decimal((sign, tuple(stripped), exponent))


def _numeric(value: object) -> Found:
    text = value.decode() if type(value) is bytes else value
    if not is_text(text):
        return _wrong_type("a decimal number", value)
    if not _DECIMAL.fullmatch(text):
        return "wrong_type", "expected a decimal number, such as 12.50, found other text"
    if parse_numeric(text) is None:
        return "out_of_range", "expected at most 29 digits before the point and 9 after it"
    return None


def _bytes(value: object) -> Found:
    if not is_text(value):
        return _wrong_type("a string of base64", value)
    try:
        canonical = base64.b64encode(base64.b64decode(value, validate=True)).decode() == value
    except (binascii.Error, ValueError):
        canonical = False
    return None if canonical else ("bad_base64", "expected base64 of the standard alphabet with its padding")


def _date(value: object) -> Found:
    if not is_text(value):
        return _wrong_type("a date as a string", value)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return "bad_date", "expected a date written as YYYY-MM-DD"
    return (
        None if _exists(value) else ("bad_date", "expected a date that exists, from 0001-01-01 to 9999-12-31")
    )


def _exists(date: str) -> bool:
    try:
        dt.date.fromisoformat(date)
    except ValueError:
        return False
    return True


def _moment(value: object, rule: str, expected: str, *, zone: bool) -> Found:
    if not is_text(value):
        return _wrong_type(expected, value)
    match = _MOMENT.fullmatch(value)
    if match is None:
        return rule, f"expected {expected}"
    if not _exists(match["date"]):
        return rule, "expected a date that exists"
    if len(match["fraction"] or "") > 7:
        return rule, "expected at most 6 digits after the second's point (microseconds)"
    if zone and not match["zone"]:
        return rule, "expected a zone, Z or an offset such as +02:00, at the end"
    if not zone and match["zone"]:
        return rule, "expected no zone at the end"
    if zone and not _in_utc_years(match):
        return "out_of_range", "expected a moment from the year 1 to the year 9999 of UTC"
    return None


def _in_utc_years(match: re.Match[str]) -> bool:
    zone = match["zone"].replace(":", "")
    if zone == "Z":
        return True
    offset = dt.timedelta(hours=int(zone[1:3]), minutes=int(zone[3:] or 0)) * (-1 if zone[0] == "-" else 1)
    try:
        dt.datetime.fromisoformat(f"{match['date']}T{match['time']}") - offset
    except OverflowError:
        return False
    return True


def _timestamp(value: object) -> Found:
    example = "a timestamp with a zone as a string, such as 2026-11-20T10:00:00.123456Z"
    return _moment(value, "bad_timestamp", example, zone=True)


def _datetime(value: object) -> Found:
    return _moment(
        value, "bad_datetime", "a date and time as a string, such as 2026-11-20T10:00:00", zone=False
    )


def _time(value: object) -> Found:
    if not is_text(value):
        return _wrong_type("a time of day as a string", value)
    match = _TIME.fullmatch(value)
    if match is None or len(match["fraction"] or "") > 7:
        return "bad_time", "expected a time of day written as HH:MM:SS, with at most microseconds"
    return None


SCALARS: Final[Mapping[str, Callable[[object], Found]]] = {
    "STRING": _string,
    "BYTES": _bytes,
    "INTEGER": _integer,
    "FLOAT": _float,
    "NUMERIC": _numeric,
    "BOOLEAN": _boolean,
    "TIMESTAMP": _timestamp,
    "DATE": _date,
    "DATETIME": _datetime,
    "TIME": _time,
    "JSON": lambda _: None,
}
