"""A slice as a condition of SQL, whatever the engine's dialect."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, Problem


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
