"""The commands that only read: they open a `PlatformReader`, and make nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gaelp_assets.cli import render
from gaelp_assets.settings import load_settings

if TYPE_CHECKING:
    from gaelp_assets.platform_reader import PlatformReader

# Rows on the screen where nobody says how many.
SCREEN_ROWS = 1000


def platform_reader(*, gateway: bool = False) -> PlatformReader:
    """The platform that the environment describes, to be looked at; with `gateway`, its gateway is in reach.

    Raises:
        GaelpError: the settings or the catalogue are wrong, or the gateway is asked for and out of reach.
    """
    from gaelp_assets.platform_reader import open_platform_reader
    from gaelp_assets.private import restrict_umask

    settings = load_settings()
    restrict_umask(settings)
    platform = open_platform_reader(settings)
    if gateway:
        platform.gateway.require()
    return platform


def query(sql: str, output: Path | None, limit: int | None) -> None:
    """Prints the result of a GoogleSQL query or writes it to a file, and says on stderr what it cost.

    Raises:
        GaelpError: the query or the file's ending is wrong.
    """
    from gaelp_assets.operations.export import writer_for

    write = writer_for(output) if output is not None else None
    shown = limit or SCREEN_ROWS
    # One row more than the screen shows tells whether there are more.
    result = platform_reader().answer(sql, row_limit=limit if write else shown + 1)
    if write is None:
        render.print_frame(result.frame, shown)
    else:
        write(result.frame)
        render.print_line(f"{result.frame.height:,} rows in {output}")
    rows = result.frame.height
    render.print_cost(rows if write else min(rows, shown), result.cost)
