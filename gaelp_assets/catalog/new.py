"""The first draft of a new relation's files, in a folder of the user's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from gaelp_assets.catalog.folders import FOLDER, PLATFORM_DATASETS, SCHEMA_FILE, list_files, shown
from gaelp_assets.catalog.json_schema import write_json_schema
from gaelp_assets.errors import GaelpError, Problem

KEY_FIELD = {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "What makes a row unique."}


def new_relation(
    name: str, folder: Path, *, view: bool = False, others: Iterable[Path] = (FOLDER,)
) -> list[Path]:
    """Writes `DATASET/NAME.json` (and `NAME.sql` for a view): valid as it stands, to be filled in.

    The editors' JSON Schema is written beside the datasets, and the new file points at it.

    Args:
        name: `DATASET.NAME`.
        folder: the catalogue folder that it goes to; made if it is missing.
        view: whether SQL makes its rows.
        others: the folders of the rest of the catalogue, in which the name must be free too.

    Returns:
        The paths of the relation's new files.

    Raises:
        GaelpError: the name is not DATASET.NAME, its dataset is the platform's own, a relation of that name is there already, or the
            folder cannot be written.
    """
    match = re.fullmatch(r"([a-z][a-z0-9_]{0,99})\.([a-z][a-z0-9_]{0,99})", name)
    if not match:
        raise GaelpError(
            Problem(f"{name!r} is no name", expected="DATASET.NAME in lower case, such as media.frames")
        )
    dataset, last = match.groups()
    if dataset in PLATFORM_DATASETS and folder.resolve() != FOLDER.resolve():
        raise GaelpError(
            Problem(f"the dataset {dataset!r} is the platform's own", expected="a dataset of another name")
        )
    for known in (folder, *others):
        for path in list_files(known).relations if known.is_dir() else ():
            if (path.parent.name, path.stem) == (dataset, last):
                raise GaelpError(Problem(f"the name {name!r} is taken", shown(path), "another name"))
    content: dict[str, object] = {
        "$schema": f"../{SCHEMA_FILE}",
        "description": "What one row is.",
        "owner": "team:data",
        "fields": [KEY_FIELD],
    }
    content |= {"kind": "materialized_view"} if view else {"primary_key": ["id"]}
    texts = {".json": json.dumps(content, indent=2) + "\n"}
    if view:
        texts[".sql"] = "SELECT 'replace me' AS id\n"
    written = []
    try:
        (folder / dataset).mkdir(parents=True, exist_ok=True)
        for ending, text in texts.items():
            path = folder / dataset / f"{last}{ending}"
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text)
            written.append(path)
        write_json_schema(folder)
    except OSError as error:
        path = Path(error.filename or folder)
        raise GaelpError(
            Problem(f"cannot be written: {error.strerror}", shown(path), "a folder of yours")
        ) from None
    return written
