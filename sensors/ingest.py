"""The sensor of the load queue: what lies in `cloud_ready/` is loaded, slot by slot."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.partitions import asset_key
from resources.platform import PlatformResource
from sensors.planning import Plan, Waiting, with_derived
from sensors.shell import gateway_sensor, plan_work

if TYPE_CHECKING:
    from gaelp_assets.ingest.platform import Platform
    from gaelp_assets.warehouse.quotas import Cadence


def cloud_ready_sensor(resource: PlatformResource) -> dg.SensorDefinition:
    """Loads what lies in `cloud_ready/`, and refreshes what is derived from it slice by slice."""
    return gateway_sensor(
        resource,
        name="cloud_ready",
        description="Loads what lies in cloud_ready/: a run for each date with files, the oldest first.",
        plan=plan_loads,
    )


def plan_loads(platform: Platform, instance: dg.DagsterInstance, now: dt.datetime) -> Plan:
    """The loads to start now.

    Raises:
        GaelpError: the gateway cannot be listed.
    """
    waiting = pending_work(platform)
    select = with_derived(platform.catalog)
    return plan_work(platform, instance, waiting, select, now, _cadence(platform, len(waiting), now))


def _cadence(platform: Platform, writes: int, now: dt.datetime) -> Cadence | None:
    """How fast the warehouse's limits of the day let that many writes begin; None where it has no limits, or there is nothing to do."""
    from gaelp_assets.warehouse.quotas import cadence

    room = platform.warehouse.head_room() if writes else None
    return cadence(room, writes, now) if room is not None else None


def pending_work(platform: Platform) -> list[Waiting]:
    """The gateway's pending slices as work."""
    return [
        Waiting(asset_key(platform.catalog[relation_id]), slice_, pending.oldest)
        for (relation_id, slice_), pending in platform.gateway.pending_slices().items()
    ]
