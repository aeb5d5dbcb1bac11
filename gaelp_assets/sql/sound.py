"""The catalogue without the derived relations that cannot be used: a broken view costs itself, and what reads it, and nothing else.

That a view is sound is remembered in a file: finding it out takes longer than reading all catalogue files, and every process would do it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from gaelp_assets.catalog.load import Catalog, Reading
from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.references import topological_order
from gaelp_assets.catalog.set_aside import SetAside, is_derived, problems_by_relation, readers_of
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.sql.types import type_of_field

if TYPE_CHECKING:
    from gaelp_assets.sql.scope import Tables


def sound_catalog(reading: Reading, cache: Path | None = None, *, remember: bool = True) -> Catalog:
    """What can be used of the relations that were read; the derived ones that cannot are in its `set_aside`.

    Every view is bound against the declared fields of what it reads (see `sql.views`).

    Args:
        reading: what the catalogue folders hold.
        cache: a file that keeps which views are sound; it can be deleted at any time, and is written only if its folder is there.
        remember: whether to write it.

    Raises:
        GaelpError: what is wrong is not of derived relations alone; with every problem that reading the folders found.
    """
    faulty, rest = problems_by_relation(reading.problems, reading.relations)
    by_id: dict[str, list[Relation]] = {}
    for relation in reading.relations:
        by_id.setdefault(relation.id, []).append(relation)
    if rest or not all(is_derived(found, by_id.get(id_, [])) for id_, found in faulty.items()):
        raise GaelpError(*reading.problems)
    for id_, problems in _unsound(reading.relations, cache, remember=remember).items():
        faulty.setdefault(id_, []).extend(problems)
    faulty |= readers_of(faulty, reading.relations)
    while (circle := _circle(reading.relations, faulty)) is not None:
        faulty[circle.where] = [circle]
        faulty |= readers_of(faulty, reading.relations)
    kept = [relation for relation in reading.relations if relation.id not in faulty]
    return Catalog(kept, upstream_of(kept), [_set_aside(id_, faulty[id_], by_id) for id_ in sorted(faulty)])


def _set_aside(id_: str, problems: Sequence[Problem], by_id: dict[str, list[Relation]]) -> SetAside:
    found = by_id.get(id_, [])
    whole = len(found) == 1 and not found[0].unread
    return SetAside(id_, tuple(dict.fromkeys(problems)), found[0] if whole else None)


def _circle(relations: Sequence[Relation], faulty: dict[str, list[Problem]]) -> Problem | None:
    """The next circle of relations that read one another, at the id of one of them."""
    try:
        topological_order(upstream_of(relation for relation in relations if relation.id not in faulty))
    except GaelpError as error:
        return error.problems[0]
    return None


def _unsound(
    relations: Sequence[Relation], cache: Path | None, *, remember: bool
) -> dict[str, list[Problem]]:
    """What is wrong with each query by itself, by the relation's id; only what is not known to be sound is bound."""
    from gaelp_assets.sql.tables import tables_of
    from gaelp_assets.sql.views import query_problems

    tables = tables_of(relations)
    read_by_name = {found.id: found for found in relations}
    known = _read(cache) if cache is not None else frozenset()
    release = f"{version('gaelp-assets')} {version('sqlglot')}"
    sound: set[str] = set()
    found: dict[str, list[Problem]] = {}
    for relation in relations:
        if relation.sql is None:
            continue
        key = _digest(relation, tables, read_by_name, release)
        if key not in known and (problems := query_problems(relation, tables, relations)):
            found[relation.id] = problems
            continue
        sound.add(key)
    if cache is not None and remember and sound != known:
        _write(cache, sound)
    return found


def _digest(relation: Relation, tables: Tables, relations: Mapping[str, Relation], release: str) -> str:
    """Changes with all that a query's problems depend on: texts and columns, how what it reads is sliced, and what judges them."""
    parts = []
    for found in _within(relation, relations):
        # A view is looked through; of anything else only the columns and the slices matter.
        sql = found.sql if found is relation or not found.is_stored else ""
        columns = [
            (field.name, str(type_of_field(field)), field.mode)
            for field in (relation.fields if found is relation else tables[found.id] or ())
        ]
        by = found.partitioning and found.partitioning.model_dump()
        parts.append([found.id, found.kind, sql, columns, by])
    window = relation.reads_slices and relation.reads_slices.model_dump()
    return hashlib.sha256(json.dumps([release, window, parts]).encode()).hexdigest()


def _within(relation: Relation, relations: Mapping[str, Relation]) -> list[Relation]:
    """The relation, and what its text may read, through plain views too.

    By name alone: a relation that the query does not read costs another look at it, and no more.
    """
    found = {relation.id: relation}
    waiting = [relation]
    while waiting:
        text = waiting.pop().sql or ""
        for id_, other in sorted(relations.items()):
            if id_ not in found and other.name in text:
                found[id_] = other
                if other.sql is not None and not other.is_stored:
                    waiting.append(other)
    return list(found.values())


def _read(cache: Path) -> frozenset[str]:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return frozenset()
    return frozenset(map(str, content)) if isinstance(content, list) else frozenset()


def _write(cache: Path, sound: set[str]) -> None:
    # Only where a home has a cache: looking at an empty home makes nothing there.
    with suppress(OSError):
        handle, name = tempfile.mkstemp(dir=cache.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(sorted(sound), stream)
        Path(name).replace(cache)
