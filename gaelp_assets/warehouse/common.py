"""What every engine does alike with relations, slices and batches, whatever its SQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.protocol import Fates, ProvenBatch

Known = Mapping[str, tuple[Fates, dt.datetime]]
"""The batches that the ledger holds, by id: their fates, and when each was first loaded."""


def with_upstream(catalog: Catalog, relations: Sequence[Relation]) -> list[Relation]:
    """These and all that they read, each after what it reads."""
    ordered: dict[str, Relation] = {}

    def add(relation: Relation) -> None:
        if relation.id not in ordered:
            for upstream in sorted(catalog.upstream.get(relation.id, ())):
                add(catalog[upstream])
            ordered[relation.id] = relation

    for relation in relations:
        add(relation)
    return list(ordered.values())


def day_of(date: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """The first moment of a UTC day, and of the next."""
    start = dt.datetime.combine(date, dt.time(), dt.UTC)
    return start, start + dt.timedelta(days=1)


def slice_condition(
    relation: Relation,
    slice_: Slice,
    prefix: str,
    quote: Callable[[str], str],
    literal: Callable[[Any], str],
) -> str:
    """The slice as a condition of constants, so that only its part of the table is read; `TRUE` for a whole table.

    `quote` and `literal` write an engine's identifiers and constants; `prefix` stands before each column.

    Raises:
        GaelpError: the slice has other dimensions than the relation.
    """
    check_dimensions(relation, slice_)
    partitioning = relation.partitioning
    if partitioning is None or slice_.date is None:
        return "TRUE"
    column = prefix + quote(partitioning.date)
    if relation.field(partitioning.date).type == "DATE":
        condition = f"{column} = {literal(slice_.date)}"
    else:
        start, stop = day_of(slice_.date)
        condition = f"{column} >= {literal(start)} AND {column} < {literal(stop)}"
    if partitioning.environment is not None and slice_.environment is not None:
        condition += f" AND {prefix}{quote(partitioning.environment)} = {literal(slice_.environment)}"
    return condition


def check_dimensions(relation: Relation, slice_: Slice) -> None:
    """Whether the slice is one of the relation.

    Raises:
        GaelpError: the slice has other dimensions than the relation.
    """
    partitioning = relation.partitioning
    wanted = (partitioning is not None, partitioning is not None and partitioning.environment is not None)
    if wanted != (slice_.date is not None, slice_.environment is not None):
        dimensions = " and ".join(
            name for name, has in zip(("date", "environment"), wanted, strict=True) if has
        )
        raise GaelpError(
            Problem(
                f"the slice {slice_} is not one of this relation",
                relation.id,
                dimensions or "the whole table",
            )
        )


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
