"""Pieces of DuckDB SQL with holes, as trees: how transforms say what an expression becomes."""

from __future__ import annotations

from functools import lru_cache

import sqlglot
from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import ALLOWED, refused

_SAFE_BY_CASE = frozenset({"Exp", "Ln", "Log", "Pow", "Sqrt", "Substring"})
_SAFE_BY_TRY = frozenset({"Abs", "DateFromParts", "IntDiv", "Mod"})
_SAFE_FORMS = "SAFE_CAST, SAFE_DIVIDE, SAFE_ADD, SAFE_SUBTRACT, SAFE_MULTIPLY, or SAFE. before a function of numbers or SUBSTR"
REFUSED = "refused: "
"""What the message of a deliberate refusal at run time starts with; `SAFE.` does not turn these into NULL."""


@lru_cache(maxsize=256)
def _parsed(text: str) -> exp.Expr:
    return sqlglot.parse_one(text, dialect="duckdb")


def fill(text: str, **holes: exp.Expr) -> exp.Expr:
    """The DuckDB expression `text`, with each column `_name` replaced by a copy of the tree `name`."""
    tree = _parsed(text).copy()
    for column in list(tree.find_all(exp.Column)):
        name = column.name
        if name.startswith("_") and name[1:] in holes:
            piece = holes[name[1:]].copy()
            if isinstance(piece, exp.Binary | exp.Unary | exp.Between | exp.In) and not isinstance(
                piece, exp.Paren | exp.Dot
            ):
                piece = exp.Paren(this=piece)
            if column is tree:
                tree = piece
            else:
                column.replace(piece)
    return tree


def without_errors(tree: exp.Expr) -> exp.Expr:
    """The same expression with NULL where it would raise an error: what `SAFE.` means. Refusals stay errors."""
    for call in list(tree.find_all(exp.Anonymous)):
        if call.name.upper() == "ERROR" and not call.expressions[0].name.startswith(REFUSED):
            call.replace(exp.Null())
    return tree


def null_instead_of_error(function: exp.Expr, translated: exp.Expr) -> exp.Expr:
    """`SAFE.function(...)`, given the call as it was and as it is in DuckDB.

    Raises:
        GaelpError: `SAFE.` was not compared for the function, or an argument can fail by itself (that error is not to be hidden).
    """
    name = type(function).__name__
    if name not in _SAFE_BY_CASE | _SAFE_BY_TRY:
        raise GaelpError(refused(f"SAFE. before {ALLOWED[name].names[0]}", _SAFE_FORMS))
    if any(call.name.upper() == "ERROR" for call in function.find_all(exp.Anonymous)):
        raise GaelpError(
            refused("SAFE. around something that can fail by itself", "the inner expression in a subquery")
        )
    return fill("TRY(_x)", x=translated) if name in _SAFE_BY_TRY else without_errors(translated.copy())


def integer(node: exp.Expr) -> int | None:
    """The value of an integer literal, signed or not; None for anything else."""
    sign = 1
    while isinstance(node, exp.Neg | exp.Paren):
        sign = -sign if isinstance(node, exp.Neg) else sign
        node = node.this
    if isinstance(node, exp.Cast) and node.to.is_type(exp.DType.BIGINT):
        inner = integer(node.this)
        return None if inner is None else sign * inner
    if isinstance(node, exp.Literal) and str(node.this).lstrip("-").isdigit():
        return sign * int(node.this)
    return None
