"""What is said of a rebuild that would lose rows: how many, of which files, for which reasons, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import Problem
from gaelp_assets.ingest.decode.chunks import row_hash
from gaelp_assets.ingest.staging import StagedFile
from gaelp_assets.warehouse.losses import RowsLost

_TAKEN: Final = "its key is another row's by now"
_REASONS: Final = 5


def rows_lost(
    relation: Relation, slice_: Slice, lost: RowsLost, staged: Sequence[StagedFile], *, asked_for: bool
) -> list[Problem]:
    """The problems of a rebuild, one for each file whose rows would be lost.

    Args:
        relation: the table.
        slice_: its slice.
        lost: what the warehouse would lose.
        staged: the files of the rebuild.
        asked_for: whether the rebuild was asked for, rather than needed by a load.
    """
    why = (
        ""
        if asked_for
        else "; the definition of the table changed since it was loaded, so that a load rebuilds it"
    )
    accepted = (
        "with accept_loss: true in the run's configuration, which leaves these lines in the dead letter"
    )
    by_batch = {file.batch.batch_id: file for file in staged}
    return [
        Problem(
            f"rebuilding would lose {rows} rows of {_file(batch_id, by_batch)}: "
            f"{_reasons(by_batch.get(batch_id), rows, lost.row_hashes.get(batch_id, ()))}{why}",
            f"{relation.id}, {slice_}",
            "a definition by which every row that the slice holds is still one",
            "Put back what changed in the catalogue (for a field of another name, declare its former name by `was`); "
            f"or rebuild {accepted}.",
        )
        for batch_id, rows in lost.rows.items()
    ]


def _file(batch_id: str, staged: dict[str, StagedFile]) -> str:
    return (
        staged[batch_id].batch.file
        if batch_id in staged
        else f"batch {batch_id[:12]}, whose file is not there"
    )


def _reasons(staged: StagedFile | None, rows: int, row_hashes: Sequence[int]) -> str:
    """The commonest reasons for which the lines of these hashes are rejected; without hashes, any lines of the file."""
    if staged is None:
        return "no file of the slice holds them"
    wanted = set(row_hashes)
    told: set[int] = set()  # of lines, however many reasons each has
    found: dict[str, int] = {}
    for path in staged.batch.rejects:
        for raw, reasons in pl.read_parquet(path, columns=["raw", "reasons"]).iter_rows():
            hashed = row_hash(raw)
            if wanted and hashed not in wanted:
                continue
            told.add(hashed)
            for name in {f"{reason['field'] or 'line'}: {reason['rule']}" for reason in reasons}:
                found[name] = found.get(name, 0) + 1
    if others := (len(wanted) or rows) - len(told):
        found[_TAKEN] = max(others, 0)
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} ({rows})" for name, rows in ordered[:_REASONS])
