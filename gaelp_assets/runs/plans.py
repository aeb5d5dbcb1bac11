"""What waits in the gateway, or is older than what it reads, as plans of runs: the questions that each sensor asks.

Here the pure rules of `planning` meet the gateway and Dagster's instance. Starting the runs is left to the sensors and to `in_process`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.partitions import GATEWAY, asset_key
from gaelp_assets.catalog import WHOLE
from gaelp_assets.gateway.names import LIVE_TIME
from gaelp_assets.runs.history import known_environments, past_runs
from gaelp_assets.runs.planning import (
    NO_COOLDOWN,
    RUNS_PER_TICK,
    SLICES_PER_RUN,
    PendingWork,
    RunPlan,
    Select,
    only_these,
    plan_runs,
    with_derived,
)
from gaelp_assets.runs.staleness import find_stale
from gaelp_assets.warehouse.refreshes import Why

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform
    from gaelp_assets.warehouse.quotas import Cadence


def plan_sort(platform: Platform, instance: dg.DagsterInstance, now: dt.datetime) -> RunPlan:
    """The gateway's materialization, if unsorted or misplaced files wait for it; not for new files of streams.

    Raises:
        GaelpError: the gateway cannot be listed.
    """
    raw, queue = platform.gateway.unsorted_raw(live_until=now - LIVE_TIME), platform.gateway.queue()
    times = [file.stored.modified for file in raw.files]
    times += [stored.modified for stored, _ in raw.misplaced + queue.misplaced]
    times += [pending.oldest for pending in queue.unsorted.values()]
    waiting = [PendingWork(GATEWAY, WHOLE, min(times))] if times else []
    return plan_work(platform, instance, waiting, only_these, now)


def plan_loads(platform: Platform, instance: dg.DagsterInstance, now: dt.datetime) -> RunPlan:
    """The loads to start now; not for new files of streams.

    Raises:
        GaelpError: the gateway cannot be listed.
    """
    waiting = pending_work(platform, live_until=now - LIVE_TIME)
    select = with_derived(platform.catalog)
    return plan_work(platform, instance, waiting, select, now, _cadence(platform, len(waiting), now))


def pending_work(platform: Platform, *, live_until: dt.datetime | None = None) -> list[PendingWork]:
    """The gateway's pending slices as work; live files that are younger than that moment are left to their receiver."""
    return [
        PendingWork(asset_key(platform.catalog[relation_id]), slice_, pending.oldest)
        for (relation_id, slice_), pending in platform.gateway.queue(live_until=live_until).slices.items()
    ]


def plan_refresh(
    platform: Platform,
    instance: dg.DagsterInstance,
    now: dt.datetime,
    *,
    code_limit: int = RUNS_PER_TICK,
) -> RunPlan:
    """The refreshes to start now.

    Args:
        platform: the platform whose warehouse is asked what is stale.
        instance: Dagster's, with the history of runs.
        now: the moment (UTC) by which failed runs have rested or not.
        code_limit: how many runs at a time may be under way for slices that were computed by other code: a change of SQL
            can make years of slices stale, and new rows must not wait for these.

    Raises:
        GaelpError: the warehouse cannot be asked.
    """
    work = [
        (found.why, PendingWork(asset_key(found.relation), found.slice, reason=found.why))
        for found in find_stale(platform, instance)
    ]
    select = with_derived(platform.catalog)
    first = [pending for why, pending in work if why is not Why.OTHER_CODE]
    plan = plan_work(platform, instance, first, select, now)
    slots = {pending.slot for pending in first}
    later = [pending for why, pending in work if why is Why.OTHER_CODE and pending.slot not in slots]
    return plan + plan_work(platform, instance, later, select, now, limit=code_limit)


def plan_work(
    platform: Platform,
    instance: dg.DagsterInstance,
    waiting: Sequence[PendingWork],
    select: Select,
    now: dt.datetime,
    cadence: Cadence | None = None,
    limit: int = RUNS_PER_TICK,
) -> RunPlan:
    """The runs to start now for the waiting work, by what the instance knows of earlier ones; no faster than the cadence."""
    return plan_runs(
        waiting,
        past_runs(instance, {work.slot for work in waiting}),
        select,
        now=now,
        first_date=platform.settings.first_date,
        last_date=platform.last_date,
        environments=known_environments(instance),
        limit=limit if cadence is None else min(limit, cadence.runs),
        cooldown=NO_COOLDOWN if cadence is None else cadence.cooldown,
        slices=SLICES_PER_RUN if cadence is None else min(SLICES_PER_RUN, cadence.slices),
    )


def _cadence(platform: Platform, writes: int, now: dt.datetime) -> Cadence | None:
    """How fast the warehouse's limits of the day let that many writes begin; None where it has no limits, or there is nothing to do."""
    from gaelp_assets.warehouse.quotas import cadence

    room = platform.warehouse.quota_left() if writes else None
    return cadence(room, writes, now) if room is not None else None
