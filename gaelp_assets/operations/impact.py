"""What depends on a relation or a field, and what it depends on: relations, columns, asset checks, charts, keys. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.model import AssetCheckName, stored_fields, walk_fields
from gaelp_assets.errors import GaelpError, unknown
from gaelp_assets.operations.lineage import lineage_of
from gaelp_assets.sql.uses import Lineage

ROWS = ""
"""Stands for the rows of a relation among its columns: which there are, and in which order."""


class Target(NamedTuple):
    """A relation, or a field of it."""

    relation: Relation
    field: str | None
    """The field's name, a dotted path within a RECORD; None for the whole relation."""

    def __str__(self) -> str:
        return self.relation.id if self.field is None else f"{self.relation.id}.{self.field}"


class End(NamedTuple):
    """A column of the relation at the other end of a way, or its rows, and what it is used for there (see `sql.uses.How`)."""

    relation: str
    column: str
    how: tuple[str, ...]


class Way(NamedTuple):
    """A column of a relation, or its rows, and the columns next to it on the way to the target."""

    column: str
    ends: tuple[End, ...]


class Mention(NamedTuple):
    """A part of a relation's file that a column stands in: `chart` and `y`, `asset check` and `key_uniqueness`."""

    part: str
    what: str


@dataclass
class Reached:
    """A relation on a way from the target."""

    relation: Relation
    via: tuple[str, ...]
    """The relations on the way that are next to it, nearer to the target."""
    ways: list[Way] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)

    @property
    def columns(self) -> frozenset[str]:
        """Its columns on the way, `ROWS` among them."""
        return frozenset(way.column for way in self.ways)


@dataclass(frozen=True)
class Impact:
    """Everything on the ways that start, or end, at a target."""

    target: Target
    upstream: bool
    mentions: list[Mention]
    """What stands in the target's own file, and the keys of others that refer to it."""
    reached: list[Reached]
    """Those nearest to the target first, each after those that it is reached through."""


def find_target(catalog: Catalog, name: str) -> Target:
    """The relation or field that is written as `NAME`, `DATASET.NAME`, or either with `.FIELD`.

    Raises:
        GaelpError: there is no such relation or field, and the known ones are listed; or several datasets have the relation.

    >>> from gaelp_assets.catalog import load_catalog
    >>> str(find_target(load_catalog(), "episodes.episode_return"))
    'training.episodes.episode_return'
    """
    parts = name.split(".")
    whole = ".".join(parts[:2])
    length = 2 if len(parts) > 1 and (whole in catalog.relations or not catalog.named(parts[0])) else 1
    if whole in catalog.set_aside:
        length = 2
    relation = catalog.find(".".join(parts[:length]))
    path = ".".join(parts[length:])
    if not path:
        return Target(relation, None)
    known = dict(walk_fields(stored_fields(relation)))
    if path not in known:
        raise GaelpError(unknown("field", path, known, where=relation.id))
    return Target(relation, path)


def impact_of(catalog: Catalog, target: Target, cache: Path) -> Impact:
    """Everything that depends on the target.

    A relation whose rows depend on it is on the way with `ROWS`, and so is whatever reads that relation.

    Args:
        catalog: what the target is of.
        target: a relation or a field.
        cache: where lineage is remembered (see `operations.lineage`).
    """
    start = frozenset([target.field] if target.field else [*_columns(target.relation), ROWS])
    columns = {target.relation.id: start}
    reached: list[Reached] = []
    for relation in catalog.downstream({target.relation.id}):
        lineage = _lineage(relation, catalog, cache)
        ways = [
            Way(column, tuple(ends))
            for column, uses in lineage.items()
            if (ends := [end for end in uses if _touches(end.column, columns.get(end.relation, frozenset()))])
        ]
        if not ways:
            continue
        via = tuple(sorted({end.relation for way in ways for end in way.ends}))
        found = Reached(relation, via, ways)
        found.mentions += _mentions(catalog, relation, found.columns)
        columns[relation.id] = found.columns
        reached.append(found)
    return Impact(
        target, upstream=False, mentions=_mentions(catalog, target.relation, start), reached=reached
    )


def origin_of(catalog: Catalog, target: Target, cache: Path) -> Impact:
    """Everything that the target depends on, down to the loaded tables. What decides its rows is on the way, too.

    Args:
        catalog: what the target is of.
        target: a relation or a field.
        cache: where lineage is remembered.
    """
    start = frozenset([target.field, ROWS] if target.field else [*_columns(target.relation), ROWS])
    wanted = {target.relation.id: start}
    ways: dict[str, dict[str, list[End]]] = {}
    via: dict[str, set[str]] = {}
    for relation in reversed(catalog.derived):
        mine = wanted.get(relation.id)
        if mine is None:
            continue
        for column, uses in _lineage(relation, catalog, cache).items():
            if not _touches(column, mine):
                continue
            for end in uses:
                wanted[end.relation] = wanted.get(end.relation, frozenset()) | {end.column}
                found = ways.setdefault(end.relation, {}).setdefault(end.column, [])
                found.append(End(relation.id, column, end.how))
                via.setdefault(end.relation, set()).add(relation.id)
    order = [relation.id for relation in reversed(catalog.derived)]
    order += sorted(ways.keys() - set(order))
    reached = [
        Reached(
            catalog[id_],
            tuple(sorted(via[id_])),
            [Way(column, tuple(ends)) for column, ends in sorted(ways[id_].items())],
        )
        for id_ in order
        if id_ in ways
    ]
    return Impact(target, upstream=True, mentions=[], reached=reached)


def _columns(relation: Relation) -> list[str]:
    return [field.name for field in stored_fields(relation)]


def _lineage(relation: Relation, catalog: Catalog, cache: Path) -> dict[str, list[End]]:
    """For each column of a derived relation, and for its rows, what is are made of; all of all that it reads where that cannot be read."""
    found: Lineage = lineage_of(relation, catalog, cache)
    read = [catalog[id_] for id_ in sorted(catalog.upstream[relation.id])]
    if not found.columns:
        every = [End(each.id, column, ("UNKNOWN",)) for each in read for column in _columns(each)]
        return {column: [*every] for column in (*relation.field_names, ROWS)}
    uses = {name: found.columns[name] for name in relation.field_names if name in found.columns}
    result = {
        column: _ends((use.relation, use.column, use.how.value) for use in of)
        for column, of in {**uses, ROWS: found.rows}.items()
    }
    # The rows of a relation are made from the rows of all that it reads.
    result[ROWS] += [End(each.id, ROWS, ()) for each in read]
    return result


def _ends(uses: Iterable[tuple[str, str, str]]) -> list[End]:
    by_column: dict[tuple[str, str], list[str]] = {}
    for relation, column, how in sorted(uses):
        by_column.setdefault((relation, column), []).append(how)
    return [End(relation, column, tuple(how)) for (relation, column), how in by_column.items()]


def _touches(column: str, columns: frozenset[str]) -> bool:
    """Whether a column is one of these, holds one, or lies within one."""
    return any(
        column == other or (column != ROWS and other != ROWS and _within(column, other)) for other in columns
    )


def _within(column: str, other: str) -> bool:
    return column.startswith(f"{other}.") or other.startswith(f"{column}.")


def _mentions(catalog: Catalog, relation: Relation, columns: frozenset[str]) -> list[Mention]:
    """Where columns of a relation stand in its file, and in the keys of others."""
    names = {column.partition(".")[0] for column in columns} - {ROWS}
    found = [
        Mention("rule", f"{check.name} of {path}")
        for path, each in walk_fields(relation.fields)
        if _touches(path, columns)
        for check in each.checks
    ]
    found += [Mention("asset check", name) for name in _checks(relation, names)]
    by = relation.partitioning
    if by is not None:
        roles = {"date": by.date, "environment": by.environment}
        found += [Mention("slices", role) for role, name in roles.items() if name in names]
    if relation.chart is not None:
        drawn: Mapping[str, str | None] = relation.chart.model_dump(exclude={"title", "mark"})
        found += [Mention("chart", f"{role} is {name}") for role, name in drawn.items() if name in names]
    if relation.measures and names:
        from gaelp_assets.sql.measures import measured_fields

        lower = {name.lower() for name in names}
        found += [
            Mention("measure", measure.name)
            for measure in relation.measures
            if lower & {name.lower() for name in measured_fields(measure)}
        ]
    found += [
        Mention("foreign key", f"{', '.join(key.fields)} -> {key.references} ({', '.join(key.targets)})")
        for key in relation.foreign_keys
        if names & set(key.fields)
    ]
    return found + list(_references(catalog, relation, names))


def _checks(relation: Relation, names: set[str]) -> Iterator[str]:
    """The asset checks that look at one of these fields, or at all of them."""
    if relation.is_loaded and names:
        yield AssetCheckName.SCHEMA_CONFORMANCE.value
    if names & set(relation.primary_key):
        yield AssetCheckName.KEY_UNIQUENESS.value
    if any(names & set(key.fields) for key in relation.foreign_keys):
        yield AssetCheckName.FOREIGN_KEYS.value
    if any(names & {*of.within, of.order_by, *of.ends_where} for of in relation.sequences):
        yield AssetCheckName.SEQUENCES.value


def _references(catalog: Catalog, relation: Relation, names: set[str]) -> Iterator[Mention]:
    for other in catalog:
        for key in other.foreign_keys:
            if catalog.find(key.references).id == relation.id and names & set(key.targets):
                yield Mention(
                    "referred to by", f"{other.id} ({', '.join(key.fields)} -> {', '.join(key.targets)})"
                )
