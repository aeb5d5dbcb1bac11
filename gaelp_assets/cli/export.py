"""`gaelp export`: the group of commands that write what the platform holds in the form of another tool. Each has a module of its own."""

from __future__ import annotations

import typer

from gaelp_assets.cli.export_bundles import parquet, portal
from gaelp_assets.cli.export_lookml import lookml
from gaelp_assets.cli.export_minari import minari

app = typer.Typer(no_args_is_help=True, help="Write what the platform holds in the form of other tools.")


@app.callback()
def _export() -> None:
    """Write what the platform holds in the form of other tools."""


app.command("lookml")(lookml)
app.command("minari")(minari)
app.command("parquet")(parquet)
app.command("portal")(portal)
