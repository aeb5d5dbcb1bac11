"""Which derived relations are older than what they read, on an ephemeral instance: changed SQL, cursors, and what killed runs leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from gaelp_assets.catalog import WHOLE, Catalog, Slice, load_catalog
from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.runs.staleness import find_stale
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.assets.test_asset_runs import CURVE, SCORES, Lab, rows, write_catalog
from sensors.refresh import refresh_sensor

BOARD_ID = "lab.board"
CURVE_ID = "lab.curve"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """The laboratory's catalogue, on a gateway and a warehouse that hold nothing."""
    write_catalog(tmp_path / "catalog")
    settings = load_settings({"GAELP_HOME": str(tmp_path), "GAELP_FIRST_DATE": "2026-11-01"})
    opened = open_platform(settings, load_catalog(tmp_path / "catalog"))
    opened.gateway.prepare()
    return opened


def materialized(instance: dg.DagsterInstance, key: dg.AssetKey, *days: int) -> None:
    """Notes that these days' slices of an asset have been written."""
    for day in days:
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=f"2026-11-{day:02}|maze"))


def stale_days(instance: dg.DagsterInstance, catalog: Catalog, seen: dict[str, int]) -> list[int]:
    """The days whose slice of the curve is found stale; `seen` is brought up to date, as a sensor's cursor is."""
    found = find_stale(instance, catalog, seen)
    seen.clear()
    seen.update(found.seen)
    return [slice_.date.day for relation, slice_ in found.slices if relation.id == CURVE_ID and slice_.date]


def with_sql(catalog: Catalog, relation_id: str, sql: str) -> Catalog:
    relations = [
        relation.model_copy(update={"sql": sql}) if relation.id == relation_id else relation
        for relation in catalog
    ]
    return Catalog(relations, catalog.upstream)


def test_changed_sql_makes_a_relation_without_slices_stale(tmp_path: Path) -> None:
    """A real run leaves the version of the SQL that it computed; only that tells that the SQL is another one now."""
    with dg.DagsterInstance.ephemeral() as instance:
        lab = Lab(tmp_path, instance)
        lab.put(1, "maze", rows(1, "maze"))
        assert all(run.success for run in lab.pending())
        catalog = lab.platform.catalog
        assert find_stale(instance, catalog, {}).slices == []

        changed = with_sql(catalog, BOARD_ID, "SELECT player, MIN(score) AS score FROM lab.curve GROUP BY 1")
        found = find_stale(instance, changed, {})
        assert [(relation.id, slice_) for relation, slice_ in found.slices] == [(BOARD_ID, WHOLE)]
        # The cursor of a sensor that has seen everything does not hide it.
        assert find_stale(instance, changed, found.seen).slices == found.slices


def test_a_slice_that_is_stale_stays_so_until_it_is_computed_however_often_it_is_looked_for(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    seen: dict[str, int] = {}
    materialized(instance, SCORES, 1, 2)
    materialized(instance, CURVE, 1)
    for _ in range(3):
        assert stale_days(instance, platform.catalog, seen) == [2]
    materialized(instance, CURVE, 2)
    assert stale_days(instance, platform.catalog, seen) == []
    assert seen[CURVE_ID] > 0
    assert stale_days(instance, platform.catalog, seen) == []


def test_a_later_look_finds_what_a_killed_run_left_behind_although_others_went_on(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    """The killed run wrote the rows of a slice, and not what is derived from them; runs of other slices came to their end since."""
    seen: dict[str, int] = {}
    materialized(instance, SCORES, 1)
    materialized(instance, CURVE, 1)
    assert stale_days(instance, platform.catalog, seen) == []
    materialized(instance, SCORES, 2)
    assert stale_days(instance, platform.catalog, seen) == [2]
    for other in (3, 4):
        materialized(instance, SCORES, other)
        materialized(instance, CURVE, other)
        assert stale_days(instance, platform.catalog, seen) == [2]
    materialized(instance, CURVE, 2)
    assert stale_days(instance, platform.catalog, seen) == []


def test_what_has_been_looked_at_is_found_again_when_its_source_is_written_again(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    seen: dict[str, int] = {}
    materialized(instance, SCORES, 1, 2)
    materialized(instance, CURVE, 1, 2)
    assert stale_days(instance, platform.catalog, seen) == []
    materialized(instance, SCORES, 1)
    assert stale_days(instance, platform.catalog, seen) == [1]


def test_the_refresh_sensor_asks_again_for_a_slice_whose_run_left_nothing(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    """Every tick starts from the cursor that the one before it has left."""
    sensor = refresh_sensor(lambda: platform)
    cursor: str | None = None

    def asked() -> list[Slice]:
        nonlocal cursor
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        result = sensor(context)
        cursor = context.cursor
        requests = (result.run_requests or []) if isinstance(result, dg.SensorResult) else []
        return [
            parse_partition_key(request.partition_key)
            for request in requests
            if CURVE in (request.asset_selection or [])
        ]

    instance.add_dynamic_partitions("environments", ["maze"])
    materialized(instance, SCORES, 1)
    first = asked()
    assert [str(slice_) for slice_ in first] == ["2026-11-01|maze"]
    assert asked() == first
    materialized(instance, SCORES, 2)
    materialized(instance, CURVE, 2)
    assert asked() == first
    materialized(instance, CURVE, 1)
    assert asked() == []
    assert asked() == []
