"""Confidence intervals by the stratified bootstrap: the runs of each task are drawn again, independently of those of the others.

Percentiles of the replicates, as in Agarwal et al. 2021 (see `aggregates`). The same seed gives the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from gaelp_assets.errors import Problem
from gaelp_assets.statistics.aggregates import of_many
from gaelp_assets.statistics.scores import Floats, OnMissing, Scores, ScoresError, matrix, runs_of_tasks

REPLICATES: Final = 2_000
CELLS_AT_ONCE: Final = 4_000_000
"""Of replicates that are in memory at a time: 32 MB, and as much again while they are sorted."""


@dataclass(frozen=True)
class Interval:
    """A value and the interval around it, with what stands behind them."""

    point: float
    low: float
    high: float
    confidence: float
    replicates: int
    runs: tuple[int, ...]
    """How many runs each task has."""

    @property
    def standard_error(self) -> float:
        """Half the width of the interval, in standard deviations of a normal distribution: about what the bootstrap's own would be."""
        from scipy.special import ndtri

        return (self.high - self.low) / (2 * float(ndtri(0.5 + self.confidence / 2)))


def bootstrap_interval(
    scores: Scores,
    statistic: Callable[..., float],
    *,
    seed: int,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    on_missing: OnMissing = "warn",
) -> Interval:
    """The statistic of the scores, and its interval.

    Args:
        scores: runs x tasks.
        statistic: a function from runs x tasks to a number, such as `interquartile_mean`; one of this package is computed for all
            replicates at once. `functools.partial(optimality_gap, gamma=0.5)` is one, too.
        seed: of the random draws.
        replicates: how often all runs are drawn again.
        confidence: how much of the replicates the interval holds, between 0 and 1.
        on_missing: see `scores.matrix`.

    Raises:
        ScoresError: these are no scores, or no such interval.

    >>> from gaelp_assets.statistics import interquartile_mean
    >>> found = bootstrap_interval([[0.1, 0.4], [0.2, 0.5], [0.3, 0.9]], interquartile_mean, seed=7)
    >>> round(found.point, 2), found.low <= found.point <= found.high, found.runs
    (0.35, True, (3, 3))
    """
    [found] = bootstrap_intervals(
        scores,
        {"": statistic},
        seed=seed,
        replicates=replicates,
        confidence=confidence,
        on_missing=on_missing,
    ).values()
    return found


def bootstrap_intervals(
    scores: Scores,
    statistics: Mapping[str, Callable[..., float]],
    *,
    seed: int,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    on_missing: OnMissing = "warn",
) -> dict[str, Interval]:
    """The same of several statistics, by their names, all of the same draws. Arguments and errors are those of `bootstrap_interval`."""
    found = matrix(scores, on_missing=on_missing)
    check_bootstrap(replicates, confidence)
    values: dict[str, list[Floats]] = {name: [] for name in statistics}
    for many in resampled(found, replicates, np.random.default_rng(seed)):
        for name, statistic in statistics.items():
            values[name].append(_of_many(statistic, many))
    runs = runs_of_tasks(found)
    return {
        name: percentiles(
            float(_of_many(statistic, found[np.newaxis])[0]), np.concatenate(values[name]), confidence, runs
        )
        for name, statistic in statistics.items()
    }


def difference_interval(
    x: Scores,
    y: Scores,
    statistic: Callable[..., float],
    *,
    seed: int,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    on_missing: OnMissing = "warn",
) -> Interval:
    """The statistic of x less that of y, and its interval: both are drawn again, independently. `runs` are those of x, then those of y.

    Arguments and errors are those of `bootstrap_interval`; x and y need not be of the same tasks.

    >>> from gaelp_assets.statistics import mean
    >>> found = difference_interval([3.0, 4.0, 5.0], [1.0, 1.0], mean, seed=7)
    >>> found.point, found.low > 0, found.runs
    (3.0, True, (3, 2))
    """
    left, right = matrix(x, name="x", on_missing=on_missing), matrix(y, name="y", on_missing=on_missing)
    check_bootstrap(replicates, confidence)
    random = np.random.default_rng(seed)
    point, values = 0.0, np.zeros(replicates)
    for found, sign in ((left, 1.0), (right, -1.0)):
        point += sign * float(_of_many(statistic, found[np.newaxis])[0])
        drawn = [_of_many(statistic, many) for many in resampled(found, replicates, random)]
        values += sign * np.concatenate(drawn)
    return percentiles(point, values, confidence, runs_of_tasks(left) + runs_of_tasks(right))


def check_bootstrap(replicates: int, confidence: float) -> None:
    """Nothing, if there can be such a bootstrap.

    Raises:
        ScoresError: there cannot.
    """
    if replicates < 1 or not 0 < confidence < 1:
        raise ScoresError(
            Problem(
                f"replicates {replicates}, confidence {confidence}",
                expected="at least one replicate, and a confidence between 0 and 1, such as 0.95",
            )
        )


def resampled(found: Floats, replicates: int, random: np.random.Generator) -> Iterator[Floats]:
    """Replicates x runs x tasks, in parts that fit into memory; a task's runs are drawn from those that it has, and the rest stays NaN."""
    runs, tasks = found.shape
    counts = np.array(runs_of_tasks(found))
    # The runs of each task that there are stand first.
    ordered = np.take_along_axis(found, np.argsort(np.isnan(found), axis=0, kind="stable"), axis=0)
    flat = np.ascontiguousarray(ordered.T).ravel()
    starts = np.arange(tasks) * runs
    at_once = max(1, CELLS_AT_ONCE // found.size)
    for first in range(0, replicates, at_once):
        number = min(at_once, replicates - first)
        drawn = random.integers(0, counts, size=(number, runs, tasks), dtype=np.int64)
        many = flat[drawn + starts]
        if (counts < runs).any():
            many[:, np.arange(runs)[:, np.newaxis] >= counts] = np.nan
        yield many


def percentiles(point: float, values: Floats, confidence: float, runs: tuple[int, ...]) -> Interval:
    """The interval that holds the middle of these values."""
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(point, float(low), float(high), confidence, len(values), runs)


def _of_many(statistic: Callable[..., float], many: Floats) -> npt.NDArray[np.float64]:
    batched = of_many(statistic)
    if batched is not None:
        return batched(many)
    return np.array([statistic(one) for one in many], np.float64)
