"""The catalogue without the derived relations that cannot be used: a broken view costs itself, and what reads it, and nothing else.

That a view is sound is remembered in a file: finding it out takes longer than reading all catalogue files, and every process would do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from gaelp_assets.catalog.load import Catalog, Reading
from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.references import topological_order
from gaelp_assets.catalog.remembered import digest, read_json, write_json
from gaelp_assets.catalog.set_aside import SetAside, is_derived, problems_by_relation, readers_of
from gaelp_assets.catalog.texts import references
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.sql.measures import measure_problems
from gaelp_assets.sql.tables import tables_of
from gaelp_assets.sql.types import type_of_field

if TYPE_CHECKING:
    from gaelp_assets.sql.scope import Tables
    from gaelp_assets.sql.types import Described

_found_sound: set[str] = set()
"""The digests of what this process has found to be sound: it needs no file to know them again."""


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
    tables = tables_of(relations)
    digests = _Digests(relations, tables)
    content = read_json(cache) if cache is not None else None
    known = frozenset(map(str, content)) if isinstance(content, list) else frozenset()
    sound: set[str] = set()
    found: dict[str, list[Problem]] = {}
    for relation in relations:
        if relation.sql is None:
            if relation.measures and (problems := measure_problems(relation)):
                found[relation.id] = problems
            continue
        key = digests.of(relation)
        if key in known or key in _found_sound:
            sound.add(key)
            continue
        from gaelp_assets.sql.views import query_problems

        # What it does not read is no part of its problems, and would be looked through for each query.
        near = [relation, *digests.within(relation)]
        if problems := query_problems(relation, {other.id: tables[other.id] for other in near}, near):
            found[relation.id] = problems
        else:
            sound.add(key)
            _found_sound.add(key)
    if cache is not None and remember and sound != known:
        write_json(cache, sorted(sound))
    return found


class _Digests:
    """Digests of all that a query's problems depend on: texts and columns, how what it reads is sliced, and what judges them."""

    def __init__(self, relations: Sequence[Relation], tables: Tables) -> None:
        self._release = f"{version('gaelp-assets')} {version('sqlglot')}"
        self._tables = tables
        self._named: dict[str, list[Relation]] = {}
        for found in relations:
            for name in (found.id, found.name):
                self._named.setdefault(name, []).append(found)
        self._read: dict[str, list[object]] = {}

    def of(self, relation: Relation) -> str:
        """Changes with everything that the relation's problems depend on."""
        window = relation.reads_slices and relation.reads_slices.model_dump()
        own = self._told(relation, relation.fields, relation.sql)
        # With names of fields that are sensitive: no measure may be made of them.
        measures = [(measure.name, measure.sql) for measure in relation.measures]
        sensitive = [field.name for field in relation.fields if field.sensitive] if measures else []
        return digest(
            self._release,
            window,
            own,
            measures,
            sensitive,
            [self._as_read(found) for found in self.within(relation)],
        )

    def within(self, relation: Relation) -> list[Relation]:
        """What the relation's text reads, or may mean, through plain views too, in order of ids."""
        found: dict[str, Relation] = {}
        waiting = [relation]
        while waiting:
            for other in self._reads(waiting.pop()):
                if other.id not in found and other.id != relation.id:
                    found[other.id] = other
                    if other.sql is not None and not other.is_stored:
                        waiting.append(other)
        return [found[id_] for id_ in sorted(found)]

    def _reads(self, relation: Relation) -> list[Relation]:
        try:
            names = references(relation.sql or "")
        except ValueError:  # it is no query, and has no problems besides
            return []
        return [other for name in sorted(names) for other in self._named.get(name, ())]

    def _as_read(self, found: Relation) -> list[object]:
        """What matters of a relation to those that read it: a view is looked through, of anything else only columns and slices count."""
        if found.id not in self._read:
            columns = self._tables[found.id] or ()
            self._read[found.id] = self._told(found, columns, "" if found.is_stored else found.sql)
        return self._read[found.id]

    def _told(self, relation: Relation, fields: Sequence[Described], sql: str | None) -> list[object]:
        columns = [(field.name, str(type_of_field(field)), field.mode) for field in fields]
        return [
            relation.id,
            relation.kind,
            sql,
            columns,
            relation.partitioning and relation.partitioning.model_dump(),
        ]
