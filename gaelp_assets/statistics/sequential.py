"""A verdict between two algorithms that may be asked for after each new seed, without more false alarms than one that is asked for once.

If a t-test is looked at after every seed, until it says what is hoped for, it finds a difference between equal algorithms three times in
ten. The verdict here rests on an e-process: a bet on who wins the next pair of seeds, whose winnings exceed 1 / alpha with a probability
of at most alpha, however often they are looked at (Ville 1939; Ramdas et al. 2023, https://arxiv.org/abs/2210.01948). It is exact where
each is as likely to win as the other, whatever the scores' distribution. The effect has a confidence sequence, which holds at all times,
too, but asymptotically (Waudby-Smith et al. 2024, https://arxiv.org/abs/2103.06476, theorem 2.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from gaelp_assets.errors import Problem
from gaelp_assets.statistics.scores import Floats, OnMissing, Scores, ScoresError, matrix, same_tasks

MINIMUM: Final = 10
"""Seeds a side below which there is no verdict: what is asymptotic is not yet, and few seeds tell of luck."""
PRIOR: Final = 4.0
"""Both parameters of the Beta distribution of bets: of those tried, from 0.5 to 20, it finds 0.4 standard deviations most often."""
TIGHTEST: Final = 30
"""The number of pairs at which the confidence sequence is tightest."""

Text = Literal["too few seeds", "no difference shown", "x is better", "y is better"]


@dataclass(frozen=True)
class Verdict:
    """What can be said of x against y after so many seeds."""

    verdict: Text
    seeds: tuple[int, int]
    """Of x, and of y. As many pairs as the smaller of both are compared, in the order of arrival; the others wait for theirs."""
    wins: int
    losses: int
    ties: int
    e_value: float
    """The greatest winnings so far: 20 and more are evidence at alpha = 0.05."""
    p_value: float
    """1 / `e_value`, at most 1: valid at any time, and what `holm` takes."""
    effect: float
    """The mean difference of a pair, x - y."""
    low: float | None
    """The confidence sequence of the effect; None while there are too few seeds."""
    high: float | None


def ab_verdict(
    x: Scores,
    y: Scores,
    *,
    alpha: float = 0.05,
    minimum: int = MINIMUM,
    on_missing: OnMissing = "warn",
) -> Verdict:
    """The verdict on x against y.

    Args:
        x: runs x tasks in the order of arrival; a run's score is its mean over its tasks.
        y: runs x the same tasks.
        alpha: how likely a false alarm may be, over all looks together.
        minimum: pairs of seeds below which the verdict is "too few seeds".
        on_missing: see `scores.matrix`; a run without any score is an error.

    Raises:
        ScoresError: these are no scores, or not of the same tasks.

    >>> ab_verdict([5.0] * 9, [1.0] * 9).verdict
    'too few seeds'
    >>> ab_verdict([5.0] * 12, [1.0] * 12).verdict
    'x is better'
    """
    if not 0 < alpha < 1 or minimum < 2:
        expected = "an alpha between 0 and 1, such as 0.05, and at least 2 pairs"
        raise ScoresError(Problem(f"alpha {alpha}, minimum {minimum}", expected=expected))
    left, right = matrix(x, name="x", on_missing=on_missing), matrix(y, name="y", on_missing=on_missing)
    same_tasks(left, right)
    of_x, of_y = _run_scores(left, "x"), _run_scores(right, "y")
    pairs = min(len(of_x), len(of_y))
    difference = of_x[:pairs] - of_y[:pairs]
    won, lost = (np.cumsum(np.asarray(found, np.int64)) for found in (difference > 0, difference < 0))
    seeds = (len(of_x), len(of_y))
    counts = {"wins": int(won[-1]), "losses": int(lost[-1]), "ties": int(pairs - won[-1] - lost[-1])}
    effect = float(difference.mean())
    if pairs < minimum:
        return Verdict(
            "too few seeds", seeds, **counts, e_value=1.0, p_value=1.0, effect=effect, low=None, high=None
        )
    logarithms = log_winnings(won, lost)[minimum - 1 :]
    best = int(logarithms.argmax())
    e_value = math.exp(min(max(float(logarithms[best]), 0.0), 700.0))
    verdict: Text = "no difference shown"
    if e_value >= 1 / alpha:
        at = minimum - 1 + best
        verdict = "x is better" if won[at] > lost[at] else "y is better"
    low, high = confidence_sequence(difference, alpha)
    return Verdict(
        verdict, seeds, **counts, e_value=e_value, p_value=1 / e_value, effect=effect, low=low, high=high
    )


def log_winnings(won: npt.NDArray[np.int64], lost: npt.NDArray[np.int64]) -> Floats:
    """The logarithm of the e-process after each pair, of the numbers of wins and losses until then; a tie neither wins nor loses.

    A mixture of bets, by Beta(PRIOR, PRIOR), on each probability of winning against even odds.
    """
    from scipy.special import betaln

    result: Floats = betaln(PRIOR + won, PRIOR + lost) - betaln(PRIOR, PRIOR) + (won + lost) * math.log(2)
    return result


def confidence_sequence(difference: Floats, alpha: float) -> tuple[float, float]:
    """The bounds of the mean of these differences that hold, asymptotically, at all times together with probability 1 - alpha."""
    count = len(difference)
    spread = float(difference.std(ddof=1))
    # What makes the sequence tightest at so many pairs: their equation (10).
    log_alpha = -2 * math.log(alpha)
    rho = math.sqrt((log_alpha + math.log(log_alpha) + 1) / TIGHTEST)
    scaled = count * rho**2 + 1
    width = spread * math.sqrt(2 * scaled / (count**2 * rho**2) * math.log(math.sqrt(scaled) / alpha))
    centre = float(difference.mean())
    return centre - width, centre + width


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjusted p-values of several comparisons, which keep the chance of any false alarm among them (Holm 1979).

    Raises:
        ScoresError: they are not between 0 and 1.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    found = np.asarray(p_values, np.float64)
    if found.ndim != 1 or not ((found >= 0) & (found <= 1)).all():
        raise ScoresError(
            Problem("these are no p-values", expected="numbers between 0 and 1, in one dimension")
        )
    order = np.argsort(found, kind="stable")
    stepped = np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1))
    adjusted = np.empty_like(found)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _run_scores(found: Floats, name: str) -> Floats:
    """Each run's mean over the tasks that it has."""
    there = ~np.isnan(found)
    counts = there.sum(axis=1)
    if not counts.all():
        run = int(np.flatnonzero(counts == 0)[0])
        raise ScoresError(
            Problem(
                f"{name}: run {run} has no score",
                expected="a score on some task",
                remedy="Leave the run out.",
            )
        )
    scores: Floats = np.where(there, found, 0.0).sum(axis=1) / counts
    return scores
