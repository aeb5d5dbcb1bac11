"""The sensor of derived relations: those that are older than what they read are computed again."""

from __future__ import annotations

import datetime as dt
import json

import dagster as dg

from gaelp_assets.runs.planning import ASSET_JOB
from gaelp_assets.runs.plans import plan_refresh
from sensors.shell import INTERVAL_SECONDS, OpenPlatform


def refresh_sensor(open_platform: OpenPlatform) -> dg.SensorDefinition:
    """Refreshes what is not sliced after each load, and slices that a killed or failed run left behind."""

    @dg.sensor(
        name="refresh",
        job_name=ASSET_JOB,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Computes derived relations again that are older than what they read.",
    )
    def refresh(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        # The cursor only spares questions: without it, every slice is looked at again, and nothing is lost.
        seen = json.loads(context.cursor) if context.cursor else {}
        plan, seen = plan_refresh(open_platform(), context.instance, dt.datetime.now(dt.UTC), seen)
        context.update_cursor(json.dumps(seen, sort_keys=True))
        return plan.result()

    return refresh
