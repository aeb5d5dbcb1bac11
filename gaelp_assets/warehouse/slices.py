"""Slices as a condition of SQL, whatever the engine's dialect."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, Problem


@dataclass
class Rectangle:
    """Slices of neighbouring dates, of each the same environments; one None in place of what a relation is not sliced by."""

    dates: list[dt.date | None]
    environments: list[str | None] = field(default_factory=list)


def rectangles(slices: Iterable[Slice]) -> list[Rectangle]:
    """The slices as rectangles, in the order of their dates; slices that a run of Dagster is about are one.

    >>> days = [dt.date(2026, 11, day) for day in (1, 2, 4)]
    >>> [len(found.dates) for found in rectangles(Slice(day, "Taxi-v4") for day in days)]
    [2, 1]
    """
    by_date: dict[dt.date | None, list[str | None]] = {}
    for slice_ in sorted(set(slices), key=lambda s: s.sort_key):
        by_date.setdefault(slice_.date, []).append(slice_.environment)
    found: list[Rectangle] = []
    for date, environments in by_date.items():
        last = found[-1] if found else None
        if (
            last is not None
            and date is not None
            and last.dates[-1] == date - dt.timedelta(days=1)
            and last.environments == environments
        ):
            last.dates.append(date)
        else:
            found.append(Rectangle([date], environments))
    return found


def day_of(date: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """The first moment of a UTC day, and of the next."""
    start = dt.datetime.combine(date, dt.time(), dt.UTC)
    return start, start + dt.timedelta(days=1)


def slice_condition(
    relation: Relation,
    slice_: Slice,
    prefix: str,
    quote: Callable[[str], str],
    literal: Callable[[dt.date | dt.datetime | str], str],
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


def slices_condition(
    relation: Relation,
    slices: Sequence[Slice],
    prefix: str,
    quote: Callable[[str], str],
    literal: Callable[[dt.date | dt.datetime | str], str],
) -> str:
    """Several slices of a relation as one condition; see `slice_condition`, which it equals for one slice."""
    parts = []
    for slice_ in slices:
        check_dimensions(relation, slice_)
    for found in rectangles(slices):
        partitioning, first, last = relation.partitioning, found.dates[0], found.dates[-1]
        if partitioning is None or first is None or last is None:
            return "TRUE"
        if len(found.dates) == len(found.environments) == 1:
            parts.append(
                slice_condition(relation, Slice(first, found.environments[0]), prefix, quote, literal)
            )
            continue
        column = prefix + quote(partitioning.date)
        if relation.field(partitioning.date).type == "DATE":
            condition = f"{column} BETWEEN {literal(first)} AND {literal(last)}"
        else:
            condition = f"{column} >= {literal(day_of(first)[0])} AND {column} < {literal(day_of(last)[1])}"
        if partitioning.environment is not None:
            listed = ", ".join(literal(name) for name in found.environments if name is not None)
            condition += f" AND {prefix}{quote(partitioning.environment)} IN ({listed})"
        parts.append(condition)
    return " OR ".join(f"({part})" for part in parts) if len(parts) > 1 else parts[0]


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
