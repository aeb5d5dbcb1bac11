"""Whole Dagster runs, killed with SIGKILL at any step and started again, end with the rows, derived rows and events of a clean one."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gaelp_assets.catalog import Slice
from gaelp_assets.cli.dev import dagster_instance, prepare_dagster_home
from gaelp_assets.gateway import Stage
from gaelp_assets.runs.staleness import find_stale
from gaelp_assets_tests.assets.test_asset_runs import BOARD, CURVE, SCORES, rows, write_catalog
from gaelp_assets_tests.chaos import killed_runs
from gaelp_assets_tests.chaos.killed_runs import small_platform
from gaelp_assets_tests.chaos.processes import DEADLINE_SECONDS
from gaelp_assets_tests.chaos.workloads import put
from gaelp_assets_tests.platforms import ndjson
from gaelp_assets_tests.processes import FORKED

BOUNDARIES: Final = (
    "after write",  # the rows are committed, the file is still in the queue
    "after move",  # archived: nothing in the gateway tells of it any more
    "before handle_new_event",
    "after handle_new_event",
    "before refresh",
    "after refresh",
)
QUERIES: Final = (
    "SELECT date, environment, player, step, score FROM lab.scores ORDER BY date, environment, player, step",
    "SELECT date, environment, player, step, score FROM lab.curve ORDER BY date, environment, player, step",
    "SELECT player, score FROM lab.board ORDER BY player",
)


def ingest(home: Path, fatal_step: int | None = None) -> list[str]:
    """The steps of a process that ingests, after the number of its runs; none if it was killed."""
    steps = home / "steps"
    steps.unlink(missing_ok=True)
    process = FORKED.Process(target=killed_runs.ingest, args=(home, fatal_step, steps))
    process.start()
    process.join(DEADLINE_SECONDS)
    if process.is_alive():
        process.kill()
        raise AssertionError("it hangs")
    if process.exitcode == -signal.SIGKILL:
        return []
    assert process.exitcode == 0, "it failed"
    return steps.read_text().splitlines()


def fill(home: Path) -> None:
    """Two files in each of two neighbouring slices, which one run takes, and a dimension."""
    write_catalog(home / "catalog")
    curve = home / "catalog" / "lab" / "curve.json"
    curve.write_text(json.dumps({**json.loads(curve.read_text()), "chart": None}))
    prepare_dagster_home(small_platform(home).settings)
    for environment in ("CartPole-v1", "Taxi-v3"):
        folder = f"cloud_ready/lab/scores/date=2026-11-02/environment={environment}"
        put(home, f"{folder}/a.ndjson", ndjson(rows(2, environment)))
        put(home, f"{folder}/b.ndjson", ndjson(rows(2, environment, count=5)))
    put(home, "cloud_ready/lab/players/p.ndjson", ndjson([{"player": "ann", "nickname": None}]))


def outcome(home: Path) -> list[list[tuple[Any, ...]]]:
    """The rows of the table and of what is derived from it. The ledger, the refreshes and Dagster must tell of the same slices."""
    platform = small_platform(home)
    assert platform.gateway.counts()[Stage.CLOUD_READY].files == 0
    query = platform.warehouse.query
    loaded = slices(
        query("SELECT DISTINCT slice_date, slice_environment FROM ops.import_logs WHERE `table` = 'scores'")
    )
    computed = slices(
        query("SELECT DISTINCT slice_date, slice_environment FROM ops.refreshes WHERE `table` = 'curve'")
    )
    assert loaded == computed != set()
    with dagster_instance(platform.settings) as instance:
        assert instance.get_materialized_partitions(SCORES) == loaded
        assert instance.get_materialized_partitions(CURVE) == loaded
        assert instance.get_latest_materialization_event(BOARD) is not None
        assert set(instance.get_dynamic_partitions("environments")) == {"CartPole-v1", "Taxi-v3"}
        assert find_stale(platform, instance) == []
        assert all(run.is_finished for run in instance.get_runs())
    return [query(sql).frame.rows() for sql in QUERIES]


def slices(result: Any) -> set[str | None]:
    return {Slice(date, environment).partition_key for date, environment in result.frame.iter_rows()}


def fatal_steps(steps: Sequence[str], count: int, chance: random.Random) -> list[int]:
    """One step of each kind of boundary, the kinds in any order, then any step."""
    chosen = [
        chance.choice([number for number, step in enumerate(steps) if step == boundary])
        for boundary in chance.sample(BOUNDARIES, len(BOUNDARIES))
    ]
    chosen += chance.sample(range(len(steps)), max(count - len(chosen), 0))
    return chosen[:count]


def test_whole_runs_killed_between_any_two_steps(tmp_path: Path, seed: int, kills: int) -> None:
    origin, clean, home = (tmp_path / name for name in ("origin", "clean", "home"))
    fill(origin)
    shutil.copytree(origin, clean)
    _, *steps = ingest(clean)
    expected = outcome(clean)
    assert [len(found) for found in expected] == [10, 10, 1]
    chance = random.Random(seed)
    for fatal in fatal_steps(steps, max(kills // 16, 1), chance):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(origin, home)
        assert ingest(home, fatal) == []
        if chance.random() < 0.3:
            ingest(home, chance.randrange(8))
        assert ingest(home)
        assert outcome(home) == expected, f"killed at step {fatal}, {steps[fatal]}"
    assert ingest(home)[0] == "0", "there is still something to do"
