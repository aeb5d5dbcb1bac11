"""The export gateway as an asset, from which every loaded table descends, and the platform's own tables beside it.

The gateway itself (stages, names, moves) is `gaelp_assets.gateway`; here is what Dagster shows of it.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.metadata import (
    definition_metadata,
    describe,
    failure,
    problems_table,
    reasons_table,
    table,
)
from gaelp_assets.assets.partitions import GATEWAY, asset_key
from gaelp_assets.assets.rejections import SET_ASIDE, report_verdicts, set_aside_result, tables_of
from gaelp_assets.catalog import Catalog, Kind, Relation
from gaelp_assets.errors import GaelpError
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from gaelp_assets.ingest.report import SliceReport


def gateway_asset(address: str, store: str) -> dg.AssetsDefinition:
    """The gateway's asset: materializing it validates the files in `raw/`, sorts their rows into slices, and shows the queue.

    What it rejects or sets aside fails the checks of the tables that it is for, which are reported beside their own runs.

    Args:
        address: where the gateway is, as a URL, for people.
        store: the kind of store that Dagster's UI shows: `filesystem` or `gcs`.
    """

    @dg.multi_asset(
        name=GATEWAY.path[-1],
        specs=[
            dg.AssetSpec(
                GATEWAY,
                description="Where producers put their files. Materializing it validates what lies in raw/ and sorts it into "
                "slices in cloud_ready/, which is the load queue.",
                group_name=GATEWAY.path[0],
                owners=["team:platform"],
                kinds={store, "ndjson"},
                metadata={"address": address},
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                SET_ASIDE,
                asset=GATEWAY,
                description="No file lies in failed/, whichever run set it aside, and nothing in the gateway is a link, "
                "no file, or outside of its stages.",
            )
        ],
    )
    def export_gateway(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        from gaelp_assets.ingest.sort import sort_raw

        opened = platform.open()
        try:
            set_aside_before = {file.stored.name for file in opened.gateway.failed()}
            reports = sort_raw(opened, run_id=context.run.run_id, on_progress=None)
            pending = opened.gateway.pending_slices()
            failed = opened.gateway.failed()
            set_aside = set_aside_result(opened, failed)
            new = [file.stored.name for file in failed if file.stored.name not in set_aside_before]
            report_verdicts(context.instance, opened, _touched(opened.catalog, reports, new))
        except GaelpError as error:
            raise failure(error) from error
        queue = [
            {"relation": relation_id, "slice": str(slice_), "files": waiting.files, "bytes": waiting.bytes,
             "oldest": waiting.oldest.isoformat(timespec="seconds")}
            for (relation_id, slice_), waiting in sorted(pending.items(), key=lambda item: item[1].oldest)
        ]  # fmt: skip
        aside = [file for report in reports for file in report.set_aside]
        yield set_aside
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


def _touched(catalog: Catalog, reports: Iterable["SliceReport"], set_aside: Iterable[str]) -> list[Relation]:
    """The tables whose lines were rejected, by this sort or by one that was killed, and those that the set aside files are for."""
    ids = {report.relation_id for report in reports if any(counts.rejected for counts in report.counts)}
    ids |= {report.relation_id for report in reports if report.set_aside}
    ids |= {relation.id for relation in tables_of(catalog, set_aside)}
    return [relation for relation in catalog.loaded if relation.id in ids]


def ledger_assets(catalog: Catalog, engine: str) -> list[dg.AssetSpec]:
    """The tables that the platform writes itself, in the transactions of loads: shown, never materialized."""
    return [
        dg.AssetSpec(
            asset_key(relation),
            metadata=definition_metadata(relation),
            **describe(relation, engine),
        )
        for relation in catalog
        if relation.kind is Kind.LEDGER
    ]
