"""Stable-Baselines3 and PettingZoo: by small fakes that keep their contracts, and, where they are installed, themselves.

The real ones run where they are installed: they are marked thorough.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.record import record_aec, record_parallel, sb3_callback
from gaelp_assets.record.pettingzoo import Agents, Turns
from gaelp_assets.record.sb3 import Steps
from gaelp_assets_tests.record.telling import Telling, length, lines, record, recorded, reward

HAS_SB3 = importlib.util.find_spec("stable_baselines3") is not None
HAS_PETTINGZOO = importlib.util.find_spec("pettingzoo") is not None
thorough_sb3 = [
    pytest.mark.thorough,
    pytest.mark.skipif(not HAS_SB3, reason="Stable-Baselines3 is not installed"),
]
thorough_pettingzoo = [
    pytest.mark.thorough,
    pytest.mark.skipif(not HAS_PETTINGZOO, reason="PettingZoo is not installed"),
]


class FakeVecEnv:
    """Environments that step together as SB3's `DummyVecEnv` has them: reset in the step that ends an episode."""

    def __init__(self, lanes: int, ends: tuple[bool, bool]) -> None:
        self.envs = [Telling(lane, ends, reuses=False) for lane in range(lanes)]
        self.num_envs = lanes
        self.observation_space, self.action_space = self.envs[0].observation_space, self.envs[0].action_space

    def get_attr(self, name: str) -> list[Any]:
        return [getattr(env, name) for env in self.envs]

    def reset(self) -> Any:
        return np.array([env.reset()[0] for env in self.envs])

    def step_async(self, actions: Any) -> None:
        self.actions = actions

    def step_wait(self) -> Any:
        seen, rewards, dones, infos = [], [], [], []
        for env, action in zip(self.envs, self.actions, strict=True):
            observation, given, terminated, truncated, _ = env.step(action)
            info: dict[str, Any] = {"TimeLimit.truncated": truncated and not terminated}
            if terminated or truncated:
                info["terminal_observation"] = observation
                observation, _ = env.reset()
            seen.append(observation)
            rewards.append(given)
            dones.append(terminated or truncated)
            infos.append(info)
        return np.array(seen), np.array(rewards), np.array(dones), infos


class FakeNormalize:
    """What `VecNormalize` does: halves observations and rewards here, also the terminal ones, and keeps the last originals."""

    def __init__(self, venv: Any) -> None:
        self.venv = venv
        self.num_envs, self.observation_space, self.action_space = (
            venv.num_envs,
            venv.observation_space,
            venv.action_space,
        )

    def get_attr(self, name: str) -> list[Any]:
        found: list[Any] = self.venv.get_attr(name)
        return found

    def reset(self) -> Any:
        self.old_obs = self.venv.reset()
        return self.old_obs / 2

    def step(self, actions: Any) -> Any:
        self.venv.step_async(actions)
        self.old_obs, self.old_reward, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = info["terminal_observation"] / 2
        return self.old_obs / 2, self.old_reward / 2, dones, infos

    def get_original_obs(self) -> Any:
        return self.old_obs.copy()

    def get_original_reward(self) -> Any:
        return self.old_reward.copy()


def learn(env: Any, normalizer: Any, steps: Steps, count: int) -> None:
    model = SimpleNamespace(
        _last_obs=env.reset(),
        num_timesteps=0,
        seed=11,
        gamma=0.9,
        get_env=lambda: env,
        get_vec_normalize_env=lambda: normalizer,
    )
    steps.start(model)
    for _ in range(count):
        actions = np.zeros(env.num_envs, np.int64)
        if normalizer is None:
            env.step_async(actions)
            new_obs, rewards, dones, infos = env.step_wait()
        else:
            new_obs, rewards, dones, infos = env.step(actions)
        model.num_timesteps += env.num_envs
        told = {"actions": actions, "new_obs": new_obs, "rewards": rewards, "dones": dones, "infos": infos}
        steps.step(model, told)
        rewards += 1000.0  # as PPO does with the value of what follows a time limit
        model._last_obs = new_obs


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("ends", [(True, False), (False, True)])
def test_what_sb3_hands_to_a_callback_becomes_steps(
    normalized: bool, ends: tuple[bool, bool], tmp_path: Path
) -> None:
    with record(tmp_path, algorithm=None) as recorder:
        env: Any = FakeVecEnv(2, ends)
        normalizer = FakeNormalize(env) if normalized else None
        learn(normalizer or env, normalizer, Steps(recorder, None), 10)
    assert recorder.dropped == {}
    steps, _ = recorded(tmp_path / "gateway")
    assert len(steps) == 20
    for step in steps:
        assert step.reward == reward(step.lane, step.episode, step.step)
        last = step.step + 1 == length(step.lane, step.episode)
        assert (step.terminated, step.truncated) == ((last and ends[0], last and ends[1]))
    given = {row.get("training_reward") for row in lines(tmp_path / "gateway", "transitions")}
    halves = {reward(step.lane, step.episode, step.step) / 2 for step in steps}
    assert given == (halves if normalized else {None})
    [agent] = lines(tmp_path / "gateway", "agents")[-1:]
    assert (agent["algorithm"], agent["hyperparameters"]) == ("simplenamespace", {"gamma": 0.9})
    seeds = {(row["episode_index"], row["seed"]) for row in lines(tmp_path / "gateway", "episodes")}
    assert {(0, 11), (1, 12), (2, None)} <= seeds


def test_a_callback_never_raises(tmp_path: Path, caplog: Any) -> None:
    with record(tmp_path, algorithm=None) as recorder:
        steps = Steps(recorder, None)
        steps.start(object())
        steps.step(object(), {})
    assert recorder.dropped == {"steps": 1}


@pytest.mark.skipif(HAS_SB3, reason="it is there")
def test_what_is_not_installed_is_said(tmp_path: Path) -> None:
    with record(tmp_path, algorithm=None) as recorder:
        with pytest.raises(GaelpError, match="pip install stable-baselines3"):
            sb3_callback(recorder)
        for wrap in (record_parallel, record_aec):
            with pytest.raises(GaelpError, match="pip install pettingzoo"):
                wrap(None, recorder)


class Several:
    """An environment of two agents, of which each is a `Telling` of its own."""

    metadata = {"name": "several_v2"}  # noqa: RUF012 - PettingZoo's own declaration

    def __init__(self) -> None:
        self.possible_agents = ["0", "1"]
        self.inner = {
            agent: Telling(int(agent), (False, True), reuses=False) for agent in self.possible_agents
        }

    def observation_space(self, agent: str) -> Any:
        return self.inner[agent].observation_space

    def action_space(self, agent: str) -> Any:
        return self.inner[agent].action_space


def test_agents_that_act_at_once(tmp_path: Path) -> None:
    with record(tmp_path, environment=None) as recorder:
        env = Several()
        agents = Agents(env, recorder, None)
        for _ in range(2):
            agents.reset({name: one.reset()[0] for name, one in env.inner.items()}, 3)
            live = set(env.inner)
            while live:
                answers = {name: env.inner[name].step(1) for name in sorted(live)}
                told = [{name: answer[k] for name, answer in answers.items()} for k in range(4)]
                agents.step(dict.fromkeys(sorted(live), 1), *told)
                live -= {name for name, cut in told[3].items() if cut}
    steps, unfinished = recorded(tmp_path / "gateway")
    assert unfinished == []
    assert len(steps) == sum(length(lane, episode) for lane in range(2) for episode in range(2))
    assert lines(tmp_path / "gateway", "environments")[0]["environment_id"] == "several_v2"


class TakingTurns(Several):
    """As PettingZoo's AEC has it: the reward of an agent adds up between its turns, and one that is over has a last turn."""

    def reset(self) -> None:
        self.agents = list(self.possible_agents)
        self.agent_selection = "0"
        self.seen = {agent: env.reset()[0] for agent, env in self.inner.items()}
        self.given = dict.fromkeys(self.agents, 0.0)
        self.over = dict.fromkeys(self.agents, False)

    def observe(self, agent: str) -> Any:
        return self.seen[agent]

    def last(self, observe: bool = True) -> Any:
        agent = self.agent_selection
        return (self.seen[agent] if observe else None), self.given[agent], False, self.over[agent], {}

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        if self.over[agent]:
            self.agents.remove(agent)
        else:
            self.seen[agent], self.given[agent], _, self.over[agent], _ = self.inner[agent].step(action)
        if self.agents:
            others = [one for one in self.agents if one > agent] or self.agents
            self.agent_selection = others[0]


def test_agents_that_take_turns(tmp_path: Path) -> None:
    with record(tmp_path, environment=None) as recorder:
        env = TakingTurns()
        turns = Turns(Agents(env, recorder, None))
        for _ in range(2):
            env.reset()
            turns.reset(5)
            while env.agents:
                action = None if env.last()[3] else 1
                turns.before(env, action)
                env.step(action)
                turns.after(env)
    steps, unfinished = recorded(tmp_path / "gateway")
    assert unfinished == []
    assert len(steps) == sum(length(lane, episode) for lane in range(2) for episode in range(2))
    assert all(step.reward == reward(step.lane, step.episode, step.step) for step in steps)


@pytest.mark.parametrize("_", [pytest.param(0, marks=thorough_sb3)])
@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_stable_baselines_itself(_: int, algorithm: str, tmp_path: Path) -> None:
    import stable_baselines3
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    def trained(callback: Any) -> Any:
        env: Any = DummyVecEnv(
            [lambda: gymnasium.wrappers.TimeLimit(Telling(0, (True, False), reuses=False), 3)] * 2
        )
        small: dict[str, int] = {"n_steps": 64, "n_epochs": 1} if algorithm == "PPO" else {"buffer_size": 500}
        if algorithm == "PPO":
            env = VecNormalize(env)
        model = getattr(stable_baselines3, algorithm)("MlpPolicy", env, seed=1, device="cpu", **small)
        model.learn(300, callback=callback)
        return [parameter.detach().numpy().tobytes() for parameter in model.policy.parameters()]

    with record(tmp_path, algorithm=None) as recorder:
        assert trained(sb3_callback(recorder)) == trained(None)
    assert recorder.dropped == {}
    found = lines(tmp_path / "gateway", "transitions")
    assert len(found) == recorder.global_step >= 300
    assert all(row["reward"] == reward(*map(int, row["observation"])) for row in found)
    assert all(
        row["final_observation"][2] == row["step_index"] + 1 for row in found if row.get("final_observation")
    )
    assert lines(tmp_path / "gateway", "agents")[-1]["algorithm"] == algorithm.lower()


@pytest.mark.parametrize("_", [pytest.param(0, marks=thorough_pettingzoo)])
@pytest.mark.parametrize("kind", ["parallel", "aec"])
def test_pettingzoo_itself(_: int, kind: str, tmp_path: Path) -> None:
    from pettingzoo.utils import parallel_to_aec
    from pettingzoo.utils.env import ParallelEnv

    class Both(Several, ParallelEnv):  # type: ignore[misc, unused-ignore]
        render_mode = None

        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            self.agents = list(self.possible_agents)
            return {name: one.reset()[0] for name, one in self.inner.items()}, {
                name: {} for name in self.inner
            }

        def step(self, actions: Any) -> Any:
            answers = {name: self.inner[name].step(action) for name, action in actions.items()}
            told = [{name: answer[k] for name, answer in answers.items()} for k in range(4)]
            self.agents = [name for name in self.agents if not told[3].get(name)]
            return (*told, {name: {} for name in answers})

    with record(tmp_path, environment=None) as recorder:
        if kind == "parallel":
            env = record_parallel(Both(), recorder)
            env.reset(seed=1)
            while env.agents:
                env.step(dict.fromkeys(env.agents, 1))
        else:
            env = record_aec(parallel_to_aec(Both()), recorder)
            env.reset(seed=1)
            for _agent in env.agent_iter():
                *_told, terminated, truncated, _info = env.last()
                env.step(None if terminated or truncated else 1)
    assert recorder.dropped == {}
    steps, unfinished = recorded(tmp_path / "gateway")
    assert unfinished == []
    assert len(steps) == length(0, 0) + length(1, 0)
