"""What leaves the platform for others: Minari datasets, bundles of Parquet files, and the day's bundle for the Benchmark Portal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from gaelp_assets.assets.portal import BUNDLE, WHOLE_CHECK
from gaelp_assets.catalog import WHOLE
from gaelp_assets.definitions import build_definitions
from gaelp_assets.errors import GaelpError
from gaelp_assets.importers import minari_files
from gaelp_assets.importers.source import Options
from gaelp_assets.operations import export_minari as module
from gaelp_assets.operations.bundle import PORTAL, Scope, damaged_files, export_parquet, publish_day
from gaelp_assets.operations.export_minari import export_minari
from gaelp_assets.operations.minari_layout import arrays
from gaelp_assets.operations.minari_spaces import minari_space
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.ranges import PartitionRange
from gaelp_assets_tests.importers.sources import read
from gaelp_assets_tests.platforms import DATE, SLICE, drop, load, ndjson, platform_in

RUN = "run-1"
SPACE: dict[str, Any] = {
    "type": "Dict",
    "spaces": {
        "place": {"type": "Discrete", "dtype": "int64", "n": 5, "start": 0},
        "seen": {"type": "Box", "dtype": "float32", "shape": [2], "low": [None, 0.0], "high": [None, 1.0]},
    },
}
BOX = {"type": "Box", "dtype": "float32", "shape": [2]}
ENVIRONMENT = {
    "environment_id": SLICE.environment, "name": "CartPole", "observation_space_type": "Dict", "observation_space": SPACE,
    "observation_size": 3, "action_space_type": "Discrete", "action_space": {"type": "Discrete", "dtype": "int64", "n": 2, "start": 0},
    "action_size": 1, "action_count": 2, "updated_at": f"{DATE}T00:00:00Z",
}  # fmt: skip
LENGTHS = {"whole": 3, "short": 1, "lacking": 2, "unfinished": 2, "unrecorded": 4, "uneven": 2, "half": 1}
SEEN = {("uneven", 0): [0.0, 0.5], ("uneven", 1): [1.0, 0.5, 0.25, 0.0]}


def episode(number: int, name: str) -> dict[str, Any]:
    return {
        "episode_id": name, "date": str(DATE), "environment_id": SLICE.environment, "agent_id": "ppo",
        "training_run_id": RUN, "purpose": "training", "episode_index": number, "seed": 7, "global_step": number,
        "episode_return": float(LENGTHS[name]), "episode_length": LENGTHS[name], "terminated": name != "unfinished",
        "truncated": name == "unfinished", "unfinished": name == "unfinished",
        "transitions_recorded": name != "unrecorded", "ended_at": f"{DATE}T06:00:00Z",
    }  # fmt: skip


def steps(name: str) -> list[dict[str, Any]]:
    length = LENGTHS[name]
    return [
        {
            "episode_id": name, "step_index": i, "date": str(DATE), "environment_id": SLICE.environment, "agent_id": "ppo",
            "training_run_id": RUN, "global_step": i, "observation": SEEN.get((name, i), [float(i), 0.5 * i, 0.25]),
            "action": [0.5 if name == "half" else i % 2], "reward": 1.0,
            "terminated": i == length - 1 and name != "unfinished", "truncated": False,
            "final_observation": [4.0, 9.0, 0.75] if i == length - 1 else [],
        }
        for i in range(length)
        if (name, i) != ("lacking", 0)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    platform = platform_in(tmp_path_factory.mktemp("home"))
    rows: dict[str, list[dict[str, Any]]] = {
        "episodes": [episode(number, name) for number, name in enumerate(LENGTHS)],
        "transitions": [step for name in LENGTHS if name != "unrecorded" for step in steps(name)],
    }
    for table, content in rows.items():
        drop(platform, f"cloud_ready/training/{table}/{SLICE.path}/a.ndjson", ndjson(content))
        load(platform, f"training.{table}")
    drop(platform, "cloud_ready/training/environments/a.ndjson", ndjson([ENVIRONMENT]))
    load(platform, "training.environments", WHOLE)
    return platform


def test_a_dataset_holds_the_whole_episodes_as_their_steps_are_and_no_others_cut_to_fit(
    platform: Platform, tmp_path: Path
) -> None:
    found = export_minari(platform, "gaelp/cart-v0", [RUN], tmp_path)
    assert (found.episodes, found.steps) == (2, 4)
    reasons = [
        "with missing steps",
        "unfinished",
        "without recorded steps",
        "with values that are none of their space",
    ]
    assert found.left_out == dict(zip(reasons, (1, 1, 1, 2), strict=True))
    folder = tmp_path / "gaelp" / "cart-v0" / "data"
    metadata = minari_files.read_metadata(folder)
    assert (metadata["total_steps"], metadata["dataset_id"]) == (4, "gaelp/cart-v0")
    with minari_files.opened(folder, metadata) as stored:
        whole, short = (read() for _, read in stored)
        place, seen = (whole.observations((name,)) for name in ("place", "seen"))
        actions = whole.actions(())
    assert place.tolist() == [0, 1, 2, 4]
    assert place.dtype == np.int64
    assert seen.tolist() == [[0.0, 0.25], [0.5, 0.25], [1.0, 0.25], [9.0, 0.75]]
    assert seen.dtype == np.float32
    assert actions.tolist() == [0, 1, 0]
    assert whole.terminations.tolist() == [False, False, True]
    assert (short.rewards.tolist(), short.seed) == ([1.0], 7)
    assert [path.name for path in (tmp_path / "gaelp").iterdir()] == ["cart-v0"]


def test_what_was_exported_is_imported_as_the_same_steps(platform: Platform, tmp_path: Path) -> None:
    export_minari(platform, "cart-v1", [RUN], tmp_path)
    found, _ = read("minari", tmp_path / "cart-v1", Options(agent="ppo", environment=SLICE.environment))
    original = [step for name in ("whole", "short") for step in steps(name)]
    for mine, theirs in zip(found["training.transitions"], original, strict=True):
        for name in ("step_index", "observation", "action", "reward", "terminated", "truncated"):
            assert mine[name] == theirs[name], name
    [environment] = found["training.environments"]
    assert environment["observation_space"] == SPACE


def test_parts_of_a_day_make_the_same_dataset(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEPS_AT_ONCE", 1)
    assert export_minari(platform, "cart-v2", [RUN], tmp_path).steps == 4


@pytest.mark.parametrize(
    ("dataset", "runs", "told"),
    [
        ("cart", [RUN], "no id of a Minari dataset"),
        ("../cart-v0", [RUN], "no id of a Minari dataset"),
        ("x/cart-v0", [RUN], "no id of a Minari dataset"),
        ("cart-v0", ["run-2"], "unknown run 'run-2', did you mean 'run-1'"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    platform: Platform, tmp_path: Path, dataset: str, runs: list[str], told: str
) -> None:
    with pytest.raises(GaelpError, match=told):
        export_minari(platform, dataset, runs, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_is_there_is_not_changed_and_a_failed_export_leaves_none(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_minari(platform, "cart-v0", [RUN], tmp_path)
    with pytest.raises(GaelpError, match="is there already"):
        export_minari(platform, "cart-v0", [RUN], tmp_path)
    with pytest.raises(GaelpError, match="lies in another dataset"):
        export_minari(platform, "cart-v0/inner-v0", [RUN], tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_metadata", full)
    with pytest.raises(GaelpError, match="No space left"):
        export_minari(platform, "cart-v1", [RUN], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cart-v0"]


def test_spaces_are_written_as_minari_writes_them() -> None:
    wide = {"type": "Box", "dtype": "uint8", "shape": [2, 2], "low": 0, "high": 255}
    assert minari_space(wide)["high"] == [[255, 255], [255, 255]]
    assert minari_space(SPACE)["subspaces"]["seen"]["low"] == [float("-inf"), 0.0]
    assert minari_space({"type": "MultiDiscrete", "dtype": "int64", "shape": [2], "nvec": [2, 3]})[
        "start"
    ] == [0, 0]


def nested(depth: int) -> dict[str, Any]:
    space = SPACE
    for _ in range(depth):
        space = {"type": "Tuple", "spaces": [space]}
    return space


def test_great_whole_bounds_no_longer_turned_into_their_opposite() -> None:
    greatest = 2**63 - 3
    space = {"type": "Box", "dtype": "int64", "shape": [2], "low": -greatest, "high": [greatest, 5]}
    written = minari_space(space)
    assert (written["low"], written["high"]) == ([-greatest, -greatest], [greatest, 5])


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"type": "Box", "dtype": "float32"}, "required field `shape`"),
        ({**BOX, "low": [0.0, 0.0, 0.0]}, "is no space"),
        ({**BOX, "low": ["a"]}, "is no space"),
        ({**BOX, "low": 2.0, "high": 1.0}, "a low bound is above the high one"),
        ({**BOX, "dtype": "complex64"}, "Invalid enum value 'complex64'"),
        ({**BOX, "dtype": None}, "Expected `str`, got `null`"),
        ({**BOX, "shape": 1}, "Expected `array`, got `int`"),
        ({**BOX, "shape": [10**12]}, "more than 10,000,000 numbers"),
        ({**BOX, "dtype": "uint8", "high": 300}, "is no space"),
        ({"type": "MultiBinary", "n": None}, "MultiBinary without n"),
        ({"type": "MultiDiscrete", "nvec": [3.5]}, "nvec has a number that is no int64"),
        ({"type": "MultiDiscrete", "nvec": [0]}, "nvec has a number below 1"),
        ({"type": "Discrete", "n": "x"}, "Expected `int`, got `str`"),
        ({"type": "Dict", "spaces": "ab"}, "Expected `object`, got `str`"),
        ({"type": "Tuple", "spaces": [1]}, "Expected `object`, got `int`"),
        ({}, "required field `type`"),
        ({"type": "Dict", "spaces": {"a": {"type": "Text"}}}, "Invalid value 'Text'"),
        ({"type": "Dict", "spaces": {"a/b": SPACE}}, "a part is called 'a/b'"),
        ({"type": "Dict", "spaces": {"a\0": SPACE}}, "a part is called"),
        ({"type": "Dict", "spaces": {"\ud800": SPACE}}, "a part is called"),
        (nested(2000), "a space in more than 50 others"),
    ],
    ids=range(21),
)  # fmt: skip
def test_a_space_without_a_form_is_told(space: dict[str, Any], told: str) -> None:
    with pytest.raises(GaelpError, match=told):
        minari_space(space, "observation_space of X")


def test_whole_numbers_without_a_bound_have_their_types_and_not_infinity() -> None:
    written = minari_space({"type": "Box", "dtype": "uint8", "shape": [2], "low": None, "high": [None, 7]})
    assert (written["low"], written["high"]) == ([0, 0], [255, 7])


def test_a_number_beyond_float32_did_not_become_infinite() -> None:
    space = minari_space({"type": "Box", "dtype": "float32", "shape": [1]})
    assert arrays("seen", space, np.array([[1e300]])) is None
    [(name, values)] = arrays("seen", space, np.array([[0.1]])) or []
    assert (name, values.tolist()) == ("seen", np.array([[0.1]], np.float32).tolist())


def test_a_bundle_tells_what_is_in_it(platform: Platform, tmp_path: Path) -> None:
    relations = [platform.catalog["training.episodes"], platform.catalog["training.environments"]]
    scope = Scope(PartitionRange(DATE, DATE), (RUN,))
    bundle = export_parquet(platform, tmp_path / "bundle", relations, scope)
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    assert [entry["rows"] for entry in manifest["relations"]] == [len(LENGTHS), 1]
    frame = pl.read_parquet(tmp_path / "bundle" / f"training.episodes/date={DATE}.parquet")
    assert sorted(frame["episode_id"]) == sorted(LENGTHS)
    again = export_parquet(platform, tmp_path / "again", relations, scope)
    assert again.version == bundle.version
    assert again.files == bundle.files
    with pytest.raises(GaelpError, match="is there already"):
        export_parquet(platform, tmp_path / "again", relations, scope)
    with pytest.raises(GaelpError, match="no row of the run 'other'"):
        export_parquet(
            platform, tmp_path / "none", relations[:1], Scope(PartitionRange(DATE, DATE), ("other",))
        )


def test_a_days_bundle_has_the_version_of_its_content_and_the_old_one_stays(tmp_path: Path) -> None:
    platform = platform_in(tmp_path / "home")
    store = platform.gateway.store
    place, new, _ = publish_day(platform, DATE, _folder(tmp_path, "1"))
    assert new
    assert publish_day(platform, DATE, _folder(tmp_path, "2"))[:2] == (place, False)
    drop(platform, f"cloud_ready/training/episodes/{SLICE.path}/a.ndjson", ndjson([episode(0, "whole")]))
    load(platform, "training.episodes")
    for name in ("training_progress", "daily_environment_summary"):
        relation = platform.catalog[f"analytics.{name}"]
        platform.warehouse.ensure([relation])
        platform.warehouse.refresh(relation, SLICE, run_id="test")
    later, new, _ = publish_day(platform, DATE, _folder(tmp_path, "3"))
    assert new
    assert later != place
    for version in (place, later):
        assert store.find(f"{version}/manifest.json") is not None
    assert damaged_files(platform, DATE) == []
    latest = store.find(f"{PORTAL}/date={DATE}/latest.json")
    assert latest is not None
    with store.open(latest) as file:
        assert json.load(file)["version"] == later.rpartition("/")[2]
    assert platform.gateway.strays() == []
    name = f"analytics.daily_environment_summary/date={DATE}.parquet"
    path = tmp_path / "home" / "export_gateway" / later / name
    path.write_bytes(b"other")
    assert damaged_files(platform, DATE) == [f"{name} has other bytes"]


def test_the_bundle_is_an_asset_of_each_day(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    definitions = build_definitions(platform.settings)
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("benchmark_bundle_job").execute_in_process(
            instance=instance, partition_key=str(DATE)
        )
        assert result.success
        [check] = result.get_asset_check_evaluations()
        assert (check.asset_key, check.check_name, check.passed) == (BUNDLE, WHOLE_CHECK, True)
        event = instance.get_latest_materialization_event(BUNDLE)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.partition == str(DATE)
    assert damaged_files(platform, DATE) == []


def _folder(above: Path, name: str) -> Path:
    (above / name).mkdir()
    return above / name
