"""Derived relations that cannot be used, because of what is wrong with them or with what they read. All else goes on without them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from gaelp_assets.catalog.model import Kind, Relation
from gaelp_assets.catalog.texts import reads
from gaelp_assets.errors import Problem

# What every problem of a relation's files starts with.
_FILE: Final = re.compile(r"(?P<file>.+?\.(?:json|sql))(?:,|$)")
_DERIVED: Final = frozenset({Kind.VIEW, Kind.MATERIALIZED_VIEW, Kind.DERIVED_TABLE})


@dataclass(frozen=True)
class SetAside:
    """A derived relation that is left out of the catalogue, and why."""

    id: str
    problems: tuple[Problem, ...]
    relation: Relation | None = None
    """What its files say; None where they cannot be read whole."""

    @property
    def reads(self) -> frozenset[str]:
        """The ids of the relations that its SQL reads, as far as that can be told."""
        return _reads(self.relation) if self.relation is not None else frozenset()


def problems_by_relation(
    problems: Iterable[Problem], relations: Collection[Relation]
) -> tuple[dict[str, list[Problem]], list[Problem]]:
    """Sorts problems of catalogue files by the id of the relation that they are of; those of no single relation come second."""
    ids = {relation.where(sql=sql): relation.id for relation in relations for sql in (False, True)}
    ids |= {relation.id: relation.id for relation in relations}
    found: dict[str, list[Problem]] = {}
    rest: list[Problem] = []
    for problem in problems:
        match = _FILE.match(problem.where)
        file = match["file"] if match else problem.where
        path = PurePath(file)
        id_ = ids.get(file) or (f"{path.parent.name}.{path.stem}" if match else "")
        if id_:
            found.setdefault(id_, []).append(problem)
        else:
            rest.append(problem)
    return found, rest


def is_derived(problems: Sequence[Problem], relations: Sequence[Relation]) -> bool:
    """Whether the relation of these problems is one that SQL makes, so that no file waits to be loaded into it.

    Args:
        problems: those of one relation.
        relations: what could be read under its id, in whatever folder; empty if nothing could.
    """
    if relations:
        return all(relation.kind in _DERIVED for relation in relations)
    files = [match["file"] for problem in problems if (match := _FILE.match(problem.where))]
    return any(file.endswith(".sql") or Path(file).with_suffix(".sql").exists() for file in files)


def readers_of(faulty: Collection[str], relations: Iterable[Relation]) -> dict[str, list[Problem]]:
    """What keeps the other derived relations from being used: they read faulty ones, directly or through others."""
    lost = set(faulty)
    found: dict[str, list[Problem]] = {}
    waiting = [(relation, _reads(relation)) for relation in relations if relation.id not in lost]
    while reached := [(relation, reads & lost) for relation, reads in waiting if reads & lost]:
        for relation, sources in reached:
            found[relation.id] = [
                Problem(
                    f"reads {source}, which is set aside for its own problems",
                    relation.where(sql=True),
                    remedy=f"Mend {source}: nothing else is needed here.",
                )
                for source in sorted(sources)
            ]
        lost |= {relation.id for relation, _ in reached}
        waiting = [(relation, reads) for relation, reads in waiting if relation.id not in lost]
    return found


def why_not(name: str, set_aside: Mapping[str, SetAside]) -> list[Problem]:
    """The problems of the relation written as `dataset.name` or as `name`, if it is one of those that are set aside."""
    return [
        problem
        for found in set_aside.values()
        if name in {found.id, found.id.rpartition(".")[2]}
        for problem in found.problems
    ]


def _reads(relation: Relation) -> frozenset[str]:
    try:
        return reads(relation)
    except ValueError:
        return frozenset()
