"""The bundle for the Benchmark Portal as an asset: a partition is a day. What is in a bundle and where it goes is `operations.bundle`."""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import datetime as dt
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import dagster as dg

from gaelp_assets.assets.metadata import failure, table
from gaelp_assets.assets.partitions import asset_key, days_of, partition_set
from gaelp_assets.catalog import Catalog
from gaelp_assets.errors import GaelpError
from resources.platform import PlatformResource

BUNDLE: Final = dg.AssetKey(["portal", "benchmark_bundle"])
WHOLE_CHECK: Final = "files_are_whole"


def portal_assets(catalog: Catalog, first_date: dt.date) -> list[dg.AssetsDefinition]:
    """The asset of the bundle; none where the catalogue publishes nothing."""
    published = [relation for relation in catalog if relation.publish]
    if not published:
        return []
    deps = [
        dg.AssetDep(
            asset_key(relation),
            # Dagster would list every day with every environment: they are shown as none.
            partition_mapping=dg.SpecificPartitionsPartitionMapping([])
            if partition_set(relation) == "date|environment"
            else None,
        )
        for relation in published
    ]

    @dg.multi_asset(
        name=BUNDLE.path[-1],
        specs=[
            dg.AssetSpec(
                BUNDLE,
                deps=deps,
                group_name=BUNDLE.path[0],
                owners=["team:platform"],
                kinds={"parquet"},
                description="What the Benchmark Portal is given of a day: Parquet files of the published relations and a manifest, in "
                "exports/benchmark_portal/ beside the gateway's stages. The same content has the same version; a bundle is never changed.",
                partitions_def=days_of(first_date),
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                WHOLE_CHECK,
                asset=BUNDLE,
                description="The files of the day's newest bundle are those that its manifest tells of.",
            )
        ],
    )
    def benchmark_bundle(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        from gaelp_assets.operations.bundle import damaged_files, publish_day

        opened = platform.open()
        damaged: list[str] = []
        for key in context.partition_keys:
            day = dt.date.fromisoformat(str(key))
            try:
                with tempfile.TemporaryDirectory(prefix="gaelp-bundle-") as folder:
                    place, new, bundle = publish_day(opened, day, Path(folder))
                damaged += [f"{day}: {problem}" for problem in damaged_files(opened, day)]
            except GaelpError as error:
                raise failure(error) from error
            relations = [
                {"relation": entry["relation"], "files": len(entry["files"]), "rows": entry["rows"]}
                for entry in bundle.manifest["relations"]
            ]
            context.add_asset_metadata(
                {
                    "place": place,
                    "version": bundle.version,
                    "new": new,
                    "relations": table(relations, relation="string", files="int", rows="int"),
                },
                asset_key=BUNDLE,
                partition_key=str(key),
            )
        yield dg.MaterializeResult(asset_key=BUNDLE)
        yield dg.AssetCheckResult(
            asset_key=BUNDLE,
            check_name=WHOLE_CHECK,
            passed=not damaged,
            metadata={"problems": "\n".join(damaged) or "none"},
        )

    return [benchmark_bundle]
