"""Whether a widening of a type keeps every value that a table holds: a FLOAT does not hold every INTEGER and NUMERIC.

The rules of types (`schema.diff`) look at types alone. Here the values count: a widening that would alter some of them is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gaelp_assets.warehouse.schema.model import Action, Change, Refusal, RelationPlan
from gaelp_assets.warehouse.schema.remedies import Remedy, remedy

CountAltered = Callable[[str, str], int]
"""How many values of a column, by its dotted path and its type, are others as a FLOAT."""


def is_lossy(change: Change) -> bool:
    """Whether a change of a type can alter values."""
    return change.action is Action.WIDEN and change.wanted == "FLOAT"


def with_kept_values(planned: RelationPlan, count: CountAltered, sql_name: str) -> RelationPlan:
    """The plan, with a refusal for each widening that would alter values; `count` is asked of no other change."""
    relation = planned.relation
    stored = {change.field: change.found for change in planned.changes if change.action is Action.RENAME}

    def path(change: Change) -> str:
        top, dot, rest = change.field.partition(".")
        return f"{stored.get(top, top)}{dot}{rest}"

    refusals = [
        Refusal(
            relation.id,
            f"a FLOAT does not hold {altered} of its values exactly",
            change.field,
            change.found,
            change.wanted,
            remedy(Remedy.TYPE, relation, change.field, sql_name),
        )
        for change in planned.changes
        if is_lossy(change) and (altered := count(path(change), change.found))
    ]
    return replace(planned, refusals=(*planned.refusals, *refusals)) if refusals else planned
