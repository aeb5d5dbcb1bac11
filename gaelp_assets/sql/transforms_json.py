"""What sqlglot would get silently wrong about JSON: what is read out of it, and how values are written as it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.template import REFUSED, Transform, fill
from gaelp_assets.sql.transforms_cast import TEXT_OF_FLOAT, text_of
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import JSON, Type, type_of

_JSON: Final = (
    "CASE WHEN JSON_VALID(_x) THEN _x"
    rf" WHEN REGEXP_MATCHES(_x, '^\s*[{{\[]') THEN ERROR('{REFUSED}JSON that breaks off, or goes on after its end') END"
)


def json_value(node: exp.Expr) -> exp.Expr:
    """NULL of a text that is no JSON. A fraction is given as it is written, which DuckDB does not keep: it is looked for beside its
    key, unless it is cast to a number anyway."""
    if type_of(node.this) == JSON:
        return node
    original = copied(node.this)
    node.this.replace(fill(_JSON, x=original))
    if isinstance(node.parent, exp.Cast) and node.parent.to.is_type(exp.DType.DOUBLE):
        return node
    path = exp.Literal.string(node.expression.sql(dialect="duckdb").strip("'"))
    last = node.expression.expressions[-1]
    key = f'"{re.escape(str(last.this))}"\\s*:' if isinstance(last, exp.JSONPathKey) else "[,\\[]"
    text = (
        "CASE WHEN JSON_TYPE(_valid, _p) = 'DOUBLE' THEN CASE WHEN TRY_CAST(_raw AS DOUBLE) = TRY_CAST(_v AS DOUBLE) THEN _raw ELSE"
        f" ERROR('{REFUSED}JSON_VALUE of a number that DuckDB writes otherwise') END ELSE _v END"
    )
    raw = fill(
        "REGEXP_EXTRACT(_x, _k, 1)", x=original, k=exp.Literal.string(key + r"\s*(-?[0-9][0-9.eE+-]*)")
    )
    return fill(text, raw=raw, valid=node.this, v=node, p=path)


def json_query(node: exp.Expr) -> exp.Expr:
    """A STRING of a STRING; NULL of a text that is no JSON. Fractions are refused, since DuckDB writes them its own way."""
    if type_of(node.this) == JSON:
        return node
    node.this.replace(fill(_JSON, x=copied(node.this)))
    text = (
        "CASE WHEN REGEXP_MATCHES(CAST(_v AS VARCHAR), '[0-9][.eE][0-9+-]')"
        f" THEN ERROR('{REFUSED}JSON_QUERY of something with a fraction') ELSE NULLIF(CAST(_v AS VARCHAR), 'null') END"
    )
    return fill(text, v=node)


def json_array(node: exp.Expr) -> exp.Expr:
    """JSON_QUERY_ARRAY and JSON_VALUE_ARRAY: NULL of what is no array, and of one with a record in it where values are asked for."""
    values = isinstance(node, exp.JSONValueArray)
    path = exp.Literal.string(node.expression.sql(dialect="duckdb").strip("'"))
    if values:
        allowed = "JSON_TYPE(_v, _p) = 'ARRAY' AND NOT LIST_HAS_ANY(JSON_TYPE(_v, _all), ['OBJECT', 'ARRAY'])"
        inexact, elements = "LIST_CONTAINS(JSON_TYPE(_v, _all), 'DOUBLE')", "JSON_EXTRACT_STRING(_v, _all)"
    else:
        allowed = "JSON_TYPE(_v, _p) = 'ARRAY'"
        inexact = "REGEXP_MATCHES(CAST(JSON_EXTRACT(_v, _p) AS VARCHAR), '[0-9][.eE][0-9+-]')"
        elements = "CAST(JSON_EXTRACT(_v, _all) AS VARCHAR[])"
    text = f"CASE WHEN {allowed} THEN CASE WHEN {inexact} THEN ERROR('{REFUSED}an array of JSON with a fraction') ELSE {elements} END END"
    every = exp.Literal.string(f"{path.this}[*]")
    return fill(text, v=fill(_JSON, x=node.this), p=path, all=every)


# What every reader of JSON keeps as a number.
_WHOLE: Final = "_x BETWEEN -9007199254740992 AND 9007199254740992"
_WRITTEN: Final = {
    "STRING": "CAST(TO_JSON(_x) AS VARCHAR)",
    "BOOL": "CAST(_x AS VARCHAR)",
    "DATE": "'\"' || CAST(_x AS VARCHAR) || '\"'",
    "INT64": f"CASE WHEN {_WHOLE} THEN CAST(_x AS VARCHAR) ELSE '\"' || CAST(_x AS VARCHAR) || '\"' END",
    "FLOAT64": f"CASE WHEN ISFINITE(_x) THEN {TEXT_OF_FLOAT} WHEN ISNAN(_x) THEN '\"NaN\"' WHEN _x > 0 THEN '\"Infinity\"'"
    " WHEN _x < 0 THEN '\"-Infinity\"' END",
    "NUMERIC": f"CASE WHEN _x = TRUNC(_x) AND {_WHOLE} THEN CAST(CAST(_x AS BIGINT) AS VARCHAR)"
    f" ELSE '\"' || {text_of('NUMERIC')} || '\"' END",
    "TIME": f"'\"' || {text_of('TIME')} || '\"'",
    "DATETIME": f"'\"' || REPLACE({text_of('DATETIME')}, ' ', 'T') || '\"'",
    "TIMESTAMP": f"'\"' || REPLACE(REPLACE({text_of('TIMESTAMP')}, ' ', 'T'), '+00', 'Z') || '\"'",
    "BYTES": "'\"' || TO_BASE64(_x) || '\"'",
}
"""How GoogleSQL writes a value of a type as JSON."""


def to_json_string(node: exp.Expr) -> exp.Expr:
    """JSON of a value whose type is known, whatever it holds."""
    return _written(node.this, type_of(node.this), depth=0)


def _written(value: exp.Expr, type_: Type, *, depth: int) -> exp.Expr:
    if type_.name == "STRUCT" and all(name for name, _ in type_.fields):
        pieces: list[exp.Expr] = []
        for number, (name, inner) in enumerate(type_.fields):
            key = f"{',' if number else '{'}{_quoted(name)}:"
            field = fill("STRUCT_EXTRACT(_x, _n)", x=value, n=exp.Literal.string(name))
            pieces += [exp.Literal.string(key), _written(field, inner, depth=depth)]
        whole: exp.Expr = exp.Literal.string("" if pieces else "{")
        for piece in [*pieces, exp.Literal.string("}")]:
            whole = exp.DPipe(this=whole, expression=piece, safe=True)
        return fill("CASE WHEN _x IS NULL THEN 'null' ELSE _w END", x=value, w=whole)
    if type_.name == "ARRAY" and type_.element is not None:
        element = f"_element{depth}"
        body = _written(exp.column(element), type_.element, depth=depth + 1)
        # BigQuery has no NULL array: it returns one as an empty one.
        text = f"CASE WHEN _x IS NULL THEN 'null' ELSE '[' || ARRAY_TO_STRING([_b for {element} IN _x], ',') || ']' END"
        return fill(text, x=value, b=body)
    if type_.name in {"NULL", "EMPTY"}:
        return exp.Literal.string("null" if type_.name == "NULL" else "[]")
    if type_.name not in _WRITTEN:
        known = type_.name != "ANY"
        instead = "a STRING, number, BOOL, date or time, BYTES, or ARRAY or STRUCT of these"
        raise GaelpError(
            refused(f"TO_JSON_STRING of {type_ if known else 'something whose type is not known'}", instead)
        )
    return fill(f"COALESCE({_WRITTEN[type_.name]}, 'null')", x=value)


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.JSONExtract: json_query,
    exp.JSONExtractArray: json_array,
    exp.JSONExtractScalar: json_value,
    exp.JSONFormat: to_json_string,
    exp.JSONValueArray: json_array,
}
