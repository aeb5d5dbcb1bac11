"""HDF5 in the style of D4RL: where episodes end, and what follows where nobody knows what was seen last."""

from __future__ import annotations

import datetime as dt
import random
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers.d4rl import rows as d4rl_rows
from gaelp_assets.importers.source import Options, Tally
from gaelp_assets_tests.importers.sources import FIXTURES, read

WITH, WITHOUT = (FIXTURES / "d4rl" / f"{name}-next.hdf5" for name in ("with", "without"))
MINE = Options(environment="Pendulum-v1", at=dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC))
UNSEEN = "the last step of an episode: what was seen after it is not in the file (no next_observations)"


def test_episodes_end_where_terminals_or_timeouts_say_so() -> None:
    found, tally = read("d4rl", WITH, MINE)
    episodes = found["training.episodes"]
    assert [e["episode_length"] for e in episodes] == [6, 4, 6, 2]
    assert [e["terminated"] for e in episodes] == [False, True, False, False]
    assert [e["truncated"] for e in episodes] == [True, False, True, True]
    assert [e.get("unfinished", False) for e in episodes] == [False, False, False, True]
    assert [e["global_step"] for e in episodes] == [6, 10, 16, 18]
    assert tally.read == 18 + 4
    with h5py.File(WITH) as file:
        told = {name: file[name][:].astype(float).tolist() for name in ("observations", "actions", "rewards")}
        after = file["next_observations"][:].astype(float).tolist()
    steps = found["training.transitions"]
    assert [s["observation"] for s in steps] == told["observations"]
    assert [s["action"] for s in steps] == told["actions"]
    assert [s["reward"] for s in steps] == told["rewards"]
    assert [s["final_observation"] for s in steps if s["terminated"] or s["truncated"]] == [
        after[i] for i in (5, 9, 15, 17)
    ]
    assert found["training.agents"][0]["algorithm"] == "sac"


def test_without_next_observations_the_last_step_is_no_row_and_nothing_is_made_up() -> None:
    found, tally = read("d4rl", WITHOUT, MINE)
    assert tally.dropped == {UNSEEN: 4}
    whole, _ = read("d4rl", WITH, MINE)
    names = ("episode_length", "episode_return", "terminated", "truncated", "global_step")
    assert [[e[n] for n in names] for e in found["training.episodes"]] == [
        [e[n] for n in names] for e in whole["training.episodes"]
    ]
    assert not any(e["transitions_recorded"] for e in found["training.episodes"])
    steps = found["training.transitions"]
    assert [s["global_step"] for s in steps] == [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14, 15, 17]
    last = [s for s in steps if s["truncated"]]
    assert [s["global_step"] for s in last] == [5, 9, 15, 17]
    assert not any(s["terminated"] for s in steps)
    with h5py.File(WITHOUT) as file:
        assert [s["final_observation"] for s in last] == [
            file["observations"][n].tolist() for n in (5, 9, 15, 17)
        ]


def test_infos_are_those_of_the_step() -> None:
    found, _ = read("d4rl", WITH, MINE)
    with h5py.File(WITH) as file:
        told = file["infos/action_log_probs"][:].tolist()
    assert [s["info"]["action_log_probs"] for s in found["training.transitions"]] == told


def changed(folder: Path, source: Path = WITH, **arrays: object) -> Path:
    path = folder / "changed.hdf5"
    shutil.copyfile(source, path)
    with h5py.File(path, "r+") as file:
        for name, value in arrays.items():
            if name in file:
                del file[name]
            if value is not None:
                file[name] = value
    return path


def test_steps_without_infos_are_the_same_rows_as_those_with_them(tmp_path: Path) -> None:
    """Many steps are encoded at once where they have no info: another way to the same rows."""
    found, _ = read("d4rl", changed(tmp_path, infos=None), MINE)
    told, _ = read("d4rl", WITH, MINE)
    ids = {"episode_id", "training_run_id", "info"}

    def bare(steps: list[dict[str, object]]) -> list[dict[str, object]]:
        return [{n: v for n, v in s.items() if n not in ids and v not in ([], None)} for s in steps]

    assert bare(found["training.transitions"]) == bare(told["training.transitions"])


def test_an_interrupted_recording_is_cut_where_the_next_observation_is_another(tmp_path: Path) -> None:
    """Files without timeouts run from one episode into the next; what was seen after each step tells where."""
    found, _ = read("d4rl", changed(tmp_path, timeouts=None), MINE)
    episodes = found["training.episodes"]
    assert [e["episode_length"] for e in episodes] == [6, 4, 6, 2]
    assert [e.get("unfinished", False) for e in episodes] == [True, False, True, True]


def test_without_timeouts_and_next_observations_the_user_is_told(tmp_path: Path) -> None:
    found, tally = read("d4rl", changed(tmp_path, WITHOUT, timeouts=None), MINE)
    assert [e["episode_length"] for e in found["training.episodes"]] == [10, 8]
    assert any("run on into the next ones" in note for note in tally.notes)


def test_what_no_row_can_hold_is_counted(tmp_path: Path) -> None:
    rewards = np.ones(18)
    rewards[7] = np.inf
    observations = np.zeros((18, 3))
    observations[12, 1] = np.nan
    path = changed(tmp_path, rewards=rewards, observations=observations, next_observations=None)
    found, tally = read("d4rl", path, MINE)
    assert tally.dropped == {
        "an episode with a reward that is no finite number": 1,
        "a step of such an episode": 4,
        UNSEEN: 3,
        "an observation or action that is no finite number": 5,
    }
    assert [e["episode_index"] for e in found["training.episodes"]] == [0, 2, 3]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"rewards": np.ones(17)}, "observations 18, actions 18, rewards 17"),
        ({"actions": None}, "no dataset actions"),
        ({"actions": np.array([b"a"] * 18)}, "values of type"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, arrays: dict[str, object], said: str) -> None:
    with pytest.raises(GaelpError, match=said):
        read("d4rl", changed(tmp_path, WITH, **arrays), MINE)


def test_names_that_the_file_does_not_give_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(GaelpError, match="Add --environment ID"):
        read("d4rl", WITH, Options())
    with pytest.raises(GaelpError, match="Add --agent ID"):
        read("d4rl", changed(tmp_path, metadata=None), MINE)


def test_a_cut_or_flipped_file_is_damage_or_other_numbers_and_never_a_crash(tmp_path: Path) -> None:
    whole, path = WITH.read_bytes(), tmp_path / "file.hdf5"
    chance = random.Random(3)
    for cut in chance.sample(range(100, len(whole)), 10):
        path.write_bytes(whole[:cut])
        found, tally = read("d4rl", path, MINE)
        assert tally.damage[0].what.startswith(f"byte {cut}: ")
        assert not found
    for place in chance.sample(range(len(whole)), 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        tally = Tally()
        try:
            steps = sum(table == "training.transitions" for table, _ in d4rl_rows(path, MINE, tally))
        except GaelpError:
            continue
        assert steps + tally.dropped.total() >= 18 or tally.damage
