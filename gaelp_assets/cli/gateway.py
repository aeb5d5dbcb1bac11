"""`gaelp gateway`: the files that producers hand over."""

from __future__ import annotations

from typing import Annotated

import typer

from gaelp_assets.cli import render, render_json
from gaelp_assets.cli.opening import open_for_work

app = typer.Typer(no_args_is_help=True, help="The files that producers hand over.")


@app.command("init")
def gateway_init() -> None:
    """Make the export gateway that the settings name, where there is none yet."""
    gateway = open_for_work(gateway=False).gateway
    gateway.prepare()
    render.print_line(f"The export gateway is {gateway.url}")


@app.command("list")
def gateway_list(as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
    """List what waits, what was set aside, and why."""
    from gaelp_assets.cli.query import platform_reader

    gateway = platform_reader(gateway=True).gateway
    found = gateway.pending(), gateway.unsorted(), gateway.failed(), gateway.strays()
    if as_json:
        render_json.print_json(render_json.gateway_values(*found))
    else:
        render.print_gateway(*found)


@app.command("retry")
def gateway_retry(
    pattern: Annotated[
        str, typer.Argument(help="failed files whose names match, such as 'training/*'")
    ] = "*",
) -> None:
    """Put failed files back where they came from."""
    from gaelp_assets.cli.retry import retry

    retry(open_for_work(), pattern)
