"""Everything that is wrong with catalogue folders, in one go: files, what relations must agree on, and every view bound on empty tables.

Loading a catalogue asks for less: no engine binds its views.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gaelp_assets.catalog.folders import FOLDER
from gaelp_assets.catalog.load import read_relations
from gaelp_assets.catalog.texts import references
from gaelp_assets.errors import Problem
from gaelp_assets.garbage import without_collections
from gaelp_assets.sql.analyzer import analyzer_problems
from gaelp_assets.sql.views import problems_of_views
from gaelp_assets.validation.rules import check_problems
from gaelp_assets.warehouse.duckdb.binding import duckdb_problems


class Validation(NamedTuple):
    """How many relations catalogue folders hold, and what is wrong with them, those of one relation one after another."""

    relations: int
    problems: list[Problem]


def validate_catalog(
    users: Sequence[Path] = (), *, folder: Path = FOLDER, analyzer_cache: Path | None = None
) -> Validation:
    """Looks for problems in the shipped catalogue (or another `folder` in its place) with the users' folders over it.

    Args:
        users: folders in the order in which they are read.
        folder: the catalogue that the others add to.
        analyzer_cache: the folder that keeps the compiled code of Google's analyzer, which is then asked of each view, too.

    >>> validate_catalog().problems
    []
    """
    with without_collections():
        return _validate(users, folder, analyzer_cache)


def _validate(users: Sequence[Path], folder: Path, analyzer_cache: Path | None) -> Validation:
    reading = read_relations(folder, check_problems, users=users)
    views = problems_of_views(reading.relations)
    problems = [*reading.problems, *(problem for found in views.values() for problem in found)]
    told = {problem.where.partition(",")[0] for problem in problems}
    readable = {relation.id: relation for relation in reading.relations if not relation.unread}
    # What is wrong in GoogleSQL already would be told in other words.
    sound = [
        relation
        for relation in readable.values()
        if relation.sql is not None
        and relation.where(sql=True) not in told
        and references(relation.sql) <= readable.keys()
    ]
    problems += [problem for found in duckdb_problems(readable.values(), sound).values() for problem in found]
    if analyzer_cache is not None:
        asked = analyzer_problems(readable, sound, analyzer_cache)
        problems += [problem for found in asked.values() for problem in found]
    return Validation(len(reading.relations), sorted(problems, key=_file))


def _file(problem: Problem) -> str:
    """The relation's files without their endings: its JSON and its SQL stand together."""
    return problem.where.partition(",")[0].removesuffix(".json").removesuffix(".sql")
