"""The sensor of the load queue: what lies in `cloud_ready/` is loaded, slot by slot. It has no cursor; the queue is the state."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.partitions import asset_key
from gaelp_assets.errors import GaelpError
from resources.platform import PlatformResource
from sensors.history import known_environments, past_runs
from sensors.orphans import release_orphans
from sensors.planning import Plan, Waiting, plan_runs, with_derived
from sensors.target import ASSET_JOB, INTERVAL_SECONDS

if TYPE_CHECKING:
    from gaelp_assets.ingest.platform import Platform


def cloud_ready_sensor(resource: PlatformResource) -> dg.SensorDefinition:
    """Loads what lies in `cloud_ready/`, and refreshes what is derived from it slice by slice."""

    @dg.sensor(
        name="cloud_ready",
        job_name=ASSET_JOB,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Loads what lies in cloud_ready/: a run for each date with files, the oldest first.",
    )
    def cloud_ready(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            platform = resource.open()
            release_orphans(context.instance, platform.settings)
            return plan_loads(platform, context.instance, dt.datetime.now(dt.UTC)).result()
        except GaelpError as error:
            if error.permanent:
                raise
            # Not the same as an empty queue: the tick says that nobody knows.
            return dg.SkipReason(f"Could not list the gateway: {error}")

    return cloud_ready


def plan_loads(platform: Platform, instance: dg.DagsterInstance, now: dt.datetime) -> Plan:
    """The loads to start now.

    Raises:
        GaelpError: the gateway cannot be listed.
    """
    waiting = pending_work(platform)
    history = past_runs(instance, {work.slot for work in waiting})
    return plan_runs(
        waiting,
        history,
        with_derived(platform.catalog),
        now=now,
        first_date=platform.settings.first_date,
        last_date=platform.last_date,
        environments=known_environments(instance),
    )


def pending_work(platform: Platform) -> list[Waiting]:
    """The gateway's pending slices as work."""
    return [
        Waiting(asset_key(platform.catalog[relation_id]), slice_, pending.oldest)
        for (relation_id, slice_), pending in platform.gateway.pending_slices().items()
    ]
