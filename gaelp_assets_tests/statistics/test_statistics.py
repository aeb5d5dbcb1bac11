"""The statistics of runs: against rliable's figures (`reference.py`), against closed forms, and by simulation."""

from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import trim_mean

from gaelp_assets import statistics
from gaelp_assets.statistics import (
    MissingScoresWarning,
    ScoresError,
    ab_verdict,
    bootstrap_interval,
    bootstrap_intervals,
    holm,
    improvement_interval,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    sample_efficiency,
)
from gaelp_assets_tests.statistics.reference import SHAPES, TAUS, matrices

REFERENCE: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("reference.json").read_text(encoding="utf-8")
)
AGGREGATES = {
    "mean": mean, "median": median, "interquartile_mean": interquartile_mean, "optimality_gap": optimality_gap
}  # fmt: skip
CASES = [pytest.param(seed, id=f"{runs}x{tasks}") for seed, (runs, tasks) in enumerate(SHAPES)]
NAN = float("nan")


@pytest.mark.parametrize("seed", CASES)
def test_points_are_rliables(seed: int) -> None:
    x, y = matrices(seed, *SHAPES[seed])
    expected = REFERENCE[seed]
    for name, statistic in AGGREGATES.items():
        assert statistic(x) == pytest.approx(expected["points"][name], abs=1e-12)
    assert probability_of_improvement(x, y) == pytest.approx(expected["improvement"], abs=1e-12)
    assert performance_profile(x, TAUS, replicates=10).shares == pytest.approx(
        np.array(expected["profile"]), abs=1e-12
    )


@pytest.mark.parametrize(
    "seed", [pytest.param(i, id=f"{r}x{t}") for i, (r, t) in enumerate(SHAPES) if r >= 10]
)
def test_intervals_are_rliables_within_the_noise_of_the_draws(seed: int) -> None:
    """The bound of an interval is a percentile of 2,000 draws, each of which has the standard error of the statistic."""
    x, y = matrices(seed, *SHAPES[seed])
    expected = REFERENCE[seed]
    found = bootstrap_intervals(x, AGGREGATES, seed=1)
    pairs = [(found[name], expected["intervals"][name]) for name in AGGREGATES]
    pairs.append((improvement_interval(x, y, seed=1), expected["improvement_interval"]))
    for interval, (low, high) in pairs:
        # The standard deviation of an extreme percentile of so many draws is about 0.06 of theirs.
        noise = 3 * 0.06 * interval.standard_error * 2**0.5
        assert interval.low == pytest.approx(low, abs=noise)
        assert interval.high == pytest.approx(high, abs=noise)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    x, y = matrices(0, 8, 3)
    ask = (
        lambda seed: bootstrap_interval(x, interquartile_mean, seed=seed),
        lambda seed: improvement_interval(x, y[:, :3], seed=seed),
        lambda seed: performance_profile(x, TAUS, seed=seed).low.tolist(),
    )
    for one in ask:
        assert one(3) == one(3)
        assert one(3) != one(4)


def test_a_function_of_ones_own_has_the_interval_of_the_same_one_of_the_package() -> None:
    x, _ = matrices(0, 6, 2)
    own = bootstrap_interval(x, lambda scores: float(np.mean(scores)), seed=5, replicates=50)
    package = bootstrap_interval(x, mean, seed=5, replicates=50)
    assert (own.low, own.high) == pytest.approx((package.low, package.high), abs=1e-12)
    half = bootstrap_interval(x, partial(optimality_gap, gamma=0.5), seed=5, replicates=50)
    assert half.point == optimality_gap(x, 0.5)


def test_many_replicates_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = matrices(0, 6, 2)
    monkeypatch.setattr(statistics.intervals, "CELLS_AT_ONCE", 25)
    found = bootstrap_interval(x, mean, seed=5, replicates=101)
    assert found.replicates == 101
    assert found.low < found.point < found.high


matrix = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(-1e6, 1e6))


@settings(max_examples=50, deadline=None)
@given(scores=matrix, seed=st.integers(0, 99))
def test_order_of_runs_and_tasks_does_not_matter_and_scales_carry_over(scores: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    mixed = scores[random.permutation(len(scores))][:, random.permutation(scores.shape[1])]
    for statistic in (mean, median, interquartile_mean):
        value = statistic(scores)
        assert statistic(mixed) == pytest.approx(value, rel=1e-9, abs=1e-6)
        assert statistic(2 * scores + 1) == pytest.approx(2 * value + 1, rel=1e-9, abs=1e-6)
        assert scores.min() - 1e-6 <= value <= scores.max() + 1e-6
    assert interquartile_mean(scores) == pytest.approx(
        trim_mean(scores, 0.25, axis=None), rel=1e-12, abs=1e-9
    )
    assert probability_of_improvement(scores, mixed[:, :] * 0 + scores[:1]) + probability_of_improvement(
        np.broadcast_to(scores[:1], scores.shape), scores
    ) == pytest.approx(1.0)


def test_missing_cells_are_told_and_no_nan_comes_out() -> None:
    scores = [[1.0, 5.0], [2.0, NAN], [3.0, NAN]]
    text = "2 of 6 cells are missing; task 1 has 1 of 3 runs"
    with pytest.warns(MissingScoresWarning, match=text):
        assert mean(scores) == 3.5
    with pytest.raises(ScoresError, match=text):
        mean(scores, on_missing="refuse")
    quiet: dict[str, Any] = {"on_missing": "allow"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert median(scores, **quiet) == 3.5
        assert interquartile_mean(scores, **quiet) == 2.5
        assert optimality_gap(scores, 2.0, **quiet) == 0.25
        assert probability_of_improvement(scores, [[0.0, 5.0]], **quiet) == 0.75
        assert performance_profile(scores, [2.0], **quiet).shares.tolist() == [0.5]
        interval = bootstrap_interval(scores, mean, seed=1, **quiet)
        assert interval.runs == (3, 1)
        # The only run of a task is drawn each time.
        assert (interval.low, interval.high) == pytest.approx((3.0 + 1 / 6, 4.0 - 1 / 6), abs=0.2)
    assert statistics.missing_cells(scores) == [(1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ([], "0 runs and 1 tasks"),
        ([[1.0, NAN], [2.0, NAN]], "no run at all on task 1"),
        ([1.0, float("inf")], "an infinite score of run 1 on task 0"),
        ([[[1.0]]], "3 dimensions"),
        ([[1.0], [1.0, 2.0]], "no array of numbers"),
        (["a"], "no array of numbers"),
    ],
)
def test_what_is_no_matrix_is_refused(scores: Any, told: str) -> None:
    with pytest.raises(ScoresError, match=told):
        interquartile_mean(scores)


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ScoresError, match="2 and 1 tasks"):
        probability_of_improvement([[1.0, 2.0]], [[1.0]])
    for options in ({"replicates": 0}, {"confidence": 1.0}):
        with pytest.raises(ScoresError, match="confidence"):
            bootstrap_interval([1.0], mean, seed=1, **options)
    with pytest.raises(ScoresError, match="taus"):
        performance_profile([1.0], [NAN])
    with pytest.raises(ScoresError, match="ascending steps"):
        sample_efficiency([[1.0, 2.0]], [2, 1], seed=1)
    with pytest.raises(ScoresError, match="p-values"):
        holm([2.0])
    with pytest.raises(ScoresError, match="alpha"):
        ab_verdict([1.0], [2.0], alpha=0.0)


def test_sample_efficiency_is_the_interquartile_mean_at_each_step() -> None:
    scores = np.random.default_rng(1).normal(size=(9, 2, 3))
    found = sample_efficiency(scores, [10, 20, 30], seed=4, replicates=50)
    assert found.steps == (10.0, 20.0, 30.0)
    assert [i.point for i in found.intervals] == [interquartile_mean(scores[:, :, k]) for k in range(3)]
    assert all(i.low <= i.point <= i.high for i in found.intervals)


def test_holms_textbook_case() -> None:
    assert holm([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm([]).tolist() == []


def test_a_verdict_tells_how_many_seeds_stand_behind_it() -> None:
    few = ab_verdict([3.0] * 9, [1.0] * 12)
    assert (few.verdict, few.seeds, few.wins, few.low) == ("too few seeds", (9, 12), 9, None)
    assert few.p_value == 1.0
    better = ab_verdict([3.0, 5.0] * 10, [1.0, 4.0] * 10)
    assert (better.verdict, better.seeds, better.wins) == ("x is better", (20, 20), 20)
    assert better.low is not None
    assert better.low < better.effect == 1.5
    worse = ab_verdict([1.0, 4.0] * 10, [3.0, 5.0] * 10)
    assert (worse.verdict, worse.e_value) == ("y is better", better.e_value)
    same = ab_verdict([1.0] * 50, [1.0] * 50)
    assert (same.verdict, same.ties, same.e_value, same.low, same.high) == (
        "no difference shown",
        50,
        1.0,
        0,
        0,
    )


def test_a_verdict_once_reached_stays() -> None:
    x, y = [2.0] * 20 + [0.0] * 30, [1.0] * 50
    assert ab_verdict(x[:20], y[:20]).verdict == ab_verdict(x, y).verdict == "x is better"


@pytest.mark.parametrize("draw", ["normal", "cauchy", "coins"])
def test_equal_algorithms_look_different_at_most_as_often_as_alpha_says(draw: str) -> None:
    """A look at each seed from the tenth on, of 400 pairs of equal algorithms; a t-test that is looked at as often fails in 3 of 10."""
    random = np.random.default_rng(2)
    samples: dict[str, Any] = {
        "normal": random.normal(size=(2, 400, 100)),
        "cauchy": random.standard_cauchy((2, 400, 100)),
        "coins": random.integers(0, 2, (2, 400, 100)).astype(float),
    }
    found = [ab_verdict(x, y).verdict for x, y in zip(*samples[draw], strict=True)]
    alarms = [verdict != "no difference shown" for verdict in found]
    assert np.mean(alarms) <= 0.05


def test_a_verdict_finds_a_great_difference_soon() -> None:
    random = np.random.default_rng(3)
    x, y = random.normal(1.0, 1.0, (100, 100)), random.normal(0.0, 1.0, (100, 100))
    found = [ab_verdict(a, b) for a, b in zip(x, y, strict=True)]
    assert np.mean([verdict.verdict == "x is better" for verdict in found]) > 0.95
    assert all(verdict.low is not None and verdict.low < 1.0 for verdict in found)
