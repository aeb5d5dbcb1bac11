"""`gaelp export minari`: the episodes of runs as a Minari dataset, in HDF5, as Minari 0.5 writes it (https://minari.farama.org).

Episodes are read and written a part at a time: their number costs no memory. What is no whole episode is left out and counted. The dataset
appears under its name when it is whole; what a killed export leaves lies beside it under a hidden name.
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import polars as pl

from gaelp_assets.errors import GaelpError, Problem, of_the_system, unknown
from gaelp_assets.operations.lineage import hidden_columns, lineage_folder
from gaelp_assets.operations.minari_layout import (
    Array,
    Arrays,
    EpisodeFile,
    Space,
    arrays,
)
from gaelp_assets.operations.minari_spaces import minari_space
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ranges import PartitionRange

if TYPE_CHECKING:
    from gaelp_assets.warehouse.parameters import ParameterValue

MINARI_VERSION: Final = "0.5.4"
"""The version of the format: that of the Minari release that the datasets were compared with."""
_ID: Final = re.compile(
    r"(?:(?=[^/]{2}|[^/]+/[^/]+/)(?:[A-Za-z0-9_-]+/)+)?[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*-v[0-9]+"
)
"""Minari 0.5.4 takes no namespace of one letter, and one in its folder ends `list_local_datasets` for all."""
STEPS_AT_ONCE: Final = 100_000
_NAMED: Final = 10
_EPISODES: Final = "training.episodes"
_TRANSITIONS: Final = "training.transitions"
_OUTSIDE: Final = "with values that are none of their space"
_READ: Final = ("observation", "action", "reward", "terminated", "truncated", "final_observation")


@dataclass
class Exported:
    """What an export has written, and what it has left out, by the reason."""

    folder: Path
    episodes: int = 0
    steps: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Episodes."""


def export_minari(
    platform: PlatformReader,
    dataset_id: str,
    runs: Sequence[str],
    root: Path,
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Exported:
    """Writes a dataset that `minari.load_dataset` opens.

    Args:
        platform: what is read.
        dataset_id: the dataset's name in Minari: `NAMESPACE/NAME-v0`, or `NAME-v0`.
        runs: the ids of training runs, all of one environment.
        root: the folder with Minari's datasets.
        on_progress: is told the number of steps so far.

    Raises:
        GaelpError: the name is none or is taken, a run is not there, the runs are of several environments, a space has no such form,
            no whole episode is there, or the folder cannot be written.
    """
    if not _ID.fullmatch(dataset_id):
        expected = "NAME-vN or NAMESPACE/NAME-vN of letters, digits, _ and -, a namespace of two or more, such as gaelp/cartpole-v0"
        raise GaelpError(Problem(f"{dataset_id!r} is no id of a Minari dataset", expected=expected))
    target = root / dataset_id
    if target.exists():
        remedy = "Take the next version, or remove it: what is exported once is not changed."
        raise GaelpError(Problem("the dataset is there already", str(target), "an id that is free", remedy))
    for above in target.parents[: dataset_id.count("/")]:
        if (above / "data").exists():
            raise GaelpError(
                Problem(
                    "lies in another dataset", str(target), f"an id that does not begin with {above.name}/"
                )
            )
    _refuse_hidden(platform)
    episodes = _episodes(platform, runs)
    environment = _environment(platform, episodes)
    spaces = {
        name: minari_space(environment[f"{name}_space"], f"{name}_space of {environment['environment_id']}")
        for name in ("observation", "action")
    }
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    exported = Exported(target)
    try:
        (unfinished / "data").mkdir(parents=True)
        _write(platform, episodes, spaces, unfinished / "data", exported, on_progress)
        if not exported.episodes:
            told = ", ".join(f"{count} {reason}" for reason, count in exported.left_out.items())
            raise GaelpError(Problem("no whole episode to export", ", ".join(runs), "recorded steps", told))
        _write_metadata(unfinished / "data", dataset_id, environment, spaces, exported, episodes)
        unfinished.replace(target)
    except OSError as error:
        problem = Problem(f"cannot write the dataset: {error.strerror or type(error).__name__}", str(target))
        raise of_the_system(error, problem) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return exported


def _refuse_hidden(platform: PlatformReader) -> None:
    relation = platform.catalog[_TRANSITIONS]
    hidden = hidden_columns(relation, platform.catalog, lineage_folder(platform.settings))
    if found := sorted(hidden.intersection(_READ)):
        raise GaelpError(
            Problem(f"{', '.join(found)} is sensitive", relation.id, "columns that may leave the warehouse")
        )


def _episodes(platform: PlatformReader, runs: Sequence[str]) -> pl.DataFrame:
    """The episodes of the runs, in the order in which they are exported."""
    relation = platform.catalog[_EPISODES]
    condition, parameters = _all_days(platform).condition(relation, "t")
    frame = platform.warehouse.query(
        "SELECT t.episode_id, t.date, t.environment_id, t.agent_id, t.training_run_id, t.seed, t.episode_length, t.unfinished, "
        f"t.transitions_recorded FROM {relation.quoted_id} AS t WHERE {condition} AND t.training_run_id IN UNNEST(@runs) "
        "ORDER BY t.training_run_id, t.date, t.episode_index, t.episode_id",
        {**parameters, "runs": tuple(runs)},
        labels={"asset": relation.id, "purpose": "export"},
    ).frame
    missing = [run for run in runs if run not in set(frame["training_run_id"])]
    if missing:
        known = platform.warehouse.query(
            f"SELECT DISTINCT t.training_run_id FROM {relation.quoted_id} AS t WHERE {condition} ORDER BY 1",
            parameters,
            labels={"asset": relation.id, "purpose": "export"},
            row_limit=10_000,
        ).frame["training_run_id"].to_list()  # fmt: skip
        raise GaelpError(*(unknown("run", run, _near(run, known), where=relation.id) for run in missing))
    return frame


def _near(run: str, known: Sequence[str]) -> Sequence[str]:
    """Some of many known ones: those that are most alike first."""
    close = difflib.get_close_matches(run, known, n=_NAMED, cutoff=0.3)
    return [*close, *(other for other in known if other not in close)][:_NAMED]


def _environment(platform: PlatformReader, episodes: pl.DataFrame) -> dict[str, Any]:
    """The row of the runs' environment, with its spaces parsed."""
    [*ids] = episodes["environment_id"].unique().sort().to_list()
    if len(ids) != 1:
        raise GaelpError(
            Problem(
                f"the runs are of {len(ids)} environments: {', '.join(ids)}",
                expected="runs of one environment",
            )
        )
    frame = platform.warehouse.query(
        "SELECT environment_id, entry_point, parameters, max_episode_steps, reward_threshold, "
        "nondeterministic, observation_space, action_space "
        "FROM training.environments WHERE environment_id = @environment",
        {"environment": ids[0]},
        labels={"asset": "training.environments", "purpose": "export"},
    ).frame
    if frame.is_empty():
        remedy = "Hand over its row: its spaces are the dataset's."
        raise GaelpError(
            Problem(f"no row of {ids[0]}", "training.environments", "the runs' environment", remedy)
        )
    row = frame.to_dicts()[0]
    for name in ("parameters", "observation_space", "action_space"):
        row[name] = json.loads(row[name]) if row[name] else {}
    return row


def _write(
    platform: PlatformReader,
    episodes: pl.DataFrame,
    spaces: Mapping[str, Space],
    folder: Path,
    exported: Exported,
    on_progress: Callable[[int], None],
) -> None:
    with EpisodeFile(folder / "main_data.hdf5") as file:
        for part in _parts(episodes, exported):
            steps = _Steps.read(platform, part)
            for row in part.iter_rows(named=True):
                found = steps.of(row, spaces)
                if isinstance(found, str):
                    exported.left_out[found] += 1
                    continue
                seed = {} if row["seed"] is None else {"seed": row["seed"]}
                file.add({"total_steps": row["episode_length"], **seed}, found)
                exported.steps += row["episode_length"]
            exported.episodes = file.episodes
            on_progress(exported.steps)


def _parts(episodes: pl.DataFrame, exported: Exported) -> Iterator[pl.DataFrame]:
    """Episodes with steps, some of one day and environment at a time."""
    recorded = episodes["transitions_recorded"]
    exported.left_out["without recorded steps"] += int((~recorded).sum())
    whole = episodes.filter(recorded)
    unfinished = whole["unfinished"].fill_null(value=False)
    exported.left_out["unfinished"] += int(unfinished.sum())
    exported.left_out = +exported.left_out
    for _, of_day in whole.filter(~unfinished).group_by("training_run_id", "date", maintain_order=True):
        number = of_day["episode_length"].cum_sum() // STEPS_AT_ONCE
        for _, part in of_day.group_by(number, maintain_order=True):
            yield part


class _Lists:
    """A column of lists of numbers as one array."""

    def __init__(self, column: pl.Series) -> None:
        self._numbers: Final = column.explode(empty_as_null=False).to_numpy()
        self._ends: Final = np.concatenate([[0], column.list.len().cast(pl.Int64).cum_sum().to_numpy()])

    def rows(self, first: int, end: int) -> Array | None:
        """The lists of these rows as rows of numbers; None where they differ in length."""
        ends = self._ends[first : end + 1]
        lengths = np.diff(ends)
        if (lengths != lengths[0]).any():
            return None
        return self._numbers[ends[0] : ends[-1]].reshape(end - first, -1 if lengths[0] else 0)


class _Steps:
    """The steps of some episodes of one day, those of an episode one after another.

    Args:
        frame: the columns of `_READ`, ordered.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        whole = frame.with_row_index("first").group_by("episode_id", maintain_order=True)
        spans = whole.agg(pl.col("first").first(), pl.len(), pl.col("step_index").last())
        self._spans: Final = {name: (first, first + size, last) for name, first, size, last in spans.rows()}
        self._lists: Final = {
            name: _Lists(frame[name]) for name in ("observation", "final_observation", "action")
        }
        self._flat: Final = {name: frame[name].to_numpy() for name in ("reward", "terminated", "truncated")}

    @classmethod
    def read(cls, platform: PlatformReader, part: pl.DataFrame) -> Self:
        """Reads the steps of these episodes."""
        relation = platform.catalog[_TRANSITIONS]
        day = part["date"][0]
        condition, parameters = PartitionRange(day, day, part["environment_id"][0]).condition(relation, "t")
        asked: dict[str, ParameterValue] = {**parameters, "episodes": tuple(part["episode_id"].to_list())}
        columns = ", ".join(f"t.`{name}`" for name in ("episode_id", "step_index", *_READ))
        frame = platform.warehouse.query(
            f"SELECT {columns} FROM {relation.quoted_id} AS t WHERE {condition} AND t.episode_id IN UNNEST(@episodes) "
            "ORDER BY t.episode_id, t.step_index",
            asked,
            labels={"asset": relation.id, "purpose": "export"},
        ).frame
        return cls(frame)

    def of(self, row: Mapping[str, Any], spaces: Mapping[str, Space]) -> Arrays | str:
        """The arrays of an episode, or why it is left out."""
        if row["episode_id"] not in self._spans:
            return "without recorded steps"
        first, end, last = self._spans[row["episode_id"]]
        if end - first != row["episode_length"] or last != end - first - 1:
            return "with missing steps"
        rewards, terminations, truncations = (values[first:end] for values in self._flat.values())
        if not (terminations[-1] or truncations[-1]):
            return "without an end"
        seen = self._lists["observation"].rows(first, end)
        final = self._lists["final_observation"].rows(end - 1, end)
        actions = self._lists["action"].rows(first, end)
        if seen is None or final is None or actions is None:
            return _OUTSIDE
        if not seen.shape[1] or not final.shape[1]:
            return "whose observations are kept by reference"
        if seen.shape[1] != final.shape[1]:
            return _OUTSIDE
        observed = arrays("observations", spaces["observation"], np.concatenate([seen, final]))
        acted = arrays("actions", spaces["action"], actions)
        if observed is None or acted is None:
            return _OUTSIDE
        flat = [("rewards", rewards), ("terminations", terminations), ("truncations", truncations)]
        return [*observed, *acted, *((name, np.ascontiguousarray(values)) for name, values in flat)]


def _write_metadata(
    folder: Path,
    dataset_id: str,
    environment: Mapping[str, Any],
    spaces: Mapping[str, Space],
    exported: Exported,
    episodes: pl.DataFrame,
) -> None:
    metadata = {
        "total_episodes": exported.episodes,
        "total_steps": exported.steps,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "observation_space": json.dumps(spaces["observation"]),
        "action_space": json.dumps(spaces["action"]),
        "dataset_size": round((folder / "main_data.hdf5").stat().st_size / 1e6, 1),
        "dataset_id": dataset_id,
        "algorithm_name": ", ".join(sorted(set(episodes["agent_id"]))),
        "description": f"Exported by gaelp_assets from the runs {', '.join(sorted(set(episodes['training_run_id'])))}.",
        "minari_version": MINARI_VERSION,
    }
    if environment["entry_point"]:
        metadata["env_spec"] = json.dumps(
            {
                "id": environment["environment_id"],
                "entry_point": environment["entry_point"],
                "reward_threshold": environment["reward_threshold"],
                "nondeterministic": bool(environment["nondeterministic"]),
                "max_episode_steps": environment["max_episode_steps"],
                "order_enforce": True,
                "disable_env_checker": False,
                "kwargs": environment["parameters"],
                "additional_wrappers": [],
                "vector_entry_point": None,
            }
        )
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")


def _all_days(platform: PlatformReader) -> PartitionRange:
    return PartitionRange(platform.settings.first_date, platform.last_date)
