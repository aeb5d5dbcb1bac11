"""A few rows as text for people: bounded in size, and without fields that are sensitive."""

from __future__ import annotations

import json
from typing import Final

import polars as pl

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.model import walk_fields

ROWS: Final = 10
CELL: Final = 80
"""How many characters a cell has at most."""

Row = tuple[str, ...]


def sensitive_columns(relation: Relation) -> frozenset[str]:
    """The columns that are sensitive, or hold a field that is."""
    return frozenset(
        path.partition(".")[0] for path, field in walk_fields(relation.fields) if field.sensitive
    )


def shown_columns(relation: Relation) -> list[str]:
    """The columns of a loaded table that a preview shows: those without anything that is sensitive."""
    hidden = sensitive_columns(relation)
    return [name for name in relation.field_names if name not in hidden]


def first_rows(frame: pl.DataFrame, columns: list[str]) -> list[Row]:
    """The first `ROWS` rows, each with a text of at most `CELL` characters for each of these columns; an empty one for NULL."""
    # Cut while they are columns: a cell can be a picture of megabytes.
    cut = [_cut(name, frame.schema[name]) for name in columns]
    return [tuple(map(_text, row)) for row in frame.head(ROWS).select(cut).iter_rows()]


def _cut(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        return column.str.head(CELL + 1)
    if dtype == pl.Binary:
        return column.bin.head(CELL + 1)
    return column.list.head(CELL) if isinstance(dtype, pl.List) else column


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.hex()
    text = value if isinstance(value, str) else _json(value)
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def _json(value: object) -> str:
    return (
        json.dumps(value, default=str, ensure_ascii=False)
        if isinstance(value, list | dict | bool)
        else str(value)
    )
