"""One training run: an agent, an environment and a seed, trained day by day, and the rows that tell of it.

Nothing here reads a clock: a step takes a fixed time on the simulated machine, so that the same run is the same rows.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gaelp_assets.demo.agents import Floats, Learner, checkpoint_bytes, make_learner
from gaelp_assets.demo.spaces import Env, encoder, flat
from gaelp_assets.demo.tasks import Agent, Environment, Size
from gaelp_assets.record.spaces import count
from gaelp_assets.record.values import Row, plain, timestamp

Save = Callable[[str, bytes], str]
"""Keeps the bytes under that name and says where: a URI."""

STEP: Final = dt.timedelta(milliseconds=10)
DAY_STARTS: Final = dt.timedelta(hours=6)
EVALUATION_DELAY: Final = dt.timedelta(minutes=5)
EVALUATION_SEED: Final = 1_000_000
USD_PER_DEVICE_HOUR: Final = 0.05


@dataclass
class DayRows:
    """What a run has to tell of one day."""

    episodes: list[Row] = field(default_factory=list)
    transitions: list[Row] = field(default_factory=list)
    checkpoints: list[Row] = field(default_factory=list)
    evaluations: list[Row] = field(default_factory=list)
    run: Row = field(default_factory=dict)


@dataclass
class _Episode:
    observations: list[Floats]
    actions: list[int]
    probabilities: list[float | None]
    rewards: list[float]
    infos: list[dict[str, object]]
    terminated: bool = False
    truncated: bool = False

    @property
    def total(self) -> float:
        return float(sum(self.rewards))

    def discounted(self, discount: float) -> float:
        value = 0.0
        for reward in reversed(self.rewards):
            value = reward + discount * value
        return value


class TrainingRun:
    """A run that goes on from day to day. Runs share an environment: each episode resets it with a seed of its own."""

    def __init__(
        self,
        environment: Environment,
        env: Env,
        agent: Agent,
        seed: int,
        size: Size,
        dates: tuple[dt.date, ...],
    ) -> None:
        self.environment = environment
        self.agent = agent
        self.seed = seed
        self.id = f"{environment.id}.{agent.id}.seed{seed}.{dates[0]:%Y%m%d}"
        self._env = env
        self._size = size
        self._dates = dates
        self._planned_steps = size.steps_per_day * len(dates)
        # The hash of a name, since Python's own differs from process to process.
        sequence = np.random.SeedSequence([seed, zlib.crc32(f"{environment.id}/{agent.id}".encode())])
        policy, resets = sequence.spawn(2)
        self._resets = np.random.default_rng(resets)
        actions = count(env.action_space)
        if actions is None:
            raise ValueError(f"{environment.id}: the learners need a Discrete action space")
        self._learner: Learner = make_learner(
            agent.algorithm,
            agent.hyperparameters,
            encoder(environment, agent, count(env.observation_space)),
            actions,
            np.random.default_rng(policy),
        )
        self._explores = self._exploration_plan()
        self._steps = 0
        self._episodes = 0
        self._evaluation_episodes = 0
        self._checkpoint_id: str | None = None

    def day(self, date: dt.date, save: Save) -> DayRows:
        """Trains until the steps planned so far are done (one episode at least), saves a checkpoint and evaluates it."""
        rows = DayRows()
        morning = dt.datetime.combine(date, dt.time(), dt.UTC) + DAY_STARTS
        first_step = self._steps
        goal = self._size.steps_per_day * (self._dates.index(date) + 1)
        while not rows.episodes or self._steps < goal:
            started = morning + (self._steps - first_step) * STEP
            self._train_episode(date, started, rows)
        evening = morning + (self._steps - first_step) * STEP
        rows.checkpoints.append(self._checkpoint(date, evening, save))
        finished = self._evaluate(date, evening + EVALUATION_DELAY, rows)
        rows.run = self._run_row(date, finished)
        return rows

    def _refs(self, date: dt.date) -> Row:
        return {
            "date": date.isoformat(),
            "environment_id": self.environment.id,
            "agent_id": self.agent.id,
            "training_run_id": self.id,
        }

    def _exploration_plan(self) -> tuple[float, float, float] | None:
        """The first and the last rate, and after how many steps it is the last; None for an agent that does not learn."""
        options = self.agent.hyperparameters
        if "exploration_first" not in options:
            return None
        steps = self._planned_steps * float(options["exploration_decay_fraction"])
        return float(options["exploration_first"]), float(options["exploration_last"]), steps

    def _exploration(self) -> float:
        if self._explores is None:
            return 1.0
        first, last, steps = self._explores
        return first + (last - first) * min(1.0, self._steps / steps)

    def _train_episode(self, date: dt.date, started: dt.datetime, rows: DayRows) -> None:
        learner, env = self._learner, self._env
        policy_version, first_step = learner.updates, self._steps
        reset_seed = int(self._resets.integers(2**31))
        observation = flat(env.reset(seed=reset_seed)[0])
        episode = _Episode([observation], [], [], [], [])
        learner.exploration = self._exploration()
        action, probability = learner.begin(observation)
        while not (episode.terminated or episode.truncated):
            seen, reward, episode.terminated, episode.truncated, info = env.step(action)
            observation = flat(seen)
            episode.observations.append(observation)
            episode.actions.append(action)
            episode.probabilities.append(probability)
            episode.rewards.append(float(reward))
            episode.infos.append(info)
            self._steps += 1
            learner.exploration = self._exploration()
            action, probability = learner.learn(float(reward), observation, episode.terminated)
        recorded = self._episodes % self._size.record_every == 0
        self._report(
            date,
            episode,
            rows,
            purpose="training",
            index=self._episodes,
            seed=reset_seed,
            policy_version=policy_version,
            steps_before=first_step,
            exploration=learner.exploration,
            recorded=recorded,
            started=started,
        )
        self._episodes += 1

    def _report(
        self,
        date: dt.date,
        episode: _Episode,
        rows: DayRows,
        *,
        purpose: str,
        index: int,
        seed: int,
        policy_version: int,
        steps_before: int,
        exploration: float | None,
        recorded: bool,
        started: dt.datetime,
    ) -> None:
        training = purpose == "training"
        episode_id = f"{self.id}.{'e' if training else 'v'}{index:06d}"
        length = len(episode.actions)
        rows.episodes.append(
            {
                "episode_id": episode_id,
                **self._refs(date),
                "purpose": purpose,
                "episode_index": index,
                "seed": seed,
                "policy_version": policy_version,
                "global_step": self._steps,
                "episode_return": episode.total,
                "discounted_return": episode.discounted(
                    float(self.agent.hyperparameters.get("discount", 1.0))
                ),
                "episode_length": length,
                "terminated": episode.terminated,
                "truncated": episode.truncated,
                "exploration_rate": exploration,
                "transitions_recorded": recorded,
                "started_at": timestamp(started),
                "ended_at": timestamp(started + length * STEP),
            }
        )
        if not recorded:
            return
        for step in range(length):
            last = step == length - 1
            rows.transitions.append(
                {
                    "episode_id": episode_id,
                    "step_index": step,
                    **self._refs(date),
                    "global_step": steps_before + step + 1 if training else self._steps,
                    "observation": episode.observations[step].tolist(),
                    "action": [float(episode.actions[step])],
                    "action_probability": episode.probabilities[step],
                    "reward": episode.rewards[step],
                    "terminated": last and episode.terminated,
                    "truncated": last and episode.truncated,
                    "final_observation": episode.observations[-1].tolist() if last else [],
                    "info": plain(episode.infos[step]) or None,
                }
            )

    def _checkpoint(self, date: dt.date, created: dt.datetime, save: Save) -> Row:
        parent, self._checkpoint_id = self._checkpoint_id, f"{self.id}.step{self._steps:09d}"
        content = checkpoint_bytes(self._learner.state())
        return {
            "checkpoint_id": self._checkpoint_id,
            **self._refs(date),
            "policy_version": self._learner.updates,
            "global_step": self._steps,
            "uri": save(f"{self.environment.id}/{self._checkpoint_id}.npz", content),
            "format": "npz",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "parent_checkpoint_id": parent,
            "metrics": {"exploration_rate": self._learner.exploration, "episode_count": self._episodes},
            "created_at": timestamp(created),
        }

    def _evaluate(self, date: dt.date, started: dt.datetime, rows: DayRows) -> dt.datetime:
        """Measures the policy without exploration; the end of it. The seeds are the same for every run and day."""
        episodes = []
        for number in range(self._size.evaluation_episodes):
            episode = self._evaluation_episode(EVALUATION_SEED + number)
            self._report(
                date,
                episode,
                rows,
                purpose="evaluation",
                index=self._evaluation_episodes,
                seed=EVALUATION_SEED + number,
                policy_version=self._learner.updates,
                steps_before=self._steps,
                exploration=None,
                recorded=number == 0,
                started=started,
            )
            self._evaluation_episodes += 1
            started += len(episode.actions) * STEP
            episodes.append(episode)
        returns = [episode.total for episode in episodes]
        rows.evaluations.append(
            {
                "evaluation_id": f"{self._checkpoint_id}.evaluation",
                **self._refs(date),
                "checkpoint_id": self._checkpoint_id,
                "seed": self.seed,
                "evaluation_seed": EVALUATION_SEED,
                "policy_version": self._learner.updates,
                "global_step": self._steps,
                "deterministic": self.agent.algorithm != "random",
                "episode_count": len(episodes),
                "episode_returns": returns,
                "mean_return": sum(returns) / len(returns),
                "min_return": min(returns),
                "max_return": max(returns),
                "mean_length": sum(len(episode.actions) for episode in episodes) / len(episodes),
                "terminated_count": sum(episode.terminated for episode in episodes),
                "truncated_count": sum(episode.truncated and not episode.terminated for episode in episodes),
                "normalisation_low": self.environment.random_return,
                "normalisation_high": self.environment.reference_return,
                "evaluated_at": timestamp(started),
            }
        )
        return started

    def _evaluation_episode(self, seed: int) -> _Episode:
        observation = flat(self._env.reset(seed=seed)[0])
        episode = _Episode([observation], [], [], [], [])
        while not (episode.terminated or episode.truncated):
            action = self._learner.best(observation)
            seen, reward, episode.terminated, episode.truncated, info = self._env.step(action)
            observation = flat(seen)
            episode.observations.append(observation)
            episode.actions.append(action)
            episode.probabilities.append(None)
            episode.rewards.append(float(reward))
            episode.infos.append(info)
        return episode

    def _run_row(self, date: dt.date, updated: dt.datetime) -> Row:
        device_hours = self._steps * STEP.total_seconds() / 3600
        start = dt.datetime.combine(self._dates[0], dt.time(), dt.UTC) + DAY_STARTS
        last = date == self._dates[-1]
        return {
            "training_run_id": self.id,
            "agent_id": self.agent.id,
            "environment_id": self.environment.id,
            "seed": self.seed,
            "status": "succeeded" if last else "running",
            "started_at": timestamp(start),
            "finished_at": timestamp(updated) if last else None,
            "host": f"demo-trainer-{self.seed}",
            "device": "cpu",
            "device_model": None,
            "device_count": 1,
            "device_hours": device_hours,
            # A string, since money is an exact decimal number.
            "cost_usd": f"{device_hours * USD_PER_DEVICE_HOUR:.6f}",
            "global_step": self._steps,
            "episode_count": self._episodes,
            "config": {
                "team": "research",
                "steps_per_day": self._size.steps_per_day,
                "evaluation_episodes": self._size.evaluation_episodes,
                "transitions_recorded_every": self._size.record_every,
            },
            "error_message": None,
            "updated_at": timestamp(updated),
        }
