"""Curves of scores: how many runs are above each score, and how good they are at each step (Agarwal et al. 2021, see `aggregates`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gaelp_assets.errors import Problem
from gaelp_assets.statistics.aggregates import interquartile_mean
from gaelp_assets.statistics.intervals import (
    REPLICATES,
    Interval,
    bootstrap_interval,
    check_bootstrap,
    resampled,
)
from gaelp_assets.statistics.scores import Floats, OnMissing, Scores, ScoresError, matrix, runs_of_tasks

ScoresAtSteps: TypeAlias = npt.ArrayLike


@dataclass(frozen=True)
class Profile:
    """The share of cells above each score `taus`, with the bounds of its interval at each."""

    taus: Floats
    shares: Floats
    low: Floats
    high: Floats
    runs: tuple[int, ...]


@dataclass(frozen=True)
class Curve:
    """An interval at each step."""

    steps: tuple[float, ...]
    intervals: tuple[Interval, ...]


def performance_profile(
    scores: Scores,
    taus: npt.ArrayLike,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    on_missing: OnMissing = "warn",
) -> Profile:
    """The share of runs, over all tasks, whose score is above each of `taus` (the run-score distribution), with pointwise intervals.

    Args:
        scores: runs x tasks.
        taus: scores, of one dimension.
        seed: of the random draws of the intervals.
        replicates: how often all runs are drawn again.
        confidence: how much of the replicates the intervals hold.
        on_missing: see `scores.matrix`.

    Raises:
        ScoresError: these are no scores, or `taus` are none or not finite.

    >>> performance_profile([0.1, 0.5, 0.9, 0.9], [0.0, 0.5, 1.0]).shares.tolist()
    [1.0, 0.5, 0.0]
    """
    found = matrix(scores, on_missing=on_missing)
    check_bootstrap(replicates, confidence)
    at = np.asarray(taus, np.float64)
    if at.ndim != 1 or not at.size or not np.isfinite(at).all():
        raise ScoresError(
            Problem(f"taus of the shape {at.shape}", expected="some finite scores, in one dimension")
        )
    drawn = resampled(found, replicates, np.random.default_rng(seed))
    shares = [_shares(many.reshape(len(many), -1), at) for many in drawn]
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(np.concatenate(shares), [tail, 100 - tail], axis=0)
    return Profile(at, _shares(found.reshape(1, -1), at)[0], low, high, runs_of_tasks(found))


def _shares(cells: Floats, taus: Floats) -> Floats:
    """Replicates x taus; NaN is above nothing, and does not count."""
    counts = (~np.isnan(cells)).sum(axis=1)
    ordered = np.sort(cells, axis=1)
    not_above = np.stack(
        [np.searchsorted(row[:count], taus, side="right") for row, count in zip(ordered, counts, strict=True)]
    )
    shares: Floats = 1 - not_above / counts[:, np.newaxis]
    return shares


def sample_efficiency(
    scores: ScoresAtSteps,
    steps: npt.ArrayLike,
    *,
    seed: int,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
    on_missing: OnMissing = "warn",
) -> Curve:
    """The interquartile mean at each step, with its interval.

    Args:
        scores: runs x tasks x steps, or runs x steps of one task.
        steps: the training steps, ascending.
        seed: of the random draws; each step's are the same.
        replicates: how often all runs are drawn again.
        confidence: how much of the replicates the intervals hold.
        on_missing: see `scores.matrix`; a step at which a task has no run at all is an error.

    Raises:
        ScoresError: these are no scores, or not as many as steps.
    """
    found = np.asarray(scores, np.float64)
    if found.ndim == 2:
        found = found[:, np.newaxis, :]
    at = np.asarray(steps, np.float64)
    if found.ndim != 3 or at.ndim != 1 or found.shape[2] != at.size or not (np.diff(at) > 0).all():
        raise ScoresError(
            Problem(
                f"scores of the shape {found.shape} and steps of the shape {at.shape}",
                expected="scores of runs x tasks x steps, and as many ascending steps",
            )
        )
    intervals = tuple(
        bootstrap_interval(
            found[:, :, place],
            interquartile_mean,
            seed=seed,
            replicates=replicates,
            confidence=confidence,
            on_missing=on_missing,
        )
        for place in range(at.size)
    )
    return Curve(tuple(at.tolist()), intervals)
