"""The demo as a training that is under way: agents that learn now, episode by episode, and are recorded while they do."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gaelp_assets.demo.agents import Learner, make_learner
from gaelp_assets.demo.spaces import encoder, flat, make
from gaelp_assets.demo.tasks import AGENTS, DEMO_ENVIRONMENTS, Agent, Environment
from gaelp_assets.record import RecordEnv, Recorder
from gaelp_assets.record.spaces import count

ENVIRONMENTS: Final = ("CliffWalking-v1", "Taxi-v4")
SEEDS: Final = 2
EPISODES: Final = 1_500
"""Of each run, in the whole time."""
FLUSH_SECONDS: Final = 2.0


@dataclass
class _Run:
    env: RecordEnv
    learner: Learner
    resets: np.random.Generator
    first: float
    last: float

    def episode(self, done: float) -> None:
        """One episode; `done` is the part of the run that is over, from 0 to 1."""
        self.learner.exploration = self.first + (self.last - self.first) * min(1.0, 2 * done)
        observation = flat(self.env.reset(seed=int(self.resets.integers(2**31)))[0])
        action, _ = self.learner.begin(observation)
        ended = False
        while not ended:
            seen, reward, terminated, truncated, _ = self.env.step(action)
            action, _ = self.learner.learn(float(reward), flat(seen), terminated)
            ended = terminated or truncated


def train(receiver: str, *, seconds: float, on_progress: Callable[[str, int, int], None]) -> int:
    """Trains each agent in each of `ENVIRONMENTS` with `SEEDS` seeds, spread over the time, and pushes what is recorded.

    Args:
        receiver: the address of `gaelp stream`, such as `http://127.0.0.1:8600`.
        seconds: how long it takes.
        on_progress: called with what is trained, how many episodes are over, and how many there are.

    Returns:
        The number of episodes.
    """
    started = dt.datetime.now(dt.UTC)
    began = time.monotonic()
    with ExitStack() as stack:
        runs = [
            _begin(stack, receiver, environment, agent, seed, started)
            for environment in DEMO_ENVIRONMENTS
            if environment.id in ENVIRONMENTS
            for agent in AGENTS
            for seed in range(SEEDS)
        ]
        for number in range(EPISODES):
            for run in runs:
                run.episode(number / EPISODES)
            on_progress(", ".join(ENVIRONMENTS), (number + 1) * len(runs), EPISODES * len(runs))
            time.sleep(max(0.0, seconds * (number + 1) / EPISODES - (time.monotonic() - began)))
    return EPISODES * len(runs)


def _begin(
    stack: ExitStack, receiver: str, environment: Environment, agent: Agent, seed: int, at: dt.datetime
) -> _Run:
    recorder = stack.enter_context(
        Recorder(
            receiver,
            run=f"live.{environment.id}.{agent.id}.seed{seed}.{at:%Y%m%d-%H%M%S}",
            agent=agent.id,
            algorithm=agent.algorithm,
            algorithm_family=agent.family,
            description=agent.description,
            hyperparameters=agent.hyperparameters,
            seed=seed,
            flush_seconds=FLUSH_SECONDS,
        )
    )
    env: Any = make(environment)
    actions = count(env.action_space)
    assert actions is not None
    policy, resets = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(2))
    learner = make_learner(
        agent.algorithm,
        agent.hyperparameters,
        encoder(environment, agent, count(env.observation_space)),
        actions,
        policy,
    )
    options = agent.hyperparameters
    return _Run(
        RecordEnv(env, recorder, transitions=False),
        learner,
        resets,
        float(options.get("exploration_first", 1.0)),
        float(options.get("exploration_last", 1.0)),
    )
