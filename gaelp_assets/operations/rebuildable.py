"""Whether a table can be dropped and filled again: every file that its rows came from still lies in `sent/`."""

from __future__ import annotations

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import Stage
from gaelp_assets.gateway.paths import archived_name
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ledger import LEDGER, WriteMode


def check_rebuildable(platform: PlatformReader, relation: Relation) -> None:
    """Nothing, if a rebuild of all slices would bring every loaded row back.

    Raises:
        GaelpError: files are gone; each with the rows that came in it.
    """
    if not relation.is_loaded:
        return
    ledger = platform.warehouse.query(
        f"SELECT slice_date, slice_environment, batch_id, file, loaded, revision FROM {LEDGER} WHERE dataset = @dataset "
        "AND `table` = @table_name AND mode <> @sort AND (loaded > 0 OR revision IS NOT NULL) ORDER BY slice_date, slice_environment, file",
        {"dataset": relation.dataset, "table_name": relation.name, "sort": WriteMode.SORT.value},
        labels={"asset": LEDGER},
    ).frame
    problems = []
    for (date, environment), batches in ledger.group_by(
        "slice_date", "slice_environment", maintain_order=True
    ):
        slice_ = Slice(date, environment)
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
            for row in batches.to_dicts()
            if not any(archived_name(file, row["batch_id"]) == file.stored.name for file in files)
        ]
    if problems:
        raise GaelpError(*problems)
