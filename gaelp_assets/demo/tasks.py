"""What the demo trains: the environments with their limits and encodings, the agents with their hyperparameters, how much.

Facts about environments that gymnasium knows are asked of gymnasium (`runs.py`); here stands only what it cannot know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Box:
    """The bounded part of a continuous observation space that matters, and its division into cells."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    bins: tuple[int, ...]
    """Cells along each axis where one grid must do (tabular learners)."""
    tile_bins: tuple[int, ...]
    """Cells along each axis of each displaced grid (tile coding)."""


@dataclass(frozen=True, eq=False)
class Environment:
    """An environment that agents are trained in, and the returns that count as score 0 and 1."""

    id: str
    description: str
    random_return: float
    """Mean return of the random policy, measured over 2,000 episodes."""
    reference_return: float
    """Return of a solved environment: the optimum, or gymnasium's reward threshold."""
    box: Box | None = None
    """None where the observation space is Discrete."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    """Replaces the environment's own limit where it has none."""


@dataclass(frozen=True)
class Agent:
    """An algorithm with its hyperparameters, the same in every environment."""

    id: str
    algorithm: str
    family: str
    description: str
    hyperparameters: Mapping[str, float]


@dataclass(frozen=True)
class Size:
    """How much a demo does."""

    steps_per_day: int
    """Training steps of each run on each date, on average; the episode that is then under way is finished."""
    evaluation_episodes: int
    record_every: int
    """Of so many training episodes one has its transitions recorded; so has the first episode of each evaluation."""


DEMO_ENVIRONMENTS: Final = (
    Environment(
        "CartPole-v1",
        "Keep a pole upright on a cart by pushing the cart left or right.",
        random_return=22.1,
        reference_return=500.0,
        box=Box((-2.4, -3.0, -0.21, -3.0), (2.4, 3.0, 0.21, 3.0), (3, 3, 8, 8), (3, 3, 6, 6)),
    ),
    Environment(
        "CliffWalking-v1",
        "Walk from start to goal along a cliff; a fall costs 100 and leads back to the start.",
        random_return=-2105.0,
        reference_return=-13.0,
        max_episode_steps=200,
    ),
    Environment(
        "FrozenLake-v1",
        "Cross a frozen lake to the goal without falling into a hole; the ice does not slip.",
        random_return=0.017,
        reference_return=1.0,
        parameters={"map_name": "4x4", "is_slippery": False},
    ),
    Environment(
        "MountainCar-v0",
        "Drive an underpowered car up a hill by gaining momentum on the opposite slope.",
        random_return=-200.0,
        reference_return=-110.0,
        box=Box((-1.2, -0.07), (0.6, 0.07), (12, 10), (8, 8)),
    ),
    Environment(
        "Taxi-v4",
        "Pick up a passenger in a grid city and bring them to where they want to go.",
        random_return=-770.0,
        reference_return=7.9,
    ),
)

AGENTS: Final = (
    Agent(
        "random",
        "random",
        "baseline",
        "Every action equally likely; the line that a learner has to leave.",
        {},
    ),
    Agent(
        "q-learning",
        "q_learning",
        "value_based",
        "Tabular Q-learning; continuous observations are discretised.",
        {
            "learning_rate": 0.3,
            "discount": 0.99,
            "exploration_first": 1.0,
            "exploration_last": 0.02,
            "exploration_decay_fraction": 0.5,
        },
    ),
    Agent(
        "sarsa-lambda",
        "sarsa_lambda",
        "value_based",
        "True online SARSA(lambda) over eight displaced tilings (one-hot where states are discrete).",
        {
            "learning_rate": 0.2,
            "discount": 0.99,
            "trace_decay": 0.9,
            "tilings": 8,
            "exploration_first": 1.0,
            "exploration_last": 0.01,
            "exploration_decay_fraction": 0.3,
        },
    ),
)

SIZES: Final[Mapping[str, Size]] = {
    "default": Size(steps_per_day=5_900, evaluation_episodes=10, record_every=12),
    "quick": Size(steps_per_day=100, evaluation_episodes=1, record_every=5),
}
DEFAULT_SEEDS: Final = (0, 1, 2)
DEFAULT_DAYS: Final = 5
