"""Column lineage of a derived relation, kept in a file: reading it from SQL can take longer than the refresh that shows it.

How lineage is read is `sql.lineage`; here it is only remembered. A definition shows what is, and has none read.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gaelp_assets.assets.metadata import ColumnSources
from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.remembered import digest, read_json, write_json
from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import Settings


def lineage_folder(settings: Settings) -> Path:
    """Where lineage is remembered."""
    return settings.home / "cache" / "column_lineage"


def column_sources(relation: Relation, catalog: Catalog, cache: Path) -> ColumnSources:
    """The columns that each column of a derived relation comes from (see `sql.lineage.column_lineage`).

    `cache` is a folder with a file for each relation; it is made where it is missing.
    """
    known = remembered_sources(relation, catalog, cache)
    if known is not None:
        return known
    from gaelp_assets.sql.lineage import column_lineage

    found: ColumnSources = {}
    # A relation that is sound and whose lineage cannot be read is shown without it.
    with suppress(GaelpError):
        found = column_lineage(relation, catalog)
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    write_json(_file(relation, cache), {"of": _key(relation, catalog), "columns": found})
    return found


def hidden_columns(relation: Relation, catalog: Catalog, cache: Path) -> frozenset[str]:
    """The columns that are sensitive, or are computed from one that is; all of them where lineage cannot be read and one may be."""
    from gaelp_assets.ingest.preview import sensitive_columns

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


def remembered_sources(relation: Relation, catalog: Catalog, cache: Path) -> ColumnSources | None:
    """What an earlier `column_sources` found, if that still holds; None if there is nothing."""
    known = read_json(_file(relation, cache))
    if not isinstance(known, dict) or known.get("of") != _key(relation, catalog):
        return None
    return {column: [(source, name) for source, name in pairs] for column, pairs in known["columns"].items()}


def _file(relation: Relation, cache: Path) -> Path:
    return cache / f"{relation.id}.json"


def _key(relation: Relation, catalog: Catalog) -> str:
    """Of everything that lineage is computed from: the SQL, and the columns on both sides."""
    read = {source: catalog[source].field_names for source in sorted(catalog.upstream[relation.id])}
    return digest(relation.id, relation.sql, relation.field_names, read)
