"""`gaelp serve keys` and `gaelp stream keys`: the keys of those who ask a server of this platform."""

from __future__ import annotations

from typing import Annotated

import typer

from gaelp_assets.cli import render, render_json
from gaelp_assets.cli.session import current_settings


def keys_commands(kind: str, *, sensitive: bool) -> typer.Typer:
    """The commands of one kind of keys; `sensitive`: whether such a key can be one for sensitive columns."""
    app = typer.Typer(no_args_is_help=True, help="The keys of those who ask.")

    def make(name: str, *, for_sensitive: bool) -> None:
        from gaelp_assets.private import restrict_umask
        from gaelp_assets.serve.keys import Keys

        settings = current_settings()
        restrict_umask(settings)
        render.print_line(Keys(settings.home, kind).add(name, sensitive=for_sensitive))

    if sensitive:

        @app.command("add")
        def add_for_columns(
            name: Annotated[str, typer.Argument(help="of who gets it; it stands in the log")],
            sensitive: Annotated[
                bool, typer.Option("--sensitive", help="serve sensitive columns to it")
            ] = False,
        ) -> None:
            """Make a key and show it, once: only its digest is kept."""
            make(name, for_sensitive=sensitive)

    else:

        @app.command("add")
        def add(
            name: Annotated[str, typer.Argument(help="of who gets it; it stands in the log")],
        ) -> None:
            """Make a key and show it, once: only its digest is kept."""
            make(name, for_sensitive=False)

    @app.command("list")
    def list_(as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
        """List the keys' names and since when they are."""
        from gaelp_assets.serve.keys import Keys

        keys = Keys(current_settings().home, kind).all()
        if as_json:
            told = [{"name": key.name, "sensitive": key.sensitive, "made": key.made} for key in keys]
            render_json.print_json({"keys": told})
            return
        for key in keys:
            render.print_line(f"{key.name}  {key.made}{'  sensitive' if key.sensitive else ''}")

    @app.command("remove")
    def remove(
        name: Annotated[str, typer.Argument(help="as `keys list` shows it")],
    ) -> None:
        """Remove a key; a server that runs refuses it from now on."""
        from gaelp_assets.serve.keys import Keys

        Keys(current_settings().home, kind).remove(name)
        render.print_line(f"The key {name} is removed")

    return app
