"""Bookkeeping over the batches of one write that every engine does alike."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.protocol import Fates, ProvenBatch

Known = Mapping[str, tuple[Fates, dt.datetime]]
"""The batches that the ledger holds, by id: their fates, and when each was first loaded."""


def once(batches: Sequence[ProvenBatch], known: Collection[str]) -> list[ProvenBatch]:
    """The batches that are not known, each once."""
    return list(
        {batch.batch_id: batch for batch in reversed(batches) if batch.batch_id not in known}.values()
    )[::-1]


def in_order(batches: Sequence[ProvenBatch], written: Mapping[str, Fates], known: Known) -> list[Fates]:
    """A batch's fates for each batch asked for; one that was not written, or stands there again, was in the ledger already."""
    result: list[Fates] = []
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


def check_balance(batches: Sequence[ProvenBatch], fates: Sequence[Fates]) -> None:
    """Whether every line of every batch has exactly one fate.

    Raises:
        GaelpError: a batch's lines do not add up.
    """
    unbalanced = [
        Problem(
            f"{f.lines} lines have {f.loaded + f.duplicate + f.rejected + f.sorted} fates",
            b.file,
            "one for each",
        )
        for f, b in zip(fates, batches, strict=True)
        if not f.balanced
    ]
    if unbalanced:
        raise GaelpError(*unbalanced)
