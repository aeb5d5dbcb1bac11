"""One definition says what an environment id is: for rows, paths, partition keys and ranges of them alike."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from gaelp_assets.assets.partitions import RANGE_END_TAG, RANGE_START_TAG, partitions_def, slices_of
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
from gaelp_assets.platform import read_catalog
from gaelp_assets.validation.registry import RULES
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


@pytest.mark.parametrize("environment", [*GOOD, *BAD])
def test_the_rule_of_rows_takes_what_paths_and_partition_keys_take(environment: str) -> None:
    """The catalogue's own pattern took `a..b`, in tables that are not sliced by it as well."""
    expected = environment in GOOD
    assert pl.select(RULES["environment_id"].expression(pl.lit(environment))).item() is expected
    for relation in read_catalog():
        of = [field for field in relation.fields if field.name == "environment_id"]
        if relation.is_loaded and of:
            assert [check.name for check in of[0].checks] == ["environment_id"], relation.id


def test_a_range_of_any_two_slices_can_be_read_in_one_way_alone(tmp_path: Path) -> None:
    """Dagster splits what `--partition-range` says at `...`: an id that ends in a dot would give it a key of its own."""
    relation = platform_in(tmp_path).catalog["training.checkpoints"]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("environments", GOOD)
        for first in GOOD:
            for last in GOOD[GOOD.index(first) :]:
                start, end = f"{DATE}|{first}...{DATE}|{last}".split("...")
                tags = {RANGE_START_TAG: start, RANGE_END_TAG: end}
                found = slices_of(tags, partitions_def(relation, DATE), instance)
                assert [found[0], found[-1]] == [Slice(DATE, first), Slice(DATE, last)]
    for unreadable in ("a.", "a..", "a..b", ".a", "2026...2027"):
        with pytest.raises(ValueError, match="is not an environment id"):
            parse_partition_key(f"{DATE}|{unreadable}")


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
