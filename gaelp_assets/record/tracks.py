"""Tracks: the steps of environments that step together, in columns, until a flush hands them on.

A track does as little as it can at a step: it copies into columns, and counts. Rows are made of it later, by the writer. Row `t` of a
block holds the step's observation (before the action), action and reward; what the step led to is the observation of row `t + 1`.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.record.spaces import Layout

if TYPE_CHECKING:
    from gaelp_assets.record.recording import Recording

Array = NDArray[Any]


class Episode:
    """One episode of one lane, while it goes on and until it is written."""

    __slots__ = (
        "ended_at",
        "exploration_rate",
        "final",
        "global_step",
        "lane",
        "length",
        "number",
        "policy_version",
        "purpose",
        "recorded",
        "seed",
        "spoilt",
        "start",
        "started_at",
        "stop",
        "terminated",
        "told",
        "total",
        "training_total",
        "truncated",
        "unfinished",
    )  # fmt: skip

    def __init__(self, number: int, purpose: str, lane: int, start: int, recorded: bool) -> None:
        self.number = number
        self.purpose = purpose
        self.lane = lane
        self.start = start
        """Its first row in the block under way."""
        self.stop = start
        self.recorded = recorded
        self.seed: int | None = None
        self.policy_version: int | None = None
        self.exploration_rate: float | None = None
        self.started_at = self.ended_at = time.time()
        self.length = 0
        self.total = self.training_total = 0.0
        self.told = 0
        """For how many of its steps somebody told what the learner was given: `training_total` is the sum of those."""
        self.global_step = 0
        self.terminated = self.truncated = self.unfinished = False
        self.spoilt = False
        """Whether its steps would have been recorded, and are not whole."""
        self.final: Array | None = None
        """What the last step so far led to, where steps are recorded."""

    def spoil(self) -> None:
        """Its steps are not whole: they are left out."""
        self.spoilt = self.spoilt or self.recorded
        self.recorded = False


@dataclass
class Columns:
    """The steps of a block: `observations` has one row more than the others. Shapes (rows, lanes, ...)."""

    observations: Array
    actions: Array
    rewards: NDArray[np.float64]
    training_rewards: NDArray[np.float64] | None = None
    """NaN where nobody told; None where nobody told anything."""
    steps_before: NDArray[np.int64] | None = None
    """The run's steps before each row; made when the block is sealed."""
    real: NDArray[np.bool_] | None = None
    """Which lanes took a step of their environment at all: a reset that a vector environment calls a step is none. None: all did."""

    def told(self, row: int, given: Any) -> None:
        """What the learner was given in that row."""
        if self.training_rewards is None:
            self.training_rewards = np.full_like(self.rewards, np.nan)
        self.training_rewards[row] = given


@dataclass
class Sealed:
    """What a track has gathered between two flushes."""

    track: Track
    columns: Columns | None
    used: int
    ended: list[Episode]
    ongoing: list[Episode]
    """Copies of the episodes that go on, as they were at the flush; those with a step at least."""


@dataclass
class Track:
    """What all tracks have: their recorder, whose environment it is, how its values lie in columns.

    Args:
        recorder: counts the run's steps and episodes.
        environment: the environment's id, as the platform spells it.
        purpose: `training` or `evaluation`.
        every: of so many episodes one has its steps recorded; 0 for none.
        observation: the layout of one observation; None where no steps are recorded.
        action: likewise.
        capacity: rows of a block.
        lanes: environments that step together.
    """

    recorder: Recording
    environment: str
    purpose: str
    every: int
    observation: Layout | None
    action: Layout | None
    capacity: int
    lanes: int = 1
    row: int = 0
    columns: Columns | None = None
    ended: list[Episode] = field(default_factory=list)
    _jumps: list[tuple[int, int]] = field(default_factory=list)
    _next_step: int = -1

    def __post_init__(self) -> None:
        self.limit = self.capacity
        """The row at which a flush is due: 0 where one is due now."""
        self.training = self.purpose == "training"
        layouts = (self.observation, self.action)
        self.converts = any(layout is not None and layout.convert is not None for layout in layouts)

    def make_columns(self, observation: Array | None, action: Array | None) -> Columns | None:
        """A new block for values of that kind: what an environment really gives can be wider than its space says."""
        if self.observation is None or self.action is None:
            return None
        rows, lanes = self.capacity, self.lanes

        def dtype(layout: Layout, value: Array | None) -> Any:
            if value is None:  # actions: what the loop gives can be wider than the space's float32
                return np.float64 if layout.dtype.kind == "f" else layout.dtype
            return np.result_type(layout.dtype, value.dtype)

        return Columns(
            np.empty((rows + 1, lanes, *self.observation.shape), dtype(self.observation, observation)),
            np.empty((rows, lanes, *self.action.shape), dtype(self.action, action)),
            np.empty((rows, lanes)),
        )

    def next_episode(self, lane: int, previous: Episode | None, seed: int | None) -> Episode:
        """The lane's next episode, from this row on. One that has had no step gives it its number."""
        recorder = self.recorder
        number = recorder.take_number(self.purpose) if previous is None else previous.number
        episode = Episode(number, self.purpose, lane, self.row, bool(self.every) and number % self.every == 0)
        episode.seed = seed
        episode.policy_version = recorder.policy_version
        return episode

    def spoil(self) -> None:
        """The steps of episodes under way are not whole: they are left out."""
        raise NotImplementedError

    def learner_got(self, given: Any) -> None:
        """What the learner was given for the last step: a number, or shape (lanes,)."""
        raise NotImplementedError

    def close(self) -> None:
        """Episodes under way are cut off."""
        raise NotImplementedError

    def seal(self) -> Sealed:
        """What has been gathered; the track goes on with an empty block."""
        raise NotImplementedError

    def _sealed(self, ongoing: list[Episode]) -> Sealed:
        sealed = Sealed(self, self.columns, self.row, self.ended, ongoing)
        columns = self.columns
        if columns is not None:
            columns.steps_before = self._steps_before()
            self.columns = Columns(
                np.empty_like(columns.observations),
                np.empty_like(columns.actions),
                np.empty_like(columns.rewards),
            )
            self.columns.observations[0] = columns.observations[self.row]
        self.ended = []
        self.row = 0
        self.limit = self.capacity
        self._jumps = []
        self._next_step = -1
        return sealed

    def _steps_before(self) -> NDArray[np.int64]:
        """Mostly one step follows the other: only where it does not, a row was noted."""
        before = np.empty(self.row, np.int64)
        stops = [row for row, _ in self._jumps[1:]] + [self.row]
        for (row, step), stop in zip(self._jumps, stops, strict=False):
            before[row:stop] = np.arange(step, step + (stop - row) * self.lanes, self.lanes)
        return before


def as_array(layout: Layout, value: Any) -> Array:
    """A value as its column holds it."""
    return np.asarray(value) if layout.convert is None else layout.convert(value)


class SingleTrack(Track):
    """One environment, whose loop resets it: the fast way for one lane."""

    episode: Episode | None = None
    _recording: bool = False
    _last: Episode | None = None
    """The episode of the last step."""

    def begin(self, observation: Any, seed: int | None) -> None:
        """The environment has been reset: an episode that was under way is cut off, and the next one begins."""
        if self.episode is not None and self._going_on():
            self._cut_off(self.episode)
        self.episode = self._last = self.next_episode(0, self.episode, seed)
        if self.observation is not None:
            value = as_array(self.observation, observation)
            if self.columns is None:
                self.columns = self.make_columns(value, None)
            assert self.columns is not None
            self.columns.observations[self.row, 0] = value
        self._see()

    def _see(self) -> None:
        """Keeps at hand what a step writes to: a step does as little as it can."""
        self._recording = self.columns is not None and self.episode is not None and self.episode.recorded
        if self.columns is not None:
            self._observations = self.columns.observations[:, 0]
            self._actions = self.columns.actions[:, 0]
            self._rewards = self.columns.rewards[:, 0]

    def _going_on(self) -> bool:
        """Whether an episode is under way that has had a step."""
        episode = self.episode
        return episode is not None and (episode.length > 0 or self.row > episode.start)

    def step(
        self,
        action: Any,
        reward: Any,
        terminated: Any,
        truncated: Any,
        observation: Any,
        training_reward: Any = None,
    ) -> None:
        """One step of the environment. A step after an episode's end, or before the first reset, is none."""
        row = self.row
        if row >= self.limit:
            self.recorder.flush_due()
            row = self.row
        recorder, episode = self.recorder, self.episode
        if episode is None:
            recorder.lost("steps", 1, "a step of an environment that was not reset")
            return
        reward = float(reward)
        self.row = row + 1
        episode.total += reward
        before = recorder.global_step
        if before != self._next_step:
            self._jumps.append((row, before))
        if self.training:
            recorder.global_step = self._next_step = before + 1
        if self._recording:
            if self.converts:
                observation = as_array(self.observation, observation)  # type: ignore[arg-type]
                action = as_array(self.action, action)  # type: ignore[arg-type]
            self._observations[row + 1] = observation
            self._actions[row] = action
            self._rewards[row] = reward
        if training_reward is not None:
            self.learner_got(training_reward)
        if terminated or truncated:
            episode.terminated, episode.truncated = bool(terminated), bool(truncated)
            self._end(episode)

    def learner_got(self, given: Any) -> None:
        """The reward that the learner was given for the last step."""
        episode, row = self._last, self.row - 1
        if episode is None:
            return
        given = float(given)
        episode.told += 1
        episode.training_total += given
        if self.columns is not None and row >= 0:
            self.columns.told(row, given)

    def close(self) -> None:
        """An episode under way is cut off."""
        if self.episode is not None and self._going_on():
            self._cut_off(self.episode)
        self.episode = None

    def spoil(self) -> None:
        """The steps of the episode under way are not whole: they are left out."""
        if self.episode is not None:
            self.episode.spoil()
        self._see()

    def _cut_off(self, episode: Episode) -> None:
        episode.unfinished = episode.truncated = True
        self._end(episode)

    def _end(self, episode: Episode) -> None:
        recorder = self.recorder
        episode.stop = self.row
        episode.length += self.row - episode.start
        episode.ended_at = max(time.time(), episode.started_at)
        episode.global_step = recorder.global_step
        episode.exploration_rate = recorder.exploration_rate
        if self.columns is not None and episode.recorded:
            episode.final = self.columns.observations[self.row, 0].copy()
        self.ended.append(episode)
        self.episode = None
        recorder.count_ended(self.purpose)

    def seal(self) -> Sealed:
        """What has been gathered; the track goes on with an empty block."""
        ongoing = []
        if self.episode is not None and self._going_on():
            self.episode.length += self.row - self.episode.start
            now = copy.copy(self.episode)
            now.stop, now.ended_at = self.row, max(time.time(), now.started_at)
            now.global_step = self.recorder.global_step
            if self.columns is not None and now.recorded:
                now.final = self.columns.observations[self.row, 0].copy()
            ongoing.append(now)
        if self.episode is not None:
            self.episode.start = 0
        sealed = self._sealed(ongoing)
        self._see()
        return sealed
