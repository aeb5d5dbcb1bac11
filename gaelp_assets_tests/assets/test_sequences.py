"""What the shipped rules say of a recorded episode: of each step at its load, and of all steps together in the asset checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from gaelp_assets.assets.checks import schema_conformance, sequences, warehouse_checks
from gaelp_assets.errors import GaelpError
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.ranges import PartitionRange
from gaelp_assets_tests.platforms import DATE, ENVIRONMENT, FIRST_DATE, drop, load, ndjson, platform_in, rows

TABLE = "training.transitions"
FOLDER = f"cloud_ready/training/transitions/date={DATE}/environment={ENVIRONMENT}"
DAY = PartitionRange(DATE, DATE, ENVIRONMENT)


def step(number: int, episode: str = "e1", **changes: Any) -> dict[str, Any]:
    """A step that does not end its episode."""
    row = {
        "episode_id": episode,
        "step_index": number,
        "date": DATE.isoformat(),
        "environment_id": ENVIRONMENT,
        "agent_id": "q-learning",
        "training_run_id": "run-1",
        "global_step": number + 1,
        "observation": [0.1, 0.2],
        "action": [1],
        "reward": 1.0,
        "terminated": False,
        "truncated": False,
    }
    return {**row, **changes}


def last(number: int, episode: str = "e1", **changes: Any) -> dict[str, Any]:
    return step(number, episode, **{"terminated": True, "final_observation": [0.3, 0.4], **changes})


def loaded(home: Path, *files: list[dict[str, Any]]) -> Platform:
    platform = platform_in(home)
    for number, lines in enumerate(files):
        drop(platform, f"{FOLDER}/{number}.ndjson", ndjson(lines))
    load(platform, TABLE)
    return platform


def too_long(platform: Platform, *covered: PartitionRange) -> int:
    """The episodes that go on after their end."""
    passed, metadata = sequences(platform, platform.catalog[TABLE], covered or [DAY])
    found = metadata["sequences that go on after their end"]
    assert isinstance(found, int)
    assert passed is (found == 0)
    return found


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"action": []}, "action", "array_length"),
        ({"observation": []}, "observation", "any_given"),
        ({"terminated": True}, "final_observation", "any_given"),
        ({"truncated": True, "final_observation": []}, "final_observation", "any_given"),
        ({"environment_id": "a..b"}, "environment_id", "environment_id"),
    ],
)
def test_a_step_that_cannot_be_was_loaded(
    tmp_path: Path, changes: dict[str, Any], field: str, rule: str
) -> None:
    platform = loaded(tmp_path, [step(0), last(1), step(7, **changes)])
    assert [
        row["step_index"]
        for row in rows(platform, "SELECT step_index FROM training.transitions WHERE date > '2026-01-01'")
    ] == [0, 1]
    [letter] = rows(platform, "SELECT reasons FROM ops.dead_letter")
    assert (field, rule) in [(reason["field"], reason["rule"]) for reason in letter["reasons"]]
    assert len({(reason["field"], reason["rule"]) for reason in letter["reasons"]}) == len(letter["reasons"])


def episode(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "episode_id": f"e{number}",
        "date": DATE.isoformat(),
        "environment_id": ENVIRONMENT,
        "agent_id": "ppo",
        "training_run_id": "run-1",
        "purpose": "training",
        "episode_index": number,
        "seed": 1,
        "policy_version": 0,
        "global_step": 100,
        "episode_return": 10.0,
        "episode_length": 10,
        "terminated": True,
        "truncated": False,
        "transitions_recorded": False,
        "started_at": f"{DATE}T06:00:00Z",
        "ended_at": f"{DATE}T06:00:01Z",
    }
    return {**row, **changes}


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"terminated": False}, "terminated", "any_true"),
        (
            {"started_at": f"{DATE}T23:30:00-08:00", "ended_at": f"{DATE}T23:50:00-08:00"},
            "date",
            "utc_day",
        ),
        ({"started_at": "2026-10-31T06:00:00Z", "ended_at": "2026-10-31T06:00:01Z"}, "date", "utc_day"),
    ],
)
def test_an_episode_that_cannot_be_was_loaded(
    tmp_path: Path, changes: dict[str, Any], field: str, rule: str
) -> None:
    platform = platform_in(tmp_path)
    lines = [episode(0), episode(1, terminated=False, truncated=True), episode(2, **changes)]
    folder = f"cloud_ready/training/episodes/date={DATE}/environment={ENVIRONMENT}"
    drop(platform, f"{folder}/a.ndjson", ndjson(lines))
    [counts] = load(platform, "training.episodes").counts
    assert (counts.loaded, counts.rejected) == (2, 1)
    [letter] = rows(platform, "SELECT reasons FROM ops.dead_letter")
    [reason] = letter["reasons"]
    assert (reason["field"], reason["rule"]) == (field, rule)
    assert str(DATE.year) not in reason["message"]


def test_a_step_after_the_end_of_its_episode_was_green(tmp_path: Path) -> None:
    platform = loaded(
        tmp_path,
        [step(0, "good"), last(1, "good"), step(0, "unfinished"), step(1, "unfinished")],
        [last(1, "goes on"), step(0, "goes on"), last(0, "ends twice")],
        [step(2, "goes on"), last(3, "ends twice", terminated=False, truncated=True)],
    )
    assert too_long(platform) == 2
    assert too_long(platform, PartitionRange(DATE, DATE, "Taxi-v3")) == 0
    assert too_long(platform, DAY, PartitionRange(DATE, DATE, "Taxi-v3")) == 2
    assert too_long(platform, PartitionRange(FIRST_DATE, DATE)) == 2


def test_an_end_that_is_a_truncation_is_an_end_too(tmp_path: Path) -> None:
    platform = loaded(tmp_path, [last(0, terminated=False, truncated=True), step(1)])
    assert too_long(platform) == 1


def test_a_table_without_rows_has_no_episode_that_goes_on(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    relation = platform.catalog[TABLE]
    with pytest.raises(GaelpError, match="is not in the warehouse"):
        sequences(platform, relation, [DAY])
    platform.ensure(relation)
    assert too_long(platform) == 0


def test_only_tables_that_declare_an_order_have_the_check(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    found = {
        relation.id: {key.name for key in warehouse_checks(relation, platform.catalog, FIRST_DATE).check_keys}
        for relation in platform.catalog.loaded
    }
    assert [name for name, checks in found.items() if "sequences" in checks] == [TABLE]


def test_steps_that_break_a_rule_over_several_fields_panicked_the_check(tmp_path: Path) -> None:
    """A report of Pandera's gathers whole rows, and Polars panics where arrays of one are empty and of another are not."""
    platform = loaded(tmp_path, [step(0), last(1), step(0, "e2"), step(1, "e2")])
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute(
            "UPDATE training.transitions SET terminated = true, truncated = true WHERE episode_id = 'e2'"
        )
        connection.execute("UPDATE training.transitions SET action = [] WHERE step_index = 1")
    passed, metadata = schema_conformance(platform, platform.catalog[TABLE], [DAY])
    assert not passed
    failures = metadata["failures"]
    assert isinstance(failures, dg.TableMetadataValue)
    assert [tuple(record.data.values()) for record in failures.records] == [
        ("action", "array_length", 2),
        ("final_observation", "any_given", 2),
    ]
