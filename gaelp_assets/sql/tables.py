"""The columns that queries are bound against, by the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gaelp_assets.catalog.model import Relation, stored_fields
from gaelp_assets.sql.types import Described, OutputColumn

if TYPE_CHECKING:
    from gaelp_assets.sql.scope import Tables


def tables_of(relations: Iterable[Relation]) -> Tables:
    """The columns of each relation's table by its id, as far as they can be read."""
    return {relation.id: _columns(relation) for relation in relations}


def _columns(relation: Relation) -> Sequence[Described] | None:
    if "fields" in relation.unread:
        return None
    if not relation.unread:
        return stored_fields(relation)
    return [
        field if relation.is_read(field.name) else OutputColumn(field.name, "ANY", "NULLABLE")
        for field in stored_fields(relation)
    ]
