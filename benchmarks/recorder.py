"""What recording costs at a step, against the field's own wrappers: processor time over the bare loop, medians of interleaved rounds.

    python -m benchmarks.recorder [--steps 200000] [--rounds 5]

Everything that a recorder does counts, its writer's thread and its closing too. Minari takes part where it is installed.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from gaelp_assets.record import RecordEnv, Recorder, RecordVectorEnv

LANES = 8
Loop = Callable[[Path, int], None]


def single(env: Any, steps: int) -> None:
    actions = np.random.default_rng(0).integers(0, 2, steps)
    env.reset(seed=0)
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()


def vector(envs: Any, steps: int) -> None:
    actions = np.random.default_rng(0).integers(0, 2, (steps // LANES, LANES))
    envs.reset(seed=0)
    for action in actions:
        envs.step(action)


def make() -> Any:
    return gymnasium.make("CartPole-v1")


def make_vec() -> Any:
    return gymnasium.make_vec("CartPole-v1", num_envs=LANES, vectorization_mode="sync")


class JsonEachStep(gymnasium.Wrapper[Any, Any, Any, Any]):
    """What many loops do by hand: a line of JSON for each step."""

    def __init__(self, env: Any, folder: Path) -> None:
        super().__init__(env)
        self._file = (folder / "steps.ndjson").open("w")
        self._seen: Any = None

    def reset(self, **told: Any) -> Any:
        self._seen, info = self.env.reset(**told)
        return self._seen, info

    def step(self, action: Any) -> Any:
        answer = self.env.step(action)
        seen, reward, terminated, truncated, _ = answer
        row = {
            "observation": self._seen.tolist(), "action": [float(action)], "reward": float(reward),
            "terminated": terminated, "truncated": truncated,
        }  # fmt: skip
        self._file.write(json.dumps(row) + "\n")
        self._seen = seen
        return answer

    def close(self) -> None:
        self._file.close()
        super().close()


def recorded(transitions: bool, *, lanes: bool) -> Loop:
    def loop(folder: Path, steps: int) -> None:
        with Recorder(folder / "gateway", run="benchmark", algorithm="random") as recorder:
            if lanes:
                vector(RecordVectorEnv(make_vec(), recorder, transitions), steps)
            else:
                single(RecordEnv(make(), recorder, transitions), steps)
        assert recorder.dropped == {}, recorder.dropped

    return loop


def wrapped(wrap: Callable[[Path], Any], loop: Callable[[Any, int], None]) -> Loop:
    def run(folder: Path, steps: int) -> None:
        env = wrap(folder)
        loop(env, steps)
        env.close()

    return run


def minari_loop(folder: Path, steps: int) -> None:
    import minari

    env = minari.DataCollector(make())
    single(env, steps)
    env.create_dataset(dataset_id=f"benchmark/{folder.name.lower()}-v0")


def contenders() -> dict[str, tuple[str, Loop]]:
    """By name: which bare loop it is compared with, and the loop."""
    statistics_ = gymnasium.wrappers.RecordEpisodeStatistics
    found = {
        "bare": ("bare", wrapped(lambda _: make(), single)),
        "RecordEpisodeStatistics": ("bare", wrapped(lambda _: statistics_(make()), single)),
        "RecordEnv, episodes": ("bare", recorded(False, lanes=False)),
        "RecordEnv, transitions": ("bare", recorded(True, lanes=False)),
        "json.dumps each step": ("bare", wrapped(lambda folder: JsonEachStep(make(), folder), single)),
        "bare vector": ("bare vector", wrapped(lambda _: make_vec(), vector)),
        "RecordVectorEnv, episodes": ("bare vector", recorded(False, lanes=True)),
        "RecordVectorEnv, transitions": ("bare vector", recorded(True, lanes=True)),
    }
    try:
        import minari  # noqa: F401 - whether it is there
    except ImportError:
        return found
    return {**found, "Minari DataCollector": ("bare", minari_loop)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    taken: dict[str, list[float]] = {}
    loops = contenders()
    for _ in range(options.rounds):
        for name, (_, loop) in loops.items():
            steps = options.steps // 20 if "Minari" in name else options.steps
            with tempfile.TemporaryDirectory() as folder:
                begun = time.process_time()
                loop(Path(folder), steps)
                taken.setdefault(name, []).append((time.process_time() - begun) / steps * 1e6)
    for name, (base, _) in loops.items():
        own = statistics.median(taken[name])
        over = statistics.median(a - b for a, b in zip(taken[name], taken[base], strict=True))
        print(f"{name:32} {own:8.2f} us a step   {over:+8.2f} over {base}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
