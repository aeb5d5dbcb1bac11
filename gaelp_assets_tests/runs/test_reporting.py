"""What a killed run had committed and not reported, in a lab of its own: Dagster is told, and what is derived follows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.runs import reporting
from gaelp_assets.runs.planning import ASSET_JOB, SLOT_TAG
from gaelp_assets.runs.reporting import WRITER_TAG, Write, report_writes
from gaelp_assets_tests.assets.test_asset_runs import BOARD, CURVE, PLAYERS, SCORES, Lab, rows
from sensors.refresh import refresh_sensor

SECOND, THIRD = "2026-11-02|CartPole-v1", "2026-11-03|CartPole-v1"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lab(tmp_path, instance)


def killed(
    lab: Lab, *keys: str, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED, name: str = "a"
) -> str:
    """Loads and archives what a run would have, which was killed before it told anybody; its id."""
    run = lab.instance.create_run_for_job(
        lab.definitions.resolve_job_def(ASSET_JOB), tags={SLOT_TAG: "2026-11|*"}, status=status
    )
    for key in keys:
        slice_ = parse_partition_key(key)
        assert slice_.date is not None
        lab.put(
            slice_.date.day, str(slice_.environment), rows(slice_.date.day, str(slice_.environment)), name
        )
        load_slice(lab.platform, lab.platform.catalog["lab.scores"], slice_, run_id=run.run_id)
    return run.run_id


def reported(writes: list[Write]) -> list[tuple[str, str, str]]:
    return [(write.relation.id, str(write.slice), write.run_id) for write in writes]


def event(lab: Lab, key: dg.AssetKey) -> dg.AssetMaterialization:
    record = lab.instance.fetch_materializations(key, limit=1).records[0]
    assert record.asset_materialization is not None
    return record.asset_materialization


def test_a_run_killed_after_its_files_were_archived_left_what_is_derived_stale_for_ever(lab: Lab) -> None:
    run_id = killed(lab, SECOND, THIRD)
    assert lab.platform.gateway.pending().files == []
    lab.pending()
    assert lab.count("SELECT COUNT(*) FROM lab.curve") == 6
    assert lab.count("SELECT COUNT(*) FROM lab.board") == 1
    for key in (SCORES, CURVE):
        assert lab.instance.get_materialized_partitions(key) == {SECOND, THIRD}
    told = event(lab, SCORES)
    assert (told.tags or {})[WRITER_TAG] == run_id
    assert told.metadata["dagster/partition_row_count"].value == 3
    assert "did not report" in (told.description or "")
    assert lab.pending() == []
    assert lab.instance.fetch_materializations(SCORES, limit=9).records[2:] == []


def test_a_refresh_that_was_killed_before_its_event_is_reported_and_not_done_twice(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.instance.add_dynamic_partitions("environments", ["CartPole-v1"])
    assert lab.materialize(SCORES, partition_key=SECOND).success
    warehouse, catalog = lab.platform.warehouse, lab.platform.catalog
    warehouse.ensure([catalog["lab.board"]])
    warehouse.refresh(catalog["lab.curve"], parse_partition_key(SECOND), run_id="killed")
    warehouse.refresh(catalog["lab.board"], parse_partition_key(None), run_id="killed")
    assert [result.assets for result in lab.pending()] == [("lab.best",)]
    assert lab.instance.get_materialized_partitions(CURVE) == {SECOND}
    assert (event(lab, BOARD).partition, (event(lab, BOARD).tags or {})[WRITER_TAG]) == (None, "killed")


def test_what_a_run_in_flight_has_committed_is_left_to_it(lab: Lab) -> None:
    lab.put(3, "CartPole-v1", rows(3, "CartPole-v1"))
    lab.pending()
    run_id = killed(lab, SECOND)
    shift_writes(lab, SECOND, dt.timedelta(hours=-5))
    assert report_writes(lab.platform, lab.instance) == []
    assert report_writes(lab.platform, lab.instance) == []
    run = lab.instance.get_run_by_id(run_id)
    assert run is not None
    lab.instance.report_run_failed(run)
    # However long it has run: the look does not pass over what is in flight.
    assert reported(report_writes(lab.platform, lab.instance)) == [("lab.scores", SECOND, run_id)]


def shift_writes(lab: Lab, key: str, by: dt.timedelta) -> None:
    """As if the slice's ledger rows had been written at another time."""
    slice_ = parse_partition_key(key)
    with duckdb.connect(str(lab.platform.settings.home / "warehouse.duckdb")) as connection:
        connection.execute(
            "UPDATE ops.import_logs SET written_at = written_at + $by, loaded_at = loaded_at + $by WHERE slice_date = $date",
            {"by": by, "date": slice_.date},
        )


def test_a_commit_that_is_seen_after_later_ones_is_not_passed_over(lab: Lab) -> None:
    lab.put(3, "CartPole-v1", rows(3, "CartPole-v1"))
    lab.pending()
    assert report_writes(lab.platform, lab.instance) == []
    run_id = killed(lab, SECOND, status=dg.DagsterRunStatus.FAILURE)
    shift_writes(lab, SECOND, dt.timedelta(minutes=-30))
    assert reported(report_writes(lab.platform, lab.instance)) == [("lab.scores", SECOND, run_id)]


def test_more_rows_of_a_killed_run_in_a_slice_that_was_reported_before(lab: Lab) -> None:
    killed(lab, SECOND)
    lab.pending()
    run_id = killed(lab, SECOND, status=dg.DagsterRunStatus.FAILURE, name="b")
    assert reported(report_writes(lab.platform, lab.instance)) == []
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1", count=7), "c")
    load_slice(lab.platform, lab.platform.catalog["lab.scores"], parse_partition_key(SECOND), run_id=run_id)
    assert reported(report_writes(lab.platform, lab.instance)) == [("lab.scores", SECOND, run_id)]
    assert event(lab, SCORES).metadata["dagster/partition_row_count"].value == 7
    assert report_writes(lab.platform, lab.instance) == []


def test_a_later_look_asks_only_for_what_is_new(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.drop("cloud_ready/lab/players/p.ndjson", [{"player": "ann", "nickname": None}])
    lab.pending()
    shift_writes(lab, SECOND, dt.timedelta(hours=-2))
    found: list[int] = []
    query = lab.platform.warehouse.query

    def watched(sql: str, *given: Any, **more: Any) -> Any:
        result = query(sql, *given, **more)
        found.append(result.frame.height)
        return result

    monkeypatch.setattr(lab.platform.warehouse, "query", watched)
    report_writes(lab.platform, lab.instance)
    report_writes(lab.platform, lab.instance)
    # The fact, the dimension, the curve and the board; then all but the fact, which is two hours old by now.
    assert found == [4, 3]
    assert event(lab, PLAYERS).partition is None


def test_an_instance_that_has_lost_its_history_is_told_everything_again(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    with dg.DagsterInstance.ephemeral() as other:
        told = report_writes(lab.platform, other)
        assert {write.relation.id for write in told} == {"lab.scores", "lab.curve", "lab.board"}
        assert other.get_materialized_partitions(SCORES) == {SECOND}
        assert list(other.get_dynamic_partitions("environments")) == ["CartPole-v1"]


def test_a_tick_reports_and_refreshes_what_a_killed_run_left(lab: Lab) -> None:
    killed(lab, SECOND, status=dg.DagsterRunStatus.FAILURE)
    result = refresh_sensor(lambda: lab.platform)(dg.build_sensor_context(instance=lab.instance))
    assert lab.instance.get_materialized_partitions(SCORES) == {SECOND}
    assert isinstance(result, dg.SkipReason)
    assert "failed; next attempt" in str(result.skip_message)


def test_a_stream_left_dagster_an_event_for_each_tick(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        slice_ = parse_partition_key(SECOND)
        lab.put(2, "CartPole-v1", rows(2, "CartPole-v1", count=3 * number), f"live-{number}")
        load_slice(lab.platform, lab.platform.catalog["lab.scores"], slice_, run_id=f"stream-{number}")
        found = reported(report_writes(lab.platform, lab.instance))
        assert found == ([("lab.scores", str(slice_), "stream-1")] if number == 1 else [])
    assert "by a receiver" in (event(lab, SCORES).description or "")
    monkeypatch.setattr(reporting, "STREAMED_EVERY", dt.timedelta())
    assert [run for *_, run in reported(report_writes(lab.platform, lab.instance))] == ["stream-2"]
    assert report_writes(lab.platform, lab.instance) == []
