"""How likely a run of one algorithm is better than one of another, on a task drawn at random (Agarwal et al. 2021, see `aggregates`)."""

from __future__ import annotations

from typing import Final

import numpy as np

from gaelp_assets.statistics.intervals import REPLICATES, Interval, check_bootstrap, percentiles
from gaelp_assets.statistics.scores import Floats, OnMissing, Scores, matrix, runs_of_tasks, same_tasks

REPLICATES_AT_ONCE: Final = 20_000


def probability_of_improvement(x: Scores, y: Scores, *, on_missing: OnMissing = "warn") -> float:
    """The mean over tasks of the share of pairs of a run of x and one of y in which that of x has the higher score; equal ones count half.

    The Mann-Whitney statistic of each task, divided by the number of pairs.

    Args:
        x: runs x tasks.
        y: runs x the same tasks; another number of runs is fine.
        on_missing: see `scores.matrix`.

    Raises:
        ScoresError: these are no scores, or not of the same tasks.

    >>> probability_of_improvement([1.0, 2.0], [0.0, 1.0])
    0.875
    """
    left, right = _both(x, y, on_missing)
    return float(np.mean([wins.mean() for wins in _wins(left, right)]))


def improvement_interval(
    x: Scores,
    y: Scores,
    *,
    seed: int,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    on_missing: OnMissing = "warn",
) -> Interval:
    """The probability of improvement of x over y, with the stratified bootstrap's interval; `runs` are those of x, then those of y.

    Arguments and errors are those of `probability_of_improvement` and `bootstrap_interval`.
    """
    left, right = _both(x, y, on_missing)
    check_bootstrap(replicates, confidence)
    random = np.random.default_rng(seed)
    wins = _wins(left, right)
    total = np.zeros(replicates)
    for of_task in wins:
        # How often each run was drawn says as much as the runs that were, in fewer steps.
        for first in range(0, replicates, REPLICATES_AT_ONCE):
            part = slice(first, min(first + REPLICATES_AT_ONCE, replicates))
            number = part.stop - part.start
            drawn_left = _drawn(of_task.shape[0], number, random)
            drawn_right = _drawn(of_task.shape[1], number, random)
            total[part] += np.einsum("ij,ij->i", drawn_left @ of_task, drawn_right) / of_task.size
    values = total / len(wins)
    point = float(np.mean([of_task.mean() for of_task in wins]))
    return percentiles(point, values, confidence, runs_of_tasks(left) + runs_of_tasks(right))


def _both(x: Scores, y: Scores, on_missing: OnMissing) -> tuple[Floats, Floats]:
    left, right = matrix(x, name="x", on_missing=on_missing), matrix(y, name="y", on_missing=on_missing)
    same_tasks(left, right)
    return left, right


def _wins(left: Floats, right: Floats) -> list[Floats]:
    """For each task, runs of x by runs of y: 1 where that of x is better, 0.5 where both are equal."""
    found = []
    for of_x, of_y in zip(left.T, right.T, strict=True):
        one, other = of_x[~np.isnan(of_x), np.newaxis], of_y[~np.isnan(of_y)]
        found.append((one > other) + 0.5 * (one == other))
    return found


def _drawn(runs: int, replicates: int, random: np.random.Generator) -> Floats:
    """Replicates x runs: how often each run is drawn, if as many as there are are drawn with replacement."""
    drawn = random.integers(0, runs, size=(replicates, runs))
    places = drawn + (np.arange(replicates) * runs)[:, np.newaxis]
    return (
        np.bincount(places.ravel(), minlength=replicates * runs).reshape(replicates, runs).astype(np.float64)
    )
