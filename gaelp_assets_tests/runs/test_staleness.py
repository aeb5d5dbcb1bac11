"""Which derived relations are older than what they read: what killed runs leave, and how a warehouse of an earlier release is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from gaelp_assets.catalog import Slice
from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.operations.status import read_status
from gaelp_assets.platform_reader import open_platform_reader
from gaelp_assets.runs.reporting import report_writes
from gaelp_assets.runs.staleness import find_stale
from gaelp_assets_tests.assets.test_asset_runs import CURVE, SCORES, Lab, rows
from sensors.refresh import refresh_sensor

CURVE_ID = "lab.curve"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lab(tmp_path, instance)


def loaded(lab: Lab, *days: int) -> None:
    """Writes a day's rows as a run does that is killed before it comes to what is derived from them."""
    for day in days:
        lab.put(day, "maze", rows(day, "maze"))
        lab.instance.add_dynamic_partitions("environments", ["maze"])
        assert lab.materialize(SCORES, partition_key=f"2026-11-{day:02}|maze").success


def computed(lab: Lab, day: int) -> None:
    assert lab.materialize(CURVE, partition_key=f"2026-11-{day:02}|maze").success


def stale_days(lab: Lab) -> list[int]:
    """The days whose slice of the curve is found stale."""
    found = find_stale(lab.platform, lab.instance)
    return [each.slice.date.day for each in found if each.relation.id == CURVE_ID and each.slice.date]


def test_a_slice_that_is_stale_stays_so_until_it_is_computed_however_often_it_is_looked_for(lab: Lab) -> None:
    loaded(lab, 1, 2)
    computed(lab, 1)
    for _ in range(3):
        assert stale_days(lab) == [2]
    computed(lab, 2)
    assert stale_days(lab) == []
    assert stale_days(lab) == []


def test_a_later_look_finds_what_a_killed_run_left_behind_although_others_went_on(lab: Lab) -> None:
    """The killed run wrote the rows of a slice, and not what is derived from them; runs of other slices came to their end since."""
    loaded(lab, 1)
    computed(lab, 1)
    assert stale_days(lab) == []
    loaded(lab, 2)
    assert stale_days(lab) == [2]
    loaded(lab, 3)
    computed(lab, 3)
    assert stale_days(lab) == [2]
    computed(lab, 2)
    assert stale_days(lab) == []


def test_the_refresh_sensor_asks_again_for_a_slice_whose_run_left_nothing(lab: Lab) -> None:
    """Every tick starts from the cursor that the one before it has left."""
    sensor = refresh_sensor(lambda: lab.platform)
    cursor: str | None = None

    def asked() -> list[Slice]:
        nonlocal cursor
        context = dg.build_sensor_context(instance=lab.instance, cursor=cursor)
        result = sensor(context)
        cursor = context.cursor
        requests = (result.run_requests or []) if isinstance(result, dg.SensorResult) else []
        return [
            parse_partition_key(request.partition_key)
            for request in requests
            if CURVE in (request.asset_selection or [])
        ]

    loaded(lab, 1)
    first = asked()
    assert [str(slice_) for slice_ in first] == ["2026-11-01|maze"]
    assert asked() == first
    loaded(lab, 2)
    computed(lab, 2)
    assert asked() == first
    computed(lab, 1)
    assert asked() == []
    assert asked() == []


def test_looking_at_a_warehouse_of_an_earlier_release_changed_it(lab: Lab) -> None:
    """An earlier release has no list of refreshes, and its ledger does not say when a row was written."""
    loaded(lab, 1)
    computed(lab, 1)
    assert stale_days(lab) == []
    settings = lab.platform.settings
    file = Path(lab.platform.warehouse.location)
    with duckdb.connect(str(file)) as con:
        con.execute("DROP TABLE ops.refreshes")
        con.execute("ALTER TABLE ops.import_logs DROP COLUMN written_at")
    before = file.read_bytes()
    reader = open_platform_reader(settings, lab.platform.catalog)
    (stale,) = (each for each in find_stale(reader, lab.instance) if each.relation.id == CURVE_ID)
    assert (str(stale.slice), stale.why) == ("2026-11-01|maze", "never computed")
    assert (CURVE_ID, 1) in [(count.relation_id, count.slices) for count in read_status(reader).derived]
    assert report_writes(reader, lab.instance) == []
    assert file.read_bytes() == before
    computed(lab, 1)
    assert stale_days(lab) == []


def test_a_warehouse_that_is_not_there_is_not_made_by_a_look(lab: Lab) -> None:
    assert find_stale(lab.platform, lab.instance) == []
    assert report_writes(lab.platform, lab.instance) == []
    assert not Path(lab.platform.warehouse.location).exists()
