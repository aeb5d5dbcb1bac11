"""Raw files are proved and sorted into slices; rejected lines come back once they are mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gaelp_assets.catalog import Slice
from gaelp_assets.gateway import Stage
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.operations.replay import dead_letters, replay
from gaelp_assets.platform import Platform
from gaelp_assets_tests.platforms import DATE, TABLE, checkpoint, drop, load, ndjson, platform_in, rows


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return platform_in(tmp_path)


def load_all(platform: Platform) -> None:
    sort_raw(platform, run_id="test")
    for relation_id, slice_ in platform.gateway.pending_slices():
        load(platform, relation_id, slice_)


def test_raw_lines_go_on_unaltered_in_files_of_one_slice(platform: Platform) -> None:
    odd = json.dumps(checkpoint(3, environment_id="Taxi-v4"), separators=(" ,", "  : "))
    drop(
        platform,
        "raw/training/checkpoints/a.ndjson",
        ndjson([checkpoint(1), "{", odd, checkpoint(2, date="2026-11-02")]),
    )
    [report] = sort_raw(platform, run_id="test")
    [counts] = report.counts
    assert (counts.lines, counts.sorted, counts.rejected, counts.balanced) == (4, 3, 1, True)
    slices = platform.gateway.pending_slices()
    assert {slice_ for _, slice_ in slices} == {
        Slice(DATE, "CartPole-v1"),
        Slice(DATE, "Taxi-v4"),
        Slice(DATE.replace(day=2), "CartPole-v1"),
    }
    [taxi] = platform.gateway.slice_files(platform.catalog[TABLE], Slice(DATE, "Taxi-v4"), Stage.CLOUD_READY)
    with platform.gateway.open(taxi) as stream:
        assert stream.read().decode() == odd + "\n"
    load_all(platform)
    assert len(rows(platform, f"SELECT * FROM {TABLE}")) == 3
    assert rows(platform, "SELECT file, line_number FROM ops.dead_letter") == [
        {"file": "training/checkpoints/a.ndjson", "line_number": 2}
    ]


@pytest.mark.parametrize(
    "content", [json.dumps([checkpoint(1), checkpoint(2)]), json.dumps(checkpoint(1), indent=2)]
)
def test_a_json_array_or_object_is_taken_in_raw(platform: Platform, content: str) -> None:
    drop(platform, "raw/training/checkpoints/a.json", content.encode())
    load_all(platform)
    assert len(rows(platform, f"SELECT * FROM {TABLE}")) == content.count("checkpoint_id") - content.count(
        "parent_checkpoint_id"
    )


def test_a_resent_raw_file_loads_nothing_twice(platform: Platform) -> None:
    for name in ("a", "b"):
        drop(platform, f"raw/training/checkpoints/{name}.ndjson", ndjson([checkpoint(1), checkpoint(2), "{"]))
        load_all(platform)
    assert len(rows(platform, f"SELECT * FROM {TABLE}")) == 2
    assert len(rows(platform, "SELECT * FROM ops.dead_letter")) == 1


def test_a_file_of_the_queue_that_names_no_slice_is_sorted(platform: Platform) -> None:
    drop(platform, "cloud_ready/checkpoints.ndjson", ndjson([checkpoint(1)]))
    load_all(platform)
    assert len(rows(platform, f"SELECT * FROM {TABLE}")) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cloud_ready/training/chekpoints/a.ndjson", "training/checkpoints"),
        ("raw/nowhere/a.ndjson", "does not name a table"),
        ("cloud_ready/training/checkpoints/date=2026-02-30/environment=E/a.ndjson", "does not exist"),
        ("cloud_ready/training/checkpoints/date=2026-11-01/environment=ALE/Pong-v5/a.ndjson", "environment"),
        ("cloud_ready/training/checkpoints/date=2026-11-01/environment=a b/a.ndjson", "environment"),
        ("cloud_ready/training/checkpoints/date=2026-11-01/environment=a|b/a.ndjson", "environment"),
        ("cloud_ready/training/checkpoints/date=2026-11-01/environment=E/a.csv", ".ndjson"),
        ("cloud_ready/analytics/agent_leaderboard/a.ndjson", "agent_leaderboard"),
    ],
)
def test_a_misplaced_file_is_set_aside_with_what_is_wrong(
    platform: Platform, name: str, expected: str
) -> None:
    drop(platform, name, ndjson([checkpoint(1)]))
    drop(platform, "raw/training/checkpoints/good.ndjson", ndjson([checkpoint(1)]))
    load_all(platform)
    [failed] = platform.gateway.failed()
    assert expected in str(failed.problems[0])
    assert len(rows(platform, f"SELECT * FROM {TABLE}")) == 1


def test_replay_brings_exactly_the_rejected_lines_back_once(platform: Platform) -> None:
    # Too early for this platform, until its first day is moved.
    early = [checkpoint(number, date="2024-12-31") for number in (1, 2)]
    drop(platform, "raw/training/checkpoints/a.ndjson", ndjson([*early, *map(checkpoint, (3, 4, 5)), "{"]))
    load_all(platform)
    assert dead_letters(platform).height == 3
    mended = platform_in_with_first_date(platform)
    assert sum(item.lines for item in replay(mended, rule="date_out_of_range")) == 2
    assert replay(mended, rule="date_out_of_range") == []
    load_all(mended)
    loaded = rows(mended, f"SELECT checkpoint_id FROM {TABLE} ORDER BY 1")
    assert [row["checkpoint_id"] for row in loaded] == [f"checkpoint-{number}" for number in range(1, 6)]
    letters = dead_letters(mended, raw=True)
    assert letters["raw"].to_list() == [b"{"]


def platform_in_with_first_date(platform: Platform) -> Platform:
    import dataclasses
    import datetime as dt

    return dataclasses.replace(
        platform, settings=dataclasses.replace(platform.settings, first_date=dt.date(2024, 1, 1))
    )
