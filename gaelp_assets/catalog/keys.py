"""How far a primary key reaches: over the whole table, or over one slice of it, as `key_scope` says."""

from __future__ import annotations

from collections.abc import Iterable

from gaelp_assets.catalog.model import KeyScope, Latest, Relation
from gaelp_assets.errors import Problem


def spans_slices(relation: Relation) -> bool:
    """Whether another slice of the relation can hold a row with the same key, which is then one key too many.

    Not so where the table is one slice, where `key_scope` is `slice`, or where the key tells the slice: rows with the same key are then in
    the same slice.
    """
    by = relation.partitioning
    if by is None or relation.key_scope == KeyScope.SLICE:
        return False
    return not {by.date, by.environment or by.date} <= set(relation.primary_key)


def names_slices(relation: Relation) -> bool:
    """Whether a message may name one of the relation's slices: not where a field that it is made of is sensitive."""
    by = relation.partitioning
    return by is not None and not any(
        relation.field(name).sensitive for name in (by.date, by.environment) if name is not None
    )


def scope_problems(relation: Relation, where: str) -> Iterable[Problem]:
    """What is wrong with the `key_scope` of a relation, whose file is called `where`."""
    if relation.key_scope != KeyScope.SLICE:
        return
    at = f"{where}, key_scope"
    if not relation.is_loaded:
        yield Problem(f"key_scope on a {relation.kind}", at, "a loaded table")
    elif relation.partitioning is None:
        yield Problem(
            "key_scope 'slice' on a table without partitioning", at, "'table', or a table with partitioning"
        )
    elif isinstance(relation.on_key_conflict, Latest):
        version = relation.on_key_conflict.latest
        if version == relation.partitioning.date:
            yield Problem(
                f"the version {version!r} is the field that slices the table, and each slice keeps its own key",
                f"{where}, on_key_conflict.latest",
                "another version field, or key_scope 'table'",
                "With key_scope 'table' the latest row of a key stays, whichever slice it is in.",
            )
