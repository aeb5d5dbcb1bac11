"""The sensor of derived relations: those that are older than what they read are computed anew."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.partitions import asset_key
from resources.platform import PlatformResource
from sensors.planning import Plan, Waiting, only_these
from sensors.shell import ASSET_JOB, INTERVAL_SECONDS, plan_work
from sensors.staleness import find_stale

if TYPE_CHECKING:
    from gaelp_assets.ingest.platform import Platform


def refresh_sensor(resource: PlatformResource) -> dg.SensorDefinition:
    """Refreshes what is not sliced after each load, and slices that a killed or failed run left behind."""

    @dg.sensor(
        name="refresh",
        job_name=ASSET_JOB,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Computes derived relations anew that are older than what they read.",
    )
    def refresh(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        # The cursor only spares questions: without it, every slice is looked at again, and nothing is lost.
        seen = json.loads(context.cursor) if context.cursor else {}
        plan, seen = plan_refresh(resource.open(), context.instance, dt.datetime.now(dt.UTC), seen)
        context.update_cursor(json.dumps(seen, sort_keys=True))
        return plan.result()

    return refresh


def plan_refresh(
    platform: Platform, instance: dg.DagsterInstance, now: dt.datetime, seen: Mapping[str, int]
) -> tuple[Plan, dict[str, int]]:
    """The refreshes to start now, and what need not be looked at again (see `staleness.find_stale`)."""
    stale = find_stale(instance, platform.catalog, seen)
    waiting = [Waiting(asset_key(relation), slice_) for relation, slice_ in stale.slices]
    plan = plan_work(platform, instance, waiting, only_these, now)
    return plan, stale.seen
