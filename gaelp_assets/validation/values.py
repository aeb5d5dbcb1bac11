"""Argument values of check rules: JSON has no dates and no decimals, so a catalogue file writes them as text.

Values of rows are parsed in `ingest.decode`, where each mistake has a reason of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final


def _timestamp(value: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a timestamp without a zone")
    return moment.astimezone(dt.UTC)


def _datetime(value: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(value)
    if moment.tzinfo is not None:
        raise ValueError("a DATETIME with a zone")
    return moment


def _decimal(value: str) -> Decimal:
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError("not a decimal number") from None


_PYTHON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "STRING": (str,),
    "INTEGER": (int,),
    "FLOAT": (int, float),
    "NUMERIC": (int, float, str),
    "BOOLEAN": (bool,),
    "DATE": (str,),
    "DATETIME": (str,),
    "TIMESTAMP": (str,),
    "TIME": (str,),
}
_CONVERTERS: Final[Mapping[str, Callable[[str], object]]] = {
    "NUMERIC": _decimal,
    "DATE": dt.date.fromisoformat,
    "DATETIME": _datetime,
    "TIMESTAMP": _timestamp,
    "TIME": dt.time.fromisoformat,
}


def typed_value(value: object, field_type: str) -> object:
    """The Python value that a JSON value means for a field of that type.

    Raises:
        ValueError: it is not a value of that type.
    """
    expected = _PYTHON_TYPES.get(field_type)
    if (
        expected is None
        or not isinstance(value, expected)
        or (isinstance(value, bool) and bool not in expected)
    ):
        raise ValueError(f"not a {field_type} value")
    convert = _CONVERTERS.get(field_type)
    return value if convert is None else convert(str(value))
