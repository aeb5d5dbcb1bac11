"""What a day's limits do to runs, sensors and the status: on an embedded warehouse that pretends to have limits."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from gaelp_assets.cli import render
from gaelp_assets.operations.status import read_status
from gaelp_assets.runs.planning import SLOT_TAG
from gaelp_assets.runs.plans import plan_loads
from gaelp_assets.warehouse.duckdb.reader import CAPABILITIES, DuckDBReader
from gaelp_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gaelp_assets.warehouse.protocol import Capabilities
from gaelp_assets.warehouse.quotas import Limits, QuotaLeft
from gaelp_assets_tests.assets.test_asset_runs import SCORES, Lab, failure_of, range_tags, rows

LIMITS = Limits(load_jobs=1000, writers_per_table=22)
Use = Callable[[int | None], QuotaLeft]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with dg.DagsterInstance.ephemeral() as instance:
        lab = Lab(tmp_path, instance)
        for day in (2, 3):
            for environment in ("CartPole-v1", "Taxi-v3"):
                lab.put(day, environment, rows(day, environment))
        instance.add_dynamic_partitions("environments", ["CartPole-v1", "Taxi-v3"])
        yield lab


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Says how many of the day's load jobs are used."""

    def capabilities(_: DuckDBWarehouse) -> Capabilities:
        return dataclasses.replace(CAPABILITIES, limits=LIMITS)

    def say(used: int | None) -> QuotaLeft:
        room = QuotaLeft(
            LIMITS, dt.datetime.now(dt.UTC), used, "" if used is not None else "no right to look"
        )
        monkeypatch.setattr(DuckDBWarehouse, "capabilities", property(capabilities))
        monkeypatch.setattr(DuckDBWarehouse, "quota_left", lambda _: room)
        return room

    return say


def _backfill(lab: Lab) -> dg.ExecuteInProcessResult:
    tags = range_tags("2026-11-02|CartPole-v1", "2026-11-03|Taxi-v3")
    return lab.materialize(SCORES, tags={**tags, "dagster/backfill": "b"})


def test_a_backfill_without_head_room_ends_before_it_writes_anything(lab: Lab, use: Use) -> None:
    use(995)
    result = _backfill(lab)
    assert not result.success
    says = failure_of(result)
    assert (
        "lab.scores: 2 dates x 2 environments = 4 slices need up to 8 load jobs, and 5 of 1,000 are left today"
        in says
    )
    assert "at most 2 slices: the newest date (2026-11-03)" in says
    assert lab.platform.warehouse.describe(lab.platform.catalog["lab.scores"]) is None
    assert not result.get_asset_check_evaluations()


def test_what_fits_runs_and_so_does_what_nobody_can_tell(lab: Lab, use: Use) -> None:
    use(992)
    assert _backfill(lab).success
    use(None)
    assert _backfill(lab).success
    assert lab.count("SELECT COUNT(*) FROM lab.scores") == 12


def test_the_sensor_spreads_loads_once_they_are_scarce_and_starts_none_when_there_are_none(
    lab: Lab, use: Use
) -> None:
    now = dt.datetime.now(dt.UTC)
    loaded = lab.instance.create_run_for_job(
        lab.definitions.resolve_job_def("__ASSET_JOB"),
        status=dg.DagsterRunStatus.SUCCESS,
        tags={SLOT_TAG: "2026-11|*"},
    )
    assert loaded.is_success
    lab.drop("cloud_ready/lab/players/p.ndjson", [{"player": "ann", "nickname": None}])
    use(100)
    assert len(plan_loads(lab.platform, lab.instance, now).runs) == 2
    room = use(800)
    plan = plan_loads(lab.platform, lab.instance, now)
    assert [run.slot for run in plan.runs] == ["whole"]
    assert plan.waits["2026-11|*"].startswith("load jobs are scarce today; next at")
    use(1000)
    assert plan_loads(lab.platform, lab.instance, now).waits["whole"] == "no load jobs are left today"
    assert len(plan_loads(lab.platform, lab.instance, room.renewed_at).runs) == 2


def test_the_status_shows_what_is_left(lab: Lab, use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(301)
    render.print_status(read_status(lab.platform), "w", "g", as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["quota_left"]["left"] == 699
    assert answer["quota_left"]["writes_left"] == 349
    render.print_status(read_status(lab.platform), "w", "g", as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "load jobs of the project │ 1,000 │ 301 │ 699 │ 349" in shown
    use(None)
    render.print_status(read_status(lab.platform), "w", "g", as_json=False)
    assert "is taken for nothing: no right to look" in capsys.readouterr().out


def test_an_engine_without_limits_is_not_asked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_status(lab.platform).quota_left is None
    monkeypatch.delattr(DuckDBReader, "quota_left")
    assert _backfill(lab).success
