"""What a derived relation is computed from: the stored relations that it reads, slice by slice, and the version of its code."""

from __future__ import annotations

import hashlib

from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import Kind, Relation, walk_fields
from gaelp_assets.catalog.texts import words


def stored_sources(catalog: Catalog, relation: Relation) -> list[Relation]:
    """What the relation reads, in order of ids, with plain views replaced by what they read themselves."""
    return [source for source in _closure(catalog, relation) if source.is_stored]


def slice_sources(catalog: Catalog, relation: Relation) -> list[Relation]:
    """Those stored sources whose change makes a slice of the relation stale.

    A relation that is a single slice depends on everything that it reads. Of a sliced one, a slice depends on the same slice of what is
    sliced as finely at least; tables without slices of their own (dimensions) do not count, since each of their rows would make
    every slice stale.
    """
    dimensions = slice_dimensions(relation)
    return [
        source
        for source in stored_sources(catalog, relation)
        if source.kind is not Kind.LEDGER
        and all(has or not needs for has, needs in zip(slice_dimensions(source), dimensions, strict=True))
    ]


def slice_dimensions(relation: Relation) -> tuple[bool, bool]:
    """Whether the relation is kept in slices by date, and by environment too."""
    partitioning = relation.partitioning
    if partitioning is None or not relation.is_stored:
        return False, False
    return True, partitioning.environment is not None


def code_version(catalog: Catalog, relation: Relation) -> str:
    """A digest, in 16 hexadecimal digits, of all that decides what a derived relation's rows mean.

    These are its SQL or its function (see `code.Code`), the SQL of the plain views that it reads through, its columns (name, type, mode)
    and its partitioning. Comments, white space and the case of keywords and bare names are no part of it, nor are descriptions.

    Args:
        catalog: the catalogue that the relation is of.
        relation: a derived relation.

    Raises:
        ValueError: the SQL cannot be split into GoogleSQL's tokens.
    """
    through = [source for source in _closure(catalog, relation) if not source.is_stored]
    parts = [
        repr([(path, field.type, field.mode) for path, field in walk_fields(relation.fields)]),
        repr(relation.partitioning and relation.partitioning.model_dump()),
        *(f"{read.id} {words(read.sql)}" for read in [relation, *through] if read.sql is not None),
        *([relation.python, relation.code or "", *relation.inputs] if relation.python is not None else []),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _closure(catalog: Catalog, relation: Relation) -> list[Relation]:
    """What the relation reads, and what the plain views among it read, in order of ids."""
    found: dict[str, Relation] = {}
    open_ids = sorted(catalog.upstream[relation.id])
    while open_ids:
        source = catalog[open_ids.pop()]
        if source.id not in found:
            found[source.id] = source
            if source.is_derived and not source.is_stored:
                open_ids += sorted(catalog.upstream[source.id])
    return [found[source_id] for source_id in sorted(found)]
