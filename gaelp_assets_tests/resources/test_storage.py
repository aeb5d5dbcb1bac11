"""Dagster's storage with batches of events: what it keeps is what Dagster's own keeps."""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gaelp_assets.cli.dev import dagster_instance
from gaelp_assets.settings import load_settings
from resources.storage import BatchedSqliteEventLogStorage

DAYS = dg.DailyPartitionsDefinition("2026-11-01", end_date="2026-11-21")


@dg.asset(partitions_def=DAYS)
def curve(context: dg.AssetExecutionContext) -> None:
    for key in context.partition_keys:
        context.add_asset_metadata({"rows": int(key[-2:])}, partition_key=key)


@dg.asset(partitions_def=DAYS, deps=[curve])
def board() -> None:
    """Another asset of the same run."""


@dg.asset_check(asset=curve)
def good() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def batched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")
    with dagster_instance(load_settings({"GAELP_HOME": str(tmp_path / "home")})) as instance:
        yield instance


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "stock").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "stock")) as instance:
        yield instance


def materialize(instance: dg.DagsterInstance) -> str:
    job = dg.Definitions(assets=[curve, board], asset_checks=[good]).resolve_implicit_global_asset_job_def()
    tags = {
        "dagster/asset_partition_range_start": "2026-11-01",
        "dagster/asset_partition_range_end": "2026-11-20",
    }
    return job.execute_in_process(instance=instance, tags=tags).run_id


def kept(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """What stands in the files, apart from times, ids and the run's own."""
    storage = instance.event_log_storage
    assert isinstance(storage, dg._core.storage.event_log.SqliteEventLogStorage)
    events = "SELECT dagster_event_type, asset_key, partition, step_key FROM event_logs ORDER BY 1, 2, 3, 4"
    with (
        sqlite3.connect(storage.path_for_shard(run_id)) as run,
        sqlite3.connect(storage.path_for_shard("index")) as index,
    ):
        return {
            "run": run.execute(events).fetchall(),
            "index": index.execute(events).fetchall(),
            "assets": index.execute(
                "SELECT asset_key, last_materialization IS NULL, last_run_id = ? FROM asset_keys ORDER BY 1",
                [run_id],
            ).fetchall(),
            "tags": index.execute("SELECT asset_key, key FROM asset_event_tags ORDER BY 1, 2").fetchall(),
            "checks": index.execute(
                "SELECT asset_key, check_name, execution_status FROM asset_check_executions"
            ).fetchall(),
        }


def test_batches_of_events_are_kept_as_one_by_one(
    batched: dg.DagsterInstance, stock: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    store = BatchedSqliteEventLogStorage.store_event_batch

    def counted(storage: BatchedSqliteEventLogStorage, events: Any) -> None:
        sizes.append(len(events))
        store(storage, events)

    monkeypatch.setattr(BatchedSqliteEventLogStorage, "store_event_batch", counted)
    found = kept(batched, materialize(batched))
    assert max(sizes) >= 20
    assert found == kept(stock, materialize(stock))
    last = batched.get_latest_materialization_event(curve.key)
    assert last is not None
    assert last.asset_materialization is not None
    assert last.asset_materialization.partition == "2026-11-20"
    assert batched.get_materialized_partitions(board.key) == set(DAYS.get_partition_keys())


def test_another_process_opens_the_same_event_log(batched: dg.DagsterInstance) -> None:
    run_id = materialize(batched)
    with dg.DagsterInstance.from_ref(batched.get_ref()) as other:
        assert isinstance(other.event_log_storage, BatchedSqliteEventLogStorage)
        assert len(other.all_logs(run_id)) == len(batched.all_logs(run_id)) > 40
