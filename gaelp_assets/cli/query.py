"""The commands that only read: they open a `PlatformReader`, and make nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gaelp_assets.cli import render, render_json, tables
from gaelp_assets.cli.session import current_settings

if TYPE_CHECKING:
    from gaelp_assets.platform_reader import PlatformReader
    from gaelp_assets.warehouse.reader import QueryResult

SCREEN_ROWS: Final = 1000
"""Rows on the screen where nobody says how many."""
COUNTING_SECONDS: Final = 5.0
"""How long the rows are counted that the screen does not show."""


def platform_reader(*, gateway: bool = False) -> PlatformReader:
    """The platform that the environment describes, to be looked at; with `gateway`, its gateway is in reach.

    Raises:
        GaelpError: the settings or the catalogue are wrong, or the gateway is asked for and out of reach.
    """
    from gaelp_assets.platform_reader import open_platform_reader
    from gaelp_assets.private import restrict_umask

    settings = current_settings()
    restrict_umask(settings)
    platform = open_platform_reader(settings)
    if gateway:
        platform.gateway.require()
    return platform


def status(as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
    """Show the queue, failures, stuck files, each table's rows, last import and freshness, and what is left of daily limits."""
    from gaelp_assets.operations.status import read_status

    platform = platform_reader(gateway=True)
    render.print_status(
        read_status(platform), platform.warehouse.location, platform.gateway.url, as_json=as_json
    )


def query(
    sql: Annotated[str, typer.Argument(help="one GoogleSQL SELECT")],
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME[:TYPE]=VALUE",
            help="the value of @NAME in the query; its looks tell the type, if none is named: "
            "BOOL, DATE, DATETIME, FLOAT64, INT64, NUMERIC, STRING, TIME or TIMESTAMP",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="a .csv, .json, .ndjson, .parquet or .arrow file")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="rows at most; 1,000 on the screen")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="for programs: all rows, unless --limit is given")
    ] = False,
) -> None:
    """Run a GoogleSQL query and print the result, or write it to a file. What it cost is told on stderr.

    A column without a name is called f0_, f1_, ... by its place, as BigQuery calls it.
    """
    from gaelp_assets.operations.export import writer_for
    from gaelp_assets.operations.query_parameters import query_parameters

    if output is not None and as_json:
        raise typer.BadParameter("either --json or --output", param_hint="--json")
    write = writer_for(output) if output is not None else None
    given = query_parameters(sql, parameters or ())
    screen = write is None and not as_json
    result = platform_reader().answer(
        sql,
        given,
        row_limit=limit or (SCREEN_ROWS if screen else None),
        counting=COUNTING_SECONDS if screen else None,
    )
    if write is not None:
        write(result.frame)
        render.print_line(f"{render.counted(result.frame.height)} in {output}")
    elif as_json:
        render_json.print_json(_values(result))
    else:
        tables.print_frame(result.frame, rows_shown(result.frame.height, result.total))
    render.print_cost(result.frame.height, result.cost)


def rows_shown(shown: int, total: int | None) -> str:
    """How many rows there are and are shown, and how to see the others.

    >>> rows_shown(1000, 41823)
    '1,000 of 41,823 rows shown: --limit shows more, --output writes them all to a file'
    >>> rows_shown(1, 1)
    '1 row'
    """
    if total == shown:
        return render.counted(shown)
    of = f"{total:,}" if total is not None else "more"
    return f"{shown:,} of {of} rows shown: --limit shows more, --output writes them all to a file"


def _values(result: QueryResult) -> dict[str, object]:
    return {
        "columns": list(result.frame.columns),
        "rows": result.frame.to_dicts(),
        "total": result.total,
        "seconds": result.cost.seconds,
        "bytes_read": result.cost.bytes_read,
        "bytes_billed": result.cost.bytes_billed,
    }
