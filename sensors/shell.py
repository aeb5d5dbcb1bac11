"""What the sensors share: the shell around a plan, and the questions to the instance that every plan begins with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import dagster as dg

from gaelp_assets.errors import GaelpError
from resources.platform import PlatformResource
from sensors.history import known_environments, past_runs
from sensors.orphans import release_orphans
from sensors.planning import NO_REST, RUNS_PER_TICK, Plan, Select, Waiting, plan_runs

if TYPE_CHECKING:
    from gaelp_assets.ingest.platform import Platform
    from gaelp_assets.warehouse.quotas import Cadence

# Dagster's own job over all assets. A sensor whose target is a selection of assets with different partitions would keep the whole
# code location from loading.
ASSET_JOB: Final = "__ASSET_JOB"
INTERVAL_SECONDS: Final = 10

MakePlan = Callable[["Platform", dg.DagsterInstance, dt.datetime], Plan]


def gateway_sensor(
    resource: PlatformResource, *, name: str, description: str, plan: MakePlan
) -> dg.SensorDefinition:
    """A sensor that starts what its plan says of the gateway. It has no cursor: what lies in the gateway is the state."""

    @dg.sensor(
        name=name,
        job_name=ASSET_JOB,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            platform = resource.open()
            release_orphans(context.instance, platform.settings)
            return plan(platform, context.instance, dt.datetime.now(dt.UTC)).result()
        except GaelpError as error:
            if error.permanent:
                raise
            # Not the same as an empty queue: the tick says that nobody knows.
            return dg.SkipReason(f"Could not list the gateway: {error}")

    return sensor


def plan_work(
    platform: Platform,
    instance: dg.DagsterInstance,
    waiting: Sequence[Waiting],
    select: Select,
    now: dt.datetime,
    cadence: Cadence | None = None,
) -> Plan:
    """The runs to start now for the waiting work, by what the instance knows of earlier ones; no faster than the cadence."""
    return plan_runs(
        waiting,
        past_runs(instance, {work.slot for work in waiting}),
        select,
        now=now,
        first_date=platform.settings.first_date,
        last_date=platform.last_date,
        environments=known_environments(instance),
        limit=RUNS_PER_TICK if cadence is None else min(RUNS_PER_TICK, cadence.runs),
        rest=NO_REST if cadence is None else cadence.rest,
    )
