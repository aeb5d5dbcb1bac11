"""What a run over many partitions says of each of them, told to Dagster at once.

`add_asset_metadata` lists all partitions of the run again, and copies what was added before, for each partition: 1.4 ms of CPU time in a
run of 100 partitions, 19 ms in one of 200 with two dimensions, 50 ms in one of 5,000.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
from collections.abc import Mapping

import dagster as dg

# Not exported: where `add_asset_metadata` keeps what it is given.
from dagster._core.execution.context.metadata_logging import (
    AssetMetadataHandle,
    OutputMetadataAccumulator,
    OutputMetadataHandle,
)

from gaelp_assets.assets.metadata import Metadata
from gaelp_assets.catalog import Slice


def add_partition_metadata(
    context: dg.AssetExecutionContext, key: dg.AssetKey, found: Mapping[Slice, Metadata]
) -> None:
    """Adds metadata to the materializations of an asset's partitions, as `context.add_asset_metadata` would to each.

    Args:
        context: of the step that materializes the asset.
        key: the asset.
        found: the metadata of each slice that the run is about.
    """
    step = context.get_step_execution_context()
    # Its own attribute: what is public takes one partition at a time.
    known = step._metadata_accumulator.per_output_metadata
    added: dict[OutputMetadataHandle | AssetMetadataHandle, Mapping[str, object]] = {
        AssetMetadataHandle(asset_key=key, partition_key=slice_.partition_key): metadata
        for slice_, metadata in found.items()
    }
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata={**known, **added})


def partition_metadata(context: dg.AssetExecutionContext) -> list[Mapping[str, object]]:
    """What was added for each partition of the step's asset so far."""
    found = context.get_step_execution_context()._metadata_accumulator.per_output_metadata
    return [metadata for handle, metadata in found.items() if isinstance(handle, AssetMetadataHandle)]
