"""`gaelp config`: what each setting is, and where it came from."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from gaelp_assets.cli import render_json
from gaelp_assets.cli.session import current_settings
from gaelp_assets.cli.tables import table
from gaelp_assets.config_file import PREFIX
from gaelp_assets.settings import VARIABLES, Settings, without_secrets


def config(as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
    """Show every setting, its value without secrets, and where it came from: the environment, a line of gaelp.toml, or the default.

    gaelp.toml is looked for in the folder where gaelp is started, then in the home; its keys are the variables without GAELP_, in small
    letters. The environment comes before both files.
    """
    settings = current_settings()
    values = _values(settings)
    rows = [
        {
            "setting": name.removeprefix(PREFIX).lower(),
            "variable": name,
            "value": values[name],
            "from": settings.origins[name],
        }
        for name in VARIABLES
    ]
    if as_json:
        render_json.print_json({"settings": rows})
        return
    table("", ("setting", "value", "from"), [(row["setting"], row["value"], row["from"]) for row in rows])


def _values(settings: Settings) -> dict[str, str]:
    """The values as their variables take them."""
    return {
        "GAELP_HOME": str(settings.home),
        "GAELP_CATALOG": os.pathsep.join(map(str, settings.catalog)),
        "GAELP_GATEWAY": without_secrets(settings.gateway.url),
        "GAELP_WAREHOUSE": without_secrets(settings.warehouse.url),
        "GAELP_FIRST_DATE": settings.first_date.isoformat(),
        "GAELP_QUERY_SECONDS": f"{settings.query_seconds:g}",
        "GAELP_SHARED": "group" if settings.shared else "",
        "GAELP_KAFKA": settings.kafka or "",
        "GAELP_KAFKA_CONFIG": str(settings.kafka_config or ""),
        "GAELP_PUBSUB": settings.pubsub or "",
        "GAELP_STREAM_KEY": "(a secret)" if settings.stream_key else "",
        "GAELP_BEAM": str(settings.beam) if settings.beam is not None else "",
        "GAELP_OPENLINEAGE": without_secrets(settings.openlineage.url) if settings.openlineage else "",
    }
