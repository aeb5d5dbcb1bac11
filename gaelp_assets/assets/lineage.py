"""Column lineage of a derived relation, kept in a file: reading it from SQL can take longer than the refresh that shows it.

How lineage is read is `sql.lineage`; here it is only remembered. Loading the definitions asks for none.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gaelp_assets.assets.metadata import ColumnSources
from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.remembered import digest, read_json, write_json
from gaelp_assets.errors import GaelpError


def column_sources(relation: Relation, catalog: Catalog, cache: Path) -> ColumnSources:
    """The columns that each column of a derived relation comes from (see `sql.lineage.column_lineage`).

    `cache` is a folder with a file for each relation; it is made where it is missing.
    """
    # Everything that lineage is computed from: the SQL, and the columns on both sides.
    read = {source: catalog[source].field_names for source in sorted(catalog.upstream[relation.id])}
    key = digest(relation.id, relation.sql, relation.field_names, read)
    file = cache / f"{relation.id}.json"
    known = read_json(file)
    if isinstance(known, dict) and known.get("of") == key:
        return {
            column: [(source, name) for source, name in pairs] for column, pairs in known["columns"].items()
        }
    from gaelp_assets.sql.lineage import column_lineage

    found: ColumnSources = {}
    # A relation that is sound and whose lineage cannot be read is shown without it.
    with suppress(GaelpError):
        found = column_lineage(relation, catalog)
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    write_json(file, {"of": key, "columns": found})
    return found
