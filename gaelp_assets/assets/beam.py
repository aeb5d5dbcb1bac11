"""Windows on Apache Beam, where `GAELP_BEAM` names an environment that has it: an asset beside each relation with windows of a table.

A run starts the pipeline in that environment, through Dagster's Pipes, on the archived files of its partitions, and keeps what it tells in
`$GAELP_HOME/beam`. The relation itself is not touched: the warehouse computes it.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import datetime as dt
import warnings
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from gaelp_assets.assets.metadata import failure
from gaelp_assets.assets.partitions import asset_key, op_name, partition_set, partitions_def
from gaelp_assets.assets.steps import Results, asset_step
from gaelp_assets.catalog import WHOLE, Catalog, Relation
from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.errors import GaelpError, Problem
from resources.platform import PlatformResource

GROUP = "beam"
_WORK = "work.json"


def beam_assets(catalog: Catalog, python: Path | None, first_date: dt.date) -> list[dg.AssetsDefinition]:
    """The assets of relations with windows that are sliced as their source is; none without Beam's environment.

    Args:
        catalog: the relations that there are.
        python: the interpreter of that environment.
        first_date: the first day of which there is data.
    """
    if python is None:
        return []
    return [
        _beam_asset(relation, catalog[relation.window.source], python, first_date)
        for relation in catalog.derived
        if relation.window is not None
        and catalog[relation.window.source].is_loaded
        and partition_set(relation) == partition_set(catalog[relation.window.source])
    ]


def _beam_asset(
    relation: Relation, source: Relation, python: Path, first_date: dt.date
) -> dg.AssetsDefinition:
    name = f"{GROUP}__{op_name(relation)}"
    key = dg.AssetKey([GROUP, op_name(relation)])

    def run(context: dg.AssetExecutionContext, platform: PlatformResource) -> Results:
        from gaelp_assets.stream.beam.archive import archived_work, output_folder

        partitioned = context.assets_def.partitions_def is not None
        slices = [parse_partition_key(str(k)) for k in context.partition_keys] if partitioned else [WHOLE]
        opened = platform.open()
        folder = output_folder(opened, relation, context.run.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        work = archived_work(opened, relation, slices, str(folder))
        (folder / _WORK).write_text(work.to_json(), encoding="utf-8")
        command: Sequence[str] = [str(python), "-m", "gaelp_assets.stream.beam", str(folder / _WORK)]
        try:
            # Dagster's own client calls a part of it that it has in preview.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.PreviewWarning)
                done = dg.PipesSubprocessClient().run(context=context.op_execution_context, command=command)
        except DagsterPipesExecutionError:
            raise failure(GaelpError(_failed(relation, python))) from None
        told = done.get_custom_messages()
        counts = dict(told[-1]) if told else {}
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={**counts, "files": len(work.files), "folder": dg.MetadataValue.path(folder)},
        )

    spec = dg.AssetSpec(
        key,
        deps=[asset_key(source)],
        group_name=GROUP,
        owners=[relation.owner],
        kinds={"beam", "ndjson"},
        description=f"The windows of {relation.id} by Apache Beam, of the archived files of {source.id}: {relation.window.words}."
        if relation.window is not None
        else "",
        partitions_def=partitions_def(relation, first_date),
    )
    return asset_step(name, spec, run)


def _failed(relation: Relation, python: Path) -> Problem:
    return Problem(
        "the pipeline failed",
        f"{relation.id}, {python}",
        "an environment as `make setup-beam` makes it, and files that can be read",
        "The run's output has Beam's own words.",
    )
