"""CAST, SAFE_CAST and their relatives. The source's type is not known from the text, so the SQL asks for it (DuckDB folds that away)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.template import REFUSED, fill, without_errors
from gaelp_assets.sql.transforms import Transform

_TIME_OF_DAY = r"\d{1,2}:\d{1,2}(:\d{1,2}(\.\d{1,6})?)?"
_ZONE = r"( ?UTC|Z|[+-]\d{2}(:\d{2})?)"
_FORMS: Final = {
    "INTEGER": r"\s*[+-]?[0-9]+\s*",
    "NUMBER": r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*",
    "DATE": r"\d{4}-\d{1,2}-\d{1,2}",
    "TIMESTAMP": rf"\d{{4}}-\d{{1,2}}-\d{{1,2}}([ T]{_TIME_OF_DAY}{_ZONE}?)?",
}
_TEXT: Final = "TYPEOF(_x) = 'VARCHAR' AND NOT REGEXP_FULL_MATCH(CAST(_x AS VARCHAR), '{form}')"
_ODD: Final = REFUSED + "CAST of a text that the two engines may read differently"

_CASTS: Final = {
    exp.DType.BIGINT: (
        "CASE WHEN TYPEOF(_x) IN ('DOUBLE', 'FLOAT') THEN CAST(ROUND(CAST(_x AS DOUBLE)) AS BIGINT)"
        f" WHEN {_TEXT.format(form=_FORMS['INTEGER'])} THEN ERROR('{_ODD}') ELSE CAST(_x AS BIGINT) END"
    ),
    exp.DType.DOUBLE: f"CASE WHEN {_TEXT.format(form=_FORMS['NUMBER'])} THEN ERROR('{_ODD}') ELSE CAST(_x AS DOUBLE) END",
    exp.DType.TEXT: (
        f"CASE WHEN TYPEOF(_x) IN ('DOUBLE', 'FLOAT') THEN ERROR('{REFUSED}CAST of FLOAT64 AS STRING')"
        f" WHEN TYPEOF(_x) = 'TIMESTAMP WITH TIME ZONE' THEN ERROR('{REFUSED}CAST of TIMESTAMP AS STRING; use FORMAT_TIMESTAMP')"
        " ELSE CAST(_x AS VARCHAR) END"
    ),
    exp.DType.BOOLEAN: (
        "CASE WHEN TYPEOF(_x) = 'VARCHAR' AND LOWER(CAST(_x AS VARCHAR)) NOT IN ('true', 'false') THEN ERROR('not a BOOL')"
        " ELSE CAST(_x AS BOOLEAN) END"
    ),
    exp.DType.DATE: f"CASE WHEN {_TEXT.format(form=_FORMS['DATE'])} THEN ERROR('{_ODD}') ELSE CAST(_x AS DATE) END",
    exp.DType.TIMESTAMPTZ: (
        f"CASE WHEN {_TEXT.format(form=_FORMS['TIMESTAMP'])} THEN ERROR('{_ODD}') ELSE CAST(_x AS TIMESTAMPTZ) END"
    ),
}  # fmt: skip
_NAMES: Final = "INT64, FLOAT64, STRING, BOOL, DATE, TIMESTAMP"


def cast_(node: exp.Expr) -> exp.Expr:
    """Rounds half away from zero, and reads only texts that both engines read alike."""
    target = node.args["to"]
    if target.is_type(exp.DType.ARRAY) or isinstance(node.this, exp.Null):
        return node
    if isinstance(node.this, exp.Array):
        return node
    text = _CASTS.get(target.this)
    if text is None:
        raise GaelpError(refused(f"CAST AS {target.sql(dialect='bigquery')}", f"one of {_NAMES}"))
    if isinstance(node.this, exp.Literal) and node.this.is_string and _reads_alike(node.this, target.this):
        return node
    tree = fill(text, x=node.this)
    if isinstance(node, exp.TryCast):
        tree = without_errors(tree)
        for inner in list(tree.find_all(exp.Cast)):
            if inner.to.is_type(target.this) and not isinstance(inner, exp.TryCast):
                inner.replace(exp.TryCast(this=inner.this.copy(), to=inner.to.copy(), safe=True))
    return tree


def _reads_alike(text: exp.Literal, target: exp.DType) -> bool:
    forms = {
        exp.DType.DATE: "DATE",
        exp.DType.TIMESTAMPTZ: "TIMESTAMP",
        exp.DType.BIGINT: "INTEGER",
        exp.DType.DOUBLE: "NUMBER",
    }
    return target in forms and re.fullmatch(_FORMS[forms[target]], str(text.this)) is not None


def relative(target: exp.DType) -> Transform:
    """DATE(x) and TIMESTAMP(x)."""

    def transform(node: exp.Expr) -> exp.Expr:
        return cast_(exp.Cast(this=node.this.copy(), to=exp.DataType.build(target)))

    return transform


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.Cast: cast_,
    exp.TryCast: cast_,
    exp.Date: relative(exp.DType.DATE),
    exp.Timestamp: relative(exp.DType.TIMESTAMPTZ),
    exp.TsOrDsToDate: relative(exp.DType.DATE),
    exp.TsOrDsToTimestamp: relative(exp.DType.TIMESTAMPTZ),
}
