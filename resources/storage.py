"""Dagster's storage in SQLite files, with an event log that takes the events of a range of partitions in one transaction.

Dagster hands over events in batches if the environment names a size (`DAGSTER_EVENT_BATCH_SIZE`), and its own SQLite storage then
stores them one by one: two connections and two transactions each, about 10 ms of CPU time for a materialized partition. What is
stored is the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dagster import DagsterEventType, EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

_OF_ASSETS: Final = frozenset(
    {
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_OBSERVATION,
    }
)
_PLANNED_CHECK: Final = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
_INSERT: Final = SqlEventLogStorageTable.insert().returning(
    SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
)
"""Gives the ids of the rows in their order."""


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """Stores batches of events about the partitions of assets at once, and all else as Dagster does."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> BatchedSqliteEventLogStorage:
        """The event log that `dagster.yaml` describes: Dagster's own method would make one of its own class."""
        return cls(inst_data=inst_data, **config_value)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores events of one run; those about assets and checks in the index too, where their pages find them."""
        kinds = {event.dagster_event_type for event in events}
        if kinds - _OF_ASSETS - {_PLANNED_CHECK} or len({event.run_id for event in events}) > 1:
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
        with self.index_transaction() as connection:
            ids = connection.execute(_INSERT, rows).scalars().all()
            stored = list(zip(events, ids, strict=True))
            of_assets = [(event, id_) for event, id_ in stored if event.dagster_event_type in _OF_ASSETS]
            self._store_asset_event_tags(
                connection, [event for event, _ in of_assets], [event_id for _, event_id in of_assets]
            )
            # Of each asset the index keeps the newest event of a kind.
            newest = {(event.dagster_event_type, _asset(event)): (event, id_) for event, id_ in of_assets}
            for event, event_id in newest.values():
                self._store_asset_event(connection, event, event_id)
        for event, event_id in stored:
            if event.dagster_event_type is _PLANNED_CHECK:
                self.store_asset_check_event(event, event_id)


def _asset(event: EventLogEntry) -> str:
    key = event.get_dagster_event().asset_key
    return "" if key is None else key.to_string()


class BatchedSqliteStorage(DagsterSqliteStorage):
    """Dagster's own storage below a folder, in the same files, but for its event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = BatchedSqliteEventLogStorage(self._event_log_folder)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> BatchedSqliteStorage:
        """The storage that `dagster.yaml` describes."""
        return cls.from_local(inst_data=inst_data, **config_value)

    @property
    def event_storage_data(self) -> ConfigurableClassData:
        """What makes the event log in another process."""
        config = json.dumps({"base_dir": self._event_log_folder})
        return ConfigurableClassData(__name__, BatchedSqliteEventLogStorage.__name__, config)

    @property
    def _event_log_folder(self) -> str:
        return str(Path(self.base_dir, "history", "runs"))
