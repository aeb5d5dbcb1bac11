"""Bookkeeping over the batches of one write that every engine does alike."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.ledger import LineCounts, Note
from gaelp_assets.warehouse.loader import StagedBatch

Known = Mapping[str, tuple[LineCounts, dt.datetime]]
"""The batches that the ledger holds, by id: their fates, and when each was first loaded."""


@dataclass(frozen=True)
class Corrections:
    """What the ledger says of a slice's revisions and withdrawals, by batch id."""

    revisions: Mapping[str, int]
    notes: Mapping[str, Note]

    def overtake(self, batches: Sequence[StagedBatch]) -> bool:
        """Whether the ledger knows a later revision of one of these batches: the same bytes under another name."""
        return any(self.revisions.get(batch.batch_id, 1) > (batch.revision or 1) for batch in batches)


def corrections(rows: Iterable[tuple[str, int | None, str | None, str | None]]) -> Corrections:
    """Those of the ledger's rows: `batch_id`, `revision`, `corrected_by`, `reason`."""
    found = list(rows)
    return Corrections(
        {batch_id: revision for batch_id, revision, _, _ in found if revision is not None},
        {batch_id: Note(by, reason or "") for batch_id, _, by, reason in found if by is not None},
    )


def unique_batches(batches: Sequence[StagedBatch], known: Collection[str]) -> list[StagedBatch]:
    """The batches that are not known, each once."""
    return list(
        {batch.batch_id: batch for batch in reversed(batches) if batch.batch_id not in known}.values()
    )[::-1]


def counts_by_batch(
    batches: Sequence[StagedBatch], written: Mapping[str, LineCounts], known: Known
) -> list[LineCounts]:
    """A batch's fates for each batch asked for; one that was not written, or stands there again, was in the ledger already."""
    result: list[LineCounts] = []
    seen: set[str] = set()
    for batch in batches:
        if batch.batch_id not in written:
            result.append(known[batch.batch_id][0])
        elif batch.batch_id in seen:
            result.append(replace(written[batch.batch_id], already_in_ledger=True))
        else:
            result.append(written[batch.batch_id])
        seen.add(batch.batch_id)
    return result


def check_balance(batches: Sequence[StagedBatch], counts: Sequence[LineCounts]) -> None:
    """Whether every line of every batch has exactly one fate.

    Raises:
        GaelpError: a batch's lines do not add up.
    """
    unbalanced = [
        Problem(
            f"{f.lines} lines have {f.fates} fates",
            b.file,
            "one for each",
        )
        for f, b in zip(counts, batches, strict=True)
        if not f.balanced
    ]
    if unbalanced:
        raise GaelpError(*unbalanced)
