"""`gaelp serve`: parses, serves, and makes the keys of those who ask."""

from __future__ import annotations

from typing import Annotated

import typer

from gaelp_assets.cli import render, render_json
from gaelp_assets.cli.session import current_settings

app = typer.Typer(invoke_without_command=True)
keys_app = typer.Typer(no_args_is_help=True, help="The keys of those who ask.")
app.add_typer(keys_app, name="keys")


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
    from gaelp_assets.serve.limits import Limits
    from gaelp_assets.serve.server import run

    limits = Limits(rows=rows, megabytes=megabytes, seconds=seconds, queries=queries, requests=requests)
    run(platform_reader(), host, port, limits, _say)


def _say(url: str, asks_for_keys: bool) -> None:
    who = "with a key" if asks_for_keys else "without a key, from this machine alone"
    render.print_line(f"Serving {url} {who} (Ctrl-C stops it)")


@keys_app.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="of who gets it; it stands in the log")],
    sensitive: Annotated[bool, typer.Option("--sensitive", help="serve sensitive columns to it")] = False,
) -> None:
    """Make a key and show it, once: only its digest is kept."""
    from gaelp_assets.private import restrict_umask
    from gaelp_assets.serve.keys import Keys

    settings = current_settings()
    restrict_umask(settings)
    render.print_line(Keys(settings.home).add(name, sensitive=sensitive))


@keys_app.command("list")
def keys_list(as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
    """List the keys' names, since when they are, and which get sensitive columns."""
    from gaelp_assets.serve.keys import Keys

    keys = Keys(current_settings().home).all()
    if as_json:
        render_json.print_json(
            {"keys": [{"name": key.name, "sensitive": key.sensitive, "made": key.made} for key in keys]}
        )
        return
    for key in keys:
        render.print_line(f"{key.name}  {key.made}{'  sensitive' if key.sensitive else ''}")


@keys_app.command("remove")
def keys_remove(name: Annotated[str, typer.Argument(help="as `gaelp serve keys list` shows it")]) -> None:
    """Remove a key; a server that runs refuses it from now on."""
    from gaelp_assets.serve.keys import Keys

    Keys(current_settings().home).remove(name)
    render.print_line(f"The key {name} is removed")
