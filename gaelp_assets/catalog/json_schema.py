"""The JSON Schema of catalogue files, with which an editor completes and marks them."""

from __future__ import annotations

import json
from pathlib import Path

from gaelp_assets.catalog.folders import FOLDER, SCHEMA_FILE
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


def write_json_schema(folder: Path = FOLDER) -> Path:
    """Writes this version's schema into a catalogue folder, where its files point at it; the path."""
    path = folder / SCHEMA_FILE
    text = json_schema_text()
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path
