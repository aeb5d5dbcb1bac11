"""Lineage of derived relations, kept in files: reading it from SQL can take longer than the refresh that shows it.

How lineage is read is `sql.lineage`; here it is only remembered. A definition shows what is, and has none read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.model import walk_fields
from gaelp_assets.catalog.remembered import digest, read_json, write_json
from gaelp_assets.errors import GaelpError
from gaelp_assets.ingest.preview import sensitive_columns
from gaelp_assets.settings import Settings
from gaelp_assets.sql.uses import NOTHING, How, Lineage, Use, Uses

ColumnSources = Mapping[str, Sequence[tuple[str, str]]]
"""The columns, as (relation's id, column), that each column of a derived relation is computed from."""
_FORM = "uses"
"""Of what is remembered; what an earlier release has written in another form is read again."""


def lineage_folder(settings: Settings) -> Path:
    """Where lineage is remembered."""
    return settings.home / "cache" / "column_lineage"


def lineage_of(relation: Relation, catalog: Catalog, cache: Path) -> Lineage:
    """What a derived relation's columns and rows are made of (see `sql.lineage.relation_lineage`); nothing where it cannot be read.

    `cache` is a folder with a file for each relation; it is made where it is missing.
    """
    known = remembered_lineage(relation, catalog, cache)
    if known is not None:
        return known
    from gaelp_assets.sql.lineage import relation_lineage

    found = Lineage({}, NOTHING)
    # A relation that is sound and whose lineage cannot be read is shown without it.
    with suppress(GaelpError):
        found = relation_lineage(relation, catalog)
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    columns = {path: sorted(uses) for path, uses in found.columns.items()}
    write_json(
        _file(relation, cache),
        {"of": _key(relation, catalog), "columns": columns, "rows": sorted(found.rows)},
    )
    return found


def column_sources(relation: Relation, catalog: Catalog, cache: Path) -> ColumnSources:
    """The columns that the values of each column of a derived relation depend on; empty where that cannot be read."""
    return _sources(relation, lineage_of(relation, catalog, cache))


def remembered_sources(relation: Relation, catalog: Catalog, cache: Path) -> ColumnSources | None:
    """What an earlier `column_sources` found, if that still holds; None if there is nothing."""
    known = remembered_lineage(relation, catalog, cache)
    return None if known is None else _sources(relation, known)


def hidden_columns(relation: Relation, catalog: Catalog, cache: Path) -> frozenset[str]:
    """The columns that are sensitive, or are computed from one that is; all of them where lineage cannot be read and one may be."""
    own = sensitive_columns(relation)
    below = {
        source: hidden_columns(catalog[source], catalog, cache)
        for source in catalog.upstream.get(relation.id, ())
    }
    if not any(below.values()):
        return own
    sources = column_sources(relation, catalog, cache)
    if not sources:
        return frozenset(relation.field_names)
    computed = {
        column
        for column, found in sources.items()
        if any(name.partition(".")[0] in below.get(source, ()) for source, name in found)
    }
    return own | computed


def remembered_lineage(relation: Relation, catalog: Catalog, cache: Path) -> Lineage | None:
    """What an earlier `lineage_of` found, if that still holds; None if there is nothing."""
    known = read_json(_file(relation, cache))
    if not isinstance(known, dict) or known.get("of") != _key(relation, catalog):
        return None
    columns = {path: _uses(found) for path, found in known["columns"].items()}
    return Lineage(columns, _uses(known["rows"]))


def _uses(found: Sequence[tuple[str, str, str]]) -> Uses:
    return frozenset(Use(source, column, How(how)) for source, column, how in found)


def _sources(relation: Relation, found: Lineage) -> ColumnSources:
    return {name: found.sources(name) for name in relation.field_names} if found.columns else {}


def _file(relation: Relation, cache: Path) -> Path:
    return cache / f"{relation.id}.json"


def _key(relation: Relation, catalog: Catalog) -> str:
    """Of everything that lineage is computed from: the SQL, and the columns on both sides."""
    read = {
        source: [(path, field.type) for path, field in walk_fields(catalog[source].fields)]
        for source in sorted(catalog.upstream[relation.id])
    }
    declared = [field.computed_from for field in relation.fields]
    return digest(
        _FORM, version("gaelp-assets"), relation.id, relation.sql, declared, relation.field_names, read
    )
