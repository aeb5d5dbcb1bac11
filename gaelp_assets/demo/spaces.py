"""The demo's environments: made, seen by its learners, and told of in a row."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gaelp_assets.demo.agents import Encoder, Floats, OneHot, Tiles
from gaelp_assets.demo.tasks import Agent, Environment
from gaelp_assets.record import spaces
from gaelp_assets.record.values import Row, timestamp

if TYPE_CHECKING:
    import gymnasium

Env: TypeAlias = "gymnasium.Env[Any, Any]"
"""What an environment observes and does is its own: gymnasium gives no common type."""


def make(environment: Environment) -> Env:
    """The environment itself, with the task's own limits."""
    import gymnasium

    options = dict(environment.parameters)
    if environment.max_episode_steps is not None:
        options["max_episode_steps"] = environment.max_episode_steps
    return gymnasium.make(environment.id, disable_env_checker=True, **options)


def flat(observation: object) -> Floats:
    """An observation as one axis of numbers, in C order; a Discrete state as one number."""
    return np.asarray(observation, dtype=np.float64).reshape(-1)


def encoder(environment: Environment, agent: Agent, states: int | None) -> Encoder:
    """How that agent sees that environment; `states` is the number of states of a Discrete observation space."""
    if environment.box is None:
        if states is None:
            raise ValueError(f"{environment.id}: a continuous observation space needs a box")
        return OneHot(states)
    box = environment.box
    grids = int(agent.hyperparameters.get("tilings", 1))
    return Tiles(box.low, box.high, box.tile_bins if grids > 1 else box.bins, grids)


def environment_row(environment: Environment, env: Env, updated_at: dt.datetime) -> Row:
    """The row of `training.environments`. Infinite bounds of a space are None."""
    return {
        **spaces.environment_row(
            environment.id, env.spec, env.observation_space, env.action_space, environment.parameters
        ),
        "normalisation_low": environment.random_return,
        "normalisation_high": environment.reference_return,
        "description": environment.description,
        "updated_at": timestamp(updated_at),
    }
