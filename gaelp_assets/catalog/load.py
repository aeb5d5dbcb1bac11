"""Reads a folder of catalogue files. All problems of all files are reported at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gaelp_assets.catalog.model import (
    FROM_PLACE,
    Chart,
    Check,
    Field,
    ForeignKey,
    Latest,
    Partitioning,
    Relation,
)
from gaelp_assets.catalog.references import topological_order
from gaelp_assets.catalog.validate import CheckProblems, cross_file_problems, upstream_of
from gaelp_assets.errors import GaelpError, Problem, unknown

FOLDER: Final = Path(__file__).parent
SCHEMA_FILE: Final = "relation.schema.json"


class Catalog:
    """All relations, by `dataset.name`, in order of their ids."""

    def __init__(
        self, relations: Sequence[Relation], upstream: Mapping[str, frozenset[str]] | None = None
    ) -> None:
        self.relations: Mapping[str, Relation] = {r.id: r for r in sorted(relations, key=lambda r: r.id)}
        self.upstream: Mapping[str, frozenset[str]] = upstream or {}
        """The ids of the relations that each derived relation's SQL reads."""

    def __iter__(self) -> Iterator[Relation]:
        return iter(self.relations.values())

    def __len__(self) -> int:
        return len(self.relations)

    def __getitem__(self, relation_id: str) -> Relation:
        return self.relations[relation_id]

    @cached_property
    def by_name(self) -> Mapping[str, Relation]:
        """The relations by the last part of their id, which is unique in the whole catalogue."""
        return {relation.name: relation for relation in self}

    def find(self, name: str) -> Relation:
        """The relation written as `dataset.name` or `name`.

        Raises:
            GaelpError: there is none; the known ones are listed.
        """
        relation = self.relations.get(name) or self.by_name.get(name)
        if relation is None:
            raise GaelpError(unknown("relation", name, self.relations))
        return relation

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


def load_catalog(folder: Path = FOLDER, check_problems: CheckProblems | None = None) -> Catalog:
    """The catalogue in that folder: `DATASET/NAME.json`, and `NAME.sql` beside it for a derived relation.

    `check_problems` says what is wrong with a check rule (`validation.rules.check_problems`); without it rules are not looked at.

    Raises:
        GaelpError: with every problem of every file.
    """
    problems: list[Problem] = []
    relations: list[Relation] = []
    for path in sorted(folder.glob("*/*.json")):
        relation = _read_relation(path, folder, problems)
        if relation is not None:
            relations.append(relation)
    problems += [
        Problem("SQL without a description", _where(path, folder), f"{path.stem}.json beside it")
        for path in sorted(folder.glob("*/*.sql"))
        if not path.with_suffix(".json").exists()
    ]
    unread = {path.stem for path in folder.glob("*/*.json")} - {relation.name for relation in relations}
    problems += cross_file_problems(relations, check_problems, unread=unread)
    if problems:
        raise GaelpError(*problems)
    return Catalog(relations, upstream_of(relations))


def _where(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _read_relation(path: Path, folder: Path, problems: list[Problem]) -> Relation | None:
    where = _where(path, folder)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        problems.append(Problem(f"not JSON: {error}", where, "one JSON object"))
        return None
    if not isinstance(content, dict):
        problems.append(Problem("not a JSON object", where, "one JSON object"))
        return None
    content.pop("$schema", None)
    sql_file = path.with_suffix(".sql")
    sql = sql_file.read_text(encoding="utf-8") if sql_file.exists() else None
    try:
        return Relation.model_validate(
            {**content, "dataset": path.parent.name, "name": path.stem, "sql": sql}
        )
    except ValidationError as error:
        problems.extend(_explain(detail, where) for detail in error.errors())
        return None


def _explain(detail: ErrorDetails, where: str) -> Problem:
    """A pydantic error in the words of this project: which key, what was found, what is allowed."""
    *parents, key = detail["loc"] or ("the file",)
    where = ", ".join([where, ".".join(str(part) for part in detail["loc"])]) if detail["loc"] else where
    if detail["type"] == "extra_forbidden":
        return unknown("key", str(key), _known_keys(parents), where=where)
    found = detail["input"]
    shown = f" (found {found!r})" if isinstance(found, str | int | float | bool) else ""
    return Problem(f"{detail['msg']}{shown}", where)


def _known_keys(parents: Sequence[int | str]) -> list[str]:
    """The keys that the model allows at a place in the file."""
    model: type[BaseModel] = Relation
    for part in parents:
        if part in model.model_fields:
            model = next(
                (
                    m
                    for m in (Check, Field, ForeignKey, Partitioning, Latest, Chart)
                    if _mentions(model, str(part), m)
                ),
                model,
            )
    keys = [name for name in model.model_fields if model is not Relation or name not in FROM_PLACE]
    return [*keys, "$schema"] if model is Relation else keys


def _mentions(model: type[BaseModel], key: str, part: type[BaseModel]) -> bool:
    annotation = model.model_fields[key].annotation
    return part.__name__ in str(annotation)


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
