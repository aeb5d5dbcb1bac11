"""`gaelp deploy`: parse, call, print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gaelp_assets.cli import render
from gaelp_assets.cli.exits import EXIT_PROBLEM, EXIT_REJECTED, EXIT_TRY_AGAIN
from gaelp_assets.cli.loading import load_pending
from gaelp_assets.cli.opening import open_for_work
from gaelp_assets.errors import GaelpError, Problem

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform

# As `terraform plan -detailed-exitcode` has it.
_EXITS: Final = {
    "done": 0, "problem": EXIT_PROBLEM, "changes": 2, "set aside": EXIT_REJECTED, "try again": EXIT_TRY_AGAIN
}  # fmt: skip


def deploy(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only show the plan: 0 nothing to do, 2 changes, 1 refusals")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    jobs: Annotated[
        int, typer.Option(min=1, max=32, help="relations at the same time, where the engine can")
    ] = 8,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="leave out what is refused, and do the rest")
    ] = False,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            help="drop this relation and make it again, to be filled again from sent/ by a backfill"
        ),
    ] = None,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="then compute again what is stale, such as slices of changed SQL"),
    ] = False,
    count_losses: Annotated[
        bool,
        typer.Option(
            "--count-losses",
            help="read the archived files of changed tables, and count the rows that a rebuild would lose",
        ),
    ] = False,
    reload: Annotated[
        list[str] | None,
        typer.Option(
            help="drop this table and put all of its files into the queue again: for another partitioning or key"
        ),
    ] = None,
    accept_loss: Annotated[
        bool,
        typer.Option("--accept-loss", help="with --replace or --reload: lose rows that are none any more"),
    ] = False,
) -> None:
    """Bring the warehouse's datasets, tables and views up to the catalogue.

    Exit codes: 0 done; 1 something is refused or failed; 2 (with --dry-run) there are changes; 3 all else is done, but views of the
    catalogue have problems: they are named, and what the warehouse holds of them stays as it is; 75 out of reach: try again.
    """
    from gaelp_assets.cli import render_deploy
    from gaelp_assets.operations import deploy as work
    from gaelp_assets.operations.losses import changed_tables, check_kept
    from gaelp_assets.operations.losses import count_losses as losses_of
    from gaelp_assets.operations.rebuildable import check_rebuildable
    from gaelp_assets.operations.stale import count_stale, stale_slices

    platform = open_for_work(gateway=bool(replace or reload or count_losses))
    if reload:
        _reload_tables(platform, reload, alone=not (dry_run or replace), accept_loss=accept_loss)
        return
    replaced = [platform.catalog.find(name) for name in replace or ()]
    for relation in replaced:
        check_rebuildable(platform, relation)
        if not accept_loss:
            check_kept(platform, relation)
    changed = changed_tables(platform.warehouse, platform.catalog)
    losses = {each.relation.id: losses_of(platform, each) for each in changed} if count_losses else None
    plan = work.plan(platform.warehouse, platform.catalog, jobs=jobs, replace=replaced)
    if not as_json:
        render_deploy.print_plan(plan)
        render_deploy.print_changed(changed, losses)
    results = None
    if not dry_run:
        with render.progress_of(len(plan.relations)) as show:
            results = work.apply(
                platform.warehouse,
                plan,
                jobs=jobs,
                partial=allow_partial,
                on_done=lambda result: show(f"{result.outcome} {result.id}"),
            )
    if as_json:
        render_deploy.print_json(plan, results, changed, losses)
    elif results is not None:
        render_deploy.print_results(results)
    verdict = work.verdict(plan, results)
    if refresh and results is not None and work.verdict_of_sound(plan, results) is work.DeployStatus.DONE:
        if code := load_pending(platform, refresh_only=True, quiet=as_json):
            raise typer.Exit(code)
    elif not as_json:
        render_deploy.print_stale(count_stale(stale_slices(platform)))
    raise typer.Exit(_EXITS[verdict])


def _reload_tables(platform: Platform, names: Sequence[str], *, alone: bool, accept_loss: bool) -> None:
    """Drops tables and puts all of their files into the queue again; `alone` if nothing else was asked for.

    Raises:
        GaelpError: something else was asked for too, a table is unknown, or its rows would not all come back.
    """
    from gaelp_assets.operations.reload import reload_table

    if not alone:
        problem = Problem("--reload is done by itself", "gaelp deploy", "neither --dry-run nor --replace")
        raise GaelpError(problem)
    for relation in [platform.catalog.find(name) for name in names]:
        done = reload_table(platform, relation, accept_loss=accept_loss)
        render.print_line(
            f"{done.files} files of {done.relation_id} wait to be sorted and loaded: gaelp ingest"
        )
