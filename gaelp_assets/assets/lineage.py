"""Column lineage of the derived relations, kept in a file between starts: reading it from SQL takes most of a start's time.

How lineage is read is `sql.lineage`; here it is only remembered.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gaelp_assets.assets.metadata import ColumnSources
from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.errors import GaelpError


def column_sources(catalog: Catalog, cache: Path) -> dict[str, ColumnSources]:
    """For each derived relation, the columns that each of its columns comes from (see `sql.lineage.column_lineage`).

    The cache is a file that can be deleted at any time; without one, or with one that cannot be written, only time is lost.
    """
    known = _read(cache)
    found: dict[str, ColumnSources] = {}
    for relation in catalog.derived:
        key = _digest(relation, catalog)
        if key in known:
            found[key] = known[key]
        else:
            from gaelp_assets.sql.lineage import column_lineage

            # A view that is sound and whose lineage cannot be read is shown without it.
            with suppress(GaelpError):
                found[key] = column_lineage(relation, catalog)
    if found.keys() != known.keys():
        _write(cache, found)
    sources = {relation.id: found.get(_digest(relation, catalog), {}) for relation in catalog.derived}
    return {
        relation_id: {column: [(source, name) for source, name in pairs] for column, pairs in columns.items()}
        for relation_id, columns in sources.items()
    }


def _digest(relation: Relation, catalog: Catalog) -> str:
    """Changes with everything that the lineage is computed from: the SQL, and the columns on both sides."""
    read = {source: catalog[source].field_names for source in sorted(catalog.upstream[relation.id])}
    text = json.dumps([relation.id, relation.sql, relation.field_names, read])
    return hashlib.sha256(text.encode()).hexdigest()


def _read(cache: Path) -> dict[str, ColumnSources]:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(cache: Path, content: Mapping[str, ColumnSources]) -> None:
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=cache.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        Path(name).replace(cache)
