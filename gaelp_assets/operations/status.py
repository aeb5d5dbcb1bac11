"""Where everything stands: the queue, failures, stuck files, each table's rows, last import and freshness, what is stale, daily limits."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from gaelp_assets.gateway import FailedFile, GatewayFile, Stage, StageCount
from gaelp_assets.operations.receivers import ReceiverState, read_states
from gaelp_assets.operations.stale import StaleCount, count_stale, stale_slices
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ledger import LEDGER
from gaelp_assets.warehouse.quotas import QuotaLeft

STUCK_AFTER: Final = dt.timedelta(minutes=15)
"""A file that waits for longer than this is called stuck: a sensor looks every few seconds, and a run takes minutes."""


@dataclass(frozen=True)
class TableStatus:
    """What the ledger says of one loaded table."""

    relation_id: str
    rows: int
    slices: int
    files: int
    rejected: int
    superseded: int
    withdrawn: int
    last_import: dt.datetime | None
    stale: bool
    """Older than the catalogue's `freshness_hours`."""


@dataclass(frozen=True)
class PlatformStatus:
    """The platform at one moment (UTC)."""

    at: dt.datetime
    stages: dict[Stage, StageCount]
    failures: list[FailedFile]
    stuck: list[GatewayFile]
    out_of_range: list[GatewayFile]
    """Files of the queue that no run takes, since their dates are before `GAELP_FIRST_DATE` or in the future."""
    tables: list[TableStatus]
    derived: list[StaleCount]
    """The slices of derived relations that wait for a refresh."""
    receivers: list[ReceiverState]
    """The receivers of streams that run on this home."""
    quota_left: QuotaLeft | None
    """What is left of the day's limits of an engine that has such."""


def read_status(platform: PlatformReader) -> PlatformStatus:
    """Reads gateway and ledger; changes nothing.

    >>> from gaelp_assets.platform import open_platform
    >>> from gaelp_assets.settings import load_settings
    >>> platform = open_platform(load_settings())
    >>> platform.gateway.prepare()
    >>> read_status(platform).failures
    []
    """
    now = dt.datetime.now(dt.UTC)
    queued = platform.gateway.pending().files + platform.gateway.unsorted().files
    return PlatformStatus(
        at=now,
        stages=platform.gateway.counts(),
        failures=platform.gateway.failed(),
        out_of_range=out_of_range(platform),
        stuck=[file for file in queued if now - file.stored.modified > STUCK_AFTER],
        tables=_tables(platform, now),
        derived=count_stale(stale_slices(platform)),
        receivers=read_states(platform.settings.home, now),
        quota_left=platform.warehouse.quota_left(),
    )


def out_of_range(platform: PlatformReader) -> list[GatewayFile]:
    """The files of the queue whose dates lie outside of those that rows are taken of."""
    first, last = platform.settings.first_date, platform.last_date
    return [
        file
        for file in platform.gateway.pending().files
        if file.slice.date is not None and not first <= file.slice.date <= last
    ]


def _tables(platform: PlatformReader, now: dt.datetime) -> list[TableStatus]:
    ledger = platform.warehouse.query(
        "SELECT CONCAT(dataset, '.', `table`) AS relation_id, SUM(loaded) AS loaded_rows, COUNT(*) AS files, "
        "COUNT(DISTINCT IF(mode = 'sort', NULL, "
        "CONCAT(COALESCE(CAST(slice_date AS STRING), ''), '|', COALESCE(slice_environment, '')))) AS slices, "
        "SUM(rejected) AS rejected, COALESCE(SUM(superseded), 0) AS superseded, COALESCE(SUM(withdrawn), 0) AS withdrawn, "
        f"MAX(loaded_at) AS last_import FROM {LEDGER} GROUP BY 1"
    ).frame
    by_id = {row["relation_id"]: row for row in ledger.to_dicts()}
    tables = []
    for relation in platform.catalog.loaded:
        row = by_id.get(relation.id)
        last = row["last_import"] if row else None
        limit = relation.freshness_hours
        tables.append(
            TableStatus(
                relation_id=relation.id,
                rows=row["loaded_rows"] if row else 0,
                slices=row["slices"] if row else 0,
                files=row["files"] if row else 0,
                rejected=row["rejected"] if row else 0,
                superseded=row["superseded"] if row else 0,
                withdrawn=row["withdrawn"] if row else 0,
                last_import=last,
                stale=limit is not None and (last is None or now - last > dt.timedelta(hours=limit)),
            )
        )
    return tables
