"""The JSON Schema of catalogue files, with which an editor completes and marks them."""

from __future__ import annotations

import json

from gaelp_assets.catalog.load import FOLDER, SCHEMA_FILE
from gaelp_assets.catalog.model import FROM_PLACE, Relation


def json_schema() -> dict[str, object]:
    """The schema, made from the typed model."""
    schema = Relation.model_json_schema()
    properties = {name: value for name, value in schema["properties"].items() if name not in FROM_PLACE}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "A relation of the catalogue",
        "properties": {"$schema": {"type": "string"}, **properties},
        "required": [name for name in schema["required"] if name not in FROM_PLACE],
    }


def json_schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(json_schema(), indent=2) + "\n"


def write_json_schema() -> None:
    """Writes the committed schema anew."""
    (FOLDER / SCHEMA_FILE).write_text(json_schema_text(), encoding="utf-8")
