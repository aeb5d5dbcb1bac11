"""The sensor of `raw/`: files that name no slice are validated and sorted by materializing the gateway."""

from __future__ import annotations

import dagster as dg

from gaelp_assets.runs.plans import plan_sort
from sensors.shell import OpenPlatform, gateway_sensor


def raw_sensor(open_platform: OpenPlatform) -> dg.SensorDefinition:
    """Sorts what lies in `raw/`, and sets misplaced files aside."""
    return gateway_sensor(
        open_platform,
        name="raw",
        description="Materializes the gateway while files in raw/ wait to be validated and sorted into slices.",
        plan=plan_sort,
    )
