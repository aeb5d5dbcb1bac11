"""`gaelp report`: parses, writes the page, says where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gaelp_assets.cli import render
from gaelp_assets.errors import GaelpError, Problem


def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="the page")] = Path("gaelp-report.html"),
    environment: Annotated[str | None, typer.Option(help="only this RL environment")] = None,
) -> None:
    """Write the pictures and figures as one HTML page that needs no network."""
    from gaelp_assets.cli.query import platform_reader
    from gaelp_assets.operations.report import html, shown

    platform = platform_reader(gateway=True)
    with render.progress_of(len(shown(platform.catalog)) + 1) as show:
        page = html(platform, environment=environment, on_progress=show)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise GaelpError(
            Problem(
                f"cannot write the report: {error.strerror}",
                str(output),
                "a file in a folder that exists",
                "Name another with --output.",
            )
        ) from None
    render.print_line(f"The report is {output.resolve()}")
