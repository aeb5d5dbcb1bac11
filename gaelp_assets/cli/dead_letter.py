"""`gaelp dead-letter`: the lines that were rejected, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from gaelp_assets.cli import render, render_json, tables
from gaelp_assets.cli.dead_letter_export import dead_letter_export
from gaelp_assets.cli.loading import report_checks
from gaelp_assets.cli.opening import open_for_work

app = typer.Typer(no_args_is_help=True, help="The lines that were rejected, and why.")
app.command("export")(dead_letter_export)


@app.command("list")
def dead_letter_list(
    table: Annotated[str | None, typer.Argument(help="only this table's: DATASET.TABLE")] = None,
    table_option: Annotated[str | None, typer.Option("--table", help="the same")] = None,
    limit: Annotated[int, typer.Option(min=1, help="lines at most")] = 50,
    raw: Annotated[
        bool, typer.Option("--raw", help="the lines themselves too: they may hold sensitive values")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """List rejected lines with file, line number and reasons."""
    from gaelp_assets.cli.query import platform_reader
    from gaelp_assets.operations.rejects import dead_letters, listed_lines

    platform = platform_reader()
    name = _one_table(table, table_option)
    relation = platform.catalog.find(name) if name else None
    found = dead_letters(platform, relation=relation, limit=limit, raw=raw)
    total = found.height if found.height < limit else listed_lines(platform, relation)
    if as_json:
        render_json.print_json({"lines": found.to_dicts(), "total": total})
    else:
        tables.print_frame(found, lines_shown(found.height, total))


def lines_shown(shown: int, total: int) -> str:
    """How many rejected lines there are and are shown.

    >>> lines_shown(50, 1234)
    '50 of 1,234 lines shown: --limit shows more'
    """
    if shown >= total:
        return f"{shown:,} {'line' if shown == 1 else 'lines'}"
    return f"{shown:,} of {total:,} lines shown: --limit shows more"


def _one_table(argument: str | None, option: str | None) -> str | None:
    if argument and option and argument != option:
        raise typer.BadParameter("two tables are named", param_hint="--table")
    return argument or option


@app.command("acknowledge")
def dead_letter_acknowledge(
    table: Annotated[str, typer.Argument(help="DATASET.TABLE")],
    rule: Annotated[str | None, typer.Option(help="only those that this rule rejected")] = None,
    batch: Annotated[
        str | None, typer.Option(help="only those of the batch whose id starts so, as `list` shows it")
    ] = None,
) -> None:
    """Take a table's rejected lines off the list for good: its check `rejected_rows` passes, and they are replayed no more."""
    from gaelp_assets.operations.acknowledge import acknowledge

    platform = open_for_work()
    relation = platform.catalog.find(table)
    lines = acknowledge(platform, relation, rule=rule, batch=batch)
    render.print_line(f"{lines} lines of {relation.id} are acknowledged")
    report_checks(platform, [relation])


@app.command("replay")
def dead_letter_replay(
    table: Annotated[str | None, typer.Argument(help="only this table's: DATASET.TABLE")] = None,
    table_option: Annotated[str | None, typer.Option("--table", help="the same")] = None,
    rule: Annotated[str | None, typer.Option(help="only those that this rule rejected")] = None,
) -> None:
    """Put rejected lines back into the gateway, once a rule or a producer is mended."""
    from gaelp_assets.operations.replay import replay

    platform = open_for_work()
    name = _one_table(table, table_option)
    replayed = replay(platform, relation=platform.catalog.find(name) if name else None, rule=rule)
    for item in replayed:
        render.print_line(
            f"{item.lines} lines of {item.relation_id} in {len(item.files)} files; {item.still_rejected} stay rejected"
        )
    render.print_line(f"{sum(item.lines for item in replayed)} lines replayed; load them with: gaelp ingest")
    if still := sum(item.still_rejected for item in replayed):
        render.print_line(
            f"{still} lines are no rows by today's rules either, and stay: gaelp dead-letter list, or acknowledge"
        )
    report_checks(platform, [platform.catalog[name] for name in sorted({r.relation_id for r in replayed})])
