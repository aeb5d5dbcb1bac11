"""The first draft of a new relation's files."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gaelp_assets.catalog.load import FOLDER, SCHEMA_FILE
from gaelp_assets.errors import GaelpError, Problem

KEY_FIELD = {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "What makes a row unique."}


def new_relation(name: str, *, view: bool = False, folder: Path = FOLDER) -> list[Path]:
    """Writes `DATASET/NAME.json` (and `NAME.sql` for a view): valid as it stands, to be filled in; their paths.

    Raises:
        GaelpError: the name is not DATASET.NAME, or a relation of that name is there already.
    """
    match = re.fullmatch(r"([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)", name)
    if not match:
        raise GaelpError(
            Problem(f"{name!r} is no name", expected="DATASET.NAME in lower case, such as media.frames")
        )
    dataset, last = match.groups()
    taken = next(folder.glob(f"*/{last}.json"), None)
    if taken is not None:
        raise GaelpError(
            Problem(
                f"the name {last!r} is taken",
                str(taken.relative_to(folder)),
                "a name unique in the catalogue",
            )
        )
    path = folder / dataset / f"{last}.json"
    content: dict[str, object] = {
        "$schema": f"../{SCHEMA_FILE}",
        "description": "What one row is.",
        "owner": "team:data",
        "fields": [KEY_FIELD],
    }
    content |= {"kind": "materialized_view"} if view else {"primary_key": ["id"]}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if not view:
        return [path]
    sql = path.with_suffix(".sql")
    sql.write_text("SELECT 'replace me' AS id\n", encoding="utf-8")
    return [path, sql]
