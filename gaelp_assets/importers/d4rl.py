"""HDF5 files in the style of D4RL: one long array for each of observations, actions, rewards, terminals and timeouts.

An episode ends where `terminals` or `timeouts` says so, and where `next_observations` is no longer what the next row begins with: there
the recording was interrupted. What comes after the last end is an episode that is unfinished. Without `next_observations` nobody knows
what was seen after the last step of an episode: that step is no row of `training.transitions`, and the one before it is the last,
truncated. The row of the episode has all steps in its return and length, and says that not all of them are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.importers import hdf5, logged, recorded, spaces
from gaelp_assets.importers.recorded import Episode, Owner, Steps
from gaelp_assets.importers.source import RUN_LENGTH, Kind, Options, Rows, Tally, required, valid_id, written

Array = NDArray[Any]
Bools = NDArray[np.bool_]
_NEEDED: Final = ("observations", "actions", "rewards", "terminals")
_BLOCK: Final = 50_000
"""Steps that are read at once."""
_UNSEEN: Final = (
    "the last step of an episode: what was seen after it is not in the file (no next_observations)"
)


def rows(path: Path, options: Options, tally: Tally) -> Rows:
    """The rows of the file: agent, then each episode behind its steps, and the run.

    Args:
        path: an HDF5 file.
        options: names and the moment, of which such a file tells next to nothing.
        tally: counts episodes and steps.

    Raises:
        GaelpError: no such file, arrays that are missing or of unequal lengths, or a name that neither file nor options give.
    """
    if not path.is_file():
        raise GaelpError(Problem("no such file", str(path), "an HDF5 file"))
    try:
        yield from _rows(path, options, tally)
    except hdf5.BrokenFileError as error:
        tally.damaged(error.problems[0].what, error.problems[0].where)


def _rows(path: Path, options: Options, tally: Tally) -> Rows:
    with hdf5.opened(path) as file:
        n = _length(file, path)
        algorithm = options.algorithm or _algorithm(file, path)
        agent = options.agent or (valid_id(algorithm) if algorithm else None)
        run = options.run or valid_id(path.stem, RUN_LENGTH)
        owner = Owner(
            run,
            required(agent, "agent", "agent", path),
            required(options.environment, "environment", "environment", path),
            written(path, options, tally, run),
        )
        at = owner.at
        yield from logged.agent_rows(owner.agent_id, algorithm, None, at, at, tally)
        steps = episodes = 0
        lines = recorded.StepLines(owner)
        for episode in _episodes(file, path, n, tally):
            yield from lines.add(episode, steps)
            steps += len(episode.rewards)
            episodes += 1
            yield "training.episodes", recorded.episode_row(owner, episode, steps)
        yield from lines.close()
        source = {"kind": "d4rl", "file": path.name, "next_observations": "next_observations" in file}
        yield "training.training_runs", recorded.run_row(owner, steps, episodes, source)


def _algorithm(file: Any, path: Path) -> str | None:
    """The name of the algorithm, which some of these files have as a text among their metadata."""
    if "metadata" not in file or "algorithm" not in file["metadata"]:
        return None
    value = hdf5.array(file["metadata"], "algorithm", path).reshape(-1)[:1].tolist()
    text = value[0].decode("utf-8", "replace") if value and isinstance(value[0], bytes) else None
    return text or None


@dataclass(frozen=True)
class _Ends:
    """Where episodes end, each of shape (steps,)."""

    terminated: Bools
    truncated: Bools
    interrupted: Bools


def _length(file: Any, path: Path) -> int:
    """The number of steps.

    Raises:
        GaelpError: a dataset is missing, or is as long as no other.
    """
    missing = [name for name in _NEEDED if name not in file]
    if missing:
        problem = Problem(
            f"no dataset {', '.join(missing)}",
            str(path),
            f"{', '.join(_NEEDED)}, and timeouts where episodes have a limit",
            "gaelp import minari reads what Minari wrote.",
        )
        raise GaelpError(problem)
    names = [*_NEEDED, *(name for name in ("timeouts", "next_observations") if name in file)]
    for name in names:
        hdf5.prove_size(file[name].id, path, file, name)
    lengths = {name: len(file[name]) for name in names}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise GaelpError(Problem(f"lengths differ: {told}", str(path), "as many of each as steps"))
    return lengths["rewards"]


def _ends(file: Any, path: Path, n: int) -> _Ends:
    flags = {
        name: hdf5.array(file, name, path).reshape(-1) != 0
        for name in ("terminals", "timeouts")
        if name in file
    }
    interrupted = np.zeros(n, dtype=bool)
    if "next_observations" in file:
        seen, after = file["observations"], file["next_observations"]
        for first in range(0, n, _BLOCK):
            stop = min(first + _BLOCK, n)
            following = _block(seen, first + 1, min(stop + 1, n), path)
            reached = _block(after, first, first + len(following), path)
            same = (following == reached) | (np.isnan(following) & np.isnan(reached))
            interrupted[first : first + len(following)] = ~same.reshape(len(same), -1).all(axis=1)
    truncated = flags.get("timeouts", np.zeros(n, dtype=bool))
    ends = flags["terminals"] | truncated
    return _Ends(flags["terminals"], truncated, interrupted & ~ends)


def _block(dataset: Any, first: int, stop: int, path: Path) -> Array:
    """Rows of a dataset as float64, of shape (rows, numbers); integers that lose digits become NaN, which no row takes.

    Raises:
        GaelpError: they cannot be read, or are no numbers.
    """
    try:
        values = np.asarray(dataset[first:stop])
    except hdf5.UNREADABLE as error:
        raise hdf5.damaged(path, f"rows {first} to {stop} cannot be read", dataset.name) from error
    if values.dtype.kind not in "fiub":
        raise GaelpError(Problem(f"values of type {values.dtype}", f"{path}: {dataset.name}", "numbers"))
    floats = spaces.as_floats(values)
    flat = np.full(values.shape, np.nan) if floats is None else floats
    return flat.reshape(len(flat), int(np.prod(flat.shape[1:], dtype=np.int64)))


def _episodes(file: Any, path: Path, n: int, tally: Tally) -> Iterator[Episode]:
    """The episodes, in order; those whose rows cannot be are counted and left out."""
    tally.read += n
    ends = _ends(file, path, n)
    rewards = hdf5.array(file, "rewards", path).reshape(-1).astype(np.float64)
    stops = (np.flatnonzero(ends.terminated | ends.truncated | ends.interrupted) + 1).tolist()
    bounds = zip([0, *stops], [*stops, n], strict=True)
    pieces = [(index, begin, end) for index, (begin, end) in enumerate(bounds) if begin < end]
    known_after = "next_observations" in file
    tally.read += len(pieces)
    if "timeouts" not in file and not known_after:
        tally.note(
            "no timeouts and no next_observations: episodes that a time limit ended run on into the next ones"
        )
    infos = _infos(file, path, n, tally)
    for block in _blocks(pieces):
        first, stop = block[0][1], block[-1][2]
        seen = _block(file["observations"], first, stop, path)
        done = _block(file["actions"], first, stop, path)
        after = _block(file["next_observations"], first, stop, path) if known_after else None
        for index, begin, end in block:
            last = end - 1
            at, until = begin - first, end - first
            length = end - begin
            if not np.isfinite(rewards[begin:end]).all():
                tally.drop("an episode with a reward that is no finite number")
                tally.drop("a step of such an episode", length)
                continue
            if after is None:
                tally.drop(_UNSEEN)
                observations, actions = seen[at:until], done[at : until - 1]
            else:
                observations = np.concatenate((seen[at:until], after[until - 1 : until]))
                actions = done[at:until]
            reason = recorded.why_not(observations, actions)
            if reason:
                tally.drop(reason, len(actions))
            terminated, truncated = bool(ends.terminated[last]), bool(ends.truncated[last])
            yield Episode(
                index,
                rewards[begin:end].tolist(),
                terminated,
                truncated,
                unfinished=not (terminated or truncated),
                steps=None
                if reason
                else Steps(observations, actions, infos and infos(begin), complete=known_after),
            )


_Piece = tuple[int, int, int]
"""Number of an episode, its first row, and the row after its last."""


def _blocks(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """The pieces in groups of about `_BLOCK` steps."""
    block: list[_Piece] = []
    for piece in pieces:
        block.append(piece)
        if piece[2] - block[0][1] >= _BLOCK:
            yield block
            block = []
    if block:
        yield block


InfoOf = Callable[[int], Mapping[str, object] | None]


def _infos(file: Any, path: Path, n: int, tally: Tally) -> Callable[[int], InfoOf] | None:
    """For the first step of an episode: what gives the info of each of its steps; None where the file has none."""
    if "infos" not in file:
        return None
    values: dict[str, Array] = {}
    for name in file["infos"]:
        if not hasattr(file["infos"][name], "shape") or len(file["infos"][name]) != n:
            tally.drop("an array of infos that has no entry for each step")
        else:
            values[name] = hdf5.array(file["infos"], name, path)

    def of_episode(first: int) -> InfoOf:
        return lambda step: recorded.info_of(
            {name: array[first + step] for name, array in values.items()}, tally.drop
        )

    return of_episode if values else None


KIND: Final = Kind(
    "d4rl", "HDF5 in the style of D4RL: observations, actions, rewards, terminals, timeouts", rows
)
