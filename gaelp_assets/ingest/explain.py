"""Every reason why one line is no row of a relation, found at leisure with the standard `json` module.

Lines that the fast decoder refuses, or that it has doubts about, come here. Which values a field takes is said in `SCALARS`; the
decoder in `ingest.decode` takes the same ones. No message ever quotes a value.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from gaelp_assets.catalog.model import Field, Relation, walk_fields
from gaelp_assets.ingest.doubts import MAX_DEPTH, too_deep
from gaelp_assets.ingest.lines import MAX_LINE_BYTES, SPACE


@dataclass(frozen=True)
class Reason:
    """Why a line is rejected: the field's dotted path (empty: the line as a whole), the rule, and what was expected."""

    field: str
    rule: str
    message: str


class _Number(str):
    """A JSON number as written."""

    __slots__ = ()


class _Constant(str):
    """NaN, Infinity or -Infinity, which `json` takes and JSON does not know."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """An object's pairs, duplicates included."""


_DECODER: Final = json.JSONDecoder(
    parse_int=_Number, parse_float=_Number, parse_constant=_Constant, object_pairs_hook=_Object
)
_TIME_OF_DAY: Final = r"(?P<time>(?:[01][0-9]|2[0-3])(?::[0-5][0-9](?::[0-5][0-9](?P<fraction>\.[0-9]+)?)?)?)"
_ZONE: Final = r"(?P<zone>Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?"
_MOMENT: Final = re.compile(rf"(?P<date>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[T ]{_TIME_OF_DAY}{_ZONE}", re.ASCII)
_TIME: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?P<fraction>\.[0-9]+)?")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_UTC_YEARS: Final = (dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC))

Found = tuple[str, str] | None
"""A rule that a value breaks, and what was expected; None if it is fine."""


def _kind(value: Any) -> str:
    if isinstance(value, _Number):
        return "an integer" if re.fullmatch(r"-?[0-9]+", value) else "a number with a fraction or exponent"
    names = {
        _Object: "an object",
        list: "an array",
        bool: "a boolean",
        type(None): "null",
        _Constant: "no JSON number",
    }
    return names.get(type(value), "a string")


def _wrong_type(expected: str, value: Any) -> Found:
    return "wrong_type", f"expected {expected}, found {_kind(value)}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, _Number | _Constant)


def _string(value: Any) -> Found:
    return None if _is_text(value) else _wrong_type("a string", value)


def _boolean(value: Any) -> Found:
    return None if isinstance(value, bool) else _wrong_type("true or false", value)


def _integer(value: Any) -> Found:
    if not isinstance(value, _Number) or _kind(value) != "an integer":
        return _wrong_type("an integer without quotes, fraction or exponent", value)
    digits = value.lstrip("-")
    if len(digits) > 19 or not -(2**63) <= int(value) < 2**63:
        return (
            "out_of_range",
            "expected an integer of 64 bits, from -9223372036854775808 to 9223372036854775807",
        )
    return None


def _float(value: Any) -> Found:
    if not isinstance(value, _Number):
        return _wrong_type("a number without quotes", value)
    number = float(value)
    if number in (float("inf"), float("-inf")):
        return "out_of_range", "expected a number of at most about 1.8e308 in magnitude"
    if _kind(value) == "an integer" and (len(value) > 400 or int(number) != int(value)):
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


def _numeric(value: Any) -> Found:
    if not isinstance(value, _Number) and not _is_text(value):
        return _wrong_type("a decimal number", value)
    if not _DECIMAL.fullmatch(value):
        return "wrong_type", "expected a decimal number, such as 12.50, found other text"
    if parse_numeric(value) is None:
        return "out_of_range", "expected at most 29 digits before the point and 9 after it"
    return None


def _bytes(value: Any) -> Found:
    if not _is_text(value):
        return _wrong_type("a string of base64", value)
    try:
        canonical = base64.b64encode(base64.b64decode(value, validate=True)).decode() == value
    except (binascii.Error, ValueError):
        canonical = False
    return None if canonical else ("bad_base64", "expected base64 of the standard alphabet with its padding")


def _date(value: Any) -> Found:
    if not _is_text(value):
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


def _moment(value: Any, rule: str, expected: str, *, zone: bool) -> Found:
    if not _is_text(value):
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


def _timestamp(value: Any) -> Found:
    example = "a timestamp with a zone as a string, such as 2026-11-20T10:00:00.123456Z"
    return _moment(value, "bad_timestamp", example, zone=True)


def _datetime(value: Any) -> Found:
    return _moment(
        value, "bad_datetime", "a date and time as a string, such as 2026-11-20T10:00:00", zone=False
    )


def _time(value: Any) -> Found:
    if not _is_text(value):
        return _wrong_type("a time of day as a string", value)
    match = _TIME.fullmatch(value)
    if match is None or len(match["fraction"] or "") > 7:
        return "bad_time", "expected a time of day written as HH:MM:SS, with at most microseconds"
    return None


SCALARS: Final[Mapping[str, Callable[[Any], Found]]] = {
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


@lru_cache(maxsize=10_000)
def _is_date(value: str) -> bool:
    return _date(value) is None


# Whether a value is plainly fine: most values of a bad line are. What these do not take is looked at closely.
_PLAIN: Final[Mapping[str, Callable[[Any], bool]]] = {
    "STRING": lambda value: type(value) is str and value.isascii(),
    "INTEGER": lambda value: type(value) is _Number and len(value) < 19 and value.isdecimal(),
    "FLOAT": lambda value: (
        type(value) is _Number and len(value) < 16 and "e" not in value and "E" not in value
    ),
    "BOOLEAN": lambda value: type(value) is bool,
    "DATE": lambda value: type(value) is str and _is_date(value),
    "JSON": lambda value: type(value) is _Object and not value,
}


def _plain(field: Field) -> Callable[[Any], bool]:
    one = _PLAIN.get(field.type, lambda _: False)
    return (lambda value: type(value) is list and all(map(one, value))) if field.repeated else one


class Explainer:
    """Finds all reasons why lines are no rows of a relation."""

    def __init__(self, relation: Relation) -> None:
        self._fields = relation.fields
        self._plain = {id(field): _plain(field) for _, field in walk_fields(relation.fields)}

    def reasons(self, line: bytes, *, unterminated: bool = False) -> list[Reason]:
        """Why the line is rejected; empty if nothing is wrong. `unterminated`: the file ends without a line end after it."""
        if len(line) > MAX_LINE_BYTES:
            limit = f"expected a line of at most {MAX_LINE_BYTES >> 20} MiB"
            return [Reason("", "too_long", f"{limit}; of a longer one, only the start may be kept here")]
        try:
            text = line.strip(SPACE).decode("utf-8")
        except UnicodeDecodeError as error:
            return [
                Reason(
                    "",
                    "invalid_utf8",
                    f"expected UTF-8, found another byte at position {error.start} of the line",
                )
            ]
        if too_deep(line):
            return [Reason("", "too_deep", f"expected at most {MAX_DEPTH} levels of nesting")]
        try:
            value = _DECODER.decode(text)
        except json.JSONDecodeError as error:
            if unterminated:
                return [
                    Reason(
                        "",
                        "truncated_line",
                        "expected a complete JSON object, found its end: the last line is cut off",
                    )
                ]
            return [
                Reason(
                    "",
                    "malformed_json",
                    f"expected one JSON object, found a mistake at character {error.pos + 1}",
                )
            ]
        if not isinstance(value, _Object):
            return [Reason("", "not_an_object", f"expected a JSON object, found {_kind(value)}")]
        return list(self._object(value, self._fields, ""))

    def _object(self, pairs: _Object, fields: Sequence[Field], prefix: str) -> Iterator[Reason]:
        found = dict(pairs)
        known = {field.name: field for field in fields}
        if len(found) < len(pairs) or not found.keys() <= known.keys():
            yield from self._keys(pairs, known, prefix)
        for name, field in known.items():
            value = found.get(name)
            if value is not None:
                if not self._plain[id(field)](value):
                    yield from self._field(value, field, f"{prefix}{name}")
            elif field.required:
                state = "found null" if name in found else "found no such key"
                yield Reason(f"{prefix}{name}", "missing_field", f"expected a value, {state}")

    def _keys(self, pairs: _Object, known: Mapping[str, Field], prefix: str) -> Iterator[Reason]:
        """What is wrong with the keys of an object, and inside the values of unknown ones."""
        seen = set()
        for name, value in pairs:
            shown = f"{prefix}{name}" if name in known else prefix.rstrip(".")
            if name in seen:
                yield Reason(shown, "duplicate_key", "expected each key once in an object")
            elif name not in known:
                path = f"{prefix}{_printable(name)}"
                yield Reason(path, "unknown_field", f"expected only the fields {', '.join(known)}")
                yield from self._free(value, path)
            seen.add(name)

    def _field(self, value: Any, field: Field, path: str) -> Iterator[Reason]:
        if not field.repeated:
            yield from self._one(value, field, path)
        elif not isinstance(value, list) or isinstance(value, _Object):
            yield Reason(path, "wrong_type", f"expected an array, found {_kind(value)}")
        else:
            # One reason of a kind is enough: an array may have millions of elements.
            yield from dict.fromkeys(
                reason for element in value for reason in self._element(element, field, path)
            )

    def _element(self, value: Any, field: Field, path: str) -> Iterator[Reason]:
        if value is None and field.type != "JSON":
            yield Reason(path, "wrong_type", "expected no null in an array")
        else:
            yield from self._one(value, field, path)

    def _one(self, value: Any, field: Field, path: str) -> Iterator[Reason]:
        if isinstance(value, _Constant):
            yield Reason(path, "not_finite", "expected a finite number; NaN and Infinity are no JSON")
        elif field.type == "RECORD":
            if isinstance(value, _Object):
                yield from self._object(value, field.fields, f"{path}.")
            else:
                yield Reason(path, "wrong_type", f"expected an object, found {_kind(value)}")
        elif field.type == "JSON":
            yield from dict.fromkeys(self._free(value, path))
        elif found := SCALARS[field.type](value):
            yield Reason(path, *found)
        elif _is_text(value) and _SURROGATE.search(value):
            yield Reason(path, "lone_surrogate", "expected whole characters, found half of a surrogate pair")

    def _free(self, value: Any, path: str) -> Iterator[Reason]:
        """What is wrong inside a value that has no declared form."""
        if isinstance(value, _Object):
            if len({name for name, _ in value}) < len(value):
                yield Reason(path, "duplicate_key", "expected each key once in an object")
            for name, inner in value:
                yield from self._free(name, path)
                yield from self._free(inner, path)
        elif isinstance(value, list):
            for inner in value:
                yield from self._free(inner, path)
        elif isinstance(value, _Constant):
            yield Reason(path, "not_finite", "expected a finite number; NaN and Infinity are no JSON")
        elif _is_text(value) and _SURROGATE.search(value):
            yield Reason(path, "lone_surrogate", "expected whole characters, found half of a surrogate pair")


def _printable(name: str) -> str:
    """An unknown key as it may be shown: short, and without anything that a terminal or database chokes on."""
    shown = "".join(c if c.isprintable() else "?" for c in name[:100])
    return shown if len(name) <= 100 else f"{shown}..."
