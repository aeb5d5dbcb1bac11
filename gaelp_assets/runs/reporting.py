"""Reports to Dagster what the warehouse holds and Dagster has not been told, because a run was killed between the two.

The ledger is the truth about what is loaded, and Dagster's events are its picture. What a run has committed carries the run's id; a slice
is reported if an event of that run, or a later one, tells of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final, TypeVar

import dagster as dg
from dagster import AssetRecordsFilter, DagsterEventType, RunsFilter

from gaelp_assets.assets.partitions import ENVIRONMENTS, asset_key
from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.operations.stale import is_slice_of
from gaelp_assets.stream.batch import RUN_PREFIX
from gaelp_assets.warehouse.refreshes import WRITERS_QUERY

if TYPE_CHECKING:
    from gaelp_assets.platform_reader import PlatformReader

T = TypeVar("T")
WRITER_TAG: Final = "gaelp/written_by"
"""On an event that was reported afterwards: the run whose work it tells of."""
CURSOR: Final = "gaelp/reported_until"
OVERLAP: Final = dt.timedelta(hours=1)
"""How far before the newest write the next look begins: a moment is taken a little before its transaction is committed."""
CLOCKS: Final = dt.timedelta(minutes=1)
"""By how much the warehouse's clock and this one may differ. A slice that is reported twice is no harm, one that never is would be."""
STREAMED_EVERY: Final = dt.timedelta(minutes=1)
"""A slice that is streamed to is reported no more often: each event is a row of Dagster's that stays."""
ITEMS_PER_QUERY: Final = 500


@dataclass(frozen=True)
class Write:
    """The newest write of a slice: when (by the warehouse's clock, UTC) and by which run, and a loaded table's rows in it."""

    relation: Relation
    slice: Slice
    written_at: dt.datetime
    run_id: str
    rows: int | None

    @property
    def streamed(self) -> bool:
        """Whether a receiver wrote it, which tells Dagster nothing itself."""
        return self.run_id.startswith(RUN_PREFIX)

    @property
    def event(self) -> dg.AssetMaterialization:
        """The event that tells of it."""
        name = "dagster/partition_row_count" if self.slice.partition_key else "dagster/row_count"
        run = f"Run {self.run_id[:8]}" if self.run_id else "A process without a run"
        words = f"{run} wrote this and did not report it. Found in the warehouse, and reported afterwards."
        if self.streamed:
            words = "Rows of a stream, loaded by a receiver (`gaelp stream`)."
        return dg.AssetMaterialization(
            asset_key(self.relation),
            partition=self.slice.partition_key,
            description=words,
            metadata={
                "written at": dg.MetadataValue.timestamp(self.written_at),
                **({} if self.rows is None else {name: self.rows}),
            },
            tags={WRITER_TAG: self.run_id} if self.run_id else None,
        )


def report_writes(platform: PlatformReader, instance: dg.DagsterInstance) -> list[Write]:
    """Tells Dagster of slices that are written and were not reported by a run that has ended since; these, in order.

    One query asks for what was written since the last look; the first look asks for everything.

    Raises:
        GaelpError: the warehouse cannot be asked.
    """
    cursor = instance.daemon_cursor_storage.get_cursor_values({CURSOR}).get(CURSOR)
    since = dt.datetime.fromisoformat(cursor) if cursor else dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    writes = _writes(platform, since)
    runs = _runs(instance, {write.run_id for write in writes})
    open_writes = [write for write in writes if write.run_id in runs and not runs[write.run_id].is_finished]
    doubtful = [
        write for write in writes if write.run_id not in runs or runs[write.run_id].is_failure_or_canceled
    ]
    missing = _unreported(instance, doubtful)
    environments = {write.slice.environment for write in missing if write.slice.environment is not None}
    if environments:
        instance.add_dynamic_partitions(ENVIRONMENTS.name or "", sorted(environments))
    for write in missing:
        instance.report_runless_asset_event(write.event)
    if writes:
        newest = max(write.written_at for write in writes)
        until = min([newest, *(write.written_at for write in open_writes)]) - OVERLAP
        instance.daemon_cursor_storage.set_cursor_values({CURSOR: max(since, until).isoformat()})
    return missing


def _writes(platform: PlatformReader, since: dt.datetime) -> list[Write]:
    found = []
    for row in platform.warehouse.query(WRITERS_QUERY, {"since": since}).frame.iter_rows(named=True):
        relation = platform.catalog.relations.get(f"{row['dataset']}.{row['table']}")
        slice_ = Slice(row["slice_date"], row["slice_environment"])
        if relation is not None and is_slice_of(relation, slice_):
            found.append(Write(relation, slice_, row["written_at"], row["run_id"], row["row_count"]))
    return sorted(found, key=lambda write: (write.relation.id, write.slice.sort_key))


def _runs(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> Mapping[str, dg.DagsterRun]:
    return {
        run.run_id: run
        for part in _parts(sorted(run_ids))
        for run in instance.get_runs(RunsFilter(run_ids=part))
    }


def _unreported(instance: dg.DagsterInstance, writes: Sequence[Write]) -> list[Write]:
    """Those of the writes (in order of their relations) of which no event tells."""
    missing = []
    for key, group in groupby(writes, key=lambda write: asset_key(write.relation)):
        for part in _parts(list(group)):
            events = _newest_events(instance, key, [write.slice.partition_key for write in part])
            missing += [write for write in part if not _tells(events.get(write.slice.partition_key), write)]
    return missing


def _newest_events(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Sequence[str | None]
) -> dict[str | None, dg.EventLogRecord]:
    """The newest materialization of each of these partitions (None for an asset without partitions)."""
    if partitions == [None]:
        records = instance.fetch_materializations(key, limit=1).records
    else:
        newest = instance.get_latest_storage_id_by_partition(
            key,
            DagsterEventType.ASSET_MATERIALIZATION,
            partitions={partition for partition in partitions if partition is not None},
        )
        if not newest:
            return {}
        chosen = AssetRecordsFilter(key, storage_ids=sorted(newest.values()))
        records = instance.fetch_materializations(chosen, limit=len(newest)).records
    return {record.partition_key: record for record in records}


def _tells(record: dg.EventLogRecord | None, write: Write) -> bool:
    if record is None:
        return False
    materialization = record.asset_materialization
    by = (materialization.tags or {}).get(WRITER_TAG) if materialization is not None else None
    if write.streamed and (by or "").startswith(RUN_PREFIX):
        told = dt.datetime.fromtimestamp(record.timestamp, dt.UTC)
        return write.run_id == by or dt.datetime.now(dt.UTC) - told < STREAMED_EVERY
    return write.run_id in {record.run_id, by} or (
        dt.datetime.fromtimestamp(record.timestamp, dt.UTC) > write.written_at + CLOCKS
    )


def _parts(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + ITEMS_PER_QUERY] for start in range(0, len(items), ITEMS_PER_QUERY))
