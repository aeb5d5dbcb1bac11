"""The sensor of the load queue: what lies in `cloud_ready/` is loaded, slot by slot."""

from __future__ import annotations

import dagster as dg

from gaelp_assets.runs.plans import plan_loads
from sensors.shell import OpenPlatform, gateway_sensor


def cloud_ready_sensor(open_platform: OpenPlatform) -> dg.SensorDefinition:
    """Loads what lies in `cloud_ready/`, and refreshes what is derived from it slice by slice."""
    return gateway_sensor(
        open_platform,
        name="cloud_ready",
        description="Loads what lies in cloud_ready/: a run for each date with files, the oldest first.",
        plan=plan_loads,
    )
