"""A run as CleanRL's scripts log it: its episodes are the pairs of returns and lengths, by another reading."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers.cleanrl import _Episode, _why_not
from gaelp_assets.importers.kinds import kind
from gaelp_assets.importers.source import Options, moment
from gaelp_assets.operations.importing import import_rows
from gaelp_assets_tests.importers.sources import FIXTURES as ALL
from gaelp_assets_tests.importers.sources import read
from gaelp_assets_tests.importers.test_sb3 import load_all
from gaelp_assets_tests.importers.test_tensorboard import as_points, told, with_moments
from gaelp_assets_tests.platforms import platform_in, rows

FIXTURES = ALL / "cleanrl"
NAME = "CartPole-v1__dqn__1__1795000000"
RUN = FIXTURES / NAME


def test_returns_and_lengths_are_episodes_and_all_scalars_are_metrics() -> None:
    found, tally = read("cleanrl", RUN, Options())
    [points] = told(RUN)
    assert as_points(found["training.metrics"]) == with_moments(points)
    returns = [point for point in points if point[0] == "charts/episodic_return"]
    lengths = [point for point in points if point[0] == "charts/episodic_length"]
    assert [
        (e["global_step"], e["ended_at"], e["episode_return"], e["episode_length"])
        for e in found["training.episodes"]
    ] == [
        (step, moment(at), float(total), int(float(length)))
        for (_, step, _, total), (_, _, at, length) in zip(returns, lengths, strict=True)
    ]
    assert [e["episode_index"] for e in found["training.episodes"]] == list(range(len(returns)))
    assert not any(
        {"terminated", "truncated", "seed", "policy_version"} & e.keys() for e in found["training.episodes"]
    )
    [run] = found["training.training_runs"]
    assert (run["training_run_id"], run["seed"], run["episode_count"]) == (f"{NAME}", 1, len(returns))
    [agent] = found["training.agents"]
    assert (agent["agent_id"], agent["algorithm"]) == ("dqn", "dqn")
    assert agent["hyperparameters"]["learning_rate"] == 0.00025
    assert "seed" not in agent["hyperparameters"]
    assert tally.dropped == {"not a scalar: a text": 1}


def test_the_parameters_say_more_than_the_folders_name_and_the_user_more_than_both(tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "renamed")
    found, _ = read("cleanrl", tmp_path / "renamed", Options())
    assert {e["environment_id"] for e in found["training.episodes"]} == {"CartPole-v1"}
    mine = Options(environment="Mine-v0", agent="mine", run="one", algorithm="C51")
    found, _ = read("cleanrl", tmp_path / "renamed", mine)
    [run] = found["training.training_runs"]
    assert (run["environment_id"], run["agent_id"], run["training_run_id"]) == ("Mine-v0", "mine", "one")
    assert found["training.agents"][0]["algorithm"] == "c51"


def test_what_no_parameter_and_no_name_says_is_asked_for(tmp_path: Path) -> None:
    source = FIXTURES.parent / "tensorboard" / "mixed"
    shutil.copytree(source, tmp_path / "Pong-v5__ppo_atari__7__1795000000")
    found, _ = read("cleanrl", tmp_path, Options())
    [run] = found["training.training_runs"]
    assert (run["environment_id"], run["agent_id"], run["seed"]) == ("Pong-v5", "ppo_atari", 7)
    shutil.move(tmp_path / "Pong-v5__ppo_atari__7__1795000000", tmp_path / "other")
    with pytest.raises(GaelpError, match="Add --agent ID"):
        read("cleanrl", tmp_path, Options())
    with pytest.raises(GaelpError, match="Add --environment ID"):
        read("cleanrl", tmp_path, Options(agent="mine"))


def test_an_episode_that_is_not_whole_has_no_row() -> None:
    whole = _Episode(10, 1.79e9, 5.0, 5.0)
    assert _why_not(whole) is None
    cases: list[tuple[dict[str, Any], str]] = [
        ({"length": None}, "without a length"),
        ({"total": float("nan")}, "no finite number"),
        ({"length": 0.0}, "no number of steps"),
        ({"length": 2.5}, "no number of steps"),
        ({"length": float("inf")}, "no number of steps"),
        ({"at": float("nan")}, "without a step or moment"),
        ({"step": -1}, "without a step or moment"),
    ]
    for changes, reason in cases:
        assert reason in str(_why_not(dataclasses.replace(whole, **changes)))


def test_it_loads_once(tmp_path: Path) -> None:
    platform = platform_in(tmp_path / "home")
    done = import_rows(platform.gateway, kind("cleanrl"), FIXTURES, Options())
    assert import_rows(platform.gateway, kind("cleanrl"), FIXTURES, Options()).written == []
    counts = load_all(platform)
    assert (counts["rejected"], counts["loaded"]) == (0, done.rows.total())
    [stored] = rows(platform, "SELECT COUNT(*) AS n FROM training.episodes WHERE date > '2026-01-01'")
    assert stored["n"] == done.rows["training.episodes"]
