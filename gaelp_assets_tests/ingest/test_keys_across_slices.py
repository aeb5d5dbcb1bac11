"""One key in several slices, all the way from the gateway: resent, sorted out of one file, rebuilt, replayed and checked."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gaelp_assets.assets.checks import key_uniqueness
from gaelp_assets.assets.partitions import scopes
from gaelp_assets.catalog import Slice
from gaelp_assets.catalog.model import KeyScope
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.operations.replay import replay
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets.warehouse.ranges import PartitionRange
from gaelp_assets_tests.platforms import (
    DATE,
    FIRST_DATE,
    SLICE,
    TABLE,
    checkpoint,
    drop,
    load,
    ndjson,
    platform_in,
    rows,
    state,
)

NEXT_DAY = DATE + dt.timedelta(days=1)
TOMORROW = Slice(NEXT_DAY, "CartPole-v1")
TAXI = Slice(DATE, "Taxi-v4")
SLICES = (SLICE, TOMORROW, TAXI)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return platform_in(tmp_path)


def load_all(platform: Platform, *, rebuild: bool = False, slices: Sequence[Slice] = SLICES) -> None:
    sort_raw(platform, run_id="test")
    for slice_ in slices:
        load(platform, slice_=slice_, rebuild=rebuild)


def resent(number: int, slice_: Slice) -> dict[str, Any]:
    return checkpoint(number, date=str(slice_.date), environment_id=slice_.environment)


def where(platform: Platform, number: int) -> list[tuple[dt.date, str]]:
    found = rows(
        platform,
        f"SELECT date, environment_id FROM {TABLE} WHERE checkpoint_id = 'checkpoint-{number}' ORDER BY 1, 2",
    )
    return [(row["date"], row["environment_id"]) for row in found]


def test_lines_resent_for_another_day_or_environment_were_loaded_again(platform: Platform) -> None:
    for index, lines in enumerate(
        ([checkpoint(1), checkpoint(2)], [resent(1, TOMORROW)], [resent(2, TAXI), resent(3, TAXI)])
    ):
        drop(platform, f"raw/{TABLE.replace('.', '/')}/{index}.ndjson", ndjson(lines))
        load_all(platform)
    assert rows(platform, f"SELECT checkpoint_id AS id FROM {TABLE} ORDER BY 1") == [
        {"id": f"checkpoint-{number}"} for number in (1, 2, 3)
    ]
    letters = rows(platform, "SELECT reasons FROM ops.dead_letter")
    assert [[reason["rule"] for reason in row["reasons"]] for row in letters] == [["key_conflict"]] * 2


def test_both_in_one_raw_file_the_slice_that_is_loaded_first_has_it(platform: Platform) -> None:
    lines = [resent(1, TOMORROW), resent(1, TAXI), checkpoint(1), checkpoint(2)]
    drop(platform, f"raw/{TABLE.replace('.', '/')}/a.ndjson", ndjson(lines))
    load_all(platform)
    assert where(platform, 1) == [(DATE, "CartPole-v1")]
    before = state(platform)
    for slices in (SLICES, SLICES[::-1]):
        load_all(platform, rebuild=True, slices=slices)
        for was, is_ in zip(before, state(platform), strict=True):
            assert was.equals(is_)


def test_a_replay_leaves_a_line_open_as_long_as_another_slice_has_its_key(platform: Platform) -> None:
    drop(platform, f"cloud_ready/training/checkpoints/{SLICE.path}/a.ndjson", ndjson([checkpoint(1)]))
    drop(
        platform, f"cloud_ready/training/checkpoints/{TOMORROW.path}/a.ndjson", ndjson([resent(1, TOMORROW)])
    )
    load_all(platform)
    assert [(found.lines, found.still_rejected) for found in replay(platform)] == [(0, 1)]
    with duckdb.connect(str(platform.settings.home / "warehouse.duckdb")) as connection:
        connection.execute(f"DELETE FROM {TABLE} WHERE checkpoint_id = 'checkpoint-1'")
    assert [(found.lines, found.still_rejected) for found in replay(platform)] == [(1, 0)]
    load_all(platform)
    assert where(platform, 1) == [(NEXT_DAY, "CartPole-v1")]


def test_the_check_of_keys_looked_at_one_slice_alone(platform: Platform) -> None:
    for number, slice_ in enumerate(SLICES):
        name = f"cloud_ready/training/checkpoints/{slice_.path}/a.ndjson"
        drop(platform, name, ndjson([resent(number, slice_), resent(number + 10, slice_)]))
    load_all(platform)
    relation = platform.catalog[TABLE]
    everywhere = [PartitionRange(FIRST_DATE, platform.last_date)]
    covers = {
        slices: scopes(slices, FIRST_DATE, platform.last_date)
        for slices in ((), (SLICE,), (TOMORROW,), (TAXI,), (SLICE, TAXI, TOMORROW))
    }
    assert covers[()] == everywhere
    for covered in covers.values():
        assert key_uniqueness(platform, relation, covered)[0]
    with duckdb.connect(str(platform.settings.home / "warehouse.duckdb")) as connection:
        connection.execute(
            f"INSERT INTO {TABLE} SELECT * REPLACE (DATE '{NEXT_DAY}' AS date) FROM {TABLE} WHERE checkpoint_id = 'checkpoint-0'"
        )
    for slices, covered in covers.items():
        passed, found = key_uniqueness(platform, relation, covered)
        assert passed == (slices == (TAXI,))
        if not passed:
            assert (found["keys with several rows"], found["surplus rows"]) == (1, 1)
            named = [record.data for record in found["slices with these keys"].records]  # type: ignore[union-attr]
            assert named == [
                {"slice": "2026-11-01|CartPole-v1", "rows": 1},
                {"slice": "2026-11-02|CartPole-v1", "rows": 1},
            ]
    own = relation.model_copy(update={"key_scope": KeyScope.SLICE})
    for covered in covers.values():
        assert key_uniqueness(platform, own, covered)[0]


def test_of_two_rows_of_a_dimension_that_is_sliced_by_its_version_both_stayed(tmp_path: Path) -> None:
    file = tmp_path / "catalog" / "media" / "kw.json"
    file.parent.mkdir(parents=True)
    content = {
        "description": "case",
        "owner": "team:research",
        "fields": [
            {"name": "id", "type": "STRING", "mode": "REQUIRED"},
            {"name": "state", "type": "STRING"},
            {"name": "ts", "type": "TIMESTAMP", "mode": "REQUIRED"},
        ],
        "primary_key": ["id"],
        "partitioning": {"date": "ts"},
        "on_key_conflict": {"latest": "ts"},
    }
    file.write_text(json.dumps(content))
    settings = load_settings({"GAELP_HOME": str(tmp_path), "GAELP_FIRST_DATE": FIRST_DATE.isoformat()})
    platform = open_platform(settings)
    platform.gateway.prepare()
    lines = [
        {"id": "1", "state": state_, "ts": f"{day}T00:00:00Z"}
        for state_, day in (("old", DATE), ("new", NEXT_DAY))
    ]
    drop(platform, "raw/media/kw/kw.ndjson", ndjson(lines))
    sort_raw(platform, run_id="test")
    for day in (DATE, NEXT_DAY):
        load(platform, "media.kw", Slice(day))
    for rebuilt in ((), (DATE, NEXT_DAY), (NEXT_DAY, DATE)):
        for day in rebuilt:
            load(platform, "media.kw", Slice(day), rebuild=True)
        assert rows(platform, "SELECT id, state FROM media.kw") == [{"id": "1", "state": "new"}]
        ledger = "SELECT slice_date, loaded, duplicate, rejected FROM ops.import_logs WHERE mode <> 'sort' ORDER BY slice_date"
        assert [tuple(row.values()) for row in rows(platform, ledger)] == [
            (DATE, 0, 1, 0),
            (NEXT_DAY, 1, 0, 0),
        ]
