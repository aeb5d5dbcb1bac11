"""Recorded episodes, as offline datasets keep them, as rows of `training.episodes` and `training.transitions`.

A dataset does not know the training that it comes from: its episodes count as the training of one run, and `global_step` counts the steps
of the dataset so far.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from gaelp_assets.importers.source import Lines, Rows, day

Array = NDArray[Any]
WIDEST: Final = 10_000
"""Numbers of an observation that a row still takes; a larger one would be a line of a hundred thousand bytes for each step."""
_STRETCH: Final = 10_000
_TABLE: Final = "training.transitions"


class Step(msgspec.Struct, omit_defaults=True):
    """A row of `training.transitions`: a structure is encoded in half the time of a dictionary."""

    episode_id: str
    step_index: int
    date: str
    environment_id: str
    agent_id: str
    training_run_id: str
    global_step: int
    observation: list[float]
    action: list[float]
    reward: float
    terminated: bool
    truncated: bool
    final_observation: list[float] | None = None
    info: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Owner:
    """What the episodes belong to, and the moment that stands for the time of all of them, since datasets keep no times."""

    training_run_id: str
    agent_id: str
    environment_id: str
    at: str
    """A `moment`."""

    @property
    def fields(self) -> dict[str, str]:
        """The fields that episodes and transitions have in common."""
        return {
            "date": day(self.at),
            "environment_id": self.environment_id,
            "agent_id": self.agent_id,
            "training_run_id": self.training_run_id,
        }

    def episode_id(self, index: int) -> str:
        """The id of the run's episode of that number."""
        return f"{self.training_run_id}.e{index:06d}"


@dataclass(frozen=True)
class Episode:
    """One episode of n steps."""

    index: int
    rewards: Sequence[float]
    """n of them."""
    terminated: bool
    truncated: bool
    unfinished: bool = False
    seed: int | None = None
    steps: Steps | None = None
    """None where they cannot be rows, or are not to be."""


@dataclass(frozen=True)
class Steps:
    """The steps of an episode that can be rows: all n of them, or all but the last where nobody knows what was seen after it."""

    observations: Array
    """Shape (m + 1, numbers), as float64: what was seen before each of m steps, and after the last of them."""
    actions: Array
    """Shape (m, numbers), as float64."""
    infos: Callable[[int], Mapping[str, object] | None] | None = None
    """Gives the info of a step by its number."""
    complete: bool = True
    """Whether these are all steps of the episode. Else the last of these says that it was truncated."""


def why_not(observations: Array | None, actions: Array | None) -> str | None:
    """Why steps cannot be rows; None where they can. `None` for columns stands for integers beyond 2 to the 53rd."""
    if observations is None or actions is None:
        return "an integer beyond 2^53 among observations or actions, which a FLOAT cannot hold"
    if observations.shape[1] > WIDEST:
        return f"observations of more than {WIDEST:,} numbers are too large for rows"
    if not np.isfinite(observations).all() or not np.isfinite(actions).all():
        return "an observation or action that is no finite number"
    return None


def episode_row(owner: Owner, episode: Episode, global_step: int) -> dict[str, object]:
    """The row of `training.episodes`.

    Args:
        owner: of the episode.
        episode: with finite rewards.
        global_step: steps of the dataset up to the end of the episode.
    """
    row: dict[str, object] = {
        "episode_id": owner.episode_id(episode.index),
        **owner.fields,
        "purpose": "training",
        "episode_index": episode.index,
        "seed": episode.seed,
        "global_step": global_step,
        "episode_return": math.fsum(episode.rewards),
        "episode_length": len(episode.rewards),
        "terminated": episode.terminated,
        "truncated": episode.truncated or episode.unfinished,
        "transitions_recorded": episode.steps is not None and episode.steps.complete,
        "ended_at": owner.at,
    }
    if episode.unfinished:
        row["unfinished"] = True
    return row


def run_row(owner: Owner, steps: int, episodes: int, source: Mapping[str, object]) -> dict[str, object]:
    """The row of `training.training_runs`, of a dataset that is complete; `source` says what it was read from."""
    return {
        "training_run_id": owner.training_run_id,
        "agent_id": owner.agent_id,
        "environment_id": owner.environment_id,
        "status": "succeeded",
        "started_at": owner.at,
        "finished_at": owner.at,
        "global_step": steps,
        "episode_count": episodes,
        "config": {"source": source},
        "updated_at": owner.at,
    }


def step_rows(owner: Owner, episode: Episode, steps_before: int) -> Iterator[Step]:
    """The rows of `training.transitions`, none where the steps are not to be rows."""
    steps = episode.steps
    if steps is None:
        return
    m = len(steps.actions)
    episode_id = owner.episode_id(episode.index)
    date, environment, agent, run = owner.fields.values()
    ends = _ends(episode, steps)
    for first in range(0, m, _STRETCH):
        # A stretch at a time: as Python's own, numbers take four times the memory of an array.
        stop = min(first + _STRETCH, m)
        seen = steps.observations[first : stop + 1].tolist()
        done = steps.actions[first:stop].tolist()
        infos = (
            [None] * len(done) if steps.infos is None else [steps.infos(step) for step in range(first, stop)]
        )
        for index, (observation, action, info) in enumerate(zip(seen, done, infos, strict=False), first):
            last = index == m - 1
            terminated, truncated = ends if last else (False, False)
            yield Step(
                episode_id, index, date, environment, agent, run, steps_before + index + 1, observation, action,
                episode.rewards[index], terminated, truncated, seen[-1] if last else None, info,
            )  # fmt: skip


class StepLines:
    """Gathers the steps of episodes, and encodes many at once: a step costs a microsecond, where a row of its own costs five.

    Steps with an info are rows of their own, since an info has other names in each dataset.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._episodes: list[tuple[Episode, Steps, int]] = []
        self._waiting = 0

    def add(self, episode: Episode, steps_before: int) -> Rows:
        """Takes the steps of an episode; gives rows where enough have come together.

        Args:
            episode: with or without steps that can be rows.
            steps_before: steps of the dataset before it.
        """
        steps = episode.steps
        if steps is None or len(steps.actions) == 0:
            return
        if steps.infos is not None or len(steps.actions) > _STRETCH:
            for step in step_rows(self._owner, episode, steps_before):
                yield _TABLE, step
            return
        self._episodes.append((episode, steps, steps_before))
        self._waiting += len(steps.actions)
        if self._waiting >= _STRETCH:
            yield from self.close()

    def close(self) -> Rows:
        """The rows of what is left."""
        if not self._episodes:
            return
        lengths = np.array([len(steps.actions) for _, steps, _ in self._episodes])
        n = int(lengths.sum())
        last = np.cumsum(lengths) - 1
        number = np.repeat(np.arange(len(lengths)), lengths)
        index = np.arange(n) - np.repeat(last + 1 - lengths, lengths)
        before = np.array([before for _, _, before in self._episodes])
        finals = [steps.observations[-1] for _, steps, _ in self._episodes]
        flags = np.zeros((2, n), dtype=bool)
        flags[:, last] = np.array([_ends(episode, steps) for episode, steps, _ in self._episodes]).T
        width = len(finals[0])
        offsets = np.concatenate(([0], np.cumsum(np.isin(np.arange(n), last) * width)))
        names = pl.Series([self._owner.episode_id(episode.index) for episode, _, _ in self._episodes])
        frame = pl.DataFrame(
            {
                "episode_id": names.gather(number),
                "step_index": index,
                **{name: pl.repeat(value, n, eager=True) for name, value in self._owner.fields.items()},
                "global_step": before[number] + index + 1,
                "observation": np.concatenate([steps.observations[:-1] for _, steps, _ in self._episodes]),
                "action": np.concatenate([steps.actions for _, steps, _ in self._episodes]),
                "reward": np.concatenate(
                    [
                        np.asarray(episode.rewards[: len(steps.actions)])
                        for episode, steps, _ in self._episodes
                    ]
                ),
                "terminated": flags[0],
                "truncated": flags[1],
                "final_observation": pl.from_arrow(
                    pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(np.concatenate(finals)))
                ),
            }
        )
        content = io.BytesIO()
        frame.write_ndjson(content)
        yield _TABLE, Lines(day(self._owner.at), self._owner.environment_id, n, content.getvalue())
        self._episodes.clear()
        self._waiting = 0


def _ends(episode: Episode, steps: Steps) -> tuple[bool, bool]:
    """Whether the last of these steps says that it was terminated, and truncated."""
    return (
        steps.complete and episode.terminated,
        not steps.complete or episode.truncated or episode.unfinished,
    )


def info_of(values: Mapping[str, object], count: Callable[[str], None]) -> dict[str, object] | None:
    """An info as JSON has it: what is no finite number is null and counted, integers beyond 64 bits are texts."""
    plain = {name: _plain(value, count) for name, value in values.items()}
    return plain or None


def _plain(value: object, count: Callable[[str], None]) -> object:
    if isinstance(value, Mapping):
        return {str(name): _plain(part, count) for name, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), count)
    if isinstance(value, list | tuple):
        return [_plain(part, count) for part in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        count("a value of an info that is no finite number, null in its row")
        return None
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return str(value)
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
