"""What Dagster's instance knows of earlier runs, by slot. Only questions are asked here; `planning` decides."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Final

import dagster as dg
from dagster import RunRecord

from gaelp_assets.assets.partitions import ENVIRONMENTS, PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.runs.planning import SLOT_TAG, Attempt, PastRun, RunOutcome

BULK_LIMIT: Final = 2_000
# SQLite takes 32,766 variables in one statement; a slot's name is one of them.
SLOTS_PER_QUERY: Final = 500


def past_runs(instance: dg.DagsterInstance, slots: Iterable[str]) -> Mapping[str, list[PastRun]]:
    """The newest runs of each slot, the newest first.

    One bounded query for many slots; a slot that it does not reach gets one of its own. Taken for a slot that never ran, it would be
    given its first run key again, which Dagster ignores: the slot would never run again.
    """
    wanted = sorted(set(slots))
    found: dict[str, list[PastRun]] = {slot: [] for slot in wanted}
    for start in range(0, len(wanted), SLOTS_PER_QUERY):
        part = wanted[start : start + SLOTS_PER_QUERY]
        for record in instance.get_run_records(dg.RunsFilter(tags={SLOT_TAG: part}), limit=BULK_LIMIT):
            found[record.dagster_run.tags[SLOT_TAG]].append(_past_run(record))
    for slot, runs in found.items():
        if not runs:
            records = instance.get_run_records(dg.RunsFilter(tags={SLOT_TAG: slot}), limit=1)
            runs.extend(_past_run(record) for record in records)
    return found


def newest_change(instance: dg.DagsterInstance) -> str:
    """The run whose state changed last, and when; a text that differs as soon as any run begins or ends."""
    records = instance.get_run_records(limit=1, order_by="update_timestamp", ascending=False)
    return "".join(f"{record.dagster_run.run_id} {record.update_timestamp.isoformat()}" for record in records)


def known_environments(instance: dg.DagsterInstance) -> list[str]:
    """The environments that Dagster knows, in its order: that in which they were added."""
    return list(instance.get_dynamic_partitions(ENVIRONMENTS.name or ""))


def _past_run(record: RunRecord) -> PastRun:
    run = record.dagster_run
    if run.is_success:
        outcome = RunOutcome.SUCCEEDED
    elif run.is_finished:
        outcome = RunOutcome.FAILED
    else:
        outcome = RunOutcome.IN_FLIGHT
    created = record.create_timestamp
    if created.tzinfo is None:
        created = created.replace(tzinfo=dt.UTC)
    ended = dt.datetime.fromtimestamp(record.end_time, dt.UTC) if record.end_time else None
    return PastRun(run.run_id, outcome, created, ended, _attempt(run))


def _attempt(run: dg.DagsterRun) -> Attempt | None:
    """What its selection and its partition tags say; None for what a person started in another way."""
    assets = run.asset_selection
    ends = [run.tags.get(tag) for tag in (RANGE_START_TAG, RANGE_END_TAG)]
    keys = ends if None not in ends else [run.tags.get(PARTITION_TAG)] * 2
    try:
        first, last = (parse_partition_key(key) for key in keys)
    except ValueError:
        return None
    return Attempt(frozenset(assets), first, last) if assets else None
