"""What every sensor shares: the job that its runs belong to, and how often it looks."""

from typing import Final

# Dagster's own job over all assets. A sensor whose target is a selection of assets with different partitions would keep the whole
# code location from loading.
ASSET_JOB: Final = "__ASSET_JOB"
INTERVAL_SECONDS: Final = 10
