"""From sealed blocks to files: what a flush writes, as names and bytes. Pure but for what it remembers of episodes that go on."""

from __future__ import annotations

import hashlib
import io
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.gateway.names import RECORDINGS
from gaelp_assets.record import rows
from gaelp_assets.record.tracks import Columns, Episode, Sealed
from gaelp_assets.record.values import Row, count, day, stamp

Array = NDArray[Any]
DATASET: Final = "training"
Lost = Callable[[str, int, str], None]
"""Counts what is not recorded: of what, how many, why."""


class Piece(NamedTuple):
    """Steps of one episode that lie together: n rows each."""

    observations: Array
    actions: Array
    rewards: NDArray[np.float64]
    training_rewards: NDArray[np.float64]
    global_steps: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Memory that a copy takes."""
        return sum(column.nbytes for column in self)

    def copied(self) -> Piece:
        """The same rows, without the block that they are part of."""
        return Piece(
            self.observations.copy(),
            self.actions.copy(),
            self.rewards.copy(),
            self.training_rewards.copy(),
            self.global_steps.copy(),
        )


class Told(NamedTuple):
    """An episode that has ended, in which environment, and its steps where they are recorded."""

    episode: Episode
    environment: str
    pieces: Sequence[Piece]


class File(NamedTuple):
    """A file that a flush writes: its name in the gateway, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True)
class References:
    """What each row of a recording says, and where its files lie.

    Args:
        run: the id of the run.
        agent: the id of the agent.
        stem: what the names of its files start with.
        attempt: which start of the run it is, from 1.
        url: where the gateway is.
        by_reference: whether observations are kept as files.
    """

    run: str
    agent: str
    stem: str
    attempt: int
    url: str
    by_reference: bool = False

    def episode_id(self, episode: Episode) -> str:
        """`RUN.a1.e000123`; `v` for an episode of an evaluation."""
        letter = "e" if episode.purpose == "training" else "v"
        return f"{self.run}.a{self.attempt}.{letter}{episode.number:06d}"

    def file_name(
        self, table: str, part: str, date: str | None = None, environment: str | None = None
    ) -> str:
        """Where a file of a table goes: whole tables have neither date nor environment."""
        slice_ = f"date={date}/environment={environment}/" if date else ""
        return f"cloud_ready/{DATASET}/{table}/{slice_}{self.stem}-a{self.attempt}-{part}.ndjson"

    @property
    def folder(self) -> str:
        """Where the run keeps what is no row."""
        return f"{RECORDINGS}/{self.stem}"


def episode_row(refs: References, environment: str, episode: Episode) -> Row:
    """The row of an episode that has ended."""
    return {
        "episode_id": refs.episode_id(episode),
        "date": day(episode.ended_at),
        "environment_id": environment,
        "agent_id": refs.agent,
        "training_run_id": refs.run,
        "purpose": episode.purpose,
        "episode_index": episode.number,
        # Gymnasium takes seeds of any size: one that no row can hold is not known.
        "seed": count(episode.seed),
        "policy_version": episode.policy_version,
        "global_step": int(episode.global_step),
        "episode_return": episode.total,
        "episode_length": episode.length,
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        "exploration_rate": episode.exploration_rate,
        "transitions_recorded": episode.recorded,
        "started_at": stamp(episode.started_at),
        "ended_at": stamp(episode.ended_at),
        "unfinished": episode.unfinished or None,
        "training_return": training_return(episode),
    }


def training_return(episode: Episode) -> float | None:
    """What the learner was given in all, where it was told for each step and is another sum."""
    told = episode.told == episode.length and episode.training_total != episode.total
    return episode.training_total if told and math.isfinite(episode.training_total) else None


def files(refs: References, part: str, told: Sequence[Told], lost: Lost) -> list[File]:
    """The files of episodes that have ended: observations by reference, then episodes, then transitions, by slice."""
    slices: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for one in told:
        if one.episode.spoilt:
            lost("transitions", one.episode.length, "some of their episode's steps are missing")
        if not math.isfinite(one.episode.total):
            lost("episodes", 1, "a return that is no finite number")
            lost("transitions", one.episode.length if one.episode.recorded else 0, "their episode is lost")
            continue
        slices[(day(one.episode.ended_at), one.environment)].append(one)
    written: list[File] = []
    for (date, environment), group in slices.items():
        recorded, joined = _sound([one for one in group if one.episode.recorded], lost)
        observed, uris = _observation_files(refs, recorded) if refs.by_reference else ([], {})
        written += observed
        episode_lines = rows.lines([episode_row(refs, environment, one.episode) for one in group])
        written.append(File(refs.file_name("episodes", part, date, environment), episode_lines))
        if joined is not None:
            lines = _transition_lines(refs, date, environment, recorded, joined, uris)
            written.append(File(refs.file_name("transitions", part, date, environment), lines))
    return written


def _sound(recorded: list[Told], lost: Lost) -> tuple[list[Told], Piece | None]:
    """The episodes of which each step can be a row, and their steps joined; of the others no step is written."""
    kept = []
    for one in recorded:
        if one.episode.final is None or sum(len(piece.rewards) for piece in one.pieces) != one.episode.length:
            lost("transitions", one.episode.length, "steps are missing")
            one.episode.spoil()
        else:
            kept.append(one)
    if not kept:
        return [], None
    joined = _joined(kept)
    if all(
        map(
            _is_finite,
            [*joined[:4], np.concatenate([np.ravel(np.asarray(one.episode.final)) for one in kept])],
        )
    ):
        return kept, joined
    sound = []
    for one in kept:
        if all(
            map(_is_finite, [one.episode.final, *(column for piece in one.pieces for column in piece[:4])])
        ):
            sound.append(one)
        else:
            lost("transitions", one.episode.length, "a number that is not finite")
            one.episode.spoil()
    return sound, _joined(sound) if sound else None


def _joined(recorded: Sequence[Told]) -> Piece:
    pieces = [piece for one in recorded for piece in one.pieces]
    if len(pieces) == 1:
        return pieces[0]
    return Piece(
        np.concatenate([piece.observations for piece in pieces]),
        np.concatenate([piece.actions for piece in pieces]),
        np.concatenate([piece.rewards for piece in pieces]),
        np.concatenate([piece.training_rewards for piece in pieces]),
        np.concatenate([piece.global_steps for piece in pieces]),
    )


def _is_finite(values: Any) -> bool:
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _observation_files(refs: References, recorded: Sequence[Told]) -> tuple[list[File], dict[int, Row]]:
    """A `.npy` file for each episode, and the fields that point to it, by the episode's place."""
    found: list[File] = []
    fields: dict[int, Row] = {}
    for place, one in enumerate(recorded):
        assert one.episode.final is not None
        kept = [*(piece.observations for piece in one.pieces), one.episode.final[np.newaxis]]
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate(kept), allow_pickle=False)
        content = buffer.getvalue()
        name = f"{refs.folder}/observations/{refs.episode_id(one.episode)}.npy"
        found.append(File(name, content))
        digest = hashlib.sha256(content).hexdigest()
        fields[place] = {"observation_uri": f"{refs.url}/{name}", "observation_sha256": digest}
    return found, fields


def _transition_lines(
    refs: References,
    date: str,
    environment: str,
    recorded: Sequence[Told],
    joined: Piece,
    uris: dict[int, Row],
) -> bytes:
    stretches = []
    for place, (episode, _, pieces) in enumerate(recorded):
        constants = rows.constants(
            {
                "episode_id": refs.episode_id(episode),
                "date": date,
                "environment_id": environment,
                "agent_id": refs.agent,
                "training_run_id": refs.run,
                **uris.get(place, {}),
            }
        )
        last: Row = {"terminated": episode.terminated, "truncated": episode.truncated}
        if not refs.by_reference:
            assert episode.final is not None
            last["final_observation"] = episode.final.reshape(-1).astype(np.float64).tolist()
        first = 0
        for piece in pieces:
            n = len(piece.rewards)
            first += n
            stretches.append(rows.Stretch(constants, first - n, n, last if first == episode.length else None))
    given = joined.training_rewards
    return rows.transitions(
        stretches,
        joined.global_steps,
        None if refs.by_reference else joined.observations,
        joined.actions,
        joined.rewards,
        None if given is joined.rewards or np.array_equal(joined.rewards, given) else given,
    )


@dataclass
class Ongoing:
    """Steps of episodes that go on over flushes, until they end. `bound` is in bytes."""

    bound: int
    pieces: dict[tuple[str, int], list[Piece]] = field(default_factory=dict)
    parts: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    """The flushes that an episode's pieces came with."""
    nbytes: int = 0

    def take(self, sealed: Sequence[Sealed], part: int, lost: Lost) -> tuple[list[Told], list[Told]]:
        """What has ended, with all of its steps, and what goes on, with its new steps alone."""
        ended: list[Told] = []
        going: list[Told] = []
        for block in sealed:
            steps = None if block.columns is None else _global_steps(block.columns, block.track.purpose)
            environment = block.track.environment
            for episode in block.ended:
                before = self._forget(_key(episode))
                pieces = [*before, *_views(block.columns, steps, episode)] if episode.recorded else []
                ended.append(Told(episode, environment, pieces))
            for episode in block.ongoing:
                pieces = (
                    [piece.copied() for piece in _views(block.columns, steps, episode)]
                    if episode.recorded
                    else []
                )
                going.append(Told(episode, environment, pieces))
                self._keep(_key(episode), pieces, part, lost)
        return ended, going

    def _keep(self, key: tuple[str, int], pieces: list[Piece], part: int, lost: Lost) -> None:
        size = sum(piece.nbytes for piece in pieces)
        if self.nbytes + size > self.bound:
            # The episode's own pieces no longer add up to its length: its steps are left out when it ends.
            lost("transitions", 0, "an episode under way is longer than the buffer")
            self._forget(key)
            return
        self.nbytes += size
        self.pieces.setdefault(key, []).extend(pieces)
        if pieces:
            self.parts.setdefault(key, []).append(part)

    def _forget(self, key: tuple[str, int]) -> list[Piece]:
        pieces = self.pieces.pop(key, [])
        self.parts.pop(key, None)
        self.nbytes -= sum(piece.nbytes for piece in pieces)
        return pieces


def _key(episode: Episode) -> tuple[str, int]:
    return episode.purpose, episode.number


def _global_steps(columns: Columns, purpose: str) -> NDArray[np.int64]:
    """The run's steps after each step: shape (rows, lanes). Lanes count in their order; an evaluation's steps are none of the run's."""
    assert columns.steps_before is not None
    before = columns.steps_before[:, np.newaxis]
    lanes = columns.rewards.shape[1]
    if purpose != "training":
        return np.repeat(before, lanes, axis=1)
    if columns.real is None:
        return before + np.arange(1, lanes + 1)
    return before + np.cumsum(columns.real[: len(before)], axis=1, dtype=np.int64)


def _views(columns: Columns | None, steps: NDArray[np.int64] | None, episode: Episode) -> list[Piece]:
    if columns is None or steps is None or episode.stop == episode.start:
        return []
    rows_, lane = slice(episode.start, episode.stop), episode.lane
    rewards = columns.rewards[rows_, lane]
    given = rewards
    if columns.training_rewards is not None:
        given = columns.training_rewards[rows_, lane]
        given = np.where(np.isnan(given), rewards, given)
    return [
        Piece(
            columns.observations[rows_, lane],
            columns.actions[rows_, lane],
            rewards,
            given,
            steps[rows_, lane],
        )
    ]
