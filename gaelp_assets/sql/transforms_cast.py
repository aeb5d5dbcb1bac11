"""CAST, SAFE_CAST and their relatives. Texts are read by GoogleSQL's rules, and NULL is what SAFE_CAST makes of every other text.

Where the source's type is not known, the SQL asks for it when it runs (DuckDB folds that away).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.template import REFUSED, Transform, fill, without_errors
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import STRING, Type, type_of, typed
from gaelp_assets.sql.values import data_type

_DAY: Final = r"\d{4}-\d{1,2}-\d{1,2}"
_TIME: Final = r"([01]?\d|2[0-3]):\d{1,2}:\d{1,2}(\.\d{1,9})?"
_ZONE: Final = r"( ?(Z|z|UTC)|[+-]\d{1,2}(:\d{2})?| [A-Z][A-Za-z_]+/[A-Za-z_/]+)"
_NUMBER: Final = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"
_INTEGER: Final = r"\s*[+-]?[0-9]+\s*"
_HEX: Final = r"\s*[+-]?0[xX][0-9a-fA-F]{1,15}\s*"
_MICROS: Final = r"REGEXP_REPLACE(_x, '(\.\d{6})\d+', '\1')"
_FORMS: Final = {
    "INT64": _INTEGER, "FLOAT64": _NUMBER, "NUMERIC": _NUMBER, "DATE": _DAY, "TIME": _TIME,
    "DATETIME": f"{_DAY}([ Tt]{_TIME})?", "TIMESTAMP": f"{_DAY}([ Tt]{_TIME})?{_ZONE}?",
}  # fmt: skip
_DUCKDB: Final = {
    "INT64": "BIGINT", "FLOAT64": "DOUBLE", "NUMERIC": "DECIMAL(38, 9)", "STRING": "VARCHAR", "BOOL": "BOOLEAN", "DATE": "DATE",
    "DATETIME": "TIMESTAMP", "TIME": "TIME", "TIMESTAMP": "TIMESTAMPTZ", "BYTES": "BLOB",
}  # fmt: skip
# A year 0 is none in GoogleSQL, and DuckDB's sixtieth second is none.
_NO_YEAR: Final = "STARTS_WITH(_x, '0000')"


def _read(target: str, value: str = "_x", more: str = "") -> str:
    """A text that has the target's form; another one is an error."""
    cast = f"CAST({value} AS {_DUCKDB[target]})"
    form = f"REGEXP_FULL_MATCH(_x, '{_FORMS[target]}')"
    if _FORMS[target].startswith(_DAY):
        form += f" AND NOT {_NO_YEAR}"
    leap = (
        f"{form} AND REGEXP_MATCHES(_x, ':60(\\.|\\D|$)') THEN ERROR('{REFUSED}CAST of a leap second') WHEN "
    )
    first = leap if _TIME in _FORMS[target] else ""
    return f"CASE WHEN {first}{form} THEN {cast}{more} WHEN NOT _x IS NULL THEN ERROR('not a {target}') END"


_HEX_VALUE: Final = (
    r"CAST(REGEXP_REPLACE(TRIM(_x), '^[+-]', '') AS BIGINT) * CASE WHEN CONTAINS(_x, '-') THEN -1 ELSE 1 END"
)
_OF_TEXT: Final = {
    "INT64": _read("INT64", more=f" WHEN REGEXP_FULL_MATCH(_x, '{_HEX}') THEN {_HEX_VALUE}"),
    "FLOAT64": _read(
        "FLOAT64",
        more=r" WHEN REGEXP_FULL_MATCH(_x, '(?i)\s*[+-]?(inf|infinity|nan)\s*') THEN CAST(TRIM(_x) AS DOUBLE)"
        f" WHEN REGEXP_FULL_MATCH(_x, '{_HEX}') THEN CAST({_HEX_VALUE} AS DOUBLE)"
        rf" WHEN REGEXP_FULL_MATCH(_x, '\s*[+-]?0[xX][0-9a-fA-F.]+([pP][+-]?[0-9]+)?\s*') THEN ERROR('{REFUSED}CAST of a"
        rf" hexadecimal fraction')",
    ),
    "NUMERIC": _read("NUMERIC"),
    "BOOL": "CASE LOWER(_x) WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE ELSE CASE WHEN NOT _x IS NULL THEN ERROR('not a BOOL') END END",
    "DATE": _read("DATE"),
    "TIME": _read("TIME", _MICROS),
    "BYTES": "ENCODE(_x)",
    "DATETIME": _read("DATETIME", _MICROS),
    "TIMESTAMP": _read("TIMESTAMP", rf"REGEXP_REPLACE(UPPER({_MICROS}), '([+-])(\d)(:|$)', '\10\2\3')"),
}
_TEXT_OF_MOMENT: Final = (
    "CASE WHEN EPOCH_US(_x) % 1000000 = 0 THEN STRFTIME(_x, '%Y-%m-%d %H:%M:%S') WHEN EPOCH_US(_x) % 1000 = 0 THEN"
    " LEFT(STRFTIME(_x, '%Y-%m-%d %H:%M:%S.%f'), 23) ELSE STRFTIME(_x, '%Y-%m-%d %H:%M:%S.%f') END"
)
TEXT_OF_FLOAT: Final = (
    "CASE WHEN _x = 0 THEN '0' WHEN CAST(FORMAT('{:.15g}', _x) AS DOUBLE) = _x OR NOT ISFINITE(_x) THEN FORMAT('{:.15g}', _x)"
    " ELSE FORMAT('{:.17g}', _x) END"
)
_TO_TEXT: Final = {
    "FLOAT64": TEXT_OF_FLOAT,
    "NUMERIC": "RTRIM(RTRIM(CAST(_x AS VARCHAR), '0'), '.')",
    "TIMESTAMP": f"{_TEXT_OF_MOMENT} || '+00'",
    "DATETIME": _TEXT_OF_MOMENT,
    "TIME": "CASE WHEN EPOCH_US(_x) % 1000000 = 0 THEN LEFT(CAST(_x AS VARCHAR), 8) WHEN EPOCH_US(_x) % 1000 = 0 THEN"
    " LEFT(RPAD(CAST(_x AS VARCHAR), 15, '0'), 12) ELSE RPAD(CAST(_x AS VARCHAR), 15, '0') END",
    "BYTES": "DECODE(_x)",
    "INT64": "CAST(_x AS VARCHAR)",
    "BOOL": "CAST(_x AS VARCHAR)",
    "DATE": "CAST(_x AS VARCHAR)",
}


def text_of(kind: str) -> str:
    """The template of a value of a type as GoogleSQL casts it to STRING."""
    return _TO_TEXT[kind]


_ROUNDED: Final = "CAST(ROUND(_x) AS BIGINT)"
_EXACT: Final = "CAST(FORMAT('{:.60f}', _x) AS DECIMAL(38, 9))"
_BETWEEN: Final[Mapping[tuple[str, str], str]] = {
    **{("STRING", target): text for target, text in _OF_TEXT.items()},
    **{(source, "STRING"): text for source, text in _TO_TEXT.items()},
    ("FLOAT64", "INT64"): _ROUNDED, ("NUMERIC", "INT64"): _ROUNDED, ("FLOAT64", "NUMERIC"): _EXACT,
    **{pair: f"CAST(_x AS {_DUCKDB[pair[1]]})" for pair in (
        ("INT64", "FLOAT64"), ("INT64", "NUMERIC"), ("INT64", "BOOL"), ("BOOL", "INT64"), ("NUMERIC", "FLOAT64"), ("DATE", "DATETIME"),
        ("DATE", "TIMESTAMP"), ("DATETIME", "DATE"), ("DATETIME", "TIME"), ("DATETIME", "TIMESTAMP"), ("TIMESTAMP", "DATE"),
        ("TIMESTAMP", "DATETIME"),
    )},
    ("TIMESTAMP", "TIME"): "CAST(CAST(_x AS TIMESTAMP) AS TIME)",
}  # fmt: skip
_UNKNOWN: Final = {
    "INT64": (("DOUBLE", _BETWEEN["FLOAT64", "INT64"]),),
    "STRING": (("DOUBLE", TEXT_OF_FLOAT), ("TIMESTAMP WITH TIME ZONE", _TO_TEXT["TIMESTAMP"]), ("TIMESTAMP", _TO_TEXT["DATETIME"]),
        ("DECIMAL(38,9)", _TO_TEXT["NUMERIC"])),
}  # fmt: skip
_NAMES: Final = "INT64, FLOAT64, NUMERIC, STRING, BYTES, BOOL, DATE, DATETIME, TIME, TIMESTAMP"


def cast_(node: exp.Expr) -> exp.Expr:
    """One type as another. A written text that its neighbours make a date has to be one."""
    name = data_type(node.args["to"]).name
    text = node.this
    if (
        node.meta.get("implied")
        and isinstance(text, exp.Literal)
        and text.is_string
        and not readable(text.name, name)
    ):
        raise GaelpError(unreadable(name))
    return _cast(node.this, data_type(node.args["to"]), node, safe=isinstance(node, exp.TryCast))


def readable(text: str, kind: str) -> bool:
    """Whether a written text can be read as a type that its neighbours ask for."""
    return kind not in _FORMS or re.fullmatch(_FORMS[kind], text) is not None


def unreadable(kind: str) -> Problem:
    """The problem of a written text that its neighbours would make a value of a type."""
    return Problem(f"a text that is no {kind}", "SQL", f"a text that can be read as {kind}")


def _cast(value: exp.Expr, target: Type, node: exp.Expr, *, safe: bool) -> exp.Expr:
    source = type_of(value)
    if (
        isinstance(value, exp.Null | exp.Array)
        or source.name in {"NULL", "EMPTY"}
        or target.name in {"ARRAY", "STRUCT"}
    ):
        if (
            target.name in {"ARRAY", "STRUCT"}
            and source.name in {"ARRAY", "STRUCT"}
            and source != target
            and not isinstance(value, exp.Array | exp.Struct)
        ):
            raise GaelpError(
                refused(f"CAST of {source} AS {target}", "ARRAY(SELECT CAST(x AS ...) FROM UNNEST(...) AS x)")
            )
        return exp.Cast(this=copied(value), to=copied(node.args["to"])) if "to" in node.args else node
    if source == target:
        return copied(value)
    if isinstance(value, exp.Literal) and value.is_string and _plain(str(value.this), target.name):
        return fill(f"CAST(_x AS {_DUCKDB[target.name]})", x=value)
    if source.name == "ANY":
        text = _of_unknown(target)
    elif (source.name, target.name) in _BETWEEN:
        text = _BETWEEN[source.name, target.name]
    else:
        raise GaelpError(refused(f"CAST of {source} AS {target}", "a cast that GoogleSQL has"))
    return _without_failure(text, value, target) if safe else fill(text, x=value)


def _without_failure(text: str, value: exp.Expr, target: Type) -> exp.Expr:
    """The cast with NULL for what cannot be cast. An error of the value itself stays one."""
    tree = without_errors(fill(text, x=typed(exp.column("_value"), type_of(value))))
    for inner in list(tree.find_all(exp.Cast)):
        if not isinstance(inner, exp.TryCast) and not inner.to.is_type(exp.DType.TEXT):
            becomes = exp.TryCast(this=copied(inner.this), to=copied(inner.to), safe=True)
            tree = becomes if inner is tree else tree
            if inner is not becomes and inner.parent is not None:
                inner.replace(becomes)
    if target.name == "STRING" and type_of(value).name == "BYTES":
        tree = fill("TRY(_t)", t=tree)
    return _put(tree, value)


def _put(tree: exp.Expr, value: exp.Expr) -> exp.Expr:
    from gaelp_assets.sql.template import put

    return put(tree, value=value)


def _of_unknown(target: Type) -> str:
    if target.name not in _DUCKDB:
        raise GaelpError(refused(f"CAST AS {target}", f"one of {_NAMES}"))
    cases = [
        f"WHEN TYPEOF(_x) = '{name}' THEN {_as(text, name)}" for name, text in _UNKNOWN.get(target.name, ())
    ]
    if target.name in _OF_TEXT:
        cases.append(f"WHEN TYPEOF(_x) = 'VARCHAR' THEN {_as(_OF_TEXT[target.name], 'VARCHAR')}")
    plain = f"CAST(_x AS {_DUCKDB[target.name]})"
    return f"CASE {' '.join(cases)} ELSE {plain} END" if cases else plain


def _as(text: str, duckdb_type: str) -> str:
    """The template for a value that DuckDB must bind as this type, whatever it is."""
    return text.replace("_x", f"CAST(_x AS {duckdb_type})")


def _plain(text: str, target: str) -> bool:
    """Whether DuckDB reads a written text as GoogleSQL does."""
    time = r"\d\d:\d\d:[0-5]\d(\.\d{1,6})?"
    forms = {
        "INT64": _INTEGER,
        "FLOAT64": _NUMBER,
        "NUMERIC": _NUMBER,
        "DATE": _DAY,
        "DATETIME": rf"{_DAY}([ T]{time})?",
        "TIME": time,
        "TIMESTAMP": rf"{_DAY}([ T]{time})?(Z|[+-]\d\d(:\d\d)?)?",
    }
    return target in forms and re.fullmatch(forms[target], text) is not None and not text.startswith("0000")


def relative(name: str) -> Transform:
    """DATE(x), DATETIME(x) and TIMESTAMP(x), with a time zone or without."""

    def transform(node: exp.Expr) -> exp.Expr:
        from gaelp_assets.sql.transforms_time import from_zone, in_zone

        zone = node.args.get("zone") or (node.args.get("expression") if name == "DATETIME" else None)
        if zone is not None and type_of(node.this).name == "DATE" and name == "DATETIME":
            return fill("_d + _t", d=node.this, t=zone)
        if zone is not None and name == "TIMESTAMP":
            return from_zone(node.this, zone)
        if zone is not None:
            return fill(f"CAST(_x AS {_DUCKDB[name]})", x=in_zone(node.this, zone))
        return _cast(node.this, Type(name), node, safe=False)

    return transform


def as_text(node: exp.Expr) -> exp.Expr:
    """STRING(x): the cast, of a TIMESTAMP in UTC only, since only its own name would stand for another time zone."""
    zone = node.args.get("zone")
    if zone is not None and zone.name != "UTC":
        raise GaelpError(refused("STRING with a time zone", "FORMAT_TIMESTAMP with it, or STRING(x, 'UTC')"))
    return _cast(node.this, STRING, node, safe=False)


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.Cast: cast_,
    exp.TryCast: cast_,
    exp.Date: relative("DATE"),
    exp.Datetime: relative("DATETIME"),
    exp.String: as_text,
    exp.Time: relative("TIME"),
    exp.Timestamp: relative("TIMESTAMP"),
    exp.TsOrDsToDate: relative("DATE"),
    exp.TsOrDsToDatetime: relative("DATETIME"),
    exp.TsOrDsToTime: relative("TIME"),
    exp.TsOrDsToTimestamp: relative("TIMESTAMP"),
}
