"""One definition says what an environment id is: for rows, paths and partition keys alike."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from gaelp_assets.catalog.slices import (
    ENVIRONMENT_ID_ADVICE,
    Slice,
    parse_environment,
    parse_partition_key,
    parse_slice_path,
)
from gaelp_assets.errors import Problem
from gaelp_assets.gateway.paths import parse_name
from gaelp_assets.gateway.store import StoredObject
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets_tests.platforms import DATE, checkpoint, drop, ndjson, platform_in, rows

GOOD = ["a", "7", "CartPole-v1", "ALE.Pong-v5", "a_b-c.d", "a-", "a_.b", "x" * 100]
BAD = [
    "", ".a", "-a", "_a", "a b", "a/b", "a|b", "a:b", "a\n", "ä", "a..b", "a...b", "a..", "a.", "x" * 101, "2026...2027",
]  # fmt: skip


@pytest.mark.parametrize("environment", GOOD)
def test_an_environment_id_is_read_from_paths_and_partition_keys_as_it_was_written(environment: str) -> None:
    assert parse_environment(environment) == environment
    slice_ = Slice(DATE, environment)
    assert parse_partition_key(slice_.partition_key) == slice_
    assert parse_slice_path(slice_.path.split("/")) == slice_


@pytest.mark.parametrize("environment", BAD)
def test_what_is_no_environment_id_is_none_in_paths_and_partition_keys_either(environment: str) -> None:
    with pytest.raises(ValueError, match="is not an environment id"):
        parse_environment(environment)
    with pytest.raises(ValueError, match=r"is not an environment id|nor, after it, environment=ID"):
        parse_slice_path([f"date={DATE}", f"environment={environment}"])
    if environment:
        with pytest.raises(ValueError, match="is not an environment id"):
            parse_partition_key(f"{DATE}|{environment}")


def test_sorting_takes_exactly_the_ids_that_the_gateway_can_name_a_folder_by(tmp_path: Path) -> None:
    """Rows of `a..b` passed their rule, and the sorted file had a name that the gateway refused."""
    platform = platform_in(tmp_path)
    # Twice, since a file with more rejected lines than others is set aside whole.
    lines = [checkpoint(n, environment_id=environment) for n, environment in enumerate(GOOD + GOOD + BAD)]
    drop(platform, "raw/training/checkpoints/a.ndjson", ndjson(lines))
    sort_raw(platform, run_id="test", on_progress=None)
    assert {slice_.environment for _, slice_ in platform.gateway.pending_slices()} == set(GOOD)
    assert [problem for _, problem in platform.gateway.queue().misplaced] == []
    letters = rows(platform, "SELECT reasons FROM ops.dead_letter")
    assert len(letters) == len(BAD)
    assert all("environment_id" in {reason["rule"] for reason in letter["reasons"]} for letter in letters)


def test_paths_and_rows_advise_the_same_spelling(tmp_path: Path) -> None:
    """The path's advice was `ALE-Pong-v5`, the row's `ALE.Pong-v5`: two environments of one game."""
    assert "'ALE/Pong-v5' is 'ALE.Pong-v5'" in ENVIRONMENT_ID_ADVICE
    platform = platform_in(tmp_path)
    name = f"cloud_ready/training/checkpoints/date={DATE}/environment=ALE/Pong-v5/a.ndjson"
    stored = StoredObject(name, 1, dt.datetime.combine(DATE, dt.time(), dt.UTC), "1")
    found = parse_name(stored, platform.catalog)
    assert isinstance(found, Problem)
    assert ENVIRONMENT_ID_ADVICE in found.remedy
    drop(
        platform,
        "raw/training/checkpoints/a.ndjson",
        ndjson([checkpoint(1), checkpoint(2, environment_id="ALE/Pong-v5")]),
    )
    sort_raw(platform, run_id="test", on_progress=None)
    [letter] = rows(platform, "SELECT reasons FROM ops.dead_letter")
    [message] = [reason["message"] for reason in letter["reasons"] if reason["rule"] == "environment_id"]
    assert ENVIRONMENT_ID_ADVICE in message
