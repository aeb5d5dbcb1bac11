"""What gymnasium knows of an environment, as a row of the catalogue, and its observations and infos as plain values."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gaelp_assets.demo.agents import Encoder, Floats, OneHot, Tiles
from gaelp_assets.demo.tasks import Agent, Environment

if TYPE_CHECKING:
    import gymnasium

Row = dict[str, object]
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


def plain(value: object) -> object:
    """An info, or another nested value, with arrays and NumPy's numbers as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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
    import gymnasium

    spec = env.spec
    assert spec is not None
    return {
        "environment_id": environment.id,
        "name": spec.name,
        "namespace": spec.namespace,
        "version": spec.version or 0,
        "library": "gymnasium",
        "library_version": gymnasium.__version__,
        "entry_point": spec.entry_point if isinstance(spec.entry_point, str) else None,
        "parameters": plain(environment.parameters),
        **_space_fields("observation", env.observation_space),
        **_space_fields("action", env.action_space),
        "action_count": count(env.action_space),
        "max_episode_steps": spec.max_episode_steps,
        "reward_threshold": None if spec.reward_threshold is None else float(spec.reward_threshold),
        "nondeterministic": bool(spec.nondeterministic),
        "normalisation_low": environment.random_return,
        "normalisation_high": environment.reference_return,
        "description": environment.description,
        "updated_at": timestamp(updated_at),
    }


def timestamp(moment: dt.datetime) -> str:
    """A UTC moment as RFC 3339 writes it, with microseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def count(space: object) -> int | None:
    """The number of elements of a Discrete space; None for any other."""
    elements = getattr(space, "n", None)
    return int(elements) if isinstance(elements, int | np.integer) else None


def _space_fields(prefix: str, space: gymnasium.Space[object]) -> Row:
    from gymnasium import spaces

    shape = [int(length) for length in (space.shape or ())]
    kind = type(space).__name__
    described: Row = {"type": kind, "dtype": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        described |= {"n": int(space.n), "start": int(space.start)}
    else:
        assert isinstance(space, spaces.Box)
        described |= {"shape": shape, "low": plain(space.low), "high": plain(space.high)}
    return {
        f"{prefix}_space_type": kind,
        f"{prefix}_space": described,
        f"{prefix}_shape": shape,
        f"{prefix}_size": math.prod(shape),
    }
