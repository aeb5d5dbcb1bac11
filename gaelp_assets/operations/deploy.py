"""Brings a whole warehouse up to the catalogue: one plan of everything, then datasets, tables, and views after what they read.

As with Terraform, a plan that holds refusals is not begun unless that is asked for, what fails stops nothing that does not depend on it,
and another call makes what is still missing.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Final

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.load import with_upstream
from gaelp_assets.catalog.set_aside import SetAside
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.layout import laid_out_otherwise
from gaelp_assets.warehouse.ledger import LEDGER
from gaelp_assets.warehouse.protocol import Warehouse
from gaelp_assets.warehouse.reader import Reader
from gaelp_assets.warehouse.schema.diff import PARTITIONING_CHANGED
from gaelp_assets.warehouse.schema.model import (
    Dataset,
    ObjectType,
    Refusal,
    RelationPlan,
    Status,
    plan_create,
    plan_replace,
    with_dependents,
)

# Each transient failure has been sat out for 90 s: when that many come in a row, nobody answers.
GIVE_UP_AFTER: Final = 8


@dataclass(frozen=True)
class DeployPlan:
    """What separates a warehouse from the catalogue."""

    warehouse: str
    engine: str
    datasets: tuple[Dataset, ...]
    relations: tuple[RelationPlan, ...]
    """Each after what it reads."""
    upstream: Mapping[str, frozenset[str]]
    unknown: tuple[tuple[str, ObjectType], ...]
    """What lies in the catalogue's datasets and is not the catalogue's: ids and forms. It is left alone."""
    set_aside: tuple[SetAside, ...] = ()
    """Derived relations that cannot be used: what the warehouse holds of them stays as it is, and everything else is done."""

    @property
    def refusals(self) -> list[Refusal]:
        """Everything that cannot be done."""
        return [
            *(dataset.refusal for dataset in self.datasets if dataset.refusal is not None),
            *(refusal for planned in self.relations for refusal in planned.refusals),
        ]

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to do."""
        return any(not dataset.exists for dataset in self.datasets) or any(
            planned.changes for planned in self.relations
        )


class DeployOutcome(StrEnum):
    """What became of a relation."""

    MADE = "made"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Result:
    """What became of one relation, or of a dataset that could not be made."""

    id: str
    outcome: DeployOutcome
    problems: tuple[Problem, ...] = ()
    transient: bool = False
    """Whether running it again may help without anybody's doing."""


class DeployStatus(StrEnum):
    """How a deployment, or the look at its plan, ended."""

    DONE = "done"
    CHANGES = "changes"
    """The plan was only looked at, and holds changes."""
    PROBLEM = "problem"
    TRY_AGAIN = "try again"
    """Nothing failed but what can pass by itself."""
    SET_ASIDE = "set aside"
    """All else is done, or can be: derived relations of the catalogue are left out for their problems."""


_NO_FAILURE: Final = frozenset({DeployStatus.DONE, DeployStatus.CHANGES})


def verdict(plan: DeployPlan, results: Sequence[Result] | None) -> DeployStatus:
    """How a deployment ended, or (without results) what a look at the plan found."""
    found = verdict_of_sound(plan, results)
    return DeployStatus.SET_ASIDE if plan.set_aside and found in _NO_FAILURE else found


def verdict_of_sound(plan: DeployPlan, results: Sequence[Result] | None) -> DeployStatus:
    """As `verdict`, of all relations but those that are set aside."""
    if plan.refusals:
        return DeployStatus.PROBLEM
    if results is None:
        return DeployStatus.CHANGES if plan.has_changes else DeployStatus.DONE
    failed = [result for result in results if result.outcome is DeployOutcome.FAILED]
    if not failed:
        return DeployStatus.DONE
    return DeployStatus.TRY_AGAIN if all(result.transient for result in failed) else DeployStatus.PROBLEM


def plan(warehouse: Reader, catalog: Catalog, *, jobs: int, replace: Sequence[Relation] = ()) -> DeployPlan:
    """Compares the whole catalogue with the warehouse, and changes nothing. The relations of `replace` are to be dropped and made again.

    Raises:
        GaelpError: the warehouse cannot be read, or a relation of `replace` cannot be filled again.
    """
    _check_replaceable(replace)
    relations = with_upstream(catalog, list(catalog))
    laid_out = laid_out_otherwise(warehouse, relations) if LEDGER in catalog.relations else {}
    datasets = warehouse.survey(list(dict.fromkeys(relation.dataset for relation in relations)))
    listed = {f"{dataset.name}.{name}".lower() for dataset in datasets.values() for name in dataset.relations}
    there = [relation for relation in relations if relation.id.lower() in listed]
    compared = {planned.relation.id: planned for planned in warehouse.diff(there, jobs=jobs)}
    missing = [relation for relation in relations if relation.id not in compared]
    compared |= {relation.id: plan_create(relation, warehouse.object_type(relation)) for relation in missing}
    for relation in replace:
        found = compared[relation.id]
        if found.stored is not None:
            compared[relation.id] = plan_replace(
                relation, found.object_type, found.stored, "all of its rows", forced=True
            )
    for relation_id, refusal in laid_out.items():
        found = compared[relation_id]
        # The engine's own refusal of another partitioning knows no way out.
        others = (each for each in found.refusals if each.what != PARTITIONING_CHANGED)
        compared[relation_id] = dataclasses.replace(found, refusals=(*others, refusal))
    known = {relation_id.lower() for relation_id in (*compared, *catalog.set_aside)}
    return DeployPlan(
        warehouse=warehouse.location,
        engine=warehouse.capabilities.engine,
        datasets=tuple(datasets.values()),
        relations=tuple(with_dependents([compared[relation.id] for relation in relations], catalog.upstream)),
        upstream=catalog.upstream,
        unknown=tuple(
            (f"{dataset.name}.{name}", object_type)
            for dataset in datasets.values()
            for name, object_type in sorted(dataset.relations.items())
            if f"{dataset.name}.{name}".lower() not in known
        ),
        set_aside=tuple(catalog.set_aside.values()),
    )


def _check_replaceable(relations: Sequence[Relation]) -> None:
    problems = [
        Problem(
            f"a {relation.kind} cannot be made again: no file holds its rows",
            relation.id,
            "a table that is loaded from files, or is derived from others",
        )
        for relation in relations
        if not (relation.is_loaded or relation.is_derived)
    ]
    if problems:
        raise GaelpError(*problems)


def apply(
    warehouse: Warehouse,
    plan: DeployPlan,
    *,
    jobs: int,
    partial: bool = False,
    on_done: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Carries out a plan; what became of each relation, in the plan's order. Failures are results, not exceptions.

    Where the plan holds refusals nothing is done at all, unless `partial`: then the refused relations stay, and the others follow.
    """
    blocked = bool(plan.refusals) and not partial
    work = _Work(warehouse, plan, on_done)
    for planned in plan.relations:
        if planned.refusals:
            work.note(Result(planned.relation.id, DeployOutcome.REFUSED, _problems(planned.refusals)))
        elif not planned.changes:
            work.note(Result(planned.relation.id, DeployOutcome.UNCHANGED))
        elif blocked:
            work.skip(
                planned, "the plan holds refusals", "Follow their ways out, or run with --allow-partial."
            )
    if not blocked:
        work.make_datasets()
        levels = _levels(plan)
        workers = jobs if warehouse.capabilities.parallel_changes else 1
        if levels:
            with warehouse.changing() as change:
                for level in levels:
                    _in_parallel(functools.partial(work.carry_out, change), level, workers)
    order = {planned.relation.id: number for number, planned in enumerate(plan.relations)}
    return sorted(work.results.values(), key=lambda result: order.get(result.id, -1))


def _in_parallel(act: Callable[[RelationPlan], None], plans: Sequence[RelationPlan], workers: int) -> None:
    with ThreadPoolExecutor(workers, "deploy") as pool:
        try:
            list(pool.map(act, plans))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _problems(refusals: Sequence[Refusal]) -> tuple[Problem, ...]:
    return tuple(refusal.problem for refusal in refusals)


def _levels(plan: DeployPlan) -> list[list[RelationPlan]]:
    """What is to be done, in steps: tables, then views that read tables, then views that read those."""
    depth: dict[str, int] = {}
    levels: dict[int, list[RelationPlan]] = {}
    for planned in plan.relations:
        reads = plan.upstream.get(planned.relation.id, frozenset())
        level = (
            0
            if planned.object_type is ObjectType.TABLE
            else 1 + max((depth[read] for read in reads), default=0)
        )
        depth[planned.relation.id] = level
        if planned.changes and not planned.refusals:
            levels.setdefault(level, []).append(planned)
    return [levels[level] for level in sorted(levels)]


class _Work:
    """Carries out relations of a plan, from several threads."""

    def __init__(self, warehouse: Warehouse, plan: DeployPlan, on_done: Callable[[Result], None]) -> None:
        self._warehouse = warehouse
        self._plan = plan
        self._on_done = on_done
        self._lock = Lock()
        self._unusable: set[str] = set()
        self._failures_in_a_row = 0
        self.results: dict[str, Result] = {}

    def note(self, result: Result) -> None:
        with self._lock:
            self.results[result.id] = result
            if result.outcome is DeployOutcome.FAILED and result.transient:
                self._failures_in_a_row += 1
            elif result.outcome in {DeployOutcome.MADE, DeployOutcome.CHANGED}:
                self._failures_in_a_row = 0
            self._on_done(result)

    def skip(self, planned: RelationPlan, why: str, remedy: str, *, transient: bool = False) -> None:
        problem = Problem(f"not done: {why}", planned.relation.id, remedy=remedy)
        self.note(Result(planned.relation.id, DeployOutcome.SKIPPED, (problem,), transient))

    def make_datasets(self) -> None:
        """Makes those that are missing. What lies in one that cannot be made is skipped later on."""
        for dataset in self._plan.datasets:
            if dataset.refusal is not None:
                self._unusable.add(dataset.name)
                self.note(Result(dataset.name, DeployOutcome.REFUSED, _problems([dataset.refusal])))
            elif not dataset.exists:
                try:
                    self._warehouse.make_dataset(dataset.name)
                except GaelpError as error:
                    self._unusable.add(dataset.name)
                    self.note(Result(dataset.name, DeployOutcome.FAILED, error.problems, not error.permanent))

    def carry_out(self, change: Callable[[RelationPlan], RelationPlan], planned: RelationPlan) -> None:
        """Makes or changes one relation, and notes what came of it."""
        relation = planned.relation
        reads = (
            self._plan.upstream.get(relation.id, frozenset())
            if planned.object_type is not ObjectType.TABLE
            else ()
        )
        lost = sorted(read for read in reads if self._is_lost(read))
        if relation.dataset in self._unusable:
            self.skip(
                planned, f"the dataset {relation.dataset} cannot be used", "See there, and run it again."
            )
        elif lost:
            self.skip(planned, f"it reads {', '.join(lost)}", "See there, and run it again.")
        elif self._failures_in_a_row >= GIVE_UP_AFTER:
            self.skip(planned, "the warehouse does not answer", "Run it again later.", transient=True)
        else:
            try:
                done = change(planned)
            except GaelpError as error:
                problems = tuple(_at(relation, problem) for problem in error.problems)
                self.note(Result(relation.id, DeployOutcome.FAILED, problems, not error.permanent))
            else:
                self.note(Result(relation.id, _OUTCOMES[done.status]))

    def _is_lost(self, relation_id: str) -> bool:
        result = self.results.get(relation_id)
        return result is not None and result.outcome in {DeployOutcome.FAILED, DeployOutcome.SKIPPED}


_OUTCOMES: Final = {
    Status.CREATE: DeployOutcome.MADE,
    Status.REPLACE: DeployOutcome.MADE,
    Status.CHANGE: DeployOutcome.CHANGED,
    Status.UNCHANGED: DeployOutcome.UNCHANGED,
}


def _at(relation: Relation, problem: Problem) -> Problem:
    """The problem with the relation's name, where it has another place (as the whole warehouse)."""
    if relation.id in str(problem):
        return problem
    return dataclasses.replace(
        problem, where=f"{relation.id}, {problem.where}" if problem.where else relation.id
    )
