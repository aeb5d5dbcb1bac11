"""The asset check of relations whose rows are problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.assets.checks import IDS_NAMED, checked, no_rows
from gaelp_assets.catalog import Slice
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.ranges import PartitionRange
from gaelp_assets_tests.platforms import DATE, SLICE, drop, load, ndjson, platform_in

PROBLEMS = "analytics.episode_problems"
COVERED = [PartitionRange(DATE, DATE, SLICE.environment)]


def step(episode: str, index: int, **changes: Any) -> dict[str, Any]:
    row = {
        "episode_id": episode, "step_index": index, "date": str(DATE), "environment_id": SLICE.environment,
        "agent_id": "ppo", "training_run_id": "run-1", "global_step": index, "observation": [0.1], "action": [1],
        "reward": 1.0, "terminated": False, "truncated": False,
    }  # fmt: skip
    return {**row, **changes}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    platform = platform_in(tmp_path)
    platform.warehouse.ensure([platform.catalog[PROBLEMS]])
    return platform


def refreshed(platform: Platform, name: str, steps: list[dict[str, Any]]) -> tuple[bool, dict[str, Any]]:
    drop(platform, f"cloud_ready/training/transitions/{SLICE.path}/{name}.ndjson", ndjson(steps))
    load(platform, "training.transitions", Slice(DATE, SLICE.environment))
    relation = platform.catalog[PROBLEMS]
    platform.warehouse.refresh(relation, SLICE, run_id="test")
    passed, metadata = no_rows(platform, relation, COVERED)
    return passed, dict(metadata)


def test_it_names_the_first_rows_by_their_keys_and_passes_once_they_are_gone(platform: Platform) -> None:
    assert platform.catalog[PROBLEMS] in checked(platform.catalog)
    lacking = [step(f"e{number:02}", 1) for number in range(IDS_NAMED + 5)]
    passed, metadata = refreshed(platform, "late", lacking)
    assert (passed, metadata["rows"]) == (False, IDS_NAMED + 5)
    named = [record.data for record in metadata["problems"].records]
    assert len(named) == IDS_NAMED
    assert named[0] == {
        "date": str(DATE), "environment_id": SLICE.environment, "episode_id": "e00", "problem": "steps_missing"
    }  # fmt: skip
    # The steps that were missing come.
    passed, metadata = refreshed(
        platform, "first", [step(f"e{number:02}", 0) for number in range(IDS_NAMED + 5)]
    )
    assert (passed, metadata) == (True, {"rows": 0})


def test_a_hidden_column_is_not_named(platform: Platform) -> None:
    refreshed(platform, "late", [step("secret", 1)])
    _, metadata = no_rows(platform, platform.catalog[PROBLEMS], COVERED, {"episode_id"})
    assert "secret" not in str(metadata)
