"""Which derived relations are older than what they read, slice by slice, from the instance's materializations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import dagster as dg
from dagster import DagsterEventType

from gaelp_assets.assets.partitions import asset_key, partition_set
from gaelp_assets.assets.views import READ_UNTIL, code_version
from gaelp_assets.catalog import WHOLE, Catalog, Relation, Slice
from gaelp_assets.catalog.slices import parse_partition_key

if TYPE_CHECKING:
    from dagster._core.storage.event_log.base import AssetRecord

CODE_VERSION_TAG: Final = "dagster/code_version"


@dataclass(frozen=True)
class Staleness:
    """The slices that want computing, and the newest event that has been looked at for each relation without finding one."""

    slices: list[tuple[Relation, Slice]]
    seen: dict[str, int]


def find_stale(instance: dg.DagsterInstance, catalog: Catalog, seen: Mapping[str, int]) -> Staleness:
    """The derived relations' slices that are older than what they read; what `seen` covers is not looked at again.

    A relation that is a single slice is stale if anything that it reads has been materialized since it last read, or if its SQL has
    changed. A sliced one is stale where the same slice of what it reads is newer; tables without slices of their own (dimensions)
    do not count, since each of their rows would make every slice stale.
    """
    records = {
        record.asset_entry.asset_key: record
        for record in instance.get_asset_records([asset_key(relation) for relation in catalog])
    }
    stale: list[tuple[Relation, Slice]] = []
    now_seen: dict[str, int] = {}
    for relation in catalog.derived:
        sources = [source for source in stored_sources(catalog, relation) if asset_key(source) in records]
        newest = max((_last(records, source) for source in sources), default=0)
        if partition_set(relation) == "whole":
            if newest and _whole_is_stale(records.get(asset_key(relation)), relation, newest):
                stale.append((relation, WHOLE))
        elif newest > seen.get(relation.id, 0):
            found = list(_stale_slices(instance, relation, sources, seen.get(relation.id, 0)))
            stale += [(relation, slice_) for slice_ in found]
            now_seen[relation.id] = seen.get(relation.id, 0) if found else newest
        else:
            now_seen[relation.id] = newest
    return Staleness(stale, now_seen)


def stored_sources(catalog: Catalog, relation: Relation) -> list[Relation]:
    """What the relation reads, with plain views replaced by what they read themselves."""
    found: dict[str, Relation] = {}
    open_ids = sorted(catalog.upstream[relation.id])
    while open_ids:
        source = catalog[open_ids.pop()]
        if source.is_derived and not source.is_stored:
            open_ids += sorted(catalog.upstream[source.id])
        else:
            found[source.id] = source
    return list(found.values())


def _last(records: Mapping[dg.AssetKey, AssetRecord], relation: Relation) -> int:
    return records[asset_key(relation)].asset_entry.last_materialization_storage_id or 0


def _whole_is_stale(record: AssetRecord | None, relation: Relation, newest: int) -> bool:
    event = record.asset_entry.last_materialization if record is not None else None
    materialization = event.asset_materialization if event is not None else None
    if materialization is None:
        return True
    if (materialization.tags or {}).get(CODE_VERSION_TAG) != code_version(relation):
        return True
    read = materialization.metadata.get(READ_UNTIL)
    return relation.is_stored and newest > (
        read.value if isinstance(read, dg.IntMetadataValue) and read.value else 0
    )


def _stale_slices(
    instance: dg.DagsterInstance, relation: Relation, sources: Sequence[Relation], after: int
) -> Iterator[Slice]:
    read: dict[str, int] = {}
    for source in sources:
        if len(partition_set(source)) < len(partition_set(relation)) or partition_set(source) == "whole":
            continue
        newest = instance.get_latest_storage_id_by_partition(
            asset_key(source), DagsterEventType.ASSET_MATERIALIZATION, after_cursor=after or None
        )
        for key, event in newest.items():
            slice_ = parse_partition_key(key)
            if partition_set(relation) == "date":
                slice_ = Slice(slice_.date)
            own_key = slice_.partition_key or ""
            read[own_key] = max(read.get(own_key, 0), event)
    if not read:
        return
    own = instance.get_latest_storage_id_by_partition(
        asset_key(relation), DagsterEventType.ASSET_MATERIALIZATION, partitions=set(read)
    )
    for key in sorted(read):
        if own.get(key, 0) < read[key]:
            yield parse_partition_key(key)
