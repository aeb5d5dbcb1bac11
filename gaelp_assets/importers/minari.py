"""Minari datasets, in HDF5, Arrow or Parquet: environment, agent, run, episodes and transitions.

A dataset keeps no times: `--at`, or else the time of its metadata file, stands for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.importers import minari_files, recorded, spaces
from gaelp_assets.importers.minari_files import Stored
from gaelp_assets.importers.recorded import Episode, Steps

Array = NDArray[Any]
_INT64: Final = 2**63
_SEEDS_TOLD: Final = 10


def _episode(stored: Stored, index: int, metadata: Mapping[str, Any], tally: Any) -> Episode | None:
    """The episode as it is to be rows; None where it cannot be one."""
    rewards = stored.rewards.reshape(-1).astype(np.float64)
    n = len(rewards)
    images = bool(metadata.get("jpeg_encoding", True))
    reasons: list[str] = []
    columns: dict[str, Array | None] = {}
    for name, leaf, more in (("observation", stored.observations, 1), ("action", stored.actions, 0)):
        space = metadata[f"{name}_space"]
        if spaces.size(space) is None:
            reasons.append(f"{name}s with texts are no numbers")
        elif images and spaces.is_image(space):
            reasons.append(f"{name}s that are kept as JPEG are not the ones that were seen")
        else:
            columns[name] = _column(space, leaf, f"{stored.where}/{name}s", n, more)
    for name, values in (("terminations", stored.terminations), ("truncations", stored.truncations)):
        _prove_length(f"{stored.where}/{name}", len(values), n)
    if n == 0:
        tally.drop("an episode without a step")
        return None
    _prove_flags(stored)
    if not np.isfinite(rewards).all():
        tally.drop("an episode with a reward that is no finite number")
        tally.drop("a step of such an episode", n)
        return None
    if not reasons:
        reason = recorded.why_not(columns["observation"], columns["action"])
        reasons += [reason] if reason else []
    steps = None
    if reasons:
        tally.drop(reasons[0], n)
    else:
        observations, actions = columns["observation"], columns["action"]
        assert observations is not None
        assert actions is not None
        steps = Steps(observations, actions, _infos(stored, n, tally))
    terminated, truncated = bool(stored.terminations[-1]), bool(stored.truncations[-1])
    return Episode(
        index,
        rewards.tolist(),
        terminated,
        truncated,
        unfinished=not (terminated or truncated),
        seed=_seed(stored, tally),
        steps=steps,
    )


_MEND: Final = "Mend the episode at its source; --allow-damaged leaves it out."


def _column(space: spaces.Space, leaf: minari_files.Leaf, where: str, steps: int, more: int) -> Array | None:
    """The values of a space as float64, of shape (steps + more, numbers); None where FLOAT cannot hold an integer among them.

    Raises:
        GaelpError: an array of another length, or of other numbers than the space has.
    """
    parts: list[Array] = []
    for path, width, values in spaces.columns(space, leaf):
        place = "/".join((where, *path))
        _prove_length(place, len(values), steps, more)
        if values.dtype.kind not in "fiub" or values.shape != (steps + more, width):
            problem = Problem(
                f"an array of shape {values.shape} and type {values.dtype}",
                place,
                f"numbers, {width} for each entry, as the space in {minari_files.METADATA_NAME} says",
                _MEND,
            )
            raise GaelpError(problem)
        floats = spaces.as_floats(values)
        if floats is None:
            return None
        parts.append(floats)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _prove_length(where: str, length: int, steps: int, more: int = 0) -> None:
    if length != steps + more:
        problem = Problem(
            f"{length} entries for {steps} steps",
            where,
            "as many actions, terminations and truncations as rewards, and one observation more",
            _MEND,
        )
        raise GaelpError(problem)


def _prove_flags(stored: Stored) -> None:
    ends = np.flatnonzero(stored.terminations[:-1] | stored.truncations[:-1])
    if len(ends):
        problem = Problem(
            f"step {ends[0]} of {len(stored.rewards)} is terminated or truncated, and the episode goes on",
            stored.where,
            "these flags at the last step only",
            _MEND,
        )
        raise GaelpError(problem)


def _seed(stored: Stored, tally: Any) -> int | None:
    seed = stored.metadata.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        return None
    if 0 <= seed < _INT64:
        return seed
    tally.seeds_beyond.append(f"episode {stored.number}: {seed}")
    return None


def _infos(stored: Stored, n: int, tally: Any) -> Callable[[int], dict[str, object] | None] | None:
    """Gives the info of each step: of n + 1 entries, the first one came with the reset and belongs to no step."""
    if not stored.infos:
        return None
    return lambda step: recorded.info_of(_entry(stored.infos, step, n), tally.count)


def _entry(infos: Mapping[str, Any], step: int, n: int) -> dict[str, object]:
    entry: dict[str, object] = {}
    for name, values in infos.items():
        if isinstance(values, Mapping):
            entry[name] = _entry(values, step, n)
        elif len(values) in {n, n + 1}:
            entry[name] = values[step + len(values) - n]
    return entry
