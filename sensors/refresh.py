"""The sensor of derived relations: those that are older than what they read, or than their code, are computed again."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Final

import dagster as dg

from gaelp_assets.catalog import Catalog
from gaelp_assets.catalog.derivation import code_version
from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.receivers import loaded_at
from gaelp_assets.runs.history import newest_change
from gaelp_assets.runs.planning import ASSET_JOB
from gaelp_assets.runs.plans import plan_refresh
from gaelp_assets.runs.reporting import report_writes
from sensors.shell import INTERVAL_SECONDS, OpenPlatform

LOOK_EVERY: Final = dt.timedelta(minutes=5)
"""How long the warehouse is not asked while no run begins or ends: what is written without a run is noticed after this time."""
RUNS_FOR_CODE: Final = 10
"""How many runs at a time are under way for slices that were computed by other code."""


def refresh_sensor(open_platform: OpenPlatform) -> dg.SensorDefinition:
    """Refreshes what is not sliced after each load, slices that a killed or failed run left behind, and those of changed SQL.

    What such a run has written without telling Dagster is reported by the same tick.
    """

    @dg.sensor(
        name="refresh",
        job_name=ASSET_JOB,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Computes derived relations again that are older than what they read, or than their SQL.",
    )
    def refresh(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now = dt.datetime.now(dt.UTC)
        platform = open_platform()
        # The cursor only spares questions: without it the warehouse is asked, and nothing is lost.
        streamed = loaded_at(platform.settings.home, now)
        seen = {
            "runs": newest_change(context.instance),
            "code": _code(platform.catalog),
            **({} if streamed is None else {"streamed": streamed.isoformat()}),
        }
        last = json.loads(context.cursor) if context.cursor else {}
        rested = last.get("at") and now - dt.datetime.fromisoformat(last["at"]) < LOOK_EVERY
        if rested and last.get("idle") and last.get("seen") == seen:
            return dg.SkipReason("No run has begun or ended since the last look.")
        try:
            reported = report_writes(platform, context.instance)
            plan = plan_refresh(platform, context.instance, now, code_limit=RUNS_FOR_CODE)
        except GaelpError as error:
            if error.permanent:
                raise
            return dg.SkipReason(f"Could not ask the warehouse: {error}")
        for write in reported:
            log = context.log.info if write.streamed else context.log.warning
            log(f"{write.relation.id} {write.slice}: {write.event.description}")
        idle = not plan.runs and not plan.waits
        context.update_cursor(json.dumps({"at": now.isoformat(), "idle": idle, "seen": seen}, sort_keys=True))
        return plan.result()

    return refresh


def _code(catalog: Catalog) -> str:
    versions = "\n".join(f"{relation.id} {code_version(catalog, relation)}" for relation in catalog.derived)
    return hashlib.sha256(versions.encode()).hexdigest()
