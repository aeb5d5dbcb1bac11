"""Writes `reference.json`: what rliable says of some matrices, for the tests. Run in an environment of its own:

    pip install rliable==1.2.0 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 arch==7.2.0
    python reference.py

(rliable does not import beside pandas 3, and its intervals are not reproducible.) The matrices are made again from their seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

SHAPES = [(5, 1), (3, 4), (10, 7), (50, 10), (4, 2), (7, 3)]
TAUS = [0.0, 0.5, 1.0, 1.5]
REPLICATES = 2_000


def matrices(seed: int, runs: int, tasks: int) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices; every other pair has equal scores in it."""
    random = np.random.default_rng(seed)
    x, y = random.normal(1.0, 0.5, (runs, tasks)), random.normal(0.8, 0.5, (runs + 1, tasks))
    return (x.round(1), y.round(1)) if seed % 2 else (x, y)


def main() -> None:
    from rliable import library, metrics

    found = []
    for seed, (runs, tasks) in enumerate(SHAPES):
        x, y = matrices(seed, runs, tasks)
        aggregates = {
            "mean": metrics.aggregate_mean,
            "median": metrics.aggregate_median,
            "interquartile_mean": metrics.aggregate_iqm,
            "optimality_gap": metrics.aggregate_optimality_gap,
        }

        def every(scores: np.ndarray, functions: Iterable[Any] = tuple(aggregates.values())) -> np.ndarray:
            return np.array([function(scores) for function in functions])

        points, intervals = library.get_interval_estimates({"x": x}, every, reps=REPLICATES)
        _, improvement = library.get_interval_estimates(
            {"x,y": (x, y)}, metrics.probability_of_improvement, reps=REPLICATES
        )
        profiles, _ = library.create_performance_profile({"x": x}, np.array(TAUS), reps=10)
        found.append(
            {
                "points": dict(zip(aggregates, points["x"].tolist(), strict=True)),
                "intervals": dict(zip(aggregates, intervals["x"].T.tolist(), strict=True)),
                "improvement": float(metrics.probability_of_improvement(x, y)),
                "improvement_interval": improvement["x,y"].ravel().tolist(),
                "profile": profiles["x"].tolist(),
            }
        )
    Path(__file__).with_name("reference.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
