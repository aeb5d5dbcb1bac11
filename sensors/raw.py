"""The sensor of `raw/`: files that name no slice are proven and sorted by materializing the gateway."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.partitions import GATEWAY
from gaelp_assets.catalog import WHOLE
from resources.platform import PlatformResource
from sensors.planning import Plan, Waiting, only_these
from sensors.shell import gateway_sensor, plan_work

if TYPE_CHECKING:
    from gaelp_assets.ingest.platform import Platform


def raw_sensor(resource: PlatformResource) -> dg.SensorDefinition:
    """Sorts what lies in `raw/`, and sets misplaced files aside."""
    return gateway_sensor(
        resource,
        name="raw",
        description="Materializes the gateway while files in raw/ wait to be proven and sorted into slices.",
        plan=plan_sort,
    )


def plan_sort(platform: Platform, instance: dg.DagsterInstance, now: dt.datetime) -> Plan:
    """The gateway's materialization, if unsorted or misplaced files wait for it.

    Raises:
        GaelpError: the gateway cannot be listed.
    """
    listing = platform.gateway.unsorted()
    misplaced = listing.misplaced + platform.gateway.queue().misplaced
    times = [file.stored.modified for file in listing.files] + [stored.modified for stored, _ in misplaced]
    waiting = [Waiting(GATEWAY, WHOLE, min(times))] if times else []
    return plan_work(platform, instance, waiting, only_these, now)
