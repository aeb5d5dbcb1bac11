"""The shell that the gateway's sensors share: open the platform, and tell a store that is out of reach from an empty one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import dagster as dg

from gaelp_assets.errors import GaelpError
from gaelp_assets.runs.orphans import release_orphans
from gaelp_assets.runs.planning import ASSET_JOB, RunPlan

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform

INTERVAL_SECONDS: Final = 5
"""As often as Dagster looks which sensors are due."""

OpenPlatform = Callable[[], "Platform"]
MakePlan = Callable[["Platform", dg.DagsterInstance, dt.datetime], RunPlan]


def gateway_sensor(
    open_platform: OpenPlatform, *, name: str, description: str, plan: MakePlan
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
            platform = open_platform()
            release_orphans(context.instance, platform.settings)
            return plan(platform, context.instance, dt.datetime.now(dt.UTC)).result()
        except GaelpError as error:
            if error.permanent:
                raise
            # Not the same as an empty queue: the tick says that nobody knows.
            return dg.SkipReason(f"Could not list the gateway: {error}")

    return sensor
