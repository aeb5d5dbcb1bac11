"""Minari datasets, in HDF5, Arrow or Parquet: environment, agent, run, episodes and transitions.

A dataset keeps no times: `--at`, or else the time of its metadata file, stands for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.importers import environments, hdf5, logged, minari_files, recorded, spaces
from gaelp_assets.importers.minari_files import Stored
from gaelp_assets.importers.recorded import Episode, Owner, Steps
from gaelp_assets.importers.source import RUN_LENGTH, Kind, Options, Rows, Tally, required, valid_id, written

Array = NDArray[Any]
_INT64: Final = 2**63
_SEEDS_TOLD: Final = 10


def rows(path: Path, options: Options, tally: Tally) -> Rows:
    """The rows of the dataset: environment and agent, then each episode behind its steps, and the run.

    Args:
        path: the dataset's folder, or the `data` folder in it.
        options: names and the moment where the dataset is silent.
        tally: counts episodes and steps.

    Raises:
        GaelpError: no Minari dataset, one whose metadata are damaged, or a name that neither dataset nor options give.
    """
    folder = minari_files.data_folder(path)
    metadata = minari_files.read_metadata(folder)
    spec = metadata["env_spec"] if isinstance(metadata.get("env_spec"), dict) else {}
    dataset = str(metadata.get("dataset_id") or folder.parent.name)
    algorithm = options.algorithm or metadata.get("algorithm_name")
    environment = options.environment or (spec["id"] if isinstance(spec.get("id"), str) else None)
    agent = options.agent or (valid_id(algorithm) if algorithm else None)
    run = options.run or valid_id(dataset, RUN_LENGTH)
    owner = Owner(
        run,
        required(agent, "agent", "agent", path),
        required(environment, "environment", "environment", path),
        written(folder / minari_files.METADATA_NAME, options, tally, run),
    )
    at = owner.at
    try:
        row = environments.environment_row(
            owner.environment_id, spec, metadata["observation_space"], metadata["action_space"], at
        )
    except (ValueError, KeyError, TypeError) as error:
        where = str(folder / minari_files.METADATA_NAME)
        raise GaelpError(Problem(f"a space that cannot be read ({error})", where)) from None
    yield "training.environments", row
    yield from logged.agent_rows(owner.agent_id, algorithm, None, at, at, tally)
    steps = episodes = 0
    lines = recorded.StepLines(owner)
    seeds: list[str] = []
    try:
        with minari_files.opened(folder, metadata) as stored:
            for index, (number, load) in enumerate(stored):
                try:
                    episode = _episode(load(), index, metadata, tally, seeds)
                except GaelpError as error:
                    tally.damaged(
                        f"episode {number} cannot be taken: {error.problems[0].what}", error.problems[0].where
                    )
                    continue
                except hdf5.UNREADABLE as error:
                    tally.damaged(f"episode {number} cannot be read ({type(error).__name__})", str(folder))
                    continue
                if episode is None:
                    continue
                yield from lines.add(episode, steps)
                steps += len(episode.rewards)
                episodes += 1
                yield "training.episodes", recorded.episode_row(owner, episode, steps)
    except hdf5.BrokenFileError as error:
        tally.damaged(error.problems[0].what, error.problems[0].where)
    yield from lines.close()
    if seeds:
        told = ", ".join(seeds[:_SEEDS_TOLD]) + (", ..." if len(seeds) > _SEEDS_TOLD else "")
        tally.note(f"{len(seeds)} seeds are no INTEGER of 64 bits, and NULL in their rows: {told}")
    source = {
        "kind": "minari",
        "dataset": dataset,
        "format": metadata.get("data_format", "hdf5"),
        **{name: metadata[name] for name in ("minari_version", "code_permalink") if metadata.get(name)},
    }
    yield "training.training_runs", recorded.run_row(owner, steps, episodes, source)


def _episode(
    stored: Stored, index: int, metadata: Mapping[str, Any], tally: Tally, seeds: list[str]
) -> Episode | None:
    """The episode as it is to be rows; None where it cannot be one."""
    rewards = stored.rewards.reshape(-1).astype(np.float64)
    n = len(rewards)
    tally.read += 1 + n
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
        seed=_seed(stored, seeds),
        steps=steps,
    )


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
        )
        raise GaelpError(problem)


def _prove_flags(stored: Stored) -> None:
    ends = np.flatnonzero(stored.terminations[:-1] | stored.truncations[:-1])
    if len(ends):
        problem = Problem(
            f"step {ends[0]} of {len(stored.rewards)} is terminated or truncated, and the episode goes on",
            stored.where,
            "these flags at the last step only",
        )
        raise GaelpError(problem)


def _seed(stored: Stored, seeds: list[str]) -> int | None:
    seed = stored.seed
    if not isinstance(seed, int) or isinstance(seed, bool):
        return None
    if 0 <= seed < _INT64:
        return seed
    seeds.append(f"episode {stored.number}: {seed}")
    return None


def _infos(stored: Stored, n: int, tally: Tally) -> Callable[[int], dict[str, object] | None] | None:
    """Gives the info of each step: of n + 1 entries, the first one came with the reset and belongs to no step."""
    if not stored.infos:
        return None
    return lambda step: recorded.info_of(_entry(stored.infos, step, n), tally.drop)


def _entry(infos: Mapping[str, Any], step: int, n: int) -> dict[str, object]:
    entry: dict[str, object] = {}
    for name, values in infos.items():
        if isinstance(values, Mapping):
            entry[name] = _entry(values, step, n)
        elif len(values) in {n, n + 1}:
            entry[name] = values[step + len(values) - n]
    return entry


KIND: Final = Kind("minari", "a Minari dataset: HDF5, Arrow or Parquet", rows)
