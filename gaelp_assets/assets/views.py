"""Derived relations as assets: what their SQL says is computed for the run's slices, with lineage and picture.

When a relation is due is decided in `runs`; how an engine computes one is in `warehouse`.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.lineage import column_sources, lineage_folder, remembered_sources
from gaelp_assets.assets.metadata import Metadata, definition_metadata, describe, failure, lineage_metadata
from gaelp_assets.assets.partition_metadata import add_partition_metadata
from gaelp_assets.assets.partitions import (
    asset_key,
    empty_selection,
    op_name,
    partition_mapping,
    partitions_def,
)
from gaelp_assets.assets.steps import Results, asset_step
from gaelp_assets.assets.tables import freshness_policy, row_counts
from gaelp_assets.catalog import WHOLE, Catalog, Relation, Slice
from gaelp_assets.catalog.derivation import code_version
from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import Settings
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform


def view_asset(relation: Relation, catalog: Catalog, engine: str, settings: Settings) -> dg.AssetsDefinition:
    """The asset of a derived relation. Each run shows the columns that its columns come from, and so does its definition after that."""
    key = asset_key(relation)
    upstream = [catalog[relation_id] for relation_id in sorted(catalog.upstream[relation.id])]

    def refresh(context: dg.AssetExecutionContext, platform: PlatformResource) -> Results:
        partitioned = context.assets_def.partitions_def is not None
        slices = [parse_partition_key(str(k)) for k in context.partition_keys] if partitioned else [WHOLE]
        if not slices:
            raise empty_selection("the selected range")
        try:
            of_all, found = _refresh(platform.open(), relation, slices, context.run.run_id)
        except GaelpError as error:
            raise failure(error) from error
        if partitioned:
            add_partition_metadata(context, key, found)
        yield dg.MaterializeResult(
            asset_key=key, metadata=of_all if partitioned else {**of_all, **found[WHOLE]}
        )

    spec = dg.AssetSpec(
        key,
        deps=[dg.AssetDep(asset_key(r), partition_mapping=partition_mapping(relation, r)) for r in upstream],
        metadata={
            **definition_metadata(relation),
            # Where a definition describes a column, the UI shows no other description of it.
            **lineage_metadata(
                relation, catalog, remembered_sources(relation, catalog, lineage_folder(settings)) or {}
            ),
            "sql": dg.MetadataValue.md(f"```sql\n{(relation.sql or '').strip()}\n```"),
        },
        partitions_def=partitions_def(relation, settings.first_date),
        freshness_policy=freshness_policy(relation),
        code_version=code_version(catalog, relation),
        **describe(relation, engine),
    )
    return asset_step(op_name(relation), spec, refresh)


def _refresh(
    platform: "Platform", relation: Relation, slices: Sequence[Slice], run_id: str
) -> tuple[Metadata, dict[Slice, Metadata]]:
    """What is to be said of all of the slices, and of each."""
    platform.warehouse.ensure([relation])
    if relation.is_stored:
        platform.warehouse.refresh(relation, *slices, run_id=run_id)
    found = row_counts(platform, relation, slices)
    # The UI shows that of the newest materialization, and Dagster materializes the partitions of a run in any order.
    sources = column_sources(relation, platform.catalog, lineage_folder(platform.settings))
    lineage = lineage_metadata(relation, platform.catalog, sources)
    if relation.chart is not None:
        # One picture shows an environment over all dates: it goes to the newest of the run's slices of each.
        newest = {slice_.environment: slice_ for slice_ in sorted(slices, key=lambda s: s.sort_key)}
        for environment, slice_ in newest.items():
            picture = _picture(platform, relation, environment)
            if picture is not None:
                found[slice_]["picture"] = picture
    return lineage, found


def _picture(platform: "Platform", relation: Relation, environment: str | None) -> dg.MetadataValue | None:
    from gaelp_assets.operations.charts import chart_frame, draw

    frame = chart_frame(platform, relation, environment)
    if frame.is_empty():
        return None
    image = base64.b64encode(draw(relation, frame, environment)).decode()
    return dg.MetadataValue.md(f"![{relation.name}](data:image/png;base64,{image})")
