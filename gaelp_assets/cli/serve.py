"""`gaelp serve`: parses and serves."""

from __future__ import annotations

from typing import Annotated

import typer

from gaelp_assets.cli import render
from gaelp_assets.cli.keys import keys_commands

app = typer.Typer(invoke_without_command=True)
app.add_typer(keys_commands("serve", sensitive=True), name="keys")


@app.callback()
def serve(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="where it listens; 0 takes a free one")] = 8750,
    host: Annotated[str, typer.Option(help="the address that it listens on")] = "127.0.0.1",
    rows: Annotated[int, typer.Option(min=1, help="of a page at most")] = 100_000,
    megabytes: Annotated[int, typer.Option(min=1, help="of a page at most")] = 64,
    seconds: Annotated[float, typer.Option(min=1, help="after which a query is given up")] = 30.0,
    queries: Annotated[int, typer.Option(min=1, help="at a time")] = 4,
    requests: Annotated[int, typer.Option(min=1, help="of each key in a minute")] = 600,
) -> None:
    """Serve rows of relations over HTTP, for notebooks and dashboards: nothing that is asked changes anything.

    Without any key, it serves this machine alone, and no sensitive column; with keys, it asks everybody for one. Its own page
    says what can be asked.
    """
    if context.invoked_subcommand is not None:
        return
    from gaelp_assets.cli.query import platform_reader
    from gaelp_assets.serve.app import make_app
    from gaelp_assets.serve.keys import Keys
    from gaelp_assets.serve.limits import Limits
    from gaelp_assets.serve.server import run

    limits = Limits(rows=rows, megabytes=megabytes, seconds=seconds, queries=queries, requests=requests)
    platform = platform_reader()
    keys = Keys(platform.settings.home)
    run(lambda local: make_app(platform, keys, limits, local=local), keys, host, port, _say)


def _say(url: str, asks_for_keys: bool) -> None:
    who = "with a key" if asks_for_keys else "without a key, from this machine alone"
    render.print_line(f"Serving {url} {who} (Ctrl-C stops it)")
