"""A recording under way: its tracks, its counters, and what a flush hands to the writer."""

from __future__ import annotations

import logging
import math
import os
import weakref
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway.store import Store
from gaelp_assets.record import options, rows, spaces
from gaelp_assets.record.compiling import File, References
from gaelp_assets.record.measures import Measures
from gaelp_assets.record.run_rows import RunRows
from gaelp_assets.record.tracks import SingleTrack, Track
from gaelp_assets.record.values import count
from gaelp_assets.record.vector_tracks import VectorTrack
from gaelp_assets.record.writer import Batch, Writer

_LOG: Final = logging.getLogger("gaelp_assets.record")
RUN_ROW_SECONDS: Final = 60.0
EPISODES_DUE: Final = 5_000
"""So many episodes that have ended are a flush, also where no steps are recorded."""


class Files(NamedTuple):
    """How the recording's files are called, and whether observations are files of their own."""

    stem: str
    attempt: int
    by_reference: bool


class Limits(NamedTuple):
    """When a flush is due, and how much memory steps may take."""

    rows: int
    seconds: float
    bytes: int
    every: int
    """Of so many episodes one has its steps recorded, where nobody says otherwise."""


class Recording:
    """What a `Recorder` does without being asked. Nothing here raises because a gateway is out of reach.

    Args:
        store: where to.
        run_rows: what is known of the run.
        files_of: how its files are called.
        limits: when to flush.
        environment: the environment's id, where the user gave one.
        state: what an earlier start of the run has left.
    """

    def __init__(
        self,
        store: Store,
        run_rows: RunRows,
        files_of: Files,
        limits: Limits,
        environment: str | None,
        state: Mapping[str, Any],
    ) -> None:
        self._store, self._rows, self._files_of, self._limits = store, run_rows, files_of, limits
        self._environment = environment
        self.run = run_rows.run
        self.global_step: int = state.get("global_step", 0)
        """Environment steps of the run so far. A loop that goes on from a checkpoint may set it back."""
        self._policy_version: int | None = None
        self._exploration_rate: float | None = None
        self.measures = Measures(state.get("metric_steps", {}))
        self._numbers = Counter[str](state.get("numbers", {}))
        self._finished: int = state.get("episode_count", 0)
        self._ended = self._part = 0
        self._refs: References | None = None
        self._tracks: list[Track] = []
        self._files: list[File] = []
        self._dropped: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()
        self._told_run = 0.0
        self._writer: Writer | None = None
        self._status: str | None = None
        self._pid = os.getpid()

    @property
    def agent(self) -> str:
        """The agent's id."""
        return self._rows.agent

    @property
    def seed(self) -> int | None:
        """The run's seed, where it has one."""
        return self._rows.seed

    @property
    def policy_version(self) -> int | None:
        """Updates of the policy so far, where the loop counts them. What is no such number is None, with a warning."""
        return self._policy_version

    @policy_version.setter
    def policy_version(self, value: Any) -> None:
        self._policy_version = count(value)
        if value is not None and self._policy_version is None:
            self.lost("policy versions", 1, "one is no whole number from 0 to 2**63 - 1")

    @property
    def exploration_rate(self) -> float | None:
        """Probability of a random action, where there is one. What is none is None, with a warning."""
        return self._exploration_rate

    @exploration_rate.setter
    def exploration_rate(self, value: Any) -> None:
        try:
            rate = None if value is None else float(value)
        except (TypeError, ValueError, RuntimeError):
            rate = math.nan
        self._exploration_rate = None if rate is None or not 0 <= rate <= 1 else rate
        if rate is not None and self._exploration_rate is None:
            self.lost("exploration rates", 1, "one is no number from 0 to 1")

    @property
    def dropped(self) -> dict[str, int]:
        """What could not be recorded so far, by kind: `episodes`, `transitions`, `files` and so on. Empty where nothing is missing."""
        return dict(self._dropped)

    @property
    def is_mine(self) -> bool:
        """Whether this is the process that made the recorder, and it is not closed."""
        return self._status is None and os.getpid() == self._pid

    @property
    def references(self) -> References | None:
        """What each row says; None before the first environment is known."""
        return self._refs

    def add_track(
        self,
        *,
        spec: Any,
        observation_space: Any,
        action_space: Any,
        lanes: int | None = None,
        transitions: bool | int | None = None,
        purpose: str = "training",
        name: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Track:
        """A track for an environment (or, with `lanes`, for several that step together), for those who write a wrapper of their own.

        Args:
            spec: gymnasium's `EnvSpec`, or None.
            observation_space: of one environment.
            action_space: likewise.
            lanes: environments that step together; None for a single one, whose values come without an axis for it.
            transitions: True, False, or N for each Nth episode; None: as the recorder says.
            purpose: `training` or `evaluation`.
            name: the environment's id where there is no spec.
            kwargs: what it was made with, where that is not what the spec says.
            config: what the run's row is to tell of how it is set up.

        Raises:
            GaelpError: nobody knows the environment's id, or values of its spaces cannot be columns.
        """
        every = self._limits.every if transitions is None else options.every(transitions)
        options.purpose(purpose)
        known = self._environment or (spec.id if spec is not None else name)
        if known is None:
            problem = Problem(
                "the environment has no id", "environment", 'Recorder(..., environment="MyEnv-v0")',
                "Give the recorder its id, or make it with gymnasium.make.",
            )  # fmt: skip
            raise GaelpError(problem)
        environment = spaces.environment_id(known)
        problems = options.problems_of_ids(self.run, None, environment)
        if problems:
            raise GaelpError(*problems)
        observed = acted = None
        if every:
            observed, acted = spaces.layout(observation_space, lanes), spaces.layout(action_space, lanes)
        capacity = self._capacity(observed, acted, lanes or 1)
        make = SingleTrack if lanes is None else VectorTrack
        track = make(self, environment, purpose, every, observed, acted, capacity, lanes or 1)
        self._tracks.append(track)
        self._rows.told_environment(environment, spec, observation_space, action_space, kwargs, config)
        self._begin()
        return track

    def _capacity(self, observed: spaces.Layout | None, acted: spaces.Layout | None, lanes: int) -> int:
        if observed is None or acted is None:
            return max(2, self._limits.rows // lanes)
        size = 8 * spaces.numbers(acted) + 33
        size += (
            max(8, observed.dtype.itemsize) * spaces.numbers(observed)
            if observed.dtype.kind == "f"
            else (observed.dtype.itemsize * spaces.numbers(observed))
        )
        return max(2, min(self._limits.rows // lanes, self._limits.bytes // 4 // (size * lanes)))

    def _begin(self) -> None:
        """With the first environment the run has all that its rows must say."""
        if self._writer is not None:
            return
        self._refs = References(
            self.run,
            self._rows.agent,
            self._files_of.stem,
            self._files_of.attempt,
            self._store.url,
            self._files_of.by_reference,
        )
        this = weakref.ref(self)

        def due() -> bool:
            recorder = this()
            if recorder is None or recorder._status is not None:
                return False
            recorder.make_due()
            return True

        self._writer = Writer(
            self._store,
            self._refs,
            seconds=self._limits.seconds,
            bound=self._limits.bytes // 4,
            lost=_counter(this),
            due=due,
        )
        self._writer.start()
        self._flush("running")

    def take_number(self, purpose: str) -> int:
        """The number of the next episode of that purpose."""
        number = self._numbers[purpose]
        self._numbers[purpose] = number + 1
        return number

    def count_ended(self, purpose: str) -> None:
        """Another episode has ended."""
        self._finished += purpose == "training"
        self._ended += 1
        if self._ended >= EPISODES_DUE:
            self.make_due()

    def make_due(self) -> None:
        """The next step of any track flushes first. Any thread may call it."""
        for track in self._tracks:
            track.limit = 0

    def flush_due(self) -> None:
        """What a track calls when its block is full, or a flush is due."""
        try:
            self._flush("running")
        except Exception as error:
            self.failed(None, error)

    def _flush(self, status: str, error: str | None = None, *, final: bool = False) -> None:
        self._ended = 0
        if self._writer is None or self._refs is None or not (self.is_mine or final):
            return
        self._part += 1
        now = self._rows.now()
        files = self._files
        self._files = []
        part = f"p{self._part:06d}"
        for table, date, environment, content in self.measures.taken(self._refs, self._rows.environment):
            files.append(File(self._refs.file_name(table, part, date, environment), rows.lines(content)))
        run_row = self._rows.run_row(status, error, self.global_step, self._finished, final=final)
        state = {
            "global_step": int(self.global_step),
            "numbers": dict(self._numbers),
            "episode_count": self._finished,
            "metric_steps": self.measures.steps,
            **self._rows.state(),
        }
        if final or self._rows.is_new or now - self._told_run >= RUN_ROW_SECONDS:
            self._told_run = now
            for table, content in self._rows.dimension_rows():
                files.append(File(self._refs.file_name(table, part), rows.lines(content)))
            files.append(File(self._refs.file_name("training_runs", part), rows.lines([run_row])))
        sealed = [track.seal() for track in self._tracks]
        batch = Batch(sealed, files, state, run_row, now, final)
        if not batch.heavy or self._writer.submit(batch):
            if not batch.heavy:
                self._writer.submit(batch)
            return
        why = "the gateway cannot be written, and the buffers are full"
        for block in sealed:
            block.columns = None
            for episode in block.ended:
                self.lost("transitions", episode.length if episode.recorded else 0, why)
                episode.recorded = False
            for episode in block.ongoing:
                episode.spoil()
            block.track.spoil()
        self._writer.submit(batch)

    def lost(self, kind: str, count: int, why: str) -> None:
        """Counts what is not recorded, and says so, once for each reason."""
        if count:
            self._dropped[kind] += count
        if (kind, why) not in self._told:
            self._told.add((kind, why))
            _LOG.warning("run %s: %s are not recorded: %s", self.run, kind, why)

    def failed(self, track: Track | None, error: Exception) -> None:
        """What a wrapper calls when the recorder itself has failed at a step: training goes on."""
        self.lost("steps", 1, f"{type(error).__name__} while recording: {error}")
        if track is not None:
            track.spoil()


def _counter(this: weakref.ref[Recording]) -> Any:
    def lost(kind: str, count: int, why: str) -> None:
        recorder = this()
        if recorder is not None:
            recorder.lost(kind, count, why)

    return lost
