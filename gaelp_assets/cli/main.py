"""The command line: parses arguments, calls what does the work, prints what came of it. Nothing is decided here."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gaelp_assets.cli import catalog, render, render_deploy
from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import load_settings

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="The data platform of GAELP.",
)
gateway_app = typer.Typer(no_args_is_help=True, help="The files that producers hand over.")
dead_letter_app = typer.Typer(no_args_is_help=True, help="The lines that were rejected, and why.")
app.add_typer(catalog.app, name="catalog")
app.add_typer(gateway_app, name="gateway")
app.add_typer(dead_letter_app, name="dead-letter")

# sysexits.h: EX_TEMPFAIL tells a caller that trying again later may help.
EXIT_PROBLEM, EXIT_TRY_AGAIN = 1, 75
# As `terraform plan -detailed-exitcode` has it.
EXITS_OF_DEPLOY = {"done": 0, "problem": EXIT_PROBLEM, "changes": 2, "try again": EXIT_TRY_AGAIN}


def main() -> None:
    """Runs the command line; a user's mistake ends with its problems on stderr and no traceback."""
    render.show_notices()
    try:
        app()
    except GaelpError as error:
        render.print_problems(error.problems)
        sys.exit(EXIT_PROBLEM if error.permanent else EXIT_TRY_AGAIN)


def _print_version(wanted: bool) -> None:
    if wanted:
        render.print_line(f"gaelp {version('gaelp-assets')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """The data platform of GAELP."""


def _platform() -> Platform:
    from gaelp_assets.platform import open_platform

    platform = open_platform(load_settings())
    platform.gateway.prepare()
    return platform


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="where Dagster's UI listens")] = 3000,
    host: Annotated[str, typer.Option(help="the address that it listens on")] = "127.0.0.1",
    size: Annotated[str, typer.Option(help="of the demo: default or quick")] = "default",
    demo: Annotated[bool, typer.Option(help="train the demo's agents while the UI runs")] = True,
) -> None:
    """Start Dagster's UI and daemon, with sensors on, while the demo's agents train."""
    from gaelp_assets.cli.dev import run_dev

    platform = _platform()
    producer = [sys.executable, "-m", "gaelp_assets.cli.main", "demo", "--produce-only", "--size", size]
    raise typer.Exit(
        run_dev(
            platform.settings,
            port=port,
            host=host,
            children={"demo": producer} if demo else {},
            on_ready=lambda url: render.print_line(f"Dagster's UI: {url} (Ctrl-C stops everything)"),
        )
    )


@app.command()
def demo(
    size: Annotated[str, typer.Option(help="default or quick")] = "default",
    days: Annotated[int, typer.Option(min=1, help="simulated days of training, up to yesterday")] = 5,
    produce_only: Annotated[
        bool, typer.Option("--produce-only", help="leave the loading to running sensors")
    ] = False,
) -> None:
    """Train real agents, load what they produce, refresh the views, and print what is now where."""
    from gaelp_assets.demo.deliver import deliver

    platform = _platform()
    with render.progress() as show:
        reports = deliver(
            platform.settings,
            platform.gateway,
            size=size,
            days=days,
            on_progress=lambda p: show(f"training {p.date} {p.done}/{p.total}: {p.label}"),
        )
        for report in reports:
            render.print_line(f"{report.date}: {report.rows:,} rows in {report.files} files delivered")
    if not produce_only:
        _load_pending(platform)
        render.print_summary(platform)


@app.command()
def ingest() -> None:
    """Load everything that is pending, once, and refresh what is derived from it."""
    _load_pending(_platform())


def _load_pending(platform: Platform, *, refresh_only: bool = False, quiet: bool = False) -> None:
    from gaelp_assets.cli.dev import dagster_instance
    from gaelp_assets.definitions import build_definitions
    from gaelp_assets.runs.in_process import run_pending

    definitions = build_definitions(platform.settings, platform.catalog)
    with dagster_instance(platform.settings) as instance, render.progress() as show:
        results = run_pending(
            definitions,
            platform,
            instance,
            lambda slot, number, count, _: show(f"{slot} ({number} of {count})"),
            refresh_only=refresh_only,
        )
    if not quiet:
        render.print_runs(results)
    if not refresh_only and (failed := platform.gateway.failed()):
        render.print_line(f"{len(failed)} files are set aside, with the reasons: gaelp gateway list")
    if not all(result.success for result in results):
        raise typer.Exit(EXIT_PROBLEM)


@app.command()
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
        typer.Option(help="drop this relation and make it anew, to be filled again from sent/ by a backfill"),
    ] = None,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="then compute again what is stale, such as slices of changed SQL"),
    ] = False,
) -> None:
    """Bring the warehouse's datasets, tables and views up to the catalogue."""
    from gaelp_assets.operations import deploy as work
    from gaelp_assets.operations.rebuildable import check_rebuildable
    from gaelp_assets.operations.stale import count_stale, stale_slices
    from gaelp_assets.platform import open_platform

    platform = open_platform(load_settings())
    replaced = [platform.catalog.find(name) for name in replace or ()]
    for relation in replaced:
        check_rebuildable(platform, relation)
    plan = work.plan(platform.warehouse, platform.catalog, jobs=jobs, replace=replaced)
    if not as_json:
        render_deploy.print_plan(plan)
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
        render_deploy.print_json(plan, results)
    elif results is not None:
        render_deploy.print_results(results)
    verdict = work.verdict(plan, results)
    if refresh and verdict is work.DeployStatus.DONE and results is not None:
        _load_pending(platform, refresh_only=True, quiet=as_json)
    elif not as_json:
        render_deploy.print_stale(count_stale(stale_slices(platform)))
    raise typer.Exit(EXITS_OF_DEPLOY[verdict])


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show the queue, failures, stuck files, each table's rows, last import and freshness, and what is left of daily limits."""
    from gaelp_assets.operations.status import read_status

    platform = _platform()
    render.print_status(
        read_status(platform), platform.warehouse.location, platform.gateway.url, as_json=as_json
    )


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="one GoogleSQL SELECT")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="a .csv, .parquet or .json file")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="rows at most; 1,000 on the screen")] = None,
) -> None:
    """Run a GoogleSQL query and print the result, or write it to a file."""
    from gaelp_assets.cli import query as reading

    reading.query(sql, output, limit)


@gateway_app.command("list")
def gateway_list() -> None:
    """List what waits, what was set aside, and why."""
    gateway = _platform().gateway
    render.print_gateway(gateway.pending(), gateway.unsorted(), gateway.failed())


@gateway_app.command("retry")
def gateway_retry(
    pattern: Annotated[
        str, typer.Argument(help="failed files whose names match, such as 'training/*'")
    ] = "*",
) -> None:
    """Put failed files back where they came from."""
    gateway = _platform().gateway
    if not gateway.failed():
        render.print_line("there are no failed files")
        return
    for failed, name in gateway.retry(pattern):
        render.print_line(f"{failed} -> {name}")


@dead_letter_app.command("list")
def dead_letter_list(
    table: Annotated[str | None, typer.Option(help="only this table's")] = None,
    limit: Annotated[int, typer.Option(help="lines at most")] = 50,
    raw: Annotated[
        bool, typer.Option("--raw", help="the lines themselves too: they may hold sensitive values")
    ] = False,
) -> None:
    """List rejected lines with file, line number and reasons."""
    from gaelp_assets.cli.query import platform_reader
    from gaelp_assets.operations.replay import dead_letters

    platform = platform_reader()
    relation = platform.catalog.find(table) if table else None
    render.print_frame(dead_letters(platform, relation=relation, limit=limit, raw=raw))


@dead_letter_app.command("replay")
def dead_letter_replay(
    table: Annotated[str | None, typer.Option(help="only this table's")] = None,
    rule: Annotated[str | None, typer.Option(help="only those that this rule rejected")] = None,
) -> None:
    """Put rejected lines back into the gateway, once a rule or a producer is mended."""
    from gaelp_assets.operations.replay import replay

    platform = _platform()
    replayed = replay(platform, relation=platform.catalog.find(table) if table else None, rule=rule)
    for item in replayed:
        render.print_line(f"{item.lines} lines of {item.relation_id} in {item.file}")
    render.print_line(f"{sum(item.lines for item in replayed)} lines replayed; load them with: gaelp ingest")


if __name__ == "__main__":
    main()
