"""The sensor of `raw/`: files that name no slice are proven and sorted by materializing the gateway."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.partitions import GATEWAY
from gaelp_assets.catalog import WHOLE
from gaelp_assets.errors import GaelpError
from resources.platform import PlatformResource
from sensors.history import past_runs
from sensors.orphans import release_orphans
from sensors.planning import Plan, Waiting, only_these, plan_runs
from sensors.target import ASSET_JOB, INTERVAL_SECONDS

if TYPE_CHECKING:
    from gaelp_assets.ingest.platform import Platform


def raw_sensor(resource: PlatformResource) -> dg.SensorDefinition:
    """Sorts what lies in `raw/`, and sets misplaced files aside."""

    @dg.sensor(
        name="raw",
        job_name=ASSET_JOB,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Materializes the gateway while files in raw/ wait to be proven and sorted into slices.",
    )
    def raw(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            platform = resource.open()
            release_orphans(context.instance, platform.settings)
            return plan_sort(platform, context.instance, dt.datetime.now(dt.UTC)).result()
        except GaelpError as error:
            if error.permanent:
                raise
            return dg.SkipReason(f"Could not list the gateway: {error}")

    return raw


def plan_sort(platform: Platform, instance: dg.DagsterInstance, now: dt.datetime) -> Plan:
    """The gateway's materialization, if unsorted or misplaced files wait for it.

    Raises:
        GaelpError: the gateway cannot be listed.
    """
    listing = platform.gateway.unsorted()
    misplaced = listing.misplaced + platform.gateway.queue().misplaced
    times = [file.stored.modified for file in listing.files] + [stored.modified for stored, _ in misplaced]
    waiting = [Waiting(GATEWAY, WHOLE, min(times))] if times else []
    return plan_runs(
        waiting,
        past_runs(instance, {work.slot for work in waiting}),
        only_these,
        now=now,
        first_date=platform.settings.first_date,
        last_date=platform.last_date,
    )
