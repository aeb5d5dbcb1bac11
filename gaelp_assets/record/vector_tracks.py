"""The track of environments that step together: one row of its block holds a step of all of them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.record.tracks import Array, Episode, Sealed, Track, as_array


class VectorTrack(Track):
    """Environments that step together. Who calls it knows how its vector environment resets those that have ended."""

    def __post_init__(self) -> None:
        self.episodes: list[Episode | None] = [None] * self.lanes
        self.live: NDArray[np.bool_] = np.zeros(self.lanes, np.bool_)
        self.all_live = False
        self._lengths = np.zeros(self.lanes, np.int64)
        self._totals = np.zeros(self.lanes)
        self._training_totals = np.zeros(self.lanes)
        self._told = np.zeros(self.lanes, np.int64)
        self._stepped = self.live
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
        for lane in lanes:
            self._cut_off(lane)
            if self.columns is not None:
                self.columns.observations[self.row, lane] = values[lane]
            self._next(lane, seeds[lane])

    def _next(self, lane: int, seed: int | None) -> None:
        self.episodes[lane] = self.next_episode(lane, self.episodes[lane], seed)
        self._lengths[lane] = self._told[lane] = 0
        self._totals[lane] = self._training_totals[lane] = 0.0
        self.live[lane] = True
        self.all_live = bool(self.live.all())

    def step(
        self,
        actions: Any,
        rewards: Array,
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        observations: Any,
        training_rewards: Array | None = None,
        finals: Callable[[int], Any] | None = None,
    ) -> NDArray[np.bool_] | None:
        """One step of all live lanes; which of them have ended with it, if any.

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
        if self.row >= self.capacity or recorder.due:
            recorder.flush_due()
        row, columns, before = self.row, self.columns, recorder.global_step
        self.row = row + 1
        if self.all_live:
            self._lengths += 1
            self._totals += rewards
            count = self.lanes
        else:
            self._lengths += self.live
            np.add(self._totals, rewards, out=self._totals, where=self.live)
            count = int(self.live.sum())
        if self.purpose == "training":
            recorder.global_step = before + count
        if columns is not None:
            if self.observation.convert is not None:  # type: ignore[union-attr]
                observations = self.observation.convert(observations)  # type: ignore[union-attr]
            if self.action.convert is not None:  # type: ignore[union-attr]
                actions = self.action.convert(actions)  # type: ignore[union-attr]
            columns.observations[row + 1] = observations
            columns.actions[row] = actions
            columns.rewards[row] = rewards
            columns.steps_before[row] = before
            columns.training_rewards[row] = rewards
            if not self.all_live:
                columns.real[row] = self.live
        self._just_ended = {}
        self._stepped = self.live if self.all_live else self.live.copy()
        if training_rewards is not None:
            self.learner_got(training_rewards)
        done = np.logical_or(terminated, truncated)
        if not self.all_live:
            done &= self.live
        if not done.any():
            return None
        self._stepped = self._stepped.copy()
        for lane in np.flatnonzero(done).tolist():
            self._end(lane, bool(terminated[lane]), bool(truncated[lane]), finals)
        return done

    def learner_got(self, given: Array) -> None:
        """The rewards that the learner was given for the last step: shape (lanes,)."""
        given = np.asarray(given, dtype=np.float64)
        for episode in self._just_ended.values():
            episode.told += 1
            episode.training_total += float(given[episode.lane])
        stepped = self._stepped
        if self._just_ended:
            stepped = stepped.copy()
            stepped[list(self._just_ended)] = False
        self._told += stepped
        np.add(self._training_totals, given, out=self._training_totals, where=stepped)
        if self.columns is not None and self.row:
            self.columns.training_rewards[self.row - 1] = given

    def _end(self, lane: int, terminated: bool, truncated: bool, finals: Callable[[int], Any] | None) -> None:
        recorder, episode = self.recorder, self.episodes[lane]
        assert episode is not None
        self._fill(episode)
        episode.terminated, episode.truncated = terminated, truncated
        episode.exploration_rate = recorder.exploration_rate
        if finals is not None and self.observation is not None and episode.recorded:
            episode.final = np.array(as_array(self.observation, finals(lane)))
        self.ended.append(episode)
        self._just_ended[lane] = episode
        self.live[lane] = False
        self.all_live = False
        self.episodes[lane] = None
        recorder.count_ended(self.purpose)

    def _fill(self, episode: Episode) -> None:
        """Writes into the episode what the arrays know of its lane."""
        lane = episode.lane
        episode.stop = self.row
        episode.length = int(self._lengths[lane])
        episode.total = float(self._totals[lane])
        episode.training_total = float(self._training_totals[lane])
        episode.told = int(self._told[lane])
        episode.ended_at = max(time.time(), episode.started_at)
        episode.global_step = self.recorder.global_step
        if self.columns is not None and episode.recorded:
            episode.final = self.columns.observations[self.row, lane].copy()

    def begin_ended(self, lanes: NDArray[np.bool_] | None = None) -> None:
        """Those that have ended go on by themselves, without a seed: with the observations that the last step brought."""
        for lane in np.flatnonzero(~self.live if lanes is None else lanes).tolist():
            self._next(lane, None)

    def spoil(self) -> None:
        """The steps of episodes under way are not whole: they are left out."""
        for episode in self.episodes:
            if episode is not None:
                episode.recorded = False

    def _cut_off(self, lane: int) -> None:
        episode = self.episodes[lane]
        if episode is not None and self._lengths[lane]:
            self._end(lane, False, True, None)
            episode.unfinished = True

    def close(self) -> None:
        """Episodes under way are cut off."""
        for lane in range(self.lanes):
            self._cut_off(lane)
            self.episodes[lane] = None
            self.live[lane] = False

    def seal(self) -> Sealed:
        """What has been gathered; the track goes on with an empty block."""
        ongoing = []
        for episode in self.episodes:
            if episode is None:
                continue
            if self._lengths[episode.lane]:
                now = copy.copy(episode)
                self._fill(now)
                ongoing.append(now)
        sealed = self._sealed(ongoing)
        for episode in self.episodes:
            if episode is not None:
                episode.start = 0
        return sealed
