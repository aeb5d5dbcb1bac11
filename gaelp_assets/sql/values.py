"""Values in a tree: the types that sqlglot has for GoogleSQL's, what is written out, and implicit casts."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import ANY, FLOAT64, INT64, Type, array_of, struct_of, type_of, typed

_DATA_TYPES: Final = {
    exp.DType.BIGINT: "INT64", exp.DType.INT: "INT64", exp.DType.DOUBLE: "FLOAT64", exp.DType.TEXT: "STRING", exp.DType.BOOLEAN: "BOOL",
    exp.DType.DATE: "DATE", exp.DType.TIMESTAMPTZ: "TIMESTAMP", exp.DType.DATETIME: "DATETIME", exp.DType.TIMESTAMP: "DATETIME",
    exp.DType.TIME: "TIME", exp.DType.BINARY: "BYTES", exp.DType.VARBINARY: "BYTES", exp.DType.JSON: "JSON", exp.DType.DECIMAL: "NUMERIC",
}  # fmt: skip
_SQLGLOT: Final = {
    "INT64": "BIGINT", "FLOAT64": "DOUBLE", "STRING": "TEXT", "BOOL": "BOOLEAN", "DATE": "DATE", "TIMESTAMP": "TIMESTAMPTZ",
    "DATETIME": "TIMESTAMP", "TIME": "TIME", "BYTES": "VARBINARY", "JSON": "JSON",
}  # fmt: skip


def data_type(node: exp.Expr) -> Type:
    """The type that a CAST names; ANY of one that is not known here."""
    if not isinstance(node, exp.DataType):
        return ANY
    if node.this == exp.DType.ARRAY:
        return array_of(data_type(node.expressions[0])) if node.expressions else ANY
    if node.this == exp.DType.STRUCT:
        return struct_of(
            (f.name, data_type(f.args["kind"])) if isinstance(f, exp.ColumnDef) else ("", data_type(f))
            for f in node.expressions
        )
    return Type(_DATA_TYPES[node.this]) if node.this in _DATA_TYPES else ANY


def sqlglot_type(type_: Type) -> exp.DataType:
    """The type as sqlglot's trees have it, written for DuckDB."""
    if type_.name in {"ARRAY", "EMPTY"}:
        return exp.DataType(
            this=exp.DType.ARRAY, expressions=[sqlglot_type(type_.element or INT64)], nested=True
        )
    if type_.name == "STRUCT":
        fields = [exp.ColumnDef(this=exp.to_identifier(n), kind=sqlglot_type(t)) for n, t in type_.fields]
        return exp.DataType(this=exp.DType.STRUCT, expressions=fields, nested=True)
    if type_.name == "NUMERIC":
        return exp.DataType.build("DECIMAL(38, 9)")
    return exp.DataType.build(_SQLGLOT.get(type_.name, "BIGINT"))


def is_literal(node: exp.Expr) -> bool:
    """Whether a value is written out, so that its type follows its neighbours'."""
    while isinstance(node, exp.Paren | exp.Neg):
        node = node.this
    if isinstance(node, exp.Array):
        return all(is_literal(element) for element in node.expressions)
    return isinstance(node, exp.Literal | exp.RawString | exp.Null | exp.ByteString)


def is_constant(node: exp.Expr) -> bool:
    """Whether a value is written out, without its type before it."""
    return is_literal(node) or isinstance(node.unnest(), exp.Boolean)


def is_always_null(node: exp.Expr) -> bool:
    """Whether a value is a NULL that is written out, as some type or not."""
    while isinstance(node, exp.Paren | exp.Cast | exp.TryCast):
        node = node.this
    return isinstance(node, exp.Null)


def coerced(node: exp.Expr, target: Type) -> exp.Expr:
    """The value as the type that its context asks for."""
    source = type_of(node)
    if source == target or not target.known or not source.known:
        return node
    if source.name in {"NULL", "EMPTY"} or target.name in {"ARRAY", "STRUCT"}:
        return typed(node, target) if source.name in {"NULL", "EMPTY"} else node
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        node.this.replace(coerced(node.this, target))
        return typed(node, target)
    if isinstance(node, exp.Literal) and not node.is_string and target.name in {"FLOAT64", "NUMERIC"}:
        return typed(node, target)
    if target == FLOAT64 and source == INT64:
        return node
    cast = exp.Cast(this=copied(node), to=sqlglot_type(target))
    cast.meta["implied"] = True
    return typed(cast, target)


def implied_name(node: exp.Expr) -> str:
    """The name of a column without AS: the last of a path, in parentheses too."""
    node = node.unnest()
    if isinstance(node, exp.Column):
        return str(node.name)
    if isinstance(node, exp.Dot):
        return str(node.expression.name)
    return ""
