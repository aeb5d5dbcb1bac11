"""The command line: parses arguments, calls what does the work, prints what came of it. Nothing is decided here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gaelp_assets.cli import catalog, correct, dead_letter_export, importing, render, retry
from gaelp_assets.cli.report import report
from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import LocalGateway, load_settings

if TYPE_CHECKING:
    from gaelp_assets.catalog import Relation
    from gaelp_assets.operations.correct import Corrected
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
dead_letter_app.command("export")(dead_letter_export.dead_letter_export)

# sysexits.h: EX_TEMPFAIL tells a caller that trying again later may help.
EXIT_PROBLEM, EXIT_TRY_AGAIN = 1, 75
# Everything ran, and yet not every line is loaded, or a relation is set aside for its problems.
EXIT_REJECTED = 3
# As `terraform plan -detailed-exitcode` has it.
EXITS_OF_DEPLOY = {
    "done": 0, "problem": EXIT_PROBLEM, "changes": 2, "set aside": EXIT_REJECTED, "try again": EXIT_TRY_AGAIN
}  # fmt: skip


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


def _platform(*, make: bool = False, gateway: bool = True) -> Platform:
    """The platform with its gateway in reach, unless it is not needed.

    With `make`, the gateway of the embedded default is made where there is none; another one never is, but by `gaelp gateway init`.
    """
    from gaelp_assets.platform import open_platform
    from gaelp_assets.private import keep_private

    settings = load_settings()
    keep_private(settings)
    platform = open_platform(settings)
    if make and settings.gateway == LocalGateway(settings.home / "export_gateway"):
        platform.gateway.prepare()
    elif gateway:
        platform.gateway.require()
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

    platform = _platform(make=True)
    producer = [sys.executable, "-m", "gaelp_assets.cli.main", "demo", "--produce-only", "--size", size]
    raise typer.Exit(
        run_dev(
            platform.settings,
            port=port,
            host=host,
            children={"the demo": producer} if demo else {},
            on_ready=lambda url: render.print_line(f"Dagster's UI: {url} (Ctrl-C stops everything)"),
            on_stop=lambda names: render.print_line(f"waiting for the end of {', '.join(names)} ..."),
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

    platform = _platform(make=True)
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
        code = _load_pending(platform)
        render.print_summary(platform)
        # Among what is delivered are lines to be rejected: here they are no surprise.
        raise typer.Exit(0 if code == EXIT_REJECTED else code)


@app.command()
def ingest() -> None:
    """Load everything that is pending, once, and refresh what is derived from it.

    Views with problems are named and left out.

    Exit codes: 0 all is loaded; 1 a run failed; 3 all ran, but lines were rejected, files were set aside, or files wait whose dates
    are not taken; 75 the gateway or the warehouse is out of reach: try again.
    """
    raise typer.Exit(_load_pending(_platform()))


def _load_pending(platform: Platform, *, refresh_only: bool = False, quiet: bool = False) -> int:
    """Loads what is pending, and says what was rejected or set aside; the exit code. With `refresh_only`, only what is stale."""
    from gaelp_assets.cli.dev import dagster_instance
    from gaelp_assets.definitions import build_definitions
    from gaelp_assets.operations.rejects import open_lines, rejected_by
    from gaelp_assets.operations.status import out_of_range
    from gaelp_assets.runs.in_process import run_pending

    before = set() if refresh_only else {file.stored.name for file in platform.gateway.failed()}
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
    if refresh_only:
        return 0 if all(result.success for result in results) else EXIT_PROBLEM
    failed = platform.gateway.failed()
    rejected = rejected_by(platform, [result.run_id for result in results])
    set_aside = [file for file in failed if file.stored.name not in before]
    render.print_rejects(rejected, set_aside, open_lines(platform))
    if failed:
        render.print_line(f"{len(failed)} files are set aside, with the reasons: gaelp gateway list")
    not_taken = out_of_range(platform)
    render.print_out_of_range(not_taken)
    render.print_set_aside(platform.catalog.set_aside.values())
    if not all(result.success for result in results):
        return EXIT_PROBLEM
    return EXIT_REJECTED if rejected or set_aside or not_taken else 0


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
    from gaelp_assets.cli.reload import reload_tables
    from gaelp_assets.operations import deploy as work
    from gaelp_assets.operations.losses import changed_tables, check_kept
    from gaelp_assets.operations.losses import count_losses as losses_of
    from gaelp_assets.operations.rebuildable import check_rebuildable
    from gaelp_assets.operations.stale import count_stale, stale_slices

    platform = _platform(gateway=bool(replace or reload or count_losses))
    if reload:
        reload_tables(platform, reload, alone=not (dry_run or replace), accept_loss=accept_loss)
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
        if code := _load_pending(platform, refresh_only=True, quiet=as_json):
            raise typer.Exit(code)
    elif not as_json:
        render_deploy.print_stale(count_stale(stale_slices(platform)))
    raise typer.Exit(EXITS_OF_DEPLOY[verdict])


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show the queue, failures, stuck files, each table's rows, last import and freshness, and what is left of daily limits."""
    from gaelp_assets.cli.query import platform_reader
    from gaelp_assets.operations.status import read_status

    platform = platform_reader(gateway=True)
    render.print_status(
        read_status(platform), platform.warehouse.location, platform.gateway.url, as_json=as_json
    )


@app.command()
def revise(
    table: Annotated[str, typer.Argument(help="DATASET.TABLE")],
    files: Annotated[list[Path], typer.Argument(help="NDJSON files with all rows of the new version")],
    reason: Annotated[str, typer.Option(help="why, for the ledger; name no values in it")],
    batch: Annotated[
        str | None,
        typer.Option(
            help="name or batch id of what the file stands in the place of; by default its own name"
        ),
    ] = None,
) -> None:
    """Put files in the place of what was loaded before, which stays in sent/ and counts no more."""
    platform = _platform()
    _after_corrections(platform, correct.revise(platform, table, files, batch, reason))


@app.command()
def withdraw(
    table: Annotated[str, typer.Argument(help="DATASET.TABLE")],
    reason: Annotated[str, typer.Option(help="why, for the ledger; name no values in it")],
    batch: Annotated[str | None, typer.Option(help="every row of the file of this name or batch id")] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE: the row with this key, one option for each field")
    ] = None,
) -> None:
    """Take rows out for good: the row with a key, or every row of a file. Resends and rebuilds do not bring them back."""
    platform = _platform()
    _after_corrections(platform, correct.withdraw(platform, table, batch, key or (), reason))


def _after_corrections(platform: Platform, done: Sequence[Corrected]) -> None:
    """Refreshes what is derived from the corrected slices, and tells Dagster how the tables' checks stand."""
    changed = sorted({item.relation_id for item in done if item.changed})
    if not changed:
        return
    _report_checks(platform, [platform.catalog[name] for name in changed])
    if code := _load_pending(platform, refresh_only=True):
        raise typer.Exit(code)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="one GoogleSQL SELECT")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="a .csv, .json, .ndjson, .parquet or .arrow file")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="rows at most; 1,000 on the screen")] = None,
) -> None:
    """Run a GoogleSQL query and print the result, or write it to a file."""
    from gaelp_assets.cli import query as reading

    reading.query(sql, output, limit)


app.command("import")(importing.import_)
app.command()(report)


@gateway_app.command("init")
def gateway_init() -> None:
    """Make the export gateway that the settings name, where there is none yet."""
    gateway = _platform(gateway=False).gateway
    gateway.prepare()
    render.print_line(f"The export gateway is {gateway.url}")


@gateway_app.command("list")
def gateway_list() -> None:
    """List what waits, what was set aside, and why."""
    from gaelp_assets.cli.query import platform_reader

    gateway = platform_reader(gateway=True).gateway
    render.print_gateway(gateway.pending(), gateway.unsorted(), gateway.failed(), gateway.strays())


@gateway_app.command("retry")
def gateway_retry(
    pattern: Annotated[
        str, typer.Argument(help="failed files whose names match, such as 'training/*'")
    ] = "*",
) -> None:
    """Put failed files back where they came from."""
    retry.retry(_platform(), pattern)


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
    from gaelp_assets.operations.rejects import dead_letters

    platform = platform_reader()
    relation = platform.catalog.find(table) if table else None
    render.print_frame(dead_letters(platform, relation=relation, limit=limit, raw=raw))


@dead_letter_app.command("acknowledge")
def dead_letter_acknowledge(
    table: Annotated[str, typer.Argument(help="DATASET.TABLE")],
    rule: Annotated[str | None, typer.Option(help="only those that this rule rejected")] = None,
    batch: Annotated[
        str | None, typer.Option(help="only those of the batch whose id starts so, as `list` shows it")
    ] = None,
) -> None:
    """Take a table's rejected lines off the list for good: its check `rejected_rows` passes, and they are replayed no more."""
    from gaelp_assets.operations.acknowledge import acknowledge

    platform = _platform()
    relation = platform.catalog.find(table)
    lines = acknowledge(platform, relation, rule=rule, batch=batch)
    render.print_line(f"{lines} lines of {relation.id} are acknowledged")
    _report_checks(platform, [relation])


def _report_checks(platform: Platform, relations: Sequence[Relation]) -> None:
    """Tells Dagster how the checks of these tables stand now, beside any run."""
    from gaelp_assets.assets.rejections import report_verdicts
    from gaelp_assets.cli.dev import dagster_instance

    if relations:
        with dagster_instance(platform.settings) as instance:
            report_verdicts(instance, platform, relations)


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
        render.print_line(
            f"{item.lines} lines of {item.relation_id} in {len(item.files)} files; {item.still_rejected} stay rejected"
        )
    render.print_line(f"{sum(item.lines for item in replayed)} lines replayed; load them with: gaelp ingest")
    if still := sum(item.still_rejected for item in replayed):
        render.print_line(
            f"{still} lines are no rows by today's rules either, and stay: gaelp dead-letter list, or acknowledge"
        )
    _report_checks(platform, [platform.catalog[name] for name in sorted({r.relation_id for r in replayed})])


if __name__ == "__main__":
    main()
