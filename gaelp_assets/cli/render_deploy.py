"""What `gaelp deploy` prints: a plan, the progress of its work, what came of it, and both as JSON for programs.

The JSON's keys are a promise to those programs: keys are added, `format` is raised when one changes its meaning.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from gaelp_assets.cli.render import print_line, print_marked, print_problems, print_set_aside
from gaelp_assets.operations.deploy import DeployOutcome, DeployPlan, Result
from gaelp_assets.operations.losses import ChangedTable, Losses
from gaelp_assets.operations.stale import StaleCount
from gaelp_assets.warehouse.schema.model import Refusal, RelationPlan, Status

FORMAT: Final = 1
_MARKS: Final = {
    Status.CREATE: ("+", "green"),
    Status.REPLACE: ("-/+", "red"),
    Status.CHANGE: ("~", "yellow"),
}
_WORDS: Final = {
    Status.CREATE: "to create",
    Status.REPLACE: "to replace",
    Status.CHANGE: "to change",
    Status.UNCHANGED: "unchanged",
    Status.REFUSED: "refused",
}


def print_plan(plan: DeployPlan) -> None:
    """Everything that differs: datasets, relations with their changes, refusals (on stderr), and what is not the catalogue's."""
    print_line(f"warehouse  {plan.warehouse}")
    for dataset in plan.datasets:
        if not dataset.exists:
            print_marked(*_MARKS[Status.CREATE], f"{dataset.name}: a dataset")
    for planned in plan.relations:
        if planned.status in _MARKS:
            _print_changes(planned)
    for relation_id, object_type in plan.unknown:
        print_marked(
            "?",
            "yellow",
            f"{relation_id}: {object_type.label} that the catalogue does not know; it is left alone",
        )
    print_problems([refusal.problem for refusal in plan.refusals])
    print_set_aside(plan.set_aside)
    counts = Counter(planned.status for planned in plan.relations)
    clauses = [f"{counts[status]} {word}" for status, word in _WORDS.items() if counts[status]]
    clauses += [f"{len(plan.unknown)} unknown to the catalogue"] if plan.unknown else []
    print_line(f"{len(plan.relations)} relations: {', '.join(clauses)}")


def print_stale(counts: Sequence[StaleCount]) -> None:
    """What derived relations hold that the catalogue would compute otherwise by now."""
    for count in counts:
        print_marked(
            "~", "yellow", f"{count}: refreshed a few at a time, or all at once by: gaelp deploy --refresh"
        )


def print_changed(changed: Sequence[ChangedTable], losses: Mapping[str, Losses] | None) -> None:
    """Tables that hold rows of another definition, and what a rebuild would lose of them, where that was counted."""
    for table in changed:
        print_marked("~", "yellow", f"{table}; the next load of a slice, or a rebuild, brings it up to it")
        if losses is not None:
            print_line(f"    a rebuild would lose {losses[table.relation.id]}")
    if changed and losses is None:
        print_line("What a rebuild would lose, if anything: gaelp deploy --dry-run --count-losses")


def _print_changes(planned: RelationPlan) -> None:
    mark, style = _MARKS[planned.status]
    if planned.status is not Status.CHANGE:
        (change,) = planned.changes
        instead = f", in place of {change.found}" if change.found else ""
        print_marked(mark, style, f"{planned.relation.id}: {change.wanted}{instead}")
        return
    print_marked(mark, style, planned.relation.id)
    for change in planned.changes:
        action = f"{change.action.replace('_', ' ')} {change.field}".rstrip()
        print_line(
            f"    {action}: {f'{change.found} -> ' if change.found else ''}{change.wanted or 'nothing'}"
        )


def print_results(results: Sequence[Result]) -> None:
    """How many relations were made, changed, left and failed, and every failure with its reason."""
    failed = [result for result in results if result.outcome in {DeployOutcome.FAILED, DeployOutcome.SKIPPED}]
    for result in failed:
        print_problems(result.problems)
    counts = Counter(result.outcome for result in results)
    print_line(", ".join(f"{counts[outcome]} {outcome}" for outcome in DeployOutcome if counts[outcome]))
    if any(result.outcome is DeployOutcome.FAILED for result in failed):
        print_line("What was done stays done: run `gaelp deploy` again for the rest.")


def print_json(
    plan: DeployPlan,
    results: Sequence[Result] | None,
    changed: Sequence[ChangedTable],
    losses: Mapping[str, Losses] | None,
) -> None:
    """Plan and results, and the tables that hold rows of another definition; without results, the plan was only looked at."""
    tables = [
        {
            "relation": table.relation.id,
            "slices": len(table.slices),
            "rows": table.rows,
            "other_keys": table.other_keys,
            "lost": None if losses is None else losses[table.relation.id].rows,
            "reasons": None if losses is None else dict(losses[table.relation.id].reasons),
        }
        for table in changed
    ]
    print(json.dumps({**as_json(plan, results), "changed": tables}, indent=2, ensure_ascii=False))


def as_json(plan: DeployPlan, results: Sequence[Result] | None) -> dict[str, object]:
    """Plan and results as JSON values: see the keys below, which are all there in any case."""
    outcomes = {result.id: result for result in results or ()}
    return {
        "format": FORMAT,
        "engine": plan.engine,
        "warehouse": plan.warehouse,
        "applied": results is not None,
        "datasets": [
            {
                "dataset": dataset.name,
                "status": "refused" if dataset.refusal else "unchanged" if dataset.exists else "create",
                "refusals": [_refusal(refusal) for refusal in (dataset.refusal,) if refusal],
                **_outcome(outcomes.get(dataset.name)),
            }
            for dataset in plan.datasets
        ],
        "relations": [
            {
                "relation": planned.relation.id,
                "form": planned.object_type.value,
                "status": planned.status.value,
                "changes": [
                    {"action": c.action.value, "field": c.field, "found": c.found, "wanted": c.wanted}
                    for c in planned.changes
                ],
                "refusals": [_refusal(refusal) for refusal in planned.refusals],
                **_outcome(outcomes.get(planned.relation.id)),
            }
            for planned in plan.relations
        ],
        "unknown": [
            {"relation": relation_id, "form": object_type.value} for relation_id, object_type in plan.unknown
        ],
        "set_aside": [
            {"relation": found.id, "problems": [str(problem) for problem in found.problems]}
            for found in plan.set_aside
        ],
        "summary": dict(
            sorted(Counter(r.outcome.value for r in results).items())
            if results is not None
            else sorted(Counter(planned.status.value for planned in plan.relations).items())
        ),
    }


def _refusal(refusal: Refusal) -> dict[str, object]:
    return {
        "what": refusal.what,
        "field": refusal.field,
        "found": refusal.found,
        "wanted": refusal.wanted,
        "remedy": refusal.remedy,
        "stops_loads": refusal.stops_loads,
    }


def _outcome(result: Result | None) -> dict[str, object]:
    return {
        "outcome": result.outcome.value if result else None,
        "problems": [str(problem) for problem in result.problems] if result else [],
    }
