"""A platform of one's own in a temporary folder, and rows that its tables take."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from gaelp_assets.catalog import Slice
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.ingest.report import SliceReport
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import load_settings

DATE = dt.date(2026, 11, 1)
FIRST_DATE = dt.date(2026, 10, 1)
EARLY = dt.date(2026, 9, 30)
"""Too early for a platform, until its first day is moved."""
ENVIRONMENT = "CartPole-v1"
SLICE = Slice(DATE, ENVIRONMENT)
TABLE = "training.checkpoints"


def platform_in(home: Path) -> Platform:
    """The real catalogue on folders and a DuckDB file below that home."""
    settings = load_settings({"GAELP_HOME": str(home), "GAELP_FIRST_DATE": FIRST_DATE.isoformat()})
    platform = open_platform(settings)
    platform.gateway.prepare()
    return platform


def checkpoint(number: int, **changes: Any) -> dict[str, Any]:
    """A row that `training.checkpoints` takes, saved at noon of its date; the number makes its key."""
    try:
        day = dt.date.fromisoformat(changes.get("date", DATE.isoformat()))
    except (TypeError, ValueError):
        day = DATE
    row = {
        "checkpoint_id": f"checkpoint-{number}",
        "date": DATE.isoformat(),
        "environment_id": ENVIRONMENT,
        "agent_id": "q-learning",
        "training_run_id": "run-1",
        "policy_version": number,
        "global_step": number * 1000,
        "uri": f"file:///checkpoints/{number}.npz",
        "format": "npz",
        "bytes": 1024 + number,
        "sha256": f"{number:064x}",
        "parent_checkpoint_id": None,
        "metrics": {"loss": 0.1 * number},
        "created_at": f"{day.isoformat()}T12:00:00Z",
    }
    return {**row, **changes}


def ndjson(rows: Iterable[Any]) -> bytes:
    """Rows (as mappings) as lines; text and bytes stand for themselves."""
    lines = []
    for row in rows:
        if isinstance(row, bytes):
            lines.append(row)
        else:
            lines.append((row if isinstance(row, str) else json.dumps(row)).encode())
    return b"".join(line + b"\n" for line in lines)


def drop(platform: Platform, name: str, content: bytes) -> None:
    """Puts a file into the gateway as a producer does; `.gz` names are compressed."""
    path = platform.settings.home / "export_gateway" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def load(
    platform: Platform, table: str = TABLE, slice_: Slice = SLICE, *, rebuild: bool = False
) -> SliceReport:
    """Loads or rebuilds one slice."""
    return load_slice(platform, platform.catalog[table], slice_, run_id="test", rebuild=rebuild)


def rows(platform: Platform, sql: str) -> list[dict[str, Any]]:
    """A query's rows."""
    return platform.warehouse.query(sql).frame.to_dicts()


def state(platform: Platform, table: str = TABLE) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Everything that a table's slices are: rows, dead letters and ledger, without times and run ids, in a fixed order."""
    relation = platform.catalog[table]
    where = f"WHERE dataset = '{relation.dataset}' AND `table` = '{relation.name}'"
    queries = (
        f"SELECT * FROM {table} ORDER BY {', '.join(relation.primary_key)}",
        f"SELECT * FROM ops.dead_letter {where} ORDER BY batch_id, line_number",
        f"SELECT * FROM ops.import_logs {where} ORDER BY batch_id, slice_date, slice_environment",
    )
    volatile = {
        "_loaded_at",
        "rejected_at",
        "loaded_at",
        "written_at",
        "run_id",
        "position",
        "mode",
        "file",
        "revision",
        "replayed_at",
        "acknowledged_at",
    }
    frames = [platform.warehouse.query(sql).frame for sql in queries]
    first, second, third = (frame.drop(volatile & set(frame.columns)) for frame in frames)
    return first, second, third
