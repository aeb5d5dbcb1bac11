"""Whether a table can be dropped and filled again: every file that its rows came from still lies in `sent/`."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import Stage
from gaelp_assets.gateway.paths import archived_name
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.history import is_load, ledger_rows, slice_of


def check_rebuildable(platform: PlatformReader, relation: Relation) -> None:
    """Nothing, if a rebuild of all slices would bring every loaded row back.

    Raises:
        GaelpError: files are gone; each with the rows that came in it.
    """
    if not relation.is_loaded:
        return
    rows = ledger_rows(platform.warehouse, relation)
    batches: dict[Slice, list[dict[str, Any]]] = {}
    for row in rows:
        if is_load(row) and (row["loaded"] > 0 or row["revision"] is not None):
            batches.setdefault(slice_of(row), []).append(row)
    problems = []
    for slice_, held in sorted(batches.items(), key=lambda found: found[0].sort_key):
        files = platform.gateway.slice_files(relation, slice_, Stage.SENT)
        problems += [
            Problem(
                f"{row['loaded']} rows of {row['file']}, and what it corrects, would be lost"
                if row["revision"]
                else f"{row['loaded']} rows of {row['file']} would be lost",
                f"{relation.id}, {slice_}",
                "the file in sent/, from which a rebuild takes them",
                "Bring the file back, or keep the table as it is.",
            )
            for row in sorted(held, key=itemgetter("file"))
            if not any(archived_name(file, row["batch_id"]) == file.stored.name for file in files)
        ]
    if problems:
        raise GaelpError(*problems)
