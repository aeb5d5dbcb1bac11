"""A run's rows are what the platform takes; a kill, a restart, a full disk and a wrong argument are met as promised."""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import NormalizeReward, TransformReward

from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.gateway.store import StoredObject
from gaelp_assets.gateway.stores.local import LocalStore
from gaelp_assets.record import RecordEnv, Recorder, RecordVectorEnv, recover, writer
from gaelp_assets.settings import CHECKOUT
from gaelp_assets_tests.platforms import load, platform_in, rows
from gaelp_assets_tests.record.telling import ID, Telling, length, lines, play, record, recorded, reward

TABLES = (
    "environments", "agents", "training_runs", "episodes", "transitions", "checkpoints", "evaluations", "metrics",
)  # fmt: skip


def loaded(home: Path) -> dict[str, int]:
    """How many rows of each table a platform holds that has loaded the gateway; nothing is rejected, nothing lies astray."""
    platform = platform_in(home)
    assert platform.gateway.strays() == []
    assert platform.gateway.unsorted().files == []
    queue = platform.gateway.queue()
    assert queue.misplaced == []
    for table, slice_ in sorted(queue.slices, key=lambda pending: TABLES.index(pending[0].partition(".")[2])):
        load(platform, table, slice_)
    assert rows(platform, "SELECT * FROM ops.dead_letter") == []
    return {table: rows(platform, f"SELECT COUNT(*) AS n FROM training.{table}")[0]["n"] for table in TABLES}


def test_the_platform_takes_all_of_it(tmp_path: Path) -> None:
    platform_in(tmp_path)
    gateway = tmp_path / "export_gateway"
    with Recorder(
        gateway,
        run="cartpole-1",
        algorithm="Double DQN",
        hyperparameters={"lr": 3e-4, "clip": math.inf, "net": (64, 64)},
        seed=1,
    ) as recorder:
        recorder.policy_version, recorder.exploration_rate = 3, 0.5
        env = RecordEnv(gymnasium.make("CartPole-v1"), recorder, transitions=2)
        measured = RecordEnv(gymnasium.make("CartPole-v1"), recorder, purpose="evaluation")
        env.action_space.seed(1)
        env.reset(seed=1)
        for _ in range(200):
            if any(env.step(env.action_space.sample())[2:4]):
                env.reset()
        play_cartpole(measured)
        saved = recorder.checkpoint(b"weights", format="npz", metrics={"loss": 0.5, "worst": math.nan})
        recorder.evaluation(
            [9.0, 10.0], lengths=[9, 10], terminated=[True, True], truncated=[False, False], checkpoint=saved
        )
        recorder.evaluation([1.0], deterministic=True, normalisation=(0.0, 500.0), evaluation_seed=7)
        for value in (0.5, math.nan, math.inf, -math.inf):
            recorder.metric(f"loss/{value}", value)
        recorder.metric("loss/0.5", 0.25)
    # On a discrete space of several numbers, a nested one, a multi-discrete one, and by reference.
    spaces = gymnasium.spaces
    nested = spaces.Dict({"where": spaces.Box(-1, 1, (2, 2), np.float32), "what": spaces.Discrete(3)})
    for name, space in {
        "taxi": spaces.Discrete(500),
        "nested": nested,
        "cells": spaces.MultiDiscrete([3, 4]),
    }.items():
        with Recorder(gateway, run=name, environment="Made-v3", observations="reference") as recorder:
            env = RecordEnv(Sampled(space), recorder)
            play(env, 7)
    assert recorder.dropped == {}
    found = loaded(tmp_path)
    assert found | {"episodes": 0, "transitions": 0} == {
        "environments": 2, "agents": 2, "training_runs": 4, "episodes": 0, "transitions": 0, "checkpoints": 1,
        "evaluations": 2, "metrics": 4,
    }  # fmt: skip
    platform = platform_in(tmp_path)
    [run] = rows(platform, "SELECT * FROM training.training_runs WHERE training_run_id = 'cartpole-1'")
    assert (run["status"], run["global_step"], run["seed"]) == ("succeeded", 200, 1)
    [orphans] = rows(
        platform,
        "SELECT COUNT(*) AS n FROM training.transitions t LEFT JOIN training.episodes e ON t.episode_id = e.episode_id "
        "WHERE e.episode_id IS NULL OR t.step_index >= e.episode_length OR NOT e.transitions_recorded",
    )
    assert orphans["n"] == 0
    [whole] = rows(
        platform,
        "SELECT SUM(CASE WHEN transitions_recorded THEN episode_length ELSE 0 END) AS n FROM training.episodes",
    )
    assert whole["n"] == found["transitions"]


def play_cartpole(env: Any) -> None:
    env.reset(seed=5)
    while not any(env.step(0)[2:4]):
        pass


class Sampled(gymnasium.Env[Any, Any]):
    """Observations drawn from a space, for four steps."""

    def __init__(self, space: Any) -> None:
        self.observation_space, self.action_space = space, gymnasium.spaces.Discrete(1000)
        self.observation_space.seed(1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.left = 4
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return self.observation_space.sample(), 1.5, False, self.left == 0, {}


def test_observations_by_reference_are_those_of_the_episode(tmp_path: Path) -> None:
    with record(tmp_path, observations="reference") as recorder:
        play(RecordEnv(Telling(), recorder), 3)
    found = lines(tmp_path / "gateway", "transitions")
    assert [row["step_index"] for row in found] == [0, 1, 2]
    assert not any("observation" in row or "final_observation" in row for row in found)
    [name] = {row["observation_uri"].partition("/gateway/")[2] for row in found}
    assert np.load(tmp_path / "gateway" / name).tolist() == [[0, 0, step] for step in range(4)]


def test_one_seed_flags_and_cut_off_episodes(tmp_path: Path) -> None:
    with record(tmp_path) as recorder:
        env = RecordEnv(Telling(ends=(True, True)), recorder)
        play(env, 5)
        env.reset(seed=4)
        env.step(1)
        env.reset()
        env.reset()
    steps, unfinished = recorded(tmp_path / "gateway")
    assert unfinished == [(0, 2), (0, 3)]
    assert len(steps) == 6
    found = lines(tmp_path / "gateway", "episodes")
    assert [row["seed"] for row in found] == [9, None, None, 4]
    assert [row["episode_index"] for row in found] == [0, 1, 2, 3]
    assert [(row["terminated"], row["truncated"]) for row in found[:2]] == [(True, True)] * 2


def test_a_number_that_is_none_costs_its_own_rows_and_is_counted(tmp_path: Path, caplog: Any) -> None:
    env = Telling()
    with record(tmp_path) as recorder:
        wrapped = RecordEnv(env, recorder)
        env.step = spoilt(env.step)  # type: ignore[method-assign]
        play(wrapped, length(0, 0) + length(0, 1) + length(0, 2))
    assert recorder.dropped == {"transitions": length(0, 1)}
    found = lines(tmp_path / "gateway", "episodes")
    assert [row["transitions_recorded"] for row in found] == [True, False, True]
    assert "not finite" in caplog.text


def spoilt(step: Any) -> Any:
    def spoilt_step(action: Any) -> Any:
        answer = step(action)
        return (answer[0] * math.nan, *answer[1:]) if action == length(0, 0) else answer

    return spoilt_step


def test_rewards_are_the_environments_and_the_learners_are_beside_them(tmp_path: Path) -> None:
    with record(tmp_path) as recorder:
        play(RecordEnv(TransformReward(Telling(), lambda given: float(given) * 2), recorder), 4)
        envs = NormalizedVector(
            gymnasium.vector.SyncVectorEnv([lambda: TransformReward(Telling(1), lambda given: -float(given))])
        )
        told = RecordVectorEnv(envs, recorder)
        told.reset()
        for _ in range(6):
            told.step(np.array([0]))
        below = RecordEnv(Telling(2), recorder)
        play(below, 1)
    single = [row for row in lines(tmp_path / "gateway", "transitions") if row["observation"][0] == 0]
    assert [(row["reward"], row["training_reward"]) for row in single[:3]] == [
        (reward(0, 0, step), 2 * reward(0, 0, step)) for step in range(3)
    ]
    lane = [row for row in lines(tmp_path / "gateway", "transitions") if row["observation"][0] == 1]
    assert [(row["reward"], row["training_reward"]) for row in lane[:1]] == [
        (reward(1, 0, 0), 100 - reward(1, 0, 0))
    ]
    plain = [row for row in lines(tmp_path / "gateway", "episodes") if row["episode_length"] == 3]
    assert plain[0]["training_return"] == 2 * plain[0]["episode_return"]
    assert recorder.dropped == {}


class NormalizedVector(gymnasium.vector.VectorRewardWrapper[Any, Any, Any]):
    def rewards(self, rewards: Any) -> Any:
        return rewards + 100


def test_a_wrapper_that_changes_rewards_above_the_recorder_is_told_by_a_call(tmp_path: Path) -> None:
    with record(tmp_path) as recorder:
        env = NormalizeReward(RecordEnv(Telling(), recorder))
        env.reset()
        for _ in range(3):
            _, given, *_ = env.step(0)
            recorder.training_reward(given)
    [episode] = lines(tmp_path / "gateway", "episodes")
    found = [row["training_reward"] for row in lines(tmp_path / "gateway", "transitions")]
    assert len(found) == 3
    assert episode["training_return"] == pytest.approx(sum(found))
    assert episode["episode_return"] == sum(reward(0, 0, step) for step in range(3))


def test_a_loop_that_wraps_nothing_calls_three_things(tmp_path: Path) -> None:
    recorder = record(tmp_path)
    envs = gymnasium.vector.SyncVectorEnv([lambda: Telling(0), lambda: Telling(1)])
    observations, _ = envs.reset(seed=3)
    recorder.reset(observations, envs, seed=3)
    for _ in range(10):
        actions = np.array([1, 2])
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        recorder.step(actions, observations, rewards, terminated, truncated, infos)
    recorder.close()
    steps, _ = recorded(tmp_path / "gateway")
    assert recorder.global_step == len(steps) < 20
    assert recorder.dropped == {}
    single = record(tmp_path, run="single")
    env = Telling()
    single.reset(env.reset(seed=1)[0], env, seed=1)
    for _ in range(3):
        single.step(0, *env.step(0))
    single.close()
    assert single.global_step == 3


def test_a_metric_is_written_once_for_a_step(tmp_path: Path, caplog: Any) -> None:
    with record(tmp_path) as recorder:
        RecordEnv(Telling(), recorder)
        recorder.metric("loss", 1.0, 5)
        recorder.metric("loss", 2.0, 5)
        recorder.flush(wait=True)
        recorder.metric("loss", 3.0, 5)
        recorder.metric("loss", "much", 6)  # type: ignore[arg-type]
    assert [(row["global_step"], row["value"]) for row in lines(tmp_path / "gateway", "metrics")] == [
        (5, 2.0)
    ]
    assert recorder.dropped == {"metrics": 2}


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from gaelp_assets_tests.record.telling import Telling, play, record
from gaelp_assets.record import RecordEnv
from pathlib import Path
recorder = record(Path({folder!r}), flush_seconds=600)
env = RecordEnv(Telling(), recorder)
play(env, 6)
recorder.metric("loss", 1.0)
assert recorder.flush(wait=True)
env.step(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_is_killed_goes_on_without_a_double(tmp_path: Path, caplog: Any) -> None:
    home = tmp_path
    platform_in(home)
    (home / "gateway").symlink_to(home / "export_gateway")
    script = KILLED.format(root=str(CHECKOUT), folder=str(home))
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    recorder = record(home)
    assert "1 unfinished episodes of start 1" in caplog.text
    assert recorder.global_step == 6
    with recorder:
        play(RecordEnv(Telling(), recorder), 4)
        recorder.metric("loss", 2.0)
    assert recorder.global_step == 10
    found = sorted(lines(home / "gateway", "episodes"), key=lambda row: row["episode_id"])
    assert [row["episode_id"] for row in found] == [
        "run.a1.e000000", "run.a1.e000001", "run.a1.e000002", "run.a2.e000003", "run.a2.e000004",
    ]  # fmt: skip
    assert [(row["unfinished"], row["episode_length"]) for row in found[2:4]] == [(True, 2), (None, 3)]
    assert loaded(home) == {
        "environments": 1, "agents": 1, "training_runs": 1, "episodes": 5, "transitions": 10, "checkpoints": 0,
        "evaluations": 0, "metrics": 2,
    }  # fmt: skip


def test_recovering_again_after_the_rows_were_loaded_changes_nothing(tmp_path: Path) -> None:
    platform_in(tmp_path)
    recorder = Recorder(tmp_path / "export_gateway", run="run", environment=ID)
    play(RecordEnv(Telling(), recorder), 5)
    assert recorder.flush(wait=True)
    before = loaded(tmp_path)
    recorder.abandon()
    [found] = recover(tmp_path / "export_gateway", "run")
    assert (found.attempt, found.episodes) == (1, 1)
    assert recover(tmp_path / "export_gateway", "run") == []
    after = loaded(tmp_path)
    assert (after["episodes"], after["transitions"]) == (before["episodes"] + 1, before["transitions"] + 1)
    [run] = rows(platform_in(tmp_path), "SELECT * FROM training.training_runs")
    assert (run["status"], run["global_step"]) == ("failed", 5)


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_kill_between_any_two_writes_of_a_flush_leaves_nothing_double_or_half(
    cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies at each of the writes in turn; the next one finds a whole flush or none of it."""
    recorder = record(tmp_path, flush_seconds=600)
    env = RecordEnv(Telling(), recorder)
    play(env, 2)
    assert recorder.flush(wait=True)
    left = [cut]

    def dying(act: Any) -> Any:
        def call(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise TransientError(Problem("the process is gone"))
            return act(*arguments)

        return call

    for name in ("create", "move", "delete"):
        monkeypatch.setattr(LocalStore, name, dying(getattr(LocalStore, name)))
    for _ in range(3):
        if any(env.step(0)[2:4]):
            env.reset()
    recorder.flush(wait=True, seconds=0.3)
    recorder.abandon()
    monkeypatch.undo()
    recover(tmp_path / "gateway", "run")
    steps, unfinished = recorded(tmp_path / "gateway")
    assert len(steps) in (2, 5)
    assert len(unfinished) == 1


def test_a_full_disk_never_stops_training_and_is_caught_up_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(writer, "FIRST_WAIT", 0.01)
    full = [False]
    create = LocalStore.create

    def created(self: LocalStore, name: str, chunks: Any) -> StoredObject | None:
        if full[0]:
            raise OSError(28, "No space left on device")
        return create(self, name, chunks)

    monkeypatch.setattr(LocalStore, "create", created)
    with record(tmp_path, flush_rows=4, flush_seconds=600) as recorder:
        env = RecordEnv(Telling(), recorder)
        play(env, 8)
        assert recorder.flush(wait=True)
        full[0] = True
        play(env, 100)
        assert recorder.global_step == 108
        assert recorder.dropped["transitions"] > 0
        full[0] = False
        assert recorder.flush(wait=True)
    assert "training goes on" in caplog.text
    assert "not everything was recorded" in caplog.text
    found = lines(tmp_path / "gateway", "episodes")
    assert sum(row["episode_length"] for row in found) == 108
    kept = len(lines(tmp_path / "gateway", "transitions"))
    assert kept + recorder.dropped["transitions"] == 108
    assert kept == sum(row["episode_length"] for row in found if row["transitions_recorded"])


def test_how_a_run_ended_is_told(tmp_path: Path) -> None:
    def train(number: int, error: type[BaseException]) -> None:
        with record(tmp_path, run=f"run-{number}") as recorder:
            play(RecordEnv(Telling(), recorder), 1)
            raise error("secret")

    for number, error in enumerate((KeyboardInterrupt, RuntimeError)):
        with pytest.raises(error):
            train(number, error)
    found = {
        row["training_run_id"]: row
        for row in lines(tmp_path / "gateway", "training_runs")
        if row["finished_at"]
    }
    assert (found["run-0"]["status"], found["run-1"]["status"]) == ("cancelled", "failed")
    assert found["run-1"]["error_message"] == "RuntimeError"


def test_an_interpreter_that_ends_closes_what_nobody_closed(tmp_path: Path) -> None:
    script = KILLED.format(root=str(CHECKOUT), folder=str(tmp_path)).replace("os.kill", "(lambda *_: None)")
    subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=True)
    steps, _ = recorded(tmp_path / "gateway")
    assert len(steps) == 7
    assert recover(tmp_path / "gateway", "run") == []


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(GaelpError) as raised:
        Recorder(
            "s3://bucket", run="a b", agent="", environment="ALE/Pong-v5", seed=-1, algorithm="!",
            algorithm_family="actor-critic", flush_rows=0, flush_seconds=math.nan, observations="file",  # type: ignore[arg-type]
        )  # fmt: skip
    assert {problem.where for problem in raised.value.problems} == {
        "run", "agent", "environment", "seed", "algorithm", "algorithm_family", "flush_rows", "flush_seconds", "observations", "gateway",
    }  # fmt: skip
    assert "did you mean 'actor_critic'" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_one_recorder_at_a_time(tmp_path: Path) -> None:
    with (
        record(tmp_path),
        pytest.raises(GaelpError, match=f"process {os.getpid()} of this machine is recording"),
    ):
        record(tmp_path)


def test_a_folder_that_is_no_gateway_is_not_made_one(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    with pytest.raises(TransientError, match="no gateway in this folder"):
        record(tmp_path)


def test_an_environment_without_an_id_needs_one(tmp_path: Path) -> None:
    with record(tmp_path, environment=None) as recorder, pytest.raises(GaelpError, match="has no id"):
        RecordEnv(Telling(), recorder)


def test_a_process_that_was_forked_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with record(tmp_path) as recorder:
        env = RecordEnv(Telling(), recorder)
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 1)
            play(env, 3)
        assert recorder.global_step == 0


LEAN = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {{*sys.stdlib_module_names, "gaelp_assets", "numpy", "msgspec"}}:
            raise ImportError(f"{{name}} is not on this machine")
sys.meta_path.insert(0, Wall())
import numpy
from gaelp_assets.record import Recorder, recover
assert "gymnasium" not in sys.modules
recorder = Recorder({folder!r}, run="lean", environment="Own-v1")
class Space:
    n, start, shape, dtype = 3, 0, (), numpy.dtype("int64")
Discrete = type("Discrete", (Space,), {{}})
class Own:
    spec, observation_space, action_space = None, Discrete(), Discrete()
recorder.reset(1, Own(), seed=2)
recorder.step(2, 0, 1.0, False, True)
recorder.close()
assert recorder.dropped == {{}}, recorder.dropped
"""


def test_a_training_machine_needs_none_of_the_platforms_libraries(tmp_path: Path) -> None:
    """Of a list of what must not be needed, one was missing: the settings could not be read without platformdirs."""
    script = LEAN.format(folder=str(tmp_path / "gateway"))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [row["seed"] for row in lines(tmp_path / "gateway", "episodes")] == [2]


def test_a_new_gateway_is_told_of(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    record(tmp_path).close()
    assert "made a new export gateway" in caplog.text
    assert "nothing was recorded" in caplog.text
