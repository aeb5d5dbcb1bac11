"""A changed SQL, in a lab of its own: whatever was computed by other code is computed again, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gaelp_assets.runs.planning import REASON_TAG
from gaelp_assets.runs.staleness import find_stale
from gaelp_assets_tests.assets.test_asset_runs import CURVE, SCORES, Lab, row, rows
from sensors import refresh
from sensors.refresh import refresh_sensor

THOUSANDFOLD = (
    "SELECT date, environment, player, step, MAX(score) * 1000 AS score FROM lab.scores "
    "GROUP BY date, environment, player, step"
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lab(tmp_path, instance)


def stale(lab: Lab) -> set[tuple[str, str, str]]:
    return {
        (found.relation.id, str(found.slice), found.why) for found in find_stale(lab.platform, lab.instance)
    }


def scores(lab: Lab, relation: str = "lab.curve") -> list[float]:
    frame = lab.platform.warehouse.query(f"SELECT score FROM {relation} ORDER BY score").frame
    return [float(value) for value in frame["score"]]


def tick(lab: Lab, cursor: str | None = None) -> tuple[dg.SensorResult | dg.SkipReason, str | None]:
    context = dg.build_sensor_context(instance=lab.instance, cursor=cursor)
    result = refresh_sensor(lambda: lab.platform)(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result, context.cursor


def requests(result: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    return list(result.run_requests or []) if isinstance(result, dg.SensorResult) else []


def test_the_changed_sql_of_a_sliced_relation_left_two_meanings_in_one_table(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", [row(2, "CartPole-v1", 3)])
    lab.pending()
    assert scores(lab) == scores(lab, "lab.board") == [4.5]
    lab.change("curve", THOUSANDFOLD)
    lab.put(3, "CartPole-v1", [row(3, "CartPole-v1", 3)])
    lab.pending()
    assert scores(lab) == [4500.0, 4500.0]
    assert scores(lab, "lab.board") == [4500.0]
    assert stale(lab) == set()
    assert lab.pending() == []


def test_other_white_space_and_comments_compute_nothing_again(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    sql = lab.platform.catalog["lab.curve"].sql
    assert sql is not None
    spread = sql.replace(" FROM", "\n  FROM")
    lab.change("curve", f"-- The best of each step.\n{spread};\n")
    assert lab.pending() == []


def test_a_slice_is_stale_when_a_view_changes_that_it_is_read_through(lab: Lab) -> None:
    lab.change("good", "SELECT date, environment, player, step, score FROM lab.scores", kind="view")
    sql = THOUSANDFOLD.replace("lab.scores", "lab.good").replace(" * 1000", "")
    lab.change("curve", sql)
    lab.put(2, "CartPole-v1", [row(2, "CartPole-v1", 3)])
    lab.pending()
    assert scores(lab) == [4.5]
    lab.change(
        "good", "SELECT date, environment, player, step, score + 1 AS score FROM lab.scores", kind="view"
    )
    assert stale(lab) == {
        ("lab.curve", "2026-11-02|CartPole-v1", "other code"), ("lab.good", "whole table", "other code"),
    }  # fmt: skip
    lab.pending()
    assert scores(lab) == scores(lab, "lab.board") == [5.5]


def test_slices_of_changed_sql_are_refreshed_a_few_at_a_time_and_new_rows_do_not_wait(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (2, 3, 4, 5):
        lab.put(day, "CartPole-v1", rows(day, "CartPole-v1"))
    lab.pending()
    lab.change("curve", THOUSANDFOLD)
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1", count=9), name="late")
    assert lab.materialize(SCORES, partition_key="2026-11-02|CartPole-v1").success
    result, cursor = tick(lab)
    found = [(request.partition_key, request.tags[REASON_TAG]) for request in requests(result)]
    assert found == [("2026-11-02|CartPole-v1", "new rows")]
    again, _ = tick(lab, cursor)
    assert [request.run_key for request in requests(again)] == [
        request.run_key for request in requests(result)
    ]
    assert lab.materialize(CURVE, partition_key="2026-11-02|CartPole-v1").success
    monkeypatch.setattr(refresh, "RUNS_FOR_CODE", 0)
    assert not [request for request in requests(tick(lab)[0]) if "other code" in request.tags[REASON_TAG]]
    monkeypatch.setattr(refresh, "RUNS_FOR_CODE", 1)
    [other] = [request for request in requests(tick(lab)[0]) if "other code" in request.tags[REASON_TAG]]
    assert other.tags["dagster/asset_partition_range_start"] == "2026-11-03|CartPole-v1"
    assert other.tags["dagster/asset_partition_range_end"] == "2026-11-05|CartPole-v1"


def test_the_sql_of_a_relation_that_is_a_single_slice(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", [row(2, "CartPole-v1", 3)])
    lab.pending()
    lab.change(
        "board",
        "SELECT player, MIN(score) - 1 AS score FROM lab.curve WHERE date >= DATE '2000-01-01' GROUP BY player",
    )
    assert [result.assets for result in lab.pending()] == [("lab.board",)]
    assert scores(lab, "lab.board") == [3.5]


def test_a_rebuild_makes_what_is_derived_stale_though_it_loads_the_same_batches(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    config = {"ops": {"lab__scores": {"config": {"rebuild": True}}}}
    assert lab.materialize(SCORES, partition_key="2026-11-02|CartPole-v1", run_config=config).success
    assert stale(lab) == {("lab.curve", "2026-11-02|CartPole-v1", "new rows")}
    assert [result.success for result in lab.pending()] == [True, True]
    assert stale(lab) == set()


def test_a_derived_table_that_was_made_again_is_filled_again(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    relation = lab.platform.catalog["lab.curve"]
    lab.platform.warehouse.drop(relation)
    lab.platform.warehouse.ensure([relation])
    lab.pending()
    assert lab.count("SELECT COUNT(*) FROM lab.curve") == 3


def test_a_dimension_makes_the_board_stale_and_no_slice(lab: Lab) -> None:
    joined = THOUSANDFOLD.replace("lab.scores", "lab.scores INNER JOIN lab.players USING (player)")
    lab.change("curve", joined)
    lab.change("board", "SELECT player, MAX(score) AS score FROM lab.scores INNER JOIN lab.players USING (player) "
                        "WHERE date >= DATE '2000-01-01' GROUP BY player")  # fmt: skip
    lab.drop("cloud_ready/lab/players/p.ndjson", [{"player": "ann", "nickname": None}])
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    lab.drop("cloud_ready/lab/players/q.ndjson", [{"player": "bob", "nickname": None}])
    assert [result.assets for result in lab.pending()] == [("lab.players",), ("lab.board",)]


def test_a_tick_asks_the_warehouse_again_only_after_a_run_or_some_minutes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    result, cursor = tick(lab)
    assert requests(result) == []
    asked: list[str] = []

    def watch() -> None:
        query = lab.platform.warehouse.query

        def watched(sql: str, *given: Any, **more: Any) -> Any:
            asked.append(sql)
            return query(sql, *given, **more)

        monkeypatch.setattr(lab.platform.warehouse, "query", watched)

    watch()
    result, _ = tick(lab, cursor)
    assert (requests(result), asked) == ([], [])
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1", count=5), name="late")
    assert lab.materialize(SCORES, partition_key="2026-11-02|CartPole-v1").success
    result, _ = tick(lab, cursor)
    assert [request.asset_selection for request in requests(result)] == [[CURVE]]
    lab.pending()
    result, cursor = tick(lab)
    lab.change("curve", THOUSANDFOLD)
    result, _ = tick(lab, cursor)
    assert [request.tags[REASON_TAG] for request in requests(result)] == ["other code"]
    lab.pending()
    result, cursor = tick(lab)
    asked.clear()
    watch()
    monkeypatch.setattr(refresh, "LOOK_EVERY", refresh.LOOK_EVERY * 0)
    tick(lab, cursor)
    assert asked != []
