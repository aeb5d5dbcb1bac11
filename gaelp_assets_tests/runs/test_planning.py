"""The sensors' plans: pure functions, so that every case is one call."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gaelp_assets.assets.partitions import GATEWAY
from gaelp_assets.catalog import WHOLE, Slice, load_catalog
from gaelp_assets.runs.planning import (
    Attempt,
    PastRun,
    PendingWork,
    RunOutcome,
    RunPlan,
    only_these,
    plan_runs,
    with_derived,
)

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
FIRST, LAST = dt.date(2026, 1, 1), dt.date(2026, 11, 21)
EPISODES = dg.AssetKey(["training", "episodes"])
STEPS = dg.AssetKey(["training", "steps"])
CARTPOLE = Slice(dt.date(2026, 11, 20), "CartPole-v1")
TAXI = Slice(dt.date(2026, 11, 20), "Taxi-v3")


def ago(seconds: float) -> dt.datetime:
    return NOW - dt.timedelta(seconds=seconds)


def past(run_id: str, outcome: RunOutcome, ended_ago: float = 60, attempt: Attempt | None = None) -> PastRun:
    ended = None if outcome is RunOutcome.IN_FLIGHT else ago(ended_ago)
    return PastRun(run_id, outcome, ago(ended_ago + 5), ended, attempt)


def plan(
    waiting: list[PendingWork], history: dict[str, list[PastRun]] | None = None, limit: int = 50
) -> RunPlan:
    return plan_runs(
        waiting, history or {}, only_these, now=NOW, first_date=FIRST, last_date=LAST, limit=limit
    )


def test_tables_of_one_slot_share_a_run() -> None:
    planned = plan([PendingWork(EPISODES, CARTPOLE, ago(30)), PendingWork(STEPS, CARTPOLE, ago(20))]).runs
    assert [(run.slot, set(run.assets)) for run in planned] == [("2026-11|*", {EPISODES, STEPS})]
    assert planned[0].partition_key == "2026-11-20|CartPole-v1"
    assert planned[0].run_key == "2026-11|*<-none"


def environment(name: str) -> Slice:
    return Slice(CARTPOLE.date, name)


@pytest.mark.parametrize(
    ("known", "tables", "expected"),
    [
        pytest.param(
            ["b", "a", "c"], {"a": 1, "b": 1, "c": 1}, "bac", id="in the order in which Dagster knows them"
        ),
        pytest.param(["a", "x", "b"], {"a": 1, "b": 1}, "a", id="none that has no work in between"),
        pytest.param(["a", "b", "c"], {"a": 1, "b": 2, "c": 1}, "a", id="none that waits for other assets"),
        pytest.param(["c"], {"c": 1, "a": 1, "b": 1}, "cab", id="new ones follow by name"),
    ],
)
def test_a_run_takes_neighbouring_environments_that_wait_for_the_same_assets(
    known: list[str], tables: dict[str, int], expected: str
) -> None:
    waiting = [
        PendingWork(asset, environment(name), ago(100 - ord(name) + ord("a")))
        for name, count in tables.items()
        for asset in (EPISODES, STEPS)[:count]
    ]
    found = plan_runs(waiting, {}, only_these, now=NOW, first_date=FIRST, last_date=LAST, environments=known)
    [run] = found.runs
    assert "".join(s.environment or "" for s in run.slices) == expected
    request = run.request()
    if len(expected) == 1:
        assert request.partition_key == f"2026-11-20|{expected}"
    else:
        assert request.partition_key is None
        assert request.tags["dagster/asset_partition_range_start"] == f"2026-11-20|{expected[0]}"
        assert request.tags["dagster/asset_partition_range_end"] == f"2026-11-20|{expected[-1]}"


def day(number: int, environment: str) -> Slice:
    return Slice(dt.date(2026, 11, number), environment)


@pytest.mark.parametrize(
    ("waiting", "limit", "expected"),
    [
        pytest.param("1ab 2ab 3ab", 500, "1ab 2ab 3ab", id="dates on which the same environments wait"),
        pytest.param("1ab 2a 3ab", 500, "1ab", id="no date on which one does not wait"),
        pytest.param("1ab 3ab", 500, "1ab", id="no date after one without work"),
        pytest.param("1ab 2abc 3ab", 500, "1ab 2ab 3ab", id="no environment that not every date has"),
        pytest.param("1ab 2ab 3ab", 5, "1ab 2ab", id="as many dates as fit"),
        pytest.param("1abc 2abc", 2, "1ab", id="as many environments as fit"),
    ],
)
def test_a_run_takes_the_dates_on_which_its_environments_wait(
    waiting: str, limit: int, expected: str
) -> None:
    work = [
        PendingWork(EPISODES, day(int(part[0]), name), ago(100 - int(part[0])))
        for part in waiting.split()
        for name in part[1:]
    ]
    found = plan_runs(work, {}, only_these, now=NOW, first_date=FIRST, last_date=LAST, slices=limit)
    [run] = found.runs
    assert run.slot == "2026-11|*"
    assert list(run.slices) == [day(int(part[0]), name) for part in expected.split() for name in part[1:]]


def test_a_run_over_dates_says_its_rectangle() -> None:
    work = [PendingWork(EPISODES, day(number, name), ago(60)) for number in (1, 2) for name in "ab"]
    [run] = plan(work).runs
    assert run.title == "2026-11-01|a ... 2026-11-02|b"
    assert run.request().tags["dagster/asset_partition_range_start"] == "2026-11-01|a"
    assert run.request().tags["dagster/asset_partition_range_end"] == "2026-11-02|b"


def test_a_slice_that_fails_again_and_again_does_not_hold_up_its_neighbours() -> None:
    history = {"2026-11|*": [past("failed", RunOutcome.FAILED, 5)]}
    [run] = plan(
        [PendingWork(EPISODES, CARTPOLE, ago(900)), PendingWork(EPISODES, TAXI, ago(2))], history
    ).runs
    assert run.slices == (TAXI,)


def test_a_table_that_fails_again_and_again_held_up_the_other_tables_of_its_month() -> None:
    """Their files are older than the failure, and each time its own were older still."""
    tried = Attempt(frozenset([EPISODES]), CARTPOLE, CARTPOLE)
    history = [past(f"failed{n}", RunOutcome.FAILED, 5 + n, tried) for n in range(4)]
    broken, sound = PendingWork(EPISODES, CARTPOLE, ago(900)), PendingWork(STEPS, TAXI, ago(800))
    [run] = plan([broken, sound], {"2026-11|*": history}).runs
    assert (run.assets, run.slices) == ((STEPS,), (TAXI,))
    # That the sound one succeeds does not make the broken one's rest shorter.
    history.insert(0, past("sound", RunOutcome.SUCCEEDED, 1, Attempt(frozenset([STEPS]), TAXI, TAXI)))
    found = plan([broken], {"2026-11|*": history})
    assert found.runs == []
    assert found.waits == {"2026-11|*": "run failed0 failed; next attempt at 12:01:15 UTC"}


def test_an_attempt_covers_the_rectangle_between_its_corners() -> None:
    day = dt.timedelta(days=1)
    tried = Attempt(frozenset([EPISODES]), CARTPOLE, Slice((TAXI.date or LAST) + day, TAXI.environment))
    order = {"Acrobot-v1": 0, "CartPole-v1": 1, "Taxi-v3": 2}
    inside = [(EPISODES, CARTPOLE), (EPISODES, TAXI), (EPISODES, tried.last)]
    outside = [
        (STEPS, CARTPOLE),
        (EPISODES, Slice(CARTPOLE.date, "Acrobot-v1")),
        (EPISODES, Slice((CARTPOLE.date or FIRST) - day, "Taxi-v3")),
    ]
    assert [tried.covers(PendingWork(*work), order) for work in inside + outside] == [True] * 3 + [False] * 3


def test_date_whole_and_gateway_are_slots_of_their_own() -> None:
    day = Slice(dt.date(2026, 11, 20))
    planned = plan(
        [PendingWork(EPISODES, day, NOW), PendingWork(STEPS, WHOLE, NOW), PendingWork(GATEWAY, WHOLE, NOW)]
    ).runs
    assert {(run.slot, run.partition_key) for run in planned} == {
        ("2026-11", "2026-11-20"),
        ("whole", None),
        ("gateway", None),
    }


def test_a_slot_in_flight_is_skipped_and_the_reason_names_the_run() -> None:
    found = plan(
        [PendingWork(EPISODES, CARTPOLE, ago(30))],
        {"2026-11|*": [past("abcdefgh99", RunOutcome.IN_FLIGHT)]},
    )
    assert found.runs == []
    assert found.waits == {"2026-11|*": "run abcdefgh is in flight"}


def test_the_run_key_names_the_previous_run_so_that_nothing_starts_twice() -> None:
    history = {"2026-11|*": [past("second", RunOutcome.SUCCEEDED), past("first", RunOutcome.SUCCEEDED)]}
    assert plan([PendingWork(EPISODES, CARTPOLE, ago(30))], history).runs[0].run_key == "2026-11|*<-second"


@pytest.mark.parametrize(
    ("failures", "ended_ago", "planned"),
    [(1, 9, False), (1, 11, True), (2, 19, False), (2, 21, True), (4, 79, False), (4, 81, True), (30, 599, False), (30, 601, True)],
)  # fmt: skip
def test_a_failed_slot_rests_ten_seconds_doubled_for_each_failure_at_most_ten_minutes(
    failures: int, ended_ago: float, planned: bool
) -> None:
    history = {
        "2026-11|*": [past(f"f{n}", RunOutcome.FAILED, ended_ago) for n in range(failures)]
        + [past("ok", RunOutcome.SUCCEEDED, 9_000)]
    }
    assert bool(plan([PendingWork(EPISODES, CARTPOLE, ago(9_000))], history).runs) is planned


def test_files_that_came_after_a_failure_do_not_wait_for_its_backoff() -> None:
    history = {"2026-11|*": [past("failed", RunOutcome.FAILED, 5)]}
    assert plan([PendingWork(EPISODES, CARTPOLE, ago(3))], history).runs
    assert not plan([PendingWork(EPISODES, CARTPOLE, ago(7))], history).runs


def test_the_oldest_work_goes_first_and_no_slot_starves() -> None:
    waiting = [
        PendingWork(EPISODES, Slice(dt.date(2026, month, 1), "env"), ago(1_000 - month))
        for month in range(1, 11)
    ]
    late = [PendingWork(STEPS, TAXI, ago(5_000))]
    first = plan(waiting + late, limit=6).runs
    assert len(first) == 6
    assert first[0].slot == "2026-11|*"
    done = {run.slot: [past(f"run-{run.slot}", RunOutcome.SUCCEEDED)] for run in first}
    cooldown = [work for work in waiting if work.slot not in done]
    assert {run.slot for run in plan(cooldown, done).runs} == {work.slot for work in cooldown}


def test_slots_in_flight_count_towards_the_limit() -> None:
    waiting = [PendingWork(EPISODES, Slice(dt.date(2026, 1 + n, 1), "env"), ago(100 - n)) for n in range(10)]
    history = {work.slot: [past("running", RunOutcome.IN_FLIGHT)] for work in waiting[:4]}
    found = plan(waiting, history, limit=6)
    assert [run.slot for run in found.runs] == [work.slot for work in waiting[4:6]]
    assert len(found.waits) == 8


@pytest.mark.parametrize("date", [dt.date(2025, 12, 31), dt.date(2026, 11, 22)])
def test_a_date_that_is_no_partition_waits_with_a_reason_and_stops_nothing_else(date: dt.date) -> None:
    found = plan(
        [PendingWork(EPISODES, Slice(date, "CartPole-v1"), ago(1)), PendingWork(EPISODES, TAXI, ago(1))]
    )
    assert [run.slot for run in found.runs] == ["2026-11|*"]
    assert "2026-01-01 to 2026-11-21 are taken" in found.waits[f"{date}"]


def test_new_environments_are_added_with_the_runs_that_need_them() -> None:
    requests = plan(
        [PendingWork(EPISODES, CARTPOLE, NOW), PendingWork(EPISODES, TAXI, NOW)]
    ).new_environments()
    assert [list(request.partition_keys) for request in requests] == [["CartPole-v1", "Taxi-v3"]]
    assert plan([PendingWork(STEPS, WHOLE, NOW)]).new_environments() == []


def test_an_empty_queue_is_a_skip_with_words() -> None:
    assert plan([]).result() == dg.SkipReason("Nothing to do.")


def test_a_run_takes_along_what_is_derived_slice_by_slice_and_leaves_the_rest(tmp_path: Path) -> None:
    write_relation(tmp_path, "training", "episodes", sliced=True)
    write_relation(tmp_path, "training", "agents", sliced=False)
    write_relation(tmp_path, "analytics", "daily", sliced=True, sql="SELECT * FROM training.episodes")
    write_relation(tmp_path, "analytics", "weekly", sliced=True, sql="SELECT * FROM analytics.daily")
    write_relation(tmp_path, "analytics", "board", sliced=False, sql="SELECT * FROM analytics.daily")
    select = with_derived(load_catalog(tmp_path))
    names = [key.path[-1] for key in select([EPISODES])]
    assert names == ["episodes", "daily", "weekly"]
    assert [key.path[-1] for key in select([dg.AssetKey(["training", "agents"])])] == ["agents"]


def write_relation(folder: Path, dataset: str, name: str, *, sliced: bool, sql: str | None = None) -> None:
    content: dict[str, Any] = {
        "kind": "derived_table" if sql else "table",
        "description": name,
        "owner": "team:research",
        "primary_key": [] if sql else ["id"],
        "fields": [
            {"name": "id", "type": "STRING", "mode": "REQUIRED"},
            {"name": "date", "type": "DATE", "mode": "REQUIRED"},
            {"name": "environment_id", "type": "STRING", "mode": "REQUIRED"},
        ],
    }
    if sliced:
        content["partitioning"] = {"date": "date", "environment": "environment_id"}
    (folder / dataset).mkdir(exist_ok=True)
    (folder / dataset / f"{name}.json").write_text(json.dumps(content))
    if sql:
        (folder / dataset / f"{name}.sql").write_text(sql)


def test_where_loads_are_scarce_a_slot_rests_after_a_success_and_not_after_a_failure() -> None:
    def planned(run: PastRun, cooldown: float) -> RunPlan:
        return plan_runs(
            [PendingWork(EPISODES, CARTPOLE, ago(30))],
            {"2026-11|*": [run]},
            only_these,
            now=NOW,
            first_date=FIRST,
            last_date=LAST,
            cooldown=dt.timedelta(seconds=cooldown),
        )

    succeeded = past("a", RunOutcome.SUCCEEDED, ended_ago=55)  # and created 5 seconds earlier
    assert planned(succeeded, 60).runs
    assert planned(succeeded, 61).waits == {"2026-11|*": "load jobs are scarce today; next at 12:00:01 UTC"}
    assert planned(past("b", RunOutcome.FAILED, ended_ago=55), 3600).runs
