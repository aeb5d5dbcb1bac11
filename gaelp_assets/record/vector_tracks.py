"""The track of environments that step together: one row of its block holds a step of all of them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.record.tracks import Array, Episode, Sealed, Track, as_array


class VectorTrack(Track):
    """Environments that step together. Who calls it knows how its vector environment resets those that have ended."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.episodes: list[Episode | None] = [None] * self.lanes
        self.waiting: list[int] = list(range(self.lanes))
        """The lanes whose episode has ended, and whose next one has not begun: a step is none of theirs."""
        self._rewards = np.empty((self.capacity, self.lanes))
        self._given: NDArray[np.float64] | None = None
        self._quiet = bytes(self.lanes)
        self._just_ended: dict[int, Episode] = {}

    def begin(
        self,
        observations: Any,
        seeds: Sequence[int | None],
        mask: Sequence[Any] | NDArray[np.bool_] | None = None,
    ) -> None:
        """The environments of the mask (all by default) have been reset; `observations` are those of all of them."""
        lanes = range(self.lanes) if mask is None else [k for k in range(self.lanes) if mask[k]]
        if self.observation is not None:
            values = as_array(self.observation, observations)
            if self.columns is None:
                self.columns = self.make_columns(values, None)
                assert self.columns is not None
                self._rewards = self.columns.rewards
        for lane in lanes:
            self._cut_off(lane)
            if self.columns is not None:
                self.columns.observations[self.row, lane] = values[lane]
            self._next(lane, seeds[lane])
        self.waiting = [lane for lane in self.waiting if self.episodes[lane] is None]

    def _next(self, lane: int, seed: int | None) -> None:
        self.episodes[lane] = self.next_episode(lane, self.episodes[lane], seed)

    def step(
        self,
        actions: Any,
        rewards: Array,
        terminated: Any,
        truncated: Any,
        observations: Any,
        training_rewards: Array | None = None,
        finals: Callable[[int], Any] | None = None,
    ) -> list[int]:
        """One step of all lanes that do not wait; which of them have ended with it.

        Args:
            actions: shape (lanes, ...), like all that follows.
            rewards: as the environment gave them.
            terminated: in a terminal state.
            truncated: cut off.
            observations: what the step led to.
            training_rewards: as the learner gets them, where that may differ.
            finals: the observation that a lane's episode ended with, where `observations` are already those of a reset.
        """
        recorder = self.recorder
        if self.row >= self.limit:
            recorder.flush_due()
        row, columns, before = self.row, self.columns, recorder.global_step
        if before != self._next_step:
            self._jumps.append((row, before))
        self._next_step = before + self.lanes
        self.row = row + 1
        if self.training:
            recorder.global_step = before + self.lanes - len(self.waiting)
        self._rewards[row] = rewards
        if columns is not None:
            if self.converts:
                observations = as_array(self.observation, observations)  # type: ignore[arg-type]
                actions = as_array(self.action, actions)  # type: ignore[arg-type]
            columns.observations[row + 1] = observations
            columns.actions[row] = actions
            if self.waiting:
                if columns.real is None:
                    columns.real = np.ones(columns.rewards.shape, np.bool_)
                columns.real[row, self.waiting] = False
        if self._just_ended:
            self._just_ended = {}
        if training_rewards is not None:
            self.learner_got(training_rewards)
        ends = np.asarray(terminated, dtype=np.bool_).tobytes()
        cuts = np.asarray(truncated, dtype=np.bool_).tobytes()
        if ends == self._quiet and cuts == self._quiet:
            return []
        done = [lane for lane in range(self.lanes) if (ends[lane] or cuts[lane]) and lane not in self.waiting]
        for lane in done:
            self._end(lane, bool(ends[lane]), bool(cuts[lane]), finals)
        return done

    def learner_got(self, given: Any) -> None:
        """The rewards that the learner was given for the last step: shape (lanes,)."""
        row = self.row - 1
        if row < 0:
            return
        if self._given is None:
            self._given = np.full_like(self._rewards, np.nan)
            if self.columns is not None:
                self.columns.training_rewards = self._given
        self._given[row] = given
        for lane, episode in self._just_ended.items():
            episode.training_total += float(self._given[row, lane])
            episode.told += 1

    def _end(
        self, lane: int, terminated: bool, truncated: bool, finals: Callable[[int], Any] | None
    ) -> Episode:
        recorder, episode = self.recorder, self.episodes[lane]
        assert episode is not None
        self._fold(episode)
        episode.terminated, episode.truncated = terminated, truncated
        episode.exploration_rate = recorder.exploration_rate
        if finals is not None and self.observation is not None and episode.recorded:
            episode.final = np.array(as_array(self.observation, finals(lane)))
        self.ended.append(episode)
        self._just_ended[lane] = episode
        self.episodes[lane] = None
        self.waiting.append(lane)
        recorder.count_ended(self.purpose)
        return episode

    def _fold(self, episode: Episode) -> None:
        """Takes into the episode what this block holds of it: its sums are those of one reward after the other."""
        lane, start, stop = episode.lane, episode.start, self.row
        episode.stop = stop
        episode.length += stop - start
        episode.total = sum(self._rewards[start:stop, lane].tolist(), episode.total)
        if self._given is not None:
            given = self._given[start:stop, lane]
            told = given[~np.isnan(given)]
            episode.told += len(told)
            episode.training_total = sum(told.tolist(), episode.training_total)
        episode.ended_at = max(time.time(), episode.started_at)
        episode.global_step = self.recorder.global_step
        if self.columns is not None and episode.recorded:
            episode.final = self.columns.observations[stop, lane].copy()

    def begin_ended(self, lanes: Iterable[int]) -> None:
        """These lanes go on by themselves, without a seed: with the observations that the last step brought."""
        for lane in lanes:
            self._next(lane, None)
        self.waiting = [lane for lane in self.waiting if self.episodes[lane] is None]

    def spoil(self) -> None:
        """The steps of episodes under way are not whole: they are left out."""
        for episode in self.episodes:
            if episode is not None:
                episode.spoil()

    def _cut_off(self, lane: int) -> None:
        episode = self.episodes[lane]
        if episode is not None and (episode.length or self.row > episode.start):
            self._end(lane, False, True, None).unfinished = True

    def close(self) -> None:
        """Episodes under way are cut off."""
        for lane in range(self.lanes):
            self._cut_off(lane)
        self.episodes = [None] * self.lanes

    def seal(self) -> Sealed:
        """What has been gathered; the track goes on with an empty block."""
        ongoing = []
        for episode in self.episodes:
            if episode is not None and (episode.length or self.row > episode.start):
                self._fold(episode)
                ongoing.append(copy.copy(episode))
        sealed = self._sealed(ongoing)
        self._given = None
        if self.columns is not None:
            self._rewards = self.columns.rewards
        for episode in self.episodes:
            if episode is not None:
                episode.start = 0
        return sealed
