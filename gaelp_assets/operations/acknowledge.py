"""Takes rejected lines that stay as they are off the list of what is open."""

from __future__ import annotations

import datetime as dt

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.operations.rejects import open_conditions
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.ledger import DEAD_LETTER


def acknowledge(
    platform: Platform, relation: Relation, *, rule: str | None = None, batch: str | None = None
) -> int:
    """Takes a table's open lines off the list for good: they stay in the dead letter, and are replayed no more.

    Args:
        platform: where the dead letter is.
        relation: the table.
        rule: only lines that this rule rejected.
        batch: only lines of batches whose id starts so.

    Returns:
        The number of lines.

    Raises:
        GaelpError: no open line is meant.
    """
    conditions, parameters = open_conditions(relation, rule, batch)
    letters = platform.warehouse.query(
        f"SELECT DISTINCT batch_id, line_number FROM {DEAD_LETTER} WHERE {conditions} ORDER BY batch_id, line_number",
        parameters,
    ).frame
    if letters.is_empty():
        raise GaelpError(
            Problem(
                "no open line is meant",
                relation.id,
                "a rule or a batch of lines that are open",
                f"See: gaelp dead-letter list --table {relation.id}",
            )
        )
    # The column that notes it, in a dead letter of an earlier version.
    platform.warehouse.ensure([platform.catalog[DEAD_LETTER]])
    now = dt.datetime.now(dt.UTC)
    for (batch_id,), lines in letters.group_by("batch_id", maintain_order=True):
        platform.warehouse.mark_acknowledged(relation, str(batch_id), lines["line_number"].to_list(), now)
    return letters.height
