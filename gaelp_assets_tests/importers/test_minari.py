"""Datasets of Minari, as it wrote them, and as they come when they are cut off, unequal, or of numbers that no row takes."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers import recorded
from gaelp_assets.importers.source import Options
from gaelp_assets_tests.importers.sources import FIXTURES, read, unpacked

AT = Options(at=dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC))
NESTS = ("nest-hdf5", "nest-arrow", "nest-parquet")


@pytest.fixture
def cartpole(tmp_path: Path) -> Path:
    return unpacked(FIXTURES / "minari" / "cartpole", tmp_path)


def main_file(dataset: Path) -> Path:
    return dataset / "data" / "main_data.hdf5"


def test_each_number_of_the_file_is_in_a_row(cartpole: Path) -> None:
    found, tally = read("minari", cartpole, AT)
    steps, episodes = found["training.transitions"], found["training.episodes"]
    with h5py.File(main_file(cartpole)) as file:
        groups = [file[f"episode_{number}"] for number in range(3)]
        told = [[observation.tolist() for observation in group["observations"][:]] for group in groups]
        assert [s["observation"] for s in steps] == [o for episode in told for o in episode[:-1]]
        assert [s["action"] for s in steps] == [[float(a)] for group in groups for a in group["actions"]]
        assert [s["reward"] for s in steps] == [r for group in groups for r in group["rewards"]]
        assert [s.get("final_observation") or None for s in steps if s["truncated"]] == [t[-1] for t in told]
    assert [s["step_index"] for s in steps] == [i for episode in told for i in range(len(episode) - 1)]
    assert [s["global_step"] for s in steps] == list(range(1, len(steps) + 1))
    assert [not (s.get("final_observation") or s["terminated"]) for s in steps] == [
        not s["truncated"] for s in steps
    ]
    assert tally.read == len(steps) + len(episodes)
    assert not tally.dropped


def test_episodes_have_the_seeds_that_a_row_can_hold(cartpole: Path) -> None:
    found, tally = read("minari", cartpole, AT)
    assert [e["seed"] for e in found["training.episodes"]] == [None, None, 1002]
    assert any("episode 1: 9223372036854775813" in note for note in tally.notes)
    assert [e["episode_return"] for e in found["training.episodes"]] == [12.0, 12.0, 12.0]
    assert {
        (e["truncated"], e["terminated"], e["transitions_recorded"]) for e in found["training.episodes"]
    } == {(True, False, True)}


def test_environment_and_run_are_those_of_the_metadata(cartpole: Path) -> None:
    found, _ = read("minari", cartpole, AT)
    [environment] = found["training.environments"]
    assert environment["environment_id"] == "CartPole-v1"
    assert environment["observation_space"]["low"][1] is None  # -Infinity: unbounded
    assert (environment["version"], environment["action_count"], environment["max_episode_steps"]) == (
        1,
        2,
        12,
    )
    assert "library_version" not in environment
    [agent] = found["training.agents"]
    assert (agent["agent_id"], agent["algorithm"]) == ("good-angle", "good_angle")
    [run] = found["training.training_runs"]
    assert (run["training_run_id"], run["global_step"], run["episode_count"]) == (
        "gaelp-CartPole-v1-v0",
        36,
        3,
    )
    assert "seed" not in run
    assert run["config"]["source"]["minari_version"] == "0.5.4"


@pytest.mark.parametrize("name", NESTS)
def test_nested_values_are_flattened_in_the_order_of_their_space(name: str, tmp_path: Path) -> None:
    found, tally = read("minari", unpacked(FIXTURES / "minari" / name, tmp_path), AT)
    steps = found["training.transitions"]
    # What the environment of the fixture says at step n: a = n % 5, t = ([1, 0, n % 2], n / 8), z = n + [[0, 1], [2, 3]].
    seen = [[float(n % 5), 1.0, 0.0, float(n % 2), n / 8, n, n + 1.0, n + 2.0, n + 3.0] for n in range(5)]
    assert [s["observation"] for s in steps] == [*seen[:4], *seen[:2]]
    assert [s["action"] for s in steps] == [[float(n % 3), 0.5, -0.25] for n in (0, 1, 2, 3, 0, 1)]
    assert steps[3]["final_observation"] == seen[4]
    assert [s["info"]["speed"] for s in steps[:4]] == [1.5, None, 4.5, 6.0]
    assert steps[2]["info"]["where"] == [3.0, 3.0]
    assert tally.dropped == {"a value of an info that is no finite number, null in its row": 2}
    [environment] = found["training.environments"]
    assert (environment["observation_size"], environment["action_size"]) == (9, 3)


def change(dataset: Path, name: str, value: Any) -> None:
    with h5py.File(main_file(dataset), "r+") as file:
        del file[name]
        file[name] = value


@pytest.mark.parametrize(
    ("name", "length", "said"),
    [
        ("observations", 12, "12 entries for 12 steps"),
        ("actions", 11, "11 entries for 12 steps"),
        ("terminations", 13, "13 entries for 12 steps"),
    ],
)
def test_unequal_lengths_name_the_episode_and_the_lengths(
    cartpole: Path, name: str, length: int, said: str
) -> None:
    """Minari itself stores such episodes without a word."""
    shape = (length, 4) if name == "observations" else (length,)
    change(cartpole, f"episode_1/{name}", np.zeros(shape, dtype="f4" if len(shape) == 2 else "i8"))
    found, tally = read("minari", cartpole, AT)
    [problem] = tally.damage
    assert said in problem.what
    assert f"/episode_1/{name}" in problem.where
    assert [e["episode_index"] for e in found["training.episodes"]] == [0, 2]


def test_what_no_row_can_hold_is_counted(cartpole: Path) -> None:
    rewards = np.ones(12)
    rewards[3] = np.nan
    change(cartpole, "episode_0/rewards", rewards)
    observations = np.zeros((13, 4), dtype="f4")
    observations[0, 0] = np.inf
    change(cartpole, "episode_1/observations", observations)
    found, tally = read("minari", cartpole, AT)
    assert tally.dropped == {
        "an episode with a reward that is no finite number": 1,
        "a step of such an episode": 12,
        "an observation or action that is no finite number": 12,
    }
    assert [(e["episode_index"], e["transitions_recorded"]) for e in found["training.episodes"]] == [
        (1, False),
        (2, True),
    ]
    assert {s["episode_id"][-1] for s in found["training.transitions"]} == {"2"}


def test_observations_too_large_for_rows_are_refused_and_counted(
    cartpole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "WIDEST", 3)
    found, tally = read("minari", cartpole, AT)
    assert "training.transitions" not in found
    assert tally.dropped == {"observations of more than 3 numbers are too large for rows": 36}
    assert len(found["training.episodes"]) == 3


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        (
            {
                "type": "Box",
                "dtype": "uint8",
                "shape": [32, 32],
                "low": [[0] * 32] * 32,
                "high": [[255] * 32] * 32,
            },
            "observations that are kept as JPEG are not the ones that were seen",
        ),
        (
            {"type": "Dict", "subspaces": {"said": {"type": "Text", "min_length": 0, "max_length": 9}}},
            "observations with texts are no numbers",
        ),
    ],
)
def test_observations_that_are_no_numbers_are_counted(
    cartpole: Path, space: dict[str, Any], reason: str
) -> None:
    path = cartpole / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps({**metadata, "observation_space": json.dumps(space)}))
    found, tally = read("minari", cartpole, AT)
    assert tally.dropped == {reason: 36}
    assert "training.transitions" not in found
    assert [e["transitions_recorded"] for e in found["training.episodes"]] == [False] * 3


def test_an_episode_without_an_end_is_unfinished(cartpole: Path) -> None:
    change(cartpole, "episode_2/truncations", np.zeros(12, dtype=bool))
    found, _ = read("minari", cartpole, AT)
    last = found["training.episodes"][-1]
    assert (last["terminated"], last["truncated"], last["unfinished"]) == (False, True, True)
    assert found["training.transitions"][-1]["truncated"]


def test_a_file_that_is_cut_off_says_at_which_byte(cartpole: Path) -> None:
    whole = main_file(cartpole).read_bytes()
    for cut in random.Random(1).sample(range(1, len(whole)), 20):
        main_file(cartpole).write_bytes(whole[:cut])
        if cut < 8:
            with pytest.raises(GaelpError, match="byte 0: no HDF5 file"):
                read("minari", cartpole, AT)
            continue
        found, tally = read("minari", cartpole, AT)
        assert tally.damage[0].what.startswith(f"byte {min(cut, 8) if cut < 48 else cut}: ")
        assert "training.episodes" not in found


def test_flipped_bits_are_damage_or_other_numbers_and_never_a_crash(cartpole: Path) -> None:
    whole = main_file(cartpole).read_bytes()
    steps = len(read("minari", cartpole, AT)[0]["training.transitions"])
    for place in random.Random(2).sample(range(len(whole)), 60):
        main_file(cartpole).write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            found, tally = read("minari", cartpole, AT)
        except GaelpError:
            continue
        assert len(found.get("training.transitions", [])) + tally.dropped.total() <= steps + 3 or tally.damage


def test_an_array_that_says_to_be_larger_than_it_can_be_fills_no_memory(cartpole: Path) -> None:
    with h5py.File(main_file(cartpole), "r+") as file:
        del file["episode_1/rewards"]
        file["episode_1"].create_dataset("rewards", shape=(10**13,), dtype="f8", chunks=True)
    _, tally = read("minari", cartpole, AT)
    [problem] = tally.damage
    assert "80000000000000 bytes announced, 0 there" in problem.what
    assert problem.where.endswith("/episode_1/rewards")


@pytest.mark.parametrize("name", NESTS[1:])
def test_a_part_that_is_cut_off_is_named(name: str, tmp_path: Path) -> None:
    dataset = unpacked(FIXTURES / "minari" / name, tmp_path)
    [part] = (dataset / "data" / "0").glob("part-0.*")
    whole = part.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        part.write_bytes(whole[:cut])
        found, tally = read("minari", dataset, AT)
        [problem] = tally.damage
        assert f"{cut} bytes" in problem.what
        assert problem.where == str(part)
        assert [e["episode_index"] for e in found["training.episodes"]] == [1]


def test_arrow_pads_what_is_unequal_and_the_number_of_steps_tells(tmp_path: Path) -> None:
    dataset = unpacked(FIXTURES / "minari" / "nest-arrow", tmp_path)
    told = dataset / "data" / "0" / "metadata.json"
    told.write_text(json.dumps({**json.loads(told.read_text()), "total_steps": 3}))
    _, tally = read("minari", dataset, AT)
    assert "5 entries for 3 steps" in tally.damage[0].what


@pytest.mark.parametrize("name", ["metadata.json", "main_data.hdf5"])
def test_a_dataset_that_lacks_a_file_is_none(cartpole: Path, name: str) -> None:
    (cartpole / "data" / name).unlink()
    with pytest.raises(GaelpError, match=name):
        read("minari", cartpole, AT)


def test_names_that_the_dataset_does_not_give_are_asked_for(cartpole: Path) -> None:
    path = cartpole / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps({**metadata, "algorithm_name": ""}))
    with pytest.raises(GaelpError, match="Add --agent ID"):
        read("minari", cartpole, AT)
    path.write_text(json.dumps({name: value for name, value in metadata.items() if name != "env_spec"}))
    with pytest.raises(GaelpError, match="Add --environment ID"):
        read("minari", cartpole, AT)
