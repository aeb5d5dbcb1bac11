"""Reads the catalogue: the shipped folder, and the users' folders over it. All problems of all files are reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from gaelp_assets.catalog.folders import (
    FOLDER,
    PLATFORM_DATASETS,
    list_files,
    named_folder_problem,
    shown,
)
from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.read import read_relation
from gaelp_assets.catalog.references import topological_order
from gaelp_assets.catalog.set_aside import SetAside, why_not
from gaelp_assets.catalog.validate import CheckProblems, cross_file_problems, upstream_of
from gaelp_assets.catalog.window_sql import with_windows
from gaelp_assets.errors import GaelpError, Problem, unknown


class Catalog:
    """All relations, by `dataset.name`, in order of their ids."""

    def __init__(
        self,
        relations: Sequence[Relation],
        upstream: Mapping[str, frozenset[str]] | None = None,
        set_aside: Sequence[SetAside] = (),
    ) -> None:
        self.relations: Mapping[str, Relation] = {r.id: r for r in sorted(relations, key=lambda r: r.id)}
        self.upstream: Mapping[str, frozenset[str]] = upstream or {}
        """The ids of the relations that each derived relation's SQL reads."""
        self.set_aside: Mapping[str, SetAside] = {found.id: found for found in set_aside}
        """Derived relations that are not here because of their problems, by id."""

    def __iter__(self) -> Iterator[Relation]:
        return iter(self.relations.values())

    def __len__(self) -> int:
        return len(self.relations)

    def __getitem__(self, relation_id: str) -> Relation:
        return self.relations[relation_id]

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[Relation, ...]]:
        found: dict[str, tuple[Relation, ...]] = {}
        for relation in self:
            found[relation.name] = (*found.get(relation.name, ()), relation)
        return found

    def named(self, name: str) -> tuple[Relation, ...]:
        """The relations whose id ends with that name, one for each dataset that has one."""
        return self._by_name.get(name, ())

    def find(self, name: str) -> Relation:
        """The relation written as `dataset.name`, or as `name` where a single dataset has one of that name.

        Raises:
            GaelpError: there is none, and the known ones are listed; several datasets have one; or it is set aside, with its problems.

        >>> load_catalog().find("episodes").id
        'training.episodes'
        """
        found = (self.relations[name],) if name in self.relations else self.named(name)
        if len(found) > 1:
            ids = ", ".join(relation.id for relation in found)
            raise GaelpError(Problem(f"{len(found)} relations are called {name!r}", expected=f"one of {ids}"))
        if not found:
            problems = why_not(name, self.set_aside)
            raise GaelpError(*(problems or [unknown("relation", name, self.relations)]))
        return found[0]

    @property
    def loaded(self) -> list[Relation]:
        """The tables that gateway files are loaded into."""
        return [relation for relation in self if relation.is_loaded]

    @cached_property
    def derived(self) -> list[Relation]:
        """The relations that SQL makes, each after those that it reads."""
        return [
            self[relation_id]
            for relation_id in topological_order(self.upstream)
            if self[relation_id].is_derived
        ]

    def downstream(self, relation_ids: set[str]) -> list[Relation]:
        """The derived relations that read any of these, directly or through others, in order of evaluation."""
        reached = set(relation_ids)
        result = []
        for relation in self.derived:
            if self.upstream[relation.id] & reached:
                reached.add(relation.id)
                result.append(relation)
        return result


class Reading(NamedTuple):
    """What catalogue folders hold. With problems it is no catalogue: some relations are there in part, as their `unread` says."""

    relations: list[Relation]
    problems: list[Problem]
    unread: frozenset[str]
    """The ids of relations that are left out."""


def load_catalog(
    folder: Path = FOLDER, check_problems: CheckProblems | None = None, *, users: Sequence[Path] = ()
) -> Catalog:
    """The catalogue in a folder (the shipped one if none is given), with the relations of the `users` folders over it.

    A folder holds `DATASET/NAME.json`, and `NAME.sql` beside it for a derived relation. A later folder adds relations, and replaces one
    of an earlier folder only where it says `"overrides": true`.

    Args:
        folder: the catalogue that the others add to.
        check_problems: what is wrong with a check rule (`validation.rules.check_problems`); without it rules are not looked at.
        users: folders in the order in which they are read; each must exist and hold a relation, and none of `PLATFORM_DATASETS`.

    Raises:
        GaelpError: with every problem of every file of every folder.
    """
    reading = read_relations(folder, check_problems, users=users)
    if reading.problems:
        raise GaelpError(*reading.problems)
    return Catalog(reading.relations, upstream_of(reading.relations))


def read_relations(
    folder: Path = FOLDER, check_problems: CheckProblems | None = None, *, users: Sequence[Path] = ()
) -> Reading:
    """As `load_catalog`, with the problems beside what can be read in spite of them: a broken file hides no problem of another."""
    problems: list[Problem] = []
    unread: set[str] = set()
    layers = [_read_folder(folder, problems, unread)]
    seen = {folder.resolve()}
    for users_folder in users:
        problem = named_folder_problem(users_folder)
        if problem is None and users_folder.resolve() in seen:
            what = "the shipped catalogue" if users_folder.resolve() == folder.resolve() else "named already"
            problem = Problem(
                f"the folder is {what}", shown(users_folder), "each folder once, the shipped one not at all"
            )
        if problem is not None:
            problems.append(problem)
            continue
        seen.add(users_folder.resolve())
        layers.append(_without_the_platforms(_read_folder(users_folder, problems, unread), problems, unread))
    relations, of_windows = with_windows(_merged(layers, problems, unread))
    problems += of_windows
    problems += cross_file_problems(relations, check_problems, unread=unread)
    return Reading(relations, problems, frozenset(unread))


def _read_folder(folder: Path, problems: list[Problem], unread: set[str]) -> list[Relation]:
    """The folder's relations, as far as their files can be read; the ids of those of which nothing can be told go to `unread`."""
    files = list_files(folder)
    problems += files.problems
    relations = []
    for path in files.relations:
        relation, found = read_relation(path)
        problems += found
        if relation is not None:
            relations.append(relation)
        else:
            unread.add(f"{path.parent.name}.{path.stem}")
    return relations


def _without_the_platforms(
    relations: Iterable[Relation], problems: list[Problem], unread: set[str]
) -> list[Relation]:
    kept = []
    for relation in relations:
        if relation.dataset not in PLATFORM_DATASETS:
            kept.append(relation)
            continue
        unread.add(relation.id)
        problems.append(
            Problem(
                f"the dataset {relation.dataset!r} is the platform's own: it holds {PLATFORM_DATASETS[relation.dataset]}",
                relation.where(),
                "a dataset of another name",
            )
        )
    return kept


def _merged(
    layers: Iterable[Iterable[Relation]], problems: list[Problem], unread: set[str]
) -> list[Relation]:
    """The relations of all folders: nothing is replaced that the later file does not say it overrides."""
    merged: dict[str, Relation] = {}
    for relation in (relation for layer in layers for relation in layer):
        earlier = merged.get(relation.id)
        if earlier is not None and not relation.overrides and "overrides" not in relation.unread:
            problems.append(
                Problem(
                    f"{relation.id} is described twice",
                    f"{relation.where()}, {earlier.where()}",
                    'one of them, or "overrides": true in the first',
                )
            )
            continue
        if earlier is None and relation.overrides and relation.id not in unread:
            problems.append(unknown("relation", relation.id, merged, where=f"{relation.where()}, overrides"))
        merged[relation.id] = relation
    return list(merged.values())


def with_upstream(catalog: Catalog, relations: Sequence[Relation]) -> list[Relation]:
    """These and all that they read, each after what it reads."""
    ordered: dict[str, Relation] = {}

    def add(relation: Relation) -> None:
        if relation.id not in ordered:
            for upstream in sorted(catalog.upstream.get(relation.id, ())):
                add(catalog[upstream])
            ordered[relation.id] = relation

    for relation in relations:
        add(relation)
    return list(ordered.values())
