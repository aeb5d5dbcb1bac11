"""The schedule of the Benchmark Portal's bundle: each day's, once that day is over and its late rows have had some hours."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from gaelp_assets.assets.portal import BUNDLE


def portal_schedule() -> dg.ScheduleDefinition:
    """Bundles yesterday (UTC) at six; it is switched on by those who have a portal."""

    @dg.schedule(
        job=dg.define_asset_job("benchmark_bundle_job", selection=dg.AssetSelection.assets(BUNDLE)),
        cron_schedule="0 6 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Puts yesterday's bundle for the Benchmark Portal into the gateway's store.",
    )
    def benchmark_bundle_daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = (context.scheduled_execution_time - dt.timedelta(days=1)).date().isoformat()
        return dg.RunRequest(run_key=day, partition_key=day)

    return benchmark_bundle_daily
