"""Trials as Ray Tune wrote them, against a plain reading of their JSON; cut off, restored, and grown."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers.kinds import kind
from gaelp_assets.importers.source import Options
from gaelp_assets.operations.importing import import_rows
from gaelp_assets_tests.importers.sources import FIXTURES, read
from gaelp_assets_tests.importers.test_sb3 import load_all
from gaelp_assets_tests.platforms import platform_in, rows

OLD = FIXTURES / "rllib" / "old" / "PPO_CartPole-v1_1c425_00000"
NEW = FIXTURES / "rllib" / "new" / "PPO_CartPole-v1_34ed8_00000"


def told(trial: Path) -> list[dict[str, Any]]:
    """The results, one after the other."""
    return [json.loads(line) for line in (trial / "result.json").read_text().splitlines()]


def numbers(value: Any, name: str = "") -> dict[str, float]:
    """All numbers of a result by the path to them."""
    if isinstance(value, dict):
        return {
            n: v
            for key, part in value.items()
            if not (key == "config" and not name)
            for n, v in numbers(part, f"{name}/{key}" if name else key).items()
        }
    return {name: float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else {}


@pytest.mark.parametrize("trial", [OLD, NEW], ids=["old", "new"])
def test_every_number_of_a_result_is_a_metric(trial: Path) -> None:
    found, _ = read("rllib", trial, Options())
    expected = {
        (name, result["num_env_steps_sampled_lifetime"]): repr(value)
        for result in told(trial)
        for name, value in numbers(result).items()
        if name not in {"pid", "timestamp"}
    }
    metrics = found["training.metrics"]
    # Of a number that is not finite, the first three letters of the name are Python's.
    values = [repr(m["value"]) if "value" in m else m["non_finite"].lower()[:3] for m in metrics]
    assert {(m["name"], m["global_step"]): v for m, v in zip(metrics, values, strict=True)} == expected
    assert len(metrics) == len(expected)
    [run] = found["training.training_runs"]
    assert (run["training_run_id"], run["seed"], run["status"]) == (trial.name, 3, "succeeded")
    assert (run["environment_id"], run["global_step"]) == ("CartPole-v1", 1600)
    [agent] = found["training.agents"]
    assert (agent["agent_id"], agent["algorithm"], agent["hyperparameters"]["gamma"]) == ("PPO", "ppo", 0.99)


def test_only_the_new_episodes_of_a_list_are_episodes() -> None:
    """A list is the end of all episodes so far: so each one is checked against those before it."""
    found, tally = read("rllib", OLD, Options())
    episodes = found["training.episodes"]
    results = told(OLD)
    for result in results:
        so_far = [e for e in episodes if e["global_step"] <= result["timesteps_total"]]
        lists = result["env_runners"]["hist_stats"]
        assert [e["episode_return"] for e in so_far][-len(lists["episode_reward"]) :] == lists[
            "episode_reward"
        ]
        assert [e["episode_length"] for e in so_far][-len(lists["episode_lengths"]) :] == lists[
            "episode_lengths"
        ]
    assert len(episodes) == sum(result["env_runners"]["num_episodes"] for result in results)
    assert [e["episode_index"] for e in episodes] == list(range(len(episodes)))
    assert not any({"terminated", "truncated", "seed", "policy_version"} & e.keys() for e in episodes)
    _, tally = read("rllib", NEW, Options())
    assert any("only their means" in note for note in tally.notes)


def test_episodes_that_a_result_only_counts_are_told(tmp_path: Path) -> None:
    [*_, last] = told(OLD)
    new = last["env_runners"]["episodes_this_iter"]
    for values in last["env_runners"]["hist_stats"].values():
        del values[: len(values) - 3]
    found, tally = read("rllib", written(tmp_path / "PPO_trial", [last]), Options())
    assert [e["episode_index"] for e in found["training.episodes"]] == [new - 3, new - 2, new - 1]
    assert tally.dropped["an episode that the result only counts"] == new - 3


def test_a_restored_trial_counts_its_results_once(tmp_path: Path) -> None:
    first, second, third, fourth = told(OLD)
    other = json.loads(json.dumps(third))
    other["env_runners"]["episode_reward_mean"] = float("nan")
    found, tally = read(
        "rllib", written(tmp_path / "PPO_trial", [first, second, third, fourth, other]), Options()
    )
    means = [m for m in found["training.metrics"] if m["name"] == "env_runners/episode_reward_mean"]
    assert [m["global_step"] for m in means] == [400, 800, 1200]
    assert means[-1]["non_finite"] == "NaN"
    assert tally.dropped["a result that a later one of the trial replaced"] == 2 * (
        len(numbers(third)) - len({"pid", "timestamp"})
    )
    whole, _ = read(
        "rllib", written(tmp_path / "PPO_whole", [first, second, third]), Options(run="PPO_trial")
    )
    assert [e["episode_return"] for e in found["training.episodes"]] == [
        e["episode_return"] for e in whole["training.episodes"]
    ]


def written(folder: Path, results: list[dict[str, Any]]) -> Path:
    """A trial with these results."""
    folder.mkdir()
    (folder / "result.json").write_text("".join(json.dumps(result) + "\n" for result in results))
    return folder


def test_a_file_that_is_cut_off_says_at_which_byte(tmp_path: Path) -> None:
    whole = (OLD / "result.json").read_bytes()
    complete, _ = read("rllib", OLD, Options())
    ends = {0, *(index + 1 for index, byte in enumerate(whole) if byte == ord("\n"))}
    shutil.copytree(OLD, tmp_path / OLD.name)
    file = tmp_path / OLD.name / "result.json"
    for cut in [*range(0, len(whole), 997), *ends]:
        file.write_bytes(whole[:cut])
        found, tally = read("rllib", file, Options())
        metrics = found.get("training.metrics", [])
        assert metrics == complete["training.metrics"][: len(metrics)]
        start = max(end for end in ends if end <= cut)
        assert [problem.where for problem in tally.damage] == (
            [] if cut in ends else [f"byte {start:,} of result.json"]
        )


def test_progress_is_read_where_there_is_nothing_else(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / OLD.name)
    trial = tmp_path / OLD.name
    from_json, _ = read("rllib", trial, Options())
    (trial / "result.json").unlink()
    found, tally = read("rllib", trial, Options())
    with (OLD / "progress.csv").open(newline="") as stream:
        names = set(next(csv.reader(stream)))
    assert {m["name"] for m in found["training.metrics"]} <= names
    assert found["training.episodes"] == from_json["training.episodes"]
    for mine, other in zip(
        sorted(found["training.metrics"], key=lambda m: (m["name"], m["global_step"])),
        sorted(from_json["training.metrics"], key=lambda m: (m["name"], m["global_step"])),
        strict=True,
    ):
        # Some numbers of 4 bytes are shorter there.
        assert mine == {**other, "value": pytest.approx(other["value"], rel=1e-6)}
    assert not tally.damage


@pytest.mark.parametrize("change", ["fewer", "shifted", "swapped"])
def test_rows_of_progress_under_other_names_are_refused(tmp_path: Path, change: str) -> None:
    lines = (OLD / "progress.csv").read_text().splitlines(keepends=True)
    cells = next(csv.reader([lines[4]]))
    names = next(csv.reader([lines[0]]))
    if change == "fewer":
        cells = cells[:-1]
    elif change == "shifted":
        cells = [*cells[1:], cells[0]]
    else:
        place, other = names.index("trial_id"), names.index("timestamp")
        cells[place], cells[other] = cells[other], cells[place]
    trial = tmp_path / "PPO_trial"
    trial.mkdir()
    with (trial / "progress.csv").open("w", newline="") as stream:
        stream.write("".join(lines[:4]))
        csv.writer(stream).writerow(cells)
    found, tally = read("rllib", trial, Options(environment="CartPole-v1"))
    assert {m["global_step"] for m in found["training.metrics"]} == {400, 800, 1200}
    [problem] = tally.damage
    assert "after a restore" in problem.what
    assert problem.where == f"byte {len(''.join(lines[:4]).encode()):,} of progress.csv"


def test_what_is_no_trial_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(GaelpError, match="nothing of the kind rllib"):
        read("rllib", tmp_path, Options())
    trial = written(tmp_path / "trial", [{"training_iteration": 1}])
    with pytest.raises(GaelpError, match="Add --agent ID"):
        read("rllib", trial, Options())
    with pytest.raises(GaelpError, match="Add --environment ID"):
        read("rllib", trial, Options(agent="mine"))
    found, tally = read("rllib", trial, Options(agent="mine", environment="CartPole-v1"))
    assert not found
    assert tally.dropped == {"a result without a moment": 1}
    (trial / "params.json").write_text("[1]")
    with pytest.raises(GaelpError, match="no JSON object"):
        read("rllib", trial, Options(agent="mine", environment="CartPole-v1"))
    (trial / "result.json").rename(trial / "progress.csv")
    with pytest.raises(GaelpError, match="no column training_iteration"):
        read("rllib", trial / "progress.csv", Options(agent="mine", environment="CartPole-v1"))


def test_importing_twice_is_importing_once_and_a_grown_trial_adds_its_rows(tmp_path: Path) -> None:
    platform = platform_in(tmp_path / "home")
    shutil.copytree(OLD, tmp_path / OLD.name)
    file = tmp_path / OLD.name / "result.json"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]))
    first = import_rows(platform.gateway, kind("rllib"), file.parent, Options())
    again = import_rows(platform.gateway, kind("rllib"), file.parent, Options())
    assert (again.written, sorted(again.known)) == ([], sorted(first.written))
    counts = load_all(platform)
    assert (counts["rejected"], counts["loaded"]) == (0, first.rows.total())
    file.write_bytes(b"".join(lines))
    grown = import_rows(platform.gateway, kind("rllib"), file.parent, Options())
    assert load_all(platform)["rejected"] == 0
    for table in ("metrics", "episodes"):
        [stored] = rows(platform, f"SELECT COUNT(*) AS n FROM training.{table} WHERE date > '2026-01-01'")
        assert stored["n"] == grown.rows[f"training.{table}"]
    assert rows(platform, "SELECT status, global_step FROM training.training_runs") == [
        {"status": "succeeded", "global_step": 1600}
    ]
