"""`gaelp export minari` beside Minari's own writer: CPU microseconds a step, of long episodes and of short ones.

    python -m benchmarks.minari_export

Minari is given the same episodes as arrays in memory; ours reads them from the warehouse. Minari, in an interpreter of its own (`--minari
PYTHON`, or an environment that is made for it), then opens both datasets and compares each array. One thread, the median of three; figures
go to `results/minari_export.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.interpreters import interpreter, one_side

RESULTS: Final = Path(__file__).with_name("results") / "minari_export.json"
PINS: Final = ("minari[hdf5]==0.5.4",)
SHAPES: Final = ((200, 200), (2_000, 20))
"""Episodes, and the steps of each."""
DAY, ENVIRONMENT, RUN = "2026-11-20", "CartPole-v1", "run-1"
NUMBERS: Final = 4
OURS, THEIRS = "gaelp/ours-v0", "gaelp/theirs-v0"
REPEATS: Final = 3


def observation(episode: int, step: int) -> list[float]:
    """Numbers that a float32 holds exactly."""
    return [episode / 8, step / 4, 0.5, -1.0]


def space(numbers: int) -> dict[str, Any]:
    """A box without bounds, as the catalogue writes it."""
    return {
        "type": "Box",
        "dtype": "float32",
        "shape": [numbers],
        "low": [None] * numbers,
        "high": [None] * numbers,
    }


def lines(episodes: int, steps: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with their tables."""
    common = {"date": DAY, "environment_id": ENVIRONMENT, "agent_id": "ppo", "training_run_id": RUN}
    yield "environments", {
        "environment_id": ENVIRONMENT, "name": "CartPole", "observation_space_type": "Box", "observation_space": space(NUMBERS),
        "observation_size": NUMBERS, "action_space_type": "Discrete", "action_size": 1, "action_count": 2,
        "action_space": {"type": "Discrete", "dtype": "int64", "n": 2, "start": 0}, "updated_at": f"{DAY}T00:00:00Z",
    }  # fmt: skip
    for episode in range(episodes):
        name = f"episode-{episode:07d}"
        yield "episodes", {
            **common, "episode_id": name, "purpose": "training", "episode_index": episode, "seed": 7, "global_step": (episode + 1) * steps,
            "episode_return": float(steps), "episode_length": steps, "terminated": True, "truncated": False, "unfinished": False,
            "transitions_recorded": True, "ended_at": f"{DAY}T06:00:00Z",
        }  # fmt: skip
        for step in range(steps):
            last = step == steps - 1
            yield "transitions", {
                **common, "episode_id": name, "step_index": step, "global_step": episode * steps + step, "reward": 1.0,
                "observation": observation(episode, step), "action": [step % 2], "terminated": last, "truncated": False,
                "final_observation": observation(episode, steps) if last else [],
            }  # fmt: skip


def write_ours(folder: Path, episodes: int, steps: int) -> float:
    """Loads the episodes and exports them; CPU microseconds a step of the export."""
    from gaelp_assets.catalog.slices import WHOLE, parse_slice_path
    from gaelp_assets.ingest.load import load_slice
    from gaelp_assets.operations.export_minari import export_minari
    from gaelp_assets.platform import open_platform
    from gaelp_assets.settings import load_settings

    variables = {"GAELP_HOME": str(folder / "home"), "GAELP_FIRST_DATE": DAY}
    platform = open_platform(load_settings(variables))
    platform.gateway.prepare()
    rows: dict[str, list[str]] = {}
    for table, row in lines(episodes, steps):
        rows.setdefault(table, []).append(json.dumps(row))
    of_day = f"date={DAY}/environment={ENVIRONMENT}"
    for table, texts in rows.items():
        whole = table == "environments"
        path = folder / "home/export_gateway/cloud_ready/training" / table / ("" if whole else of_day)
        path.mkdir(parents=True, exist_ok=True)
        (path / "rows.ndjson").write_text("\n".join([*texts, ""]), encoding="utf-8")
        slice_ = WHOLE if whole else parse_slice_path(of_day.split("/"))
        load_slice(platform, platform.catalog[f"training.{table}"], slice_, run_id="benchmark")
    began = time.process_time()
    exported = export_minari(platform, OURS, [RUN], folder / "datasets")
    took = time.process_time() - began
    assert exported.steps == episodes * steps
    return took / (episodes * steps) * 1e6


def write_theirs(folder: Path, episodes: int, steps: int) -> float:
    """Has Minari write the same dataset; CPU microseconds a step of what it does with arrays in memory."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "datasets")
    import gymnasium
    import minari
    import numpy as np
    from minari.data_collector.episode_buffer import EpisodeBuffer

    ends = np.arange(steps) == steps - 1
    buffers = [
        EpisodeBuffer(
            id=episode,
            seed=7,
            observations=np.array([observation(episode, step) for step in range(steps + 1)], np.float32),
            actions=np.arange(steps) % 2,
            rewards=np.ones(steps),
            terminations=ends,
            truncations=np.zeros(steps, bool),
        )
        for episode in range(episodes)
    ]
    began = time.process_time()
    minari.create_dataset_from_buffers(
        THEIRS,
        buffers,
        observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (NUMBERS,), np.float32),
        action_space=gymnasium.spaces.Discrete(2),
    )
    took = time.process_time() - began
    ours, theirs = minari.load_dataset(OURS), minari.load_dataset(THEIRS)
    assert (ours.total_episodes, ours.total_steps) == (theirs.total_episodes, theirs.total_steps)
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    names = ("observations", "actions", "rewards", "terminations", "truncations")
    for mine, other in zip(ours.iterate_episodes(), theirs.iterate_episodes(), strict=True):
        for name in names:
            np.testing.assert_array_equal(getattr(mine, name), getattr(other, name), strict=True)
    return float(took / (episodes * steps) * 1e6)


SIDES: Final[dict[str, Callable[[Path, int, int], float]]] = {"gaelp": write_ours, "minari": write_theirs}


def measure(python: str) -> list[dict[str, object]]:
    """The figures of each shape."""
    found: list[dict[str, object]] = []
    for episodes, steps in SHAPES:
        took: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as folder:
                for side, python_of in (("gaelp", sys.executable), ("minari", python)):
                    shape = ("--shape", str(episodes), str(steps))
                    answer = one_side(python_of, "benchmarks.minari_export", "--side", side, folder, *shape)
                    took[side].append(float(answer))
        medians = {f"{side}_us_a_step": round(statistics.median(each), 2) for side, each in took.items()}
        found.append({"episodes": episodes, "steps_of_each": steps, **medians})
    return found


def main() -> None:
    """Measures, prints and notes; or one side alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minari", metavar="PYTHON", help="an interpreter that has Minari")
    parser.add_argument("--side", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--shape", nargs=2, type=int, default=SHAPES[0], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side, place = arguments.side
        print(SIDES[side](Path(place), *arguments.shape))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments.minari or interpreter(Path(folder), PINS))
    text = json.dumps(found, indent=2)
    print(text)
    RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
