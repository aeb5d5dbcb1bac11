"""One number for a run x task matrix: mean, median, interquartile mean and optimality gap, as in Agarwal et al. 2021, "Deep Reinforcement
Learning at the Edge of the Statistical Precipice" (https://arxiv.org/abs/2108.13264).

Each has a form for many matrices at once, `of_many`, which the bootstrap calls.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from gaelp_assets.statistics.scores import Floats, OnMissing, Scores, matrix

Batched = Callable[[Floats], Floats]
"""From replicates x runs x tasks to a number for each replicate."""


def mean(scores: Scores, *, on_missing: OnMissing = "warn") -> float:
    """The mean over tasks of each task's mean over its runs.

    >>> mean([[1.0, 2.0], [3.0, 6.0]])
    3.0
    """
    return float(_mean(matrix(scores, on_missing=on_missing)[np.newaxis])[0])


def median(scores: Scores, *, on_missing: OnMissing = "warn") -> float:
    """The median over tasks of each task's mean over its runs.

    >>> median([[1.0, 2.0, 9.0], [3.0, 6.0, 9.0]])
    4.0
    """
    return float(_median(matrix(scores, on_missing=on_missing)[np.newaxis])[0])


def interquartile_mean(scores: Scores, *, on_missing: OnMissing = "warn") -> float:
    """The mean of the middle half of all cells: of n cells, the floor(n / 4) lowest and as many highest are left out.

    The same as `scipy.stats.trim_mean(scores, 0.25, axis=None)`.

    >>> interquartile_mean([0.0, 1.0, 2.0, 90.0])
    1.5
    """
    return float(_interquartile_mean(matrix(scores, on_missing=on_missing)[np.newaxis])[0])


def optimality_gap(scores: Scores, gamma: float = 1.0, *, on_missing: OnMissing = "warn") -> float:
    """How far all cells are, in the mean, from `gamma`, where one that is above it counts as `gamma`: smaller is better.

    >>> optimality_gap([0.5, 2.0])
    0.25
    """
    found = matrix(scores, on_missing=on_missing)[np.newaxis]
    return float(_optimality_gap(found, gamma=gamma)[0])


def of_many(statistic: Callable[..., float]) -> Batched | None:
    """The form of one of these functions for many matrices; None for any other function."""
    if isinstance(statistic, partial) and not statistic.args:
        known = _BATCHED.get(statistic.func)
        options = {name: value for name, value in statistic.keywords.items() if name != "on_missing"}
        return partial(known, **options) if known is not None else None
    return _BATCHED.get(statistic)


def _mean(many: Floats) -> Floats:
    return np.asarray(_task_means(many).mean(axis=1))


def _median(many: Floats) -> Floats:
    result: Floats = np.median(_task_means(many), axis=1)
    return result


def _task_means(many: Floats) -> Floats:
    missing = np.isnan(many)
    if not missing.any():
        return np.asarray(many.mean(axis=1))
    counts = (~missing).sum(axis=1)
    return np.asarray(np.where(missing, 0.0, many).sum(axis=1) / counts)


def _interquartile_mean(many: Floats) -> Floats:
    cells = many.reshape(len(many), -1)
    counts = (~np.isnan(cells)).sum(axis=1)
    result = np.empty(len(cells))
    # Replicates of a matrix with missing cells have as many of them: resampling goes by task.
    for count in np.unique(counts):
        alike = cells[counts == count]
        cut = int(count) // 4
        # NaN is sorted behind all numbers.
        bounds = sorted({min(cut, count - 1), count - 1 - cut, count - 1})
        middle = np.partition(alike, bounds, axis=1)[:, cut : count - cut]
        result[counts == count] = middle.mean(axis=1)
    return result


def _optimality_gap(many: Floats, gamma: float = 1.0) -> Floats:
    cells = many.reshape(len(many), -1)
    missing = np.isnan(cells)
    below = np.minimum(cells, gamma)
    if not missing.any():
        return np.asarray(gamma - below.mean(axis=1))
    return np.asarray(gamma - np.where(missing, 0.0, below).sum(axis=1) / (~missing).sum(axis=1))


_BATCHED: Final[dict[Callable[..., float], Callable[..., Floats]]] = {
    mean: _mean,
    median: _median,
    interquartile_mean: _interquartile_mean,
    optimality_gap: _optimality_gap,
}
