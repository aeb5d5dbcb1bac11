"""Derived relations as assets: what their SQL or their function says is computed for the run's slices, with lineage and picture.

When a relation is due is decided in `runs`; how an engine computes one is in `warehouse`.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.metadata import (
    Metadata,
    definition_metadata,
    describe,
    failure,
    lineage_metadata,
    preview_table,
)
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
from gaelp_assets.operations.compute import refresh as refresh_slices
from gaelp_assets.operations.lineage import (
    column_sources,
    hidden_columns,
    lineage_folder,
    remembered_sources,
)
from gaelp_assets.settings import Settings
from gaelp_assets.warehouse.ranges import PartitionRange
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
            **_computed_by(relation),
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
        refresh_slices(platform, relation, *slices, run_id=run_id)
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
    newest_slice = max(slices, key=lambda s: s.sort_key)
    preview = _preview(platform, relation, newest_slice)
    if preview is not None:
        found[newest_slice]["preview"] = preview
    return lineage, found


def _computed_by(relation: Relation) -> Metadata:
    if relation.python is not None:
        return {"python": relation.python, "inputs": ", ".join(relation.inputs)}
    return {"sql": dg.MetadataValue.md(f"```sql\n{(relation.sql or '').strip()}\n```")}


def _preview(platform: "Platform", relation: Relation, slice_: Slice) -> dg.MarkdownMetadataValue | None:
    """A few rows of the slice; None if it has none, or if they would cost as much as all of a view's."""
    from gaelp_assets.ingest.preview import ROWS, first_rows

    hidden = hidden_columns(relation, platform.catalog, lineage_folder(platform.settings))
    columns = [name for name in relation.field_names if name not in hidden]
    # What sets limits bills each byte that a query reads, and a view is computed for each.
    if not columns or (platform.warehouse.capabilities.limits is not None and not relation.is_stored):
        return None
    first, last = platform.settings.first_date, platform.last_date
    days = PartitionRange(slice_.date or first, slice_.date or last, slice_.environment)
    condition, parameters = days.condition(relation, "t")
    names = ", ".join(f"t.`{name}`" for name in columns)
    sql = f"SELECT {names} FROM {relation.quoted_id} AS t WHERE {condition} LIMIT {ROWS}"
    labels = {"asset": relation.id, "purpose": "preview"}
    frame = platform.warehouse.query(sql, parameters, labels=labels).frame
    return None if frame.is_empty() else preview_table(relation, first_rows(frame, columns), hidden)


def _picture(platform: "Platform", relation: Relation, environment: str | None) -> dg.MetadataValue | None:
    from gaelp_assets.operations.charts import chart_frame, draw

    frame = chart_frame(platform, relation, environment)
    if frame.is_empty():
        return None
    image = base64.b64encode(draw(relation, frame, environment)).decode()
    return dg.MetadataValue.md(f"![{relation.name}](data:image/png;base64,{image})")
