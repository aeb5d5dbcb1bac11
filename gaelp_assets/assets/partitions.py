"""How the catalogue's slices appear in Dagster: partition definitions, asset keys, and the slices that a run is about.

The spellings of one slice (partition key, path) are in `catalog.slices`, which does not know Dagster.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import dagster as dg

from gaelp_assets.catalog import WHOLE, Kind, Relation, Slice
from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.warehouse.ranges import PartitionRange

ENVIRONMENTS: Final = dg.DynamicPartitionsDefinition(name="environments")
GATEWAY: Final = dg.AssetKey(["gateway", "export_gateway"])

PARTITION_TAG: Final = "dagster/partition"
RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
RANGE_END_TAG: Final = "dagster/asset_partition_range_end"


def asset_key(relation: Relation) -> dg.AssetKey:
    """Dagster's key of the relation's asset: dataset and name.

    >>> from gaelp_assets.catalog import load_catalog
    >>> asset_key(load_catalog().find("episodes")).path
    ['training', 'episodes']
    """
    return dg.AssetKey([relation.dataset, relation.name])


def op_name(relation: Relation) -> str:
    """`dataset__name`: what the relation's step is called, and its place in a run's config."""
    return f"{relation.dataset}__{relation.name}"


def partition_set(relation: Relation) -> str:
    """`date|environment`, `date`, or `whole`: relations of the same set can share a run of one slice.

    A plain view holds nothing that could be materialized slice by slice, whatever its rows are sliced by.
    """
    if relation.partitioning is None or relation.kind is Kind.VIEW:
        return "whole"
    return "date" if relation.partitioning.environment is None else "date|environment"


def partitions_def(relation: Relation, first_date: dt.date) -> dg.PartitionsDefinition[str] | None:
    """The partitions of a relation: days since `first_date`, times environments; None where it is a single slice.

    The days end tomorrow (UTC), as the rows do that a load takes (`Platform.last_date`).
    """
    kind = partition_set(relation)
    return None if kind == "whole" else _partitions(kind, first_date)


def days_of(first_date: dt.date) -> dg.PartitionsDefinition[str]:
    """The days since `first_date`, as of a relation that is sliced by date alone."""
    return _partitions("date", first_date)


@lru_cache(maxsize=8)
def _partitions(kind: str, first_date: dt.date) -> dg.PartitionsDefinition[str]:
    days = dg.DailyPartitionsDefinition(start_date=first_date.isoformat(), timezone="UTC", end_offset=2)
    if kind == "date":
        return days
    return dg.MultiPartitionsDefinition({"date": days, "environment": ENVIRONMENTS})


def partition_mapping(reader: Relation, source: Relation) -> dg.PartitionMapping | None:
    """Which of a source's partitions those of a derived relation are made of, where Dagster's own rule would miss the other days.

    Of a source that is sliced by environment, one that is not so itself reads all environments: it is mapped to none of them, since Dagster
    would list each with each date in every run. Days that no number bounds are shown as all dates, or as none where they would be
    listed with environments.

    Args:
        reader: the derived relation.
        source: what it reads, directly.

    Returns:
        None where Dagster's own rule holds: the same date, the same environment.
    """
    days = reader.reads_slices
    kinds = partition_set(reader), partition_set(source)
    if kinds[1] == "whole" or source.kind is Kind.LEDGER:
        return None
    unbounded = days is not None and "all" in (days.before, days.after)
    if kinds[1] == "date|environment" and (unbounded or kinds[0] != kinds[1]):
        return dg.SpecificPartitionsPartitionMapping([])
    if days is None or kinds[0] == "whole":
        return None
    if kinds[0] != kinds[1] or days.before == "all" or days.after == "all":
        return dg.AllPartitionMapping()
    shifted = dg.TimeWindowPartitionMapping(
        start_offset=-days.before, end_offset=days.after, allow_nonexistent_upstream_partitions=True
    )
    if kinds[0] == "date":
        return shifted
    same = dg.IdentityPartitionMapping()
    return dg.MultiPartitionMapping(
        {
            "date": dg.DimensionPartitionMapping("date", shifted),
            "environment": dg.DimensionPartitionMapping("environment", same),
        }
    )


def slices_of(
    tags: Mapping[str, str], partitions: dg.PartitionsDefinition[str] | None, instance: dg.DagsterInstance
) -> list[Slice]:
    """The slices that a run with these tags is about; empty if it names none of a partitioned relation's.

    Raises:
        dagster.Failure: the run's range is empty, because its ends are reversed, or unknown.
    """
    if partitions is None:
        return [WHOLE]
    if PARTITION_TAG in tags:
        return [parse_partition_key(tags[PARTITION_TAG])]
    if RANGE_START_TAG not in tags:
        return []
    start, end = tags[RANGE_START_TAG], tags[RANGE_END_TAG]
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        keys = partitions.get_partition_keys_in_range(dg.PartitionKeyRange(start, end))
    if not keys:
        raise empty_selection(f"{start} ... {end}")
    return [parse_partition_key(str(key)) for key in keys]


def empty_selection(selected: str) -> dg.Failure:
    """What a run ends with that would touch no slice at all, rather than with a quiet success."""
    return dg.Failure(
        f"No partition lies in {selected}. A range runs from the earlier date and the environment that was added "
        "first to the later date and the environment that was added last.",
        allow_retries=False,
    )


def scopes(slices: Sequence[Slice], first_date: dt.date, last_date: dt.date) -> list[PartitionRange]:
    """The rectangles that cover the slices of a run, one for each environment; without slices, the whole table."""
    days: dict[str | None, list[dt.date]] = {}
    for slice_ in slices:
        if slice_.date is not None:
            days.setdefault(slice_.environment, []).append(slice_.date)
    if not days:
        return [PartitionRange(first_date, last_date)]
    return [
        PartitionRange(min(dates), max(dates), environment)
        for environment, dates in sorted(days.items(), key=str)
    ]
