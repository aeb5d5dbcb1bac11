"""Once a rule is mended, replaying brings in exactly the lines that it had rejected, each once, whatever happens at the same time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gaelp_assets.operations.replay import replay
from gaelp_assets_tests.chaos import workers
from gaelp_assets_tests.chaos.endings import assert_same, ending
from gaelp_assets_tests.chaos.processes import Kills, clean, start
from gaelp_assets_tests.chaos.workloads import CHECKPOINTS, broken_rows, fill, put
from gaelp_assets_tests.platforms import EARLY, SLICE, checkpoint, ndjson, platform_in, rows

EARLY_ROWS = 30
RULE = "date_out_of_range"


@pytest.fixture
def origin(tmp_path: Path, seed: int) -> Path:
    """A home that is loaded, with lines among its dead letters that a mended rule takes, and others that none will."""
    home = tmp_path / "origin"
    fill(home, seed, rows=60)
    put(
        home,
        "raw/training/checkpoints/early.ndjson",
        broken_rows(EARLY_ROWS) + ndjson(map(checkpoint, range(EARLY_ROWS))),
    )
    put(
        home,
        "raw/training/checkpoints/resent.ndjson",
        broken_rows(EARLY_ROWS) + ndjson(map(checkpoint, range(EARLY_ROWS))),
    )
    clean(workers.ingest, home)
    return home


def early_rows(home: Path) -> int:
    [row] = rows(platform_in(home), f"SELECT COUNT(*) AS n FROM {CHECKPOINTS} WHERE date = '{EARLY}'")
    return int(row["n"])


def not_replayed(home: Path) -> int:
    [row] = rows(
        platform_in(home),
        "SELECT COUNT(*) AS n FROM ops.dead_letter WHERE replayed_at IS NULL "
        f"AND EXISTS (SELECT 1 FROM UNNEST(reasons) AS reason WHERE reason.rule = '{RULE}')",
    )
    return int(row["n"])


def test_killed_at_random_instants(origin: Path, tmp_path: Path, seed: int, kills: int) -> None:
    undisturbed, home = tmp_path / "clean", tmp_path / "home"
    shutil.copytree(origin, undisturbed)
    killer = Kills(seed, clean(workers.replay_and_ingest, undisturbed))
    expected = ending(undisturbed)
    assert early_rows(undisturbed) == EARLY_ROWS
    while killer.done < kills // 4:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(origin, home)
        for _ in range(killer.chance.randint(1, 5)):
            killer.kill(workers.replay_and_ingest, home)
        clean(workers.replay_and_ingest, home)
        assert not_replayed(home) == 0
        assert_same(expected, ending(home))


def test_twice_and_by_several_processes_at_once(origin: Path, tmp_path: Path) -> None:
    undisturbed = tmp_path / "clean"
    shutil.copytree(origin, undisturbed)
    clean(workers.replay_and_ingest, undisturbed)
    at_once = [start(workers.replay_and_ingest, origin) for _ in range(4)]
    for worker in at_once:
        worker.wait_until_begun()
    for worker in at_once:
        worker.finish()
    clean(workers.replay_and_ingest, origin)
    assert early_rows(origin) == EARLY_ROWS
    assert_same(ending(undisturbed), ending(origin))


def test_a_line_that_others_replayed_at_the_same_time_makes_no_empty_file(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    put(tmp_path, "raw/training/checkpoints/a.ndjson", broken_rows(2) + ndjson(map(checkpoint, range(4))))
    workers.ingest(platform)
    query = platform.warehouse.query

    def overtaken(sql: str, *arguments: object, **more: object) -> object:
        result = query(sql, *arguments, **more)  # type: ignore[arg-type]
        if "GROUP BY dataset" in sql:
            platform.warehouse.query = query  # type: ignore[method-assign]
            replay(platform, rule=RULE)
        return result

    platform = workers.mended(platform)
    platform.warehouse.query = overtaken  # type: ignore[method-assign,assignment]
    assert replay(platform, rule=RULE) == []
    assert len(platform.gateway.pending().files) == 1
    workers.ingest(platform)
    assert platform.gateway.failed() == []
    assert early_rows(tmp_path) == 2


def test_a_line_whose_file_was_sent_raw_and_to_its_slice_is_replayed_once(tmp_path: Path) -> None:
    content = ndjson(map(checkpoint, range(3))) + broken_rows(1)
    put(tmp_path, "raw/training/checkpoints/a.ndjson", content)
    put(tmp_path, f"cloud_ready/training/checkpoints/{SLICE.path}/a.ndjson", content)
    platform = workers.mended(platform_in(tmp_path))
    workers.ingest(platform_in(tmp_path))
    assert not_replayed(tmp_path) == 2
    assert [batch.lines for batch in replay(platform, rule=RULE)] == [1]
    assert not_replayed(tmp_path) == 0
