"""A view with problems fails alone: everything else is loaded, computed and checked, and the UI shows what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gaelp_assets.catalog.load import read_relations
from gaelp_assets.definitions import build_definitions
from gaelp_assets.platform import open_platform
from gaelp_assets.sql.sound import sound_catalog
from gaelp_assets_tests.assets.test_asset_runs import FIELDS, SCORES, Lab

BROKEN = dg.AssetKey(["lab", "broken"])
AFTER = dg.AssetKey(["lab", "after"])
ROW = {"date": "2026-11-02", "environment": "maze", "player": "ann", "step": 1, "score": 2.5}


class SoundLab(Lab):
    """A lab whose catalogue is read as the code location and the command line read it."""

    def _open(self, home: Path) -> None:
        write_view(home, "broken", "SELECT player, MAX(scor) AS score FROM lab.scores GROUP BY player")
        write_view(home, "after", "SELECT player, score FROM lab.broken")
        super()._open(home)

    def load(self, home: Path) -> None:
        catalog = sound_catalog(read_relations(home / "catalog"))
        settings = self.platform.settings
        self.platform = open_platform(settings, catalog)
        self.definitions = build_definitions(settings, catalog)


def write_view(home: Path, name: str, sql: str, **keys: Any) -> None:
    path = home / "catalog" / "lab" / f"{name}.json"
    content = {"kind": "derived_table", "fields": [FIELDS[2], FIELDS[4]], "owner": "team:research"}
    path.write_text(json.dumps({"description": name, **content, **keys}))
    path.with_suffix(".sql").write_text(sql)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SoundLab]:
    with dg.DagsterInstance.ephemeral() as instance:
        found = SoundLab(tmp_path, instance)
        found.load(tmp_path)
        yield found


def test_a_broken_view_used_to_stop_the_loads_of_all_tables(lab: SoundLab) -> None:
    lab.put(2, "maze", [ROW])
    results = lab.pending()
    assert all(result.success for result in results), [result.failures for result in results]
    assert {name for result in results for name in result.assets} >= {"lab.scores", "lab.curve", "lab.board"}
    assert lab.count("SELECT COUNT(*) FROM lab.best") == 1


def test_the_asset_of_a_broken_view_shows_its_problem_and_fails_its_own_runs_with_it(lab: SoundLab) -> None:
    node = lab.definitions.resolve_asset_graph().get(BROKEN)
    assert node.description is not None
    assert "broken.sql, line 1, column 20: unrecognised name scor, did you mean score?" in node.description
    assert node.parent_keys == {SCORES}
    assert node.tags["set_aside"] == "true"
    [record] = node.metadata["problems"].records
    assert record.data["problem"] == "unrecognised name scor, did you mean score?"
    result = lab.materialize(BROKEN)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "did you mean score?" in str(failure.step_failure_data.user_failure_data)


def test_what_reads_a_broken_view_is_told_which(lab: SoundLab) -> None:
    node = lab.definitions.resolve_asset_graph().get(AFTER)
    assert node.description is not None
    assert "reads lab.broken, which is set aside for its own problems" in node.description
    assert node.parent_keys == {BROKEN}
    assert not lab.materialize(AFTER).success


@pytest.mark.parametrize("name", ["my-view", "a b", "a__b"])
def test_a_name_that_dagster_does_not_take_costs_its_view_alone(lab: SoundLab, name: str) -> None:
    home = lab.platform.settings.home
    write_view(home, name, "SELECT player, score FROM lab.scores")
    lab.load(home)
    lab.definitions.get_repository_def().load_all_definitions()
    assert lab.materialize(dg.AssetKey(["lab", "players"])).success


def test_a_mended_view_is_computed_like_any_other(lab: SoundLab) -> None:
    lab.put(2, "maze", [ROW])
    lab.pending()
    home = lab.platform.settings.home
    write_view(
        home,
        "broken",
        "SELECT player, MAX(score) AS score FROM lab.scores WHERE date > '2000-01-01' GROUP BY player",
    )
    lab.load(home)
    assert {name for result in lab.pending() for name in result.assets} == {"lab.broken", "lab.after"}
    assert lab.count("SELECT COUNT(*) FROM lab.after") == 1


@pytest.mark.parametrize("kind", ["derived_table", "view", "materialized_view"])
@pytest.mark.parametrize(("sql", "unique"), [
    ("SELECT player, score FROM lab.scores WHERE date > '2000-01-01'", False),
    ("SELECT player, MAX(score) AS score FROM lab.scores WHERE date > '2000-01-01' GROUP BY player", True),
])  # fmt: skip
def test_a_key_that_a_derived_relation_declares_and_does_not_keep_was_never_checked(
    lab: SoundLab, kind: str, sql: str, unique: bool
) -> None:
    home = lab.platform.settings.home
    write_view(home, "broken", sql, kind=kind, primary_key=["player"])
    lab.load(home)
    lab.put(2, "maze", [ROW, {**ROW, "step": 2}])
    lab.pending()
    result = lab.materialize(BROKEN)
    [check] = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("key_uniqueness", unique), check.description
    assert check.metadata["keys with several rows"].value == (0 if unique else 1)


def test_a_key_of_a_sliced_derived_table_is_one_key_too_many_in_another_slice(lab: SoundLab) -> None:
    home = lab.platform.settings.home
    sliced = {"partitioning": {"date": "date", "environment": "environment"}, "primary_key": ["player"]}
    sql = "SELECT date, environment, player FROM lab.scores"
    write_view(home, "broken", sql, fields=FIELDS[:3], **sliced)
    lab.load(home)
    lab.put(2, "maze", [ROW])
    lab.put(3, "maze", [{**ROW, "date": "2026-11-03"}])
    lab.pending()
    result = lab.materialize(
        BROKEN, partition_key=dg.MultiPartitionKey({"date": "2026-11-03", "environment": "maze"})
    )
    [check] = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.metadata["keys with several rows"].value == 1
