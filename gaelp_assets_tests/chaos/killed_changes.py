"""Does what `gaelp deploy --refresh` and `gaelp ingest` do after a change of a small catalogue, or rebuilds every slice by it, and
kills its own process at the step that it is told. Steps are those of `killed_runs`, and those that change relations."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import dagster as dg

from gaelp_assets.assets.partitions import asset_key, op_name
from gaelp_assets.cli.dev import dagster_instance
from gaelp_assets.definitions import build_definitions
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.operations import deploy
from gaelp_assets.operations.stale import stale_slices
from gaelp_assets.platform import Platform
from gaelp_assets.runs.in_process import run_pending
from gaelp_assets.runs.orphans import IN_PROCESS_TAG
from gaelp_assets.runs.planning import ASSET_JOB
from gaelp_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gaelp_assets_tests.chaos.killed_runs import Killer, small_platform, watch_runs
from gaelp_assets_tests.chaos.workers import slices_of

SCORES: Final = "lab.scores"


def follow(home: Path, fatal_step: int | None, steps: Path, *, rebuild: bool, in_runs: bool) -> None:
    """Brings the warehouse up to the catalogue, and loads and computes what that leaves to do.

    Args:
        home: where catalogue, gateway and warehouse are.
        fatal_step: the number of the step to die at; None for none.
        steps: a file for the steps' names; it is written if the process is not killed.
        rebuild: whether every slice is loaded again from all of its files.
        in_runs: whether Dagster's runs do it, as they always do for a user; without them the same rows are written sooner.
    """
    killer = Killer(fatal_step)
    watch_runs(killer)
    for name in ("make_dataset", "ensure", "_carry_out"):  # the last one within its transaction
        killer.watch(DuckDBWarehouse, name)
    platform = small_platform(home)
    plan = deploy.plan(platform.warehouse, platform.catalog, jobs=1)
    results = deploy.apply(platform.warehouse, plan, jobs=1)
    assert deploy.verdict(plan, results) is deploy.DeployStatus.DONE, results
    if in_runs:
        _in_runs(platform, rebuild=rebuild)
    else:
        _without_runs(platform, rebuild=rebuild)
    steps.write_text("\n".join(killer.steps))


def _in_runs(platform: Platform, *, rebuild: bool) -> None:
    definitions = build_definitions(platform.settings, platform.catalog)
    with dagster_instance(platform.settings) as instance:
        if rebuild:
            _rebuild(definitions, platform, instance)
        for refresh_only in (True, False):
            assert all(
                result.success
                for result in run_pending(definitions, platform, instance, refresh_only=refresh_only)
            )


def _without_runs(platform: Platform, *, rebuild: bool) -> None:
    if rebuild:
        for slice_ in slices_of(platform, SCORES):
            load_slice(platform, platform.catalog[SCORES], slice_, run_id="chaos", rebuild=True)
    _refresh(platform)
    for relation_id, slice_ in platform.gateway.pending_slices():
        load_slice(platform, platform.catalog[relation_id], slice_, run_id="chaos")
    _refresh(platform)


def _refresh(platform: Platform) -> None:
    while stale := list(stale_slices(platform)):
        for each in stale:
            platform.warehouse.refresh(each.relation, each.slice)


def _rebuild(definitions: dg.Definitions, platform: Platform, instance: dg.DagsterInstance) -> None:
    """What a backfill of the loaded table does."""
    relation = platform.catalog[SCORES]
    job = definitions.resolve_job_def(ASSET_JOB)
    for partition in sorted(instance.get_materialized_partitions(asset_key(relation))):
        done = job.execute_in_process(
            instance=instance,
            asset_selection=[asset_key(relation)],
            partition_key=partition,
            tags=IN_PROCESS_TAG,  # so that the next process ends the run if this one is killed
            run_config={"ops": {op_name(relation): {"config": {"rebuild": True}}}},
        )
        assert done.success
