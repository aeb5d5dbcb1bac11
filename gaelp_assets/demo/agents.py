"""The learners of the demo, written with NumPy: how an observation becomes an action, and a reward a better policy.

What an episode, a day or a row is stands elsewhere: a learner knows nothing but observations, actions and rewards.
"""

from __future__ import annotations

import io
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Choice: TypeAlias = tuple[int, float]
"""An action, and the probability with which the policy chose it."""
EPSILON_NOISE: Final = 1e-6
"""Breaks ties between the values of actions that were never tried."""


class Tiles:
    """Tile coding of a bounded box: several grids, each displaced against the others (Sutton & Barto 2018, 9.5.4).

    With one grid it is a plain discretisation. Numbers beyond the bounds count as lying on them.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float], bins: Sequence[int], grids: int) -> None:
        self._low = np.asarray(low, dtype=np.float64)
        self._span = np.asarray(high, dtype=np.float64) - self._low
        self._bins = np.asarray(bins, dtype=np.float64)
        # A displaced grid reaches one cell further; displacements by odd numbers avoid diagonal artefacts.
        sizes = np.asarray(bins, dtype=np.int64) + (1 if grids > 1 else 0)
        displacement = np.outer(np.arange(grids), 2 * np.arange(len(bins)) + 1) % grids / grids
        self._displacement: Floats = displacement
        self._strides = np.concatenate(([1], np.cumprod(sizes[:-1]))).astype(np.int64)
        cells = int(np.prod(sizes))
        self._starts = np.arange(grids, dtype=np.int64) * cells
        self.size = cells * grids
        self.active = grids
        # NumPy takes longer for a handful of numbers than Python does.
        self._axes = tuple(
            zip(
                self._low.tolist(),
                self._span.tolist(),
                self._bins.tolist(),
                (self._bins - 1e-9).tolist(),
                self._strides.tolist(),
                strict=True,
            )
        )

    def cell(self, observation: Floats) -> int:
        """The number of the cell that holds the observation; for one grid."""
        found = 0
        for number, (low, span, bins, last, stride) in zip(observation.tolist(), self._axes, strict=True):
            found += int(min(max((number - low) / span * bins, 0.0), last)) * stride
        return found

    def __call__(self, observation: Floats) -> NDArray[np.int64]:
        """The numbers of the cells that hold the observation, one in each grid: shape (grids,)."""
        scaled = (observation - self._low) / self._span * self._bins
        scaled = np.minimum(np.maximum(scaled, 0.0), self._bins - 1e-9)
        cells = (scaled + self._displacement).astype(np.int64)
        return np.asarray(cells @ self._strides + self._starts, dtype=np.int64)


class OneHot:
    """The encoding of a Discrete space: the state's number itself."""

    def __init__(self, states: int) -> None:
        self.size = states
        self.active = 1

    def cell(self, observation: Floats) -> int:
        """The state's number."""
        return int(observation[0])

    def __call__(self, observation: Floats) -> NDArray[np.int64]:
        """The state's number: shape (1,)."""
        return observation.astype(np.int64)


Encoder: TypeAlias = Tiles | OneHot


class Learner(ABC):
    """A policy that is told what follows from its actions. `exploration` is its probability of a random action."""

    def __init__(self, actions: int, rng: np.random.Generator) -> None:
        self._actions = actions
        self._rng = rng
        self.exploration = 1.0
        self.updates = 0

    @abstractmethod
    def begin(self, observation: Floats) -> Choice:
        """The first action of an episode."""

    @abstractmethod
    def learn(self, reward: float, observation: Floats, terminated: bool) -> Choice:
        """Takes in what the last action led to; the next action. A truncated episode still has a value: say False."""

    @abstractmethod
    def best(self, observation: Floats) -> int:
        """The action of the evaluated policy, without exploration."""

    @abstractmethod
    def state(self) -> Mapping[str, Floats]:
        """What a checkpoint keeps."""


class RandomPolicy(Learner):
    """The baseline: every action equally likely, and nothing learnt. Its evaluated policy is random too."""

    def begin(self, observation: Floats) -> Choice:
        """Any action."""
        del observation
        return int(self._rng.integers(self._actions)), 1.0 / self._actions

    def learn(self, reward: float, observation: Floats, terminated: bool) -> Choice:
        """Any action, whatever happened."""
        del reward, terminated
        return self.begin(observation)

    def best(self, observation: Floats) -> int:
        """Any action: this policy has no best one."""
        return self.begin(observation)[0]

    def state(self) -> Mapping[str, Floats]:
        """The probability of each action: shape (actions,)."""
        return {"probabilities": np.full(self._actions, 1.0 / self._actions)}


class LinearLearner(Learner):
    """What learners share whose action values are sums of weights: shape (actions, features), exploration by epsilon."""

    def __init__(
        self,
        encoder: Encoder,
        actions: int,
        rng: np.random.Generator,
        *,
        learning_rate: float,
        discount: float,
    ) -> None:
        super().__init__(actions, rng)
        self._encode = encoder
        self._step_size = learning_rate / encoder.active
        self._discount = discount
        self._weights: Floats = rng.uniform(0.0, EPSILON_NOISE, (actions, encoder.size))

    def _choose(self, values: list[float]) -> Choice:
        greedy = values.index(max(values))
        explored = self.exploration / self._actions
        if self._rng.random() < self.exploration:
            action = int(self._rng.integers(self._actions))
            return action, explored + (1.0 - self.exploration if action == greedy else 0.0)
        return greedy, explored + 1.0 - self.exploration

    def state(self) -> Mapping[str, Floats]:
        """The weights: shape (actions, features)."""
        return {"weights": self._weights}


class QLearning(LinearLearner):
    """Tabular Q-learning (Watkins 1989); continuous observations are discretised: an encoder of one active cell."""

    def begin(self, observation: Floats) -> Choice:
        """The greedy action, or by chance any other."""
        self._cell = self._encode.cell(observation)
        self._action, probability = self._choose(self._values(self._cell))
        return self._action, probability

    def learn(self, reward: float, observation: Floats, terminated: bool) -> Choice:
        """Moves the value of the last action towards its reward and the best value that follows."""
        following = self._encode.cell(observation)
        target = reward if terminated else reward + self._discount * max(self._values(following))
        here = (self._action, self._cell)
        value = float(self._weights[here])
        self._weights[here] = value + self._step_size * (target - value)
        self.updates += 1
        self._cell = following
        self._action, probability = self._choose(self._values(following))
        return self._action, probability

    def best(self, observation: Floats) -> int:
        """The action of the greatest value."""
        values = self._values(self._encode.cell(observation))
        return values.index(max(values))

    def _values(self, cell: int) -> list[float]:
        values: list[float] = self._weights[:, cell].tolist()
        return values


class SarsaLambda(LinearLearner):
    """True online SARSA(lambda) over tile coding (van Seijen et al. 2016; Sutton & Barto 2018, 12.7)."""

    def __init__(
        self,
        encoder: Encoder,
        actions: int,
        rng: np.random.Generator,
        *,
        learning_rate: float,
        discount: float,
        trace_decay: float,
    ) -> None:
        super().__init__(encoder, actions, rng, learning_rate=learning_rate, discount=discount)
        self._decay = discount * trace_decay
        self._trace = np.zeros_like(self._weights)
        # Every step reads and changes a few places by number, and then all of them.
        self._flat, self._flat_trace = self._weights.reshape(-1), self._trace.reshape(-1)
        self._change = np.empty_like(self._flat)

    def begin(self, observation: Floats) -> Choice:
        """The greedy action, or by chance any other, with all traces cleared."""
        self._trace[:] = 0.0
        self._previous_value = 0.0
        self._features = self._encode(observation)
        self._action, probability = self._choose(self._values(self._features))
        return self._action, probability

    def learn(self, reward: float, observation: Floats, terminated: bool) -> Choice:
        """Moves the values of all recent actions, each by its trace, towards what followed under this policy."""
        following = self._encode(observation)
        values = self._values(following)
        action, probability = self._choose(values)
        here = self._features + self._action * self._encode.size
        value = float(np.add.reduce(self._flat[here]))
        next_value = 0.0 if terminated else values[action]
        error = reward + self._discount * next_value - value
        traced = self._flat_trace[here]
        overlap = float(np.add.reduce(traced))
        self._flat_trace *= self._decay
        self._flat_trace[here] = traced * self._decay + (1.0 - self._step_size * self._decay * overlap)
        correction = value - self._previous_value
        np.multiply(self._flat_trace, self._step_size * (error + correction), out=self._change)
        self._flat += self._change
        self._flat[here] -= self._step_size * correction
        self._previous_value = next_value
        self.updates += 1
        self._features, self._action = following, action
        return action, probability

    def best(self, observation: Floats) -> int:
        """The action of the greatest value."""
        values = self._values(self._encode(observation))
        return values.index(max(values))

    def _values(self, features: NDArray[np.int64]) -> list[float]:
        values: list[float] = np.add.reduce(self._weights[:, features], axis=1).tolist()
        return values


def make_learner(
    algorithm: str,
    hyperparameters: Mapping[str, float],
    encoder: Encoder,
    actions: int,
    rng: np.random.Generator,
) -> Learner:
    """The learner of that algorithm. Raises KeyError for one that is not here, or a hyperparameter that is missing."""
    if algorithm == "random":
        return RandomPolicy(actions, rng)
    common = {name: float(hyperparameters[name]) for name in ("learning_rate", "discount")}
    if algorithm == "q_learning":
        return QLearning(encoder, actions, rng, **common)
    if algorithm == "sarsa_lambda":
        return SarsaLambda(encoder, actions, rng, **common, trace_decay=float(hyperparameters["trace_decay"]))
    raise KeyError(algorithm)


def checkpoint_bytes(state: Mapping[str, Floats]) -> bytes:
    """The arrays as an .npz file, the same bytes for the same arrays (`numpy.savez` leaves that to the zip library)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(state.items()):
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
