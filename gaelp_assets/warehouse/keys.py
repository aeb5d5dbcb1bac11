"""Keys across slices: the parts of it that do not depend on the engine.

A table whose key reaches over its slices (`catalog.keys.spans_slices`) holds a key once. A row whose key another slice holds is
settled with that row as with one of its own slice: it is in conflict, an older version, or a later one. In the last case the other row
leaves its slice, and the ledger of that slice is corrected in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.catalog.keys import names_slices

Displaced: TypeAlias = Mapping[tuple[Slice, str], int]
"""Rows that other slices held before a write and hold no more, by slice and batch id."""


def conflict_message(relation: Relation, holder: Slice | None = None) -> str:
    """Why a row is a `key_conflict`, without its values.

    Args:
        relation: the table.
        holder: the other slice whose row has the key; None for the slice that the row is of.
    """
    key = ", ".join(relation.primary_key)
    if holder is None:
        return f"another row of the slice has this {key}, with other content"
    where = f"the slice {holder}" if names_slices(relation) else "another slice"
    return f"a row of {where} has this {key}, which stands once in the table"


def other_slices_condition(
    relation: Relation,
    slice_: Slice,
    condition: Callable[[Relation, Slice, str], str],
    prefix: str = "",
) -> str:
    """The condition, by constants, of the rows outside of a slice that can have a key of it.

    Args:
        relation: a table whose key reaches over its slices.
        slice_: one of its slices.
        condition: the engine's condition of a slice, with a prefix before each column.
        prefix: stands before each column.
    """
    by = relation.partitioning
    assert by is not None
    outside = f"NOT ({condition(relation, slice_, prefix)})"
    if by.date in relation.primary_key:  # rows with one key are of one date
        day = relation.model_copy(update={"partitioning": by.model_copy(update={"environment": None})})
        return f"{condition(day, Slice(slice_.date), prefix)} AND {outside}"
    return outside
