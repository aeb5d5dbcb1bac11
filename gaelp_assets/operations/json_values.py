"""Values in JSON's terms, without a digit lost: what `gaelp query` writes to files, and what `--json` prints.

What JSON has no form for is written as BigQuery writes it: BYTES as base64, NUMERIC as a string, a number that is not finite as `"NaN"`,
`"Infinity"` or `"-Infinity"`. A moment is as RFC 3339 has it.
https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#json_encodings
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Final

_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def json_value(value: object) -> object:
    """The value in JSON's terms; a dataclass becomes an object of its fields.

    >>> json_value({"at": dt.datetime(2026, 11, 20, tzinfo=dt.UTC), "n": Decimal("1.50"), "x": float("nan")})
    {'at': '2026-11-20T00:00:00Z', 'n': '1.5', 'x': 'NaN'}
    """
    match value:
        case float():
            return value if math.isfinite(value) else _NOT_FINITE[str(value)]
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case Decimal():
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return f"PT{value / dt.timedelta(seconds=1):.6f}S"
        case PurePath():
            return str(value)
        case Mapping():
            return {str(name): json_value(inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [json_value(inner) for inner in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: json_value(getattr(value, f.name)) for f in dataclasses.fields(value)}
        case _:
            return value
