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


def platform_reader() -> PlatformReader:
    """The platform that the environment describes, to be looked at."""
    from gaelp_assets.platform_reader import open_platform_reader

    return open_platform_reader(load_settings())


def query(sql: str, output: Path | None, limit: int | None) -> None:
    """Prints the result of a GoogleSQL query or writes it to a file, and says on stderr what it cost.

    Raises:
        GaelpError: the query or the file's ending is wrong.
    """
    from gaelp_assets.operations.export import writer_for

    write = writer_for(output) if output is not None else None
    result = platform_reader().answer(sql, row_limit=limit if write or limit else SCREEN_ROWS)
    if write is None:
        render.print_frame(result.frame)
    else:
        write(result.frame)
        render.print_line(f"{result.frame.height:,} rows in {output}")
    render.print_cost(result.frame.height, result.cost)
