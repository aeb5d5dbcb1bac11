"""The export gateway as an asset, from which every loaded table descends, and the platform's own tables beside it.

The gateway itself (stages, names, moves) is `gaelp_assets.gateway`; here is what Dagster shows of it.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
from collections.abc import Iterator

import dagster as dg

from gaelp_assets.assets.metadata import (
    ColumnSources,
    definition_metadata,
    describe,
    failure,
    problems_table,
    reasons_table,
    table,
)
from gaelp_assets.assets.partitions import GATEWAY, asset_key
from gaelp_assets.catalog import Catalog, Kind
from gaelp_assets.errors import GaelpError
from resources.platform import PlatformResource


def gateway_asset(address: str, store: str) -> dg.AssetsDefinition:
    """The gateway's asset: materializing it validates the files in `raw/`, sorts their rows into slices, and shows the queue.

    Args:
        address: where the gateway is, as a URL, for people.
        store: the kind of store that Dagster's UI shows: `filesystem` or `gcs`.
    """

    @dg.multi_asset(
        name=GATEWAY.path[-1],
        specs=[
            dg.AssetSpec(
                GATEWAY,
                description="Where producers put their files. Materializing it proves what lies in raw/ and sorts it into "
                "slices in cloud_ready/, which is the load queue.",
                group_name=GATEWAY.path[0],
                owners=["team:platform"],
                kinds={store, "ndjson"},
                metadata={"address": address},
            )
        ],
    )
    def export_gateway(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        from gaelp_assets.ingest.sort import sort_raw

        opened = platform.open()
        try:
            reports = sort_raw(opened, run_id=context.run.run_id, on_progress=None)
            pending = opened.gateway.pending_slices()
        except GaelpError as error:
            raise failure(error) from error
        queue = [
            {"relation": relation_id, "slice": str(slice_), "files": waiting.files, "bytes": waiting.bytes,
             "oldest": waiting.oldest.isoformat(timespec="seconds")}
            for (relation_id, slice_), waiting in sorted(pending.items(), key=lambda item: item[1].oldest)
        ]  # fmt: skip
        aside = [file for report in reports for file in report.set_aside]
        yield dg.MaterializeResult(
            asset_key=GATEWAY,
            metadata={
                "lines sorted": sum(report.total("sorted") for report in reports),
                "lines rejected": sum(report.total("rejected") for report in reports),
                "files set aside": len(aside),
                "slices waiting": len(queue),
                "files waiting": sum(waiting.files for waiting in pending.values()),
                "bytes waiting": sum(waiting.bytes for waiting in pending.values()),
                "queue": table(
                    queue, relation="string", slice="string", files="int", bytes="int", oldest="string"
                ),
                **({"problems": problems_table(aside)} if aside else {}),
                **(
                    {"reasons of rejection": reasons_table(*reports)}
                    if any(report.reasons.height for report in reports)
                    else {}
                ),
            },
        )

    return export_gateway


def ledger_assets(catalog: Catalog, engine: str) -> list[dg.AssetSpec]:
    """The tables that the platform writes itself, in the transactions of loads: shown, never materialized."""
    nothing: ColumnSources = {}
    return [
        dg.AssetSpec(
            asset_key(relation),
            metadata=definition_metadata(relation, catalog, nothing),
            **describe(relation, engine),
        )
        for relation in catalog
        if relation.kind is Kind.LEDGER
    ]
