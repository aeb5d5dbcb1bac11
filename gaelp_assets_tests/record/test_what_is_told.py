"""What a loop tells its recorder, in whichever type and however wrong: it costs no other row, and never stops training."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.gateway.stores.local import LocalStore
from gaelp_assets.record import RecordEnv, Recorder
from gaelp_assets.settings import CHECKOUT
from gaelp_assets_tests.record.telling import Telling, lines, play, record

WRONG: tuple[Any, ...] = (-1, 2**70, 1.5, math.nan, "v3", [1, 2])


@pytest.mark.parametrize("version", [np.int64(3), np.uint8(3), np.array(3), 3.0])
def test_a_policy_version_of_numpy_lost_every_row(version: Any, tmp_path: Path) -> None:
    with record(tmp_path) as recorder:
        recorder.policy_version, recorder.exploration_rate = version, np.float32(0.5)
        recorder.global_step = np.int64(100)  # type: ignore[assignment]
        play(RecordEnv(Telling(), recorder), 6)
        recorder.evaluation([1.0])
        recorder.checkpoint(b"weights")
    assert recorder.dropped == {}
    found = lines(tmp_path / "gateway", "episodes")
    assert {(row["policy_version"], row["exploration_rate"]) for row in found if not row["unfinished"]} == {
        (3, 0.5)
    }
    assert sum(row["episode_length"] for row in found) == len(lines(tmp_path / "gateway", "transitions")) == 6
    assert lines(tmp_path / "gateway", "training_runs")[-1]["global_step"] == 106


@pytest.mark.parametrize("wrong", WRONG)
def test_a_policy_version_that_no_row_can_hold_had_its_episodes_rejected(
    wrong: Any, tmp_path: Path, caplog: Any
) -> None:
    with record(tmp_path) as recorder:
        recorder.policy_version = recorder.exploration_rate = wrong
        play(RecordEnv(Telling(), recorder), 6)
    told = [
        (row["policy_version"], row["exploration_rate"]) for row in lines(tmp_path / "gateway", "episodes")
    ]
    assert set(told) == {(None, None)}
    assert recorder.dropped == {"policy versions": 1, "exploration rates": 1}
    assert "no whole number from 0" in caplog.text


def test_a_seed_beyond_64_bits_had_its_episode_rejected(tmp_path: Path) -> None:
    with record(tmp_path) as recorder:
        env = RecordEnv(Telling(), recorder)
        for seed in (2**70, 2**63 - 1):
            env.reset(seed=seed)
            env.step(0)
    assert [row["seed"] for row in lines(tmp_path / "gateway", "episodes")] == [None, 2**63 - 1]


def test_a_name_that_is_no_utf8_lost_every_row(tmp_path: Path) -> None:
    half = "a\udc80"
    with record(tmp_path, hyperparameters={half: half}, description=half, team=half) as recorder:
        play(RecordEnv(Telling(), recorder), 6)
        recorder.metric(half, 1.0)
        recorder.metric("loss", 1.0)
    assert recorder.dropped == {"metrics": 1}
    gateway = tmp_path / "gateway"
    assert len(lines(gateway, "transitions")) == 6
    assert [row["name"] for row in lines(gateway, "metrics")] == ["loss"]
    [agent] = {(row["description"], *row["hyperparameters"].items()) for row in lines(gateway, "agents")}
    assert agent == ("a?", ("a?", "a?"))
    assert {row["config"]["team"] for row in lines(gateway, "training_runs")} == {"a?"}


@pytest.mark.parametrize(
    "told",
    [
        {"returns": [1e308, 1e308]}, {"evaluation_seed": 2**70}, {"evaluation_seed": -1}, {"policy_version": "x"},
        {"step": -4}, {"checkpoint": 7}, {"checkpoint": "two words"}, {"lengths": [0]}, {"lengths": [math.nan]},
        {"normalisation": (0.0, math.inf)}, {"normalisation": (2.0, 1.0)}, {"normalisation": 3},
    ],
)  # fmt: skip
def test_an_evaluation_that_no_row_can_hold_was_handed_over_or_stopped_training(
    told: dict[str, Any], tmp_path: Path
) -> None:
    with record(tmp_path) as recorder:
        RecordEnv(Telling(), recorder)
        assert recorder.evaluation(told.pop("returns", [1.0]), **told) is None
    assert recorder.dropped == {"evaluations": 1}
    assert lines(tmp_path / "gateway", "evaluations") == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (3, {}), (io.BytesIO(b"weights"), {}), ("a\0b", {}), (b"w", {"format": 3}), (b"w", {"policy_version": "x"}),
        (b"w", {"policy_version": 2**70}), (b"w", {"step": -1}), (b"w", {"parent": 3}), (b"w", {"metrics": [1.0]}),
    ],
)  # fmt: skip
def test_a_checkpoint_that_no_row_can_hold_was_handed_over_or_stopped_training(
    content: Any, told: dict[str, Any], tmp_path: Path
) -> None:
    with record(tmp_path) as recorder:
        RecordEnv(Telling(), recorder)
        assert recorder.checkpoint(content, **told) is None
    assert recorder.dropped == {"checkpoints": 1}
    assert lines(tmp_path / "gateway", "checkpoints") == []


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_checkpoint_in_a_buffer_stopped_training(kind: Any, tmp_path: Path) -> None:
    with record(tmp_path) as recorder:
        RecordEnv(Telling(), recorder)
        recorder.checkpoint(kind(b"weights"))
    [row] = lines(tmp_path / "gateway", "checkpoints")
    assert (row["bytes"], row["format"]) == (7, "bin")


def test_what_a_lost_gateway_dropped_was_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaelp_assets.record.recorder.CLOSE_SECONDS", 0.1)
    with record(tmp_path, flush_rows=10) as recorder:
        env = RecordEnv(Telling(), recorder)
        assert recorder.flush(wait=True)
        monkeypatch.setattr(LocalStore, "create", lost)
        play(env, 100)
    assert recorder.dropped["transitions"] == 100


class Endless(Telling):
    """Its rewards are no finite numbers."""

    def step(self, action: Any) -> Any:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, math.inf, terminated, truncated, info


def test_an_episode_without_a_finite_return_was_counted_twice_where_the_gateway_was_lost_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaelp_assets.record.recorder.CLOSE_SECONDS", 0.1)
    with record(tmp_path) as recorder:
        env = RecordEnv(Endless(), recorder)
        assert recorder.flush(wait=True)
        monkeypatch.setattr(LocalStore, "create", lost)
        play(env, 100)
    assert (recorder.dropped["episodes"], recorder.dropped["transitions"]) == (40, 100)


def lost(*_: object) -> None:
    raise OSError(28, "No space left on device")


AGENT = """
from gaelp_assets.record.options import default_agent, hyperparameters
def activation(): pass
print(default_agent("ppo", hyperparameters({"f": activation, "o": object(), "names": {"a", "b", "c", "d"}})))
print(default_agent("ppo", hyperparameters({activation: 1, "of": {activation: 2, 3: 4}})))
"""


def test_an_agent_without_a_name_had_another_one_in_each_process() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", AGENT],
            cwd=CHECKOUT,
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_a_text_of_the_agent_that_no_row_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GaelpError) as raised:
        record(tmp_path, description=5, parent_agent="two words", code_version=3.14, team=7)
    assert {problem.where for problem in raised.value.problems} == {
        "description",
        "parent_agent",
        "code_version",
        "team",
    }


@pytest.mark.parametrize("lanes", [None, 2])
def test_an_option_of_three_calls_that_is_none_was_ignored(lanes: int | None, tmp_path: Path) -> None:
    env: Any = Telling() if lanes is None else gymnasium.vector.SyncVectorEnv([Telling] * lanes)
    with record(tmp_path) as recorder, pytest.raises(GaelpError, match="transitions"):
        recorder.reset(env.reset()[0], env, transition=10)
    assert isinstance(recorder, Recorder)
