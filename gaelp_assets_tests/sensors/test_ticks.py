"""The sensors' shells on an ephemeral instance with a real gateway, and what they ask of the run history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

import gaelp_assets.runs.history
from gaelp_assets.assets.partitions import GATEWAY
from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.definitions import build_definitions
from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.platform import Platform, open_platform, read_catalog
from gaelp_assets.runs.history import past_runs
from gaelp_assets.runs.planning import ASSET_JOB, SLOT_TAG, Attempt, RunOutcome
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.platforms import checkpoint, drop, ndjson, platform_in
from resources.platform import platform_resource
from sensors.ingest import cloud_ready_sensor
from sensors.raw import raw_sensor
from sensors.refresh import refresh_sensor
from sensors.shell import OpenPlatform

SLOT = "2026-11|*"
KEY = "2026-11-01|CartPole-v1"
FILE = "training/checkpoints/date=2026-11-01/environment=CartPole-v1/a.ndjson"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return platform_in(tmp_path)


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    result = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def requests(result: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    assert isinstance(result, dg.SensorResult), result
    return list(result.run_requests or [])


def record_run(instance: dg.DagsterInstance, slot: str, status: dg.DagsterRunStatus) -> str:
    job = dg.Definitions(jobs=[noop]).resolve_job_def("noop")
    return instance.create_run_for_job(job, tags={SLOT_TAG: slot}, status=status).run_id


@dg.job
def noop() -> None:
    """Stands for any run."""


def test_a_tick_asks_for_the_slice_and_for_its_new_environment(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    drop(platform, f"cloud_ready/{FILE}", ndjson([checkpoint(1)]))
    result = tick(cloud_ready_sensor(lambda: platform), instance)
    (request,) = requests(result)
    assert (request.partition_key, request.run_key) == (KEY, f"{SLOT}<-none")
    # With the table, what is derived from it slice by slice.
    assert request.asset_selection == [
        dg.AssetKey(["training", "checkpoints"]),
        dg.AssetKey(["analytics", "run_storage"]),
    ]
    assert request.tags[SLOT_TAG] == SLOT
    assert isinstance(result, dg.SensorResult)
    (added,) = result.dynamic_partitions_requests or []
    assert list(added.partition_keys) == ["CartPole-v1"]


def test_two_ticks_before_the_run_exists_ask_with_the_same_run_key(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    drop(platform, f"cloud_ready/{FILE}", ndjson([checkpoint(1)]))
    sensor = cloud_ready_sensor(lambda: platform)
    assert requests(tick(sensor, instance))[0].run_key == requests(tick(sensor, instance))[0].run_key
    record_run(instance, SLOT, dg.DagsterRunStatus.STARTED)
    assert isinstance(tick(sensor, instance), dg.SkipReason)


def test_a_gateway_that_cannot_be_listed_is_not_an_empty_one(
    platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise TransientError(Problem("the disk does not answer", "export_gateway"))

    monkeypatch.setattr(platform.gateway, "queue", unreachable)
    result = tick(cloud_ready_sensor(lambda: platform), instance)
    assert isinstance(result, dg.SkipReason)
    assert "Could not list the gateway" in str(result.skip_message)
    assert "the disk does not answer" in str(result.skip_message)


def test_raw_files_ask_for_the_gateway_and_an_empty_stage_for_nothing(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    sensor = raw_sensor(lambda: platform)
    assert tick(sensor, instance) == dg.SkipReason("Nothing to do.")
    drop(platform, "raw/training/checkpoints/a.ndjson", ndjson([checkpoint(1)]))
    (request,) = requests(tick(sensor, instance))
    assert request.asset_selection == [GATEWAY]


def test_nothing_loaded_means_nothing_to_refresh(platform: Platform, instance: dg.DagsterInstance) -> None:
    assert tick(refresh_sensor(lambda: platform), instance) == dg.SkipReason("Nothing to do.")


def test_a_slot_that_the_bulk_query_does_not_reach_is_asked_for_by_itself(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken for a slot that never ran, it got its first run key again, and was silently ignored from then on."""
    quiet = record_run(instance, "quiet", dg.DagsterRunStatus.SUCCESS)
    for _ in range(3):
        record_run(instance, "busy", dg.DagsterRunStatus.FAILURE)
    monkeypatch.setattr(gaelp_assets.runs.history, "BULK_LIMIT", 3)
    found = past_runs(instance, ["busy", "quiet", "new"])
    assert [run.run_id for run in found["quiet"]] == [quiet]
    assert [run.outcome for run in found["busy"]] == [RunOutcome.FAILED] * 3
    assert found["new"] == []
    assert found["busy"][0].created <= dt.datetime.now(dt.UTC)


def test_a_past_run_says_what_it_was_about(platform: Platform, instance: dg.DagsterInstance) -> None:
    drop(platform, f"cloud_ready/{FILE}", ndjson([checkpoint(1)]))
    [request] = requests(tick(cloud_ready_sensor(lambda: platform), instance))
    definitions = build_definitions(platform.settings)
    job = definitions.resolve_job_def(ASSET_JOB)
    selection = frozenset(request.asset_selection or [])
    tags = {**request.tags, "dagster/partition": request.partition_key or ""}
    instance.create_run_for_job(
        job.get_subset(asset_selection=selection),
        tags=tags,
        asset_selection=selection,
        status=dg.DagsterRunStatus.FAILURE,
    )
    [run] = past_runs(instance, [SLOT])[SLOT]
    slice_ = parse_partition_key(KEY)
    assert run.attempt == Attempt(selection, slice_, slice_)


@pytest.mark.parametrize("sensor", [raw_sensor, cloud_ready_sensor])
def test_a_share_that_is_not_mounted_was_made_again_by_the_sensors(
    sensor: Callable[[OpenPlatform], dg.SensorDefinition], instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    settings = load_settings({"GAELP_HOME": str(tmp_path / "home"), "GAELP_GATEWAY": share.as_uri()})
    resource = platform_resource(settings, read_catalog())
    result = tick(sensor(resource.open), instance)
    assert isinstance(result, dg.SkipReason)
    assert "Check that the disk or share is mounted" in str(result.skip_message)
    assert not share.exists()
    open_platform(settings).gateway.prepare()
    after = tick(sensor(resource.open), instance)
    assert isinstance(after, dg.SkipReason)
    assert after.skip_message == "Nothing to do."
