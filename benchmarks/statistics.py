"""`gaelp_assets.statistics` beside rliable, and how often a verdict that is looked at after each seed is wrong.

rliable needs another pandas, so that it is measured by an interpreter of its own: `--rliable PYTHON`, or an environment that is made
for it, with the versions below. Both sides have the same matrices, one thread and a call to warm up; what is compared is CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np

from benchmarks.interpreters import interpreter, one_side

RESULTS: Final = Path(__file__).with_name("results") / "statistics.json"
PINS: Final = ("rliable==1.2.0", "pandas==2.3.3", "numpy==2.4.6", "scipy==1.17.1", "arch==7.2.0")
RUNS, TASKS, REPLICATES, CALLS = 50, 10, 2_000, 3
TESTS, FIRST, LAST, ALPHA = 2_000, 10, 100, 0.05
AGGREGATES: Final = ("mean", "median", "interquartile_mean", "optimality_gap")
IMPROVEMENT: Final = "probability of improvement"

Drawn = np.ndarray[Any, np.dtype[np.float64]]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Drawn]
EQUAL: Final[dict[str, Draw]] = {
    "normal": lambda random, shape: random.normal(size=shape),
    "Student's t with 2 degrees": lambda random, shape: random.standard_t(2, shape),
    "Cauchy": lambda random, shape: random.standard_cauchy(shape),
    "log-normal": lambda random, shape: random.lognormal(0.0, 1.5, shape),
    "solved or not": lambda random, shape: random.binomial(1, 0.3, shape).astype(np.float64),
    "five levels": lambda random, shape: random.integers(0, 5, shape).astype(np.float64),
    "two modes": lambda random, shape: random.normal(10.0 * random.binomial(1, 0.5, shape), 1.0),
}
"""Of what both algorithms' scores are drawn."""
BETTER: Final = {"0.4 of a difference's deviation": 0.4 * 2**0.5, "0.4 of a score's deviation": 0.4}
"""By how much one is better, of normal scores with a deviation of 1."""


class Side(TypedDict):
    """What one side says of the matrices, and the median of the CPU seconds of its calls."""

    aggregates_s: float
    improvement_s: float
    points: dict[str, float]
    intervals: dict[str, list[float]]


class Looks(TypedDict):
    """The share of tests in which a look at any seed showed a difference."""

    scores: str
    verdict: float
    sequence: float
    t_test: float
    median_seeds: float | None
    """Of the verdicts that found one."""


class Figures(TypedDict):
    """All that was measured."""

    ours: Side
    rliable: Side
    greatest_point_difference: float
    greatest_bound_difference: float
    """In bootstrap standard errors of the statistic."""
    tests: int
    equal: list[Looks]
    better: list[Looks]


def matrices() -> tuple[Drawn, Drawn]:
    """The same on both sides."""
    random = np.random.default_rng(0)
    return random.normal(1.0, 0.5, (RUNS, TASKS)), random.normal(0.95, 0.5, (RUNS, TASKS))


def of_ours() -> Side:
    """This package's side."""
    from gaelp_assets import statistics as ours

    x, y = matrices()
    functions = {name: getattr(ours, name) for name in AGGREGATES}
    aggregates, seconds = timed(lambda n: ours.bootstrap_intervals(x, functions, seed=1, replicates=n))
    improvement, of_improvement = timed(lambda n: ours.improvement_interval(x, y, seed=1, replicates=n))
    found = {**aggregates, IMPROVEMENT: improvement}
    return {
        "aggregates_s": seconds,
        "improvement_s": of_improvement,
        "points": {name: interval.point for name, interval in found.items()},
        "intervals": {name: [interval.low, interval.high] for name, interval in found.items()},
    }


def of_rliable() -> Side:
    """The other side, in the other interpreter."""
    from rliable import library, metrics  # type: ignore[import-not-found,unused-ignore]

    x, y = matrices()
    functions = {
        "mean": metrics.aggregate_mean,
        "median": metrics.aggregate_median,
        "interquartile_mean": metrics.aggregate_iqm,
        "optimality_gap": metrics.aggregate_optimality_gap,
    }

    def every(scores: Drawn) -> Drawn:
        return np.array([functions[name](scores) for name in AGGREGATES])

    (points, intervals), seconds = timed(lambda n: library.get_interval_estimates({"x": x}, every, reps=n))
    (_, improvement), of_improvement = timed(
        lambda n: library.get_interval_estimates({"x": (x, y)}, metrics.probability_of_improvement, reps=n)
    )
    return {
        "aggregates_s": seconds,
        "improvement_s": of_improvement,
        "points": {
            **dict(zip(AGGREGATES, points["x"].tolist(), strict=True)),
            IMPROVEMENT: float(metrics.probability_of_improvement(x, y)),
        },
        "intervals": {
            **dict(zip(AGGREGATES, intervals["x"].T.tolist(), strict=True)),
            IMPROVEMENT: improvement["x"].ravel().tolist(),
        },
    }


def timed(call: Callable[[int], Any]) -> tuple[Any, float]:
    """What a call with all replicates returns, and the median of its CPU seconds, after one with a few."""
    call(10)
    taken = []
    for _ in range(CALLS):
        started = time.process_time()
        found = call(REPLICATES)
        taken.append(time.process_time() - started)
    return found, statistics.median(taken)


def looks(name: str, x: Drawn, y: Drawn) -> Looks:
    """Looks at each of these tests after each seed, as somebody does who waits for a difference."""
    from scipy.stats import ttest_ind

    from gaelp_assets.statistics import ab_verdict

    seeds: list[int] = []
    sequences = 0
    for of_x, of_y in zip(x, y, strict=True):
        first = excluded = None
        for count in range(FIRST, LAST + 1):
            found = ab_verdict(of_x[:count], of_y[:count], alpha=ALPHA)
            if first is None and found.verdict in ("x is better", "y is better"):
                first = count
            if found.low is not None and found.high is not None and not found.low <= 0 <= found.high:
                excluded = count
        if first is not None:
            seeds.append(first)
        sequences += excluded is not None
    alarms = np.zeros(len(x), bool)
    for count in range(FIRST, LAST + 1):
        # What has no spread at all has no p-value, which alarms nobody.
        with np.errstate(invalid="ignore", divide="ignore"):
            alarms |= np.nan_to_num(ttest_ind(x[:, :count], y[:, :count], axis=1).pvalue, nan=1.0) < ALPHA
    return {
        "scores": name,
        "verdict": len(seeds) / len(x),
        "sequence": sequences / len(x),
        "t_test": float(alarms.mean()),
        "median_seeds": statistics.median(seeds) if seeds else None,
    }


def simulated(tests: int) -> tuple[list[Looks], list[Looks]]:
    """Tests of equal algorithms, and of one that is better."""
    random = np.random.default_rng(20)
    shape = (tests, LAST)
    equal = [looks(name, draw(random, shape), draw(random, shape)) for name, draw in EQUAL.items()]
    better = [
        looks(name, random.normal(by, 1.0, shape), random.normal(0.0, 1.0, shape))
        for name, by in BETTER.items()
    ]
    return equal, better


def compared(python: str, tests: int) -> Figures:
    """Both sides, each in a process of its own, one after the other, and the simulation."""
    ours, rliable = (_side(sys.executable, "ours"), _side(python, "rliable"))
    from scipy.special import ndtri

    points = [abs(ours["points"][name] - rliable["points"][name]) for name in ours["points"]]
    bounds = []
    for name, mine in ours["intervals"].items():
        theirs = rliable["intervals"][name]
        error = (theirs[1] - theirs[0]) / (2 * float(ndtri(0.975)))
        bounds += [abs(one - other) / error for one, other in zip(mine, theirs, strict=True)]
    equal, better = simulated(tests)
    return {
        "ours": ours,
        "rliable": rliable,
        "greatest_point_difference": max(points),
        "greatest_bound_difference": max(bounds),
        "tests": tests,
        "equal": equal,
        "better": better,
    }


def _side(python: str, side: str) -> Side:
    found: Side = json.loads(one_side(python, "benchmarks.statistics", "--side", side))
    return found


def table(results: list[Figures]) -> str:
    """The figures as Markdown tables."""
    return "\n\n".join(_table(found) for found in results)


def _table(found: Figures) -> str:
    ours, rliable = found["ours"], found["rliable"]
    rows = [("four aggregates", ours["aggregates_s"], rliable["aggregates_s"])]
    rows.append((IMPROVEMENT, ours["improvement_s"], rliable["improvement_s"]))
    lines = [
        f"| intervals of {RUNS} runs x {TASKS} tasks, {REPLICATES:,} replicates, one thread "
        "| gaelp, CPU s | rliable, CPU s | slower than gaelp |",
        "|---|---:|---:|---:|",
        *(f"| {name} | {mine:.3f} | {theirs:.2f} | {theirs / mine:.0f} x |" for name, mine, theirs in rows),
        "",
        f"Values differ by at most {found['greatest_point_difference']:.0e}, bounds of intervals by "
        f"{found['greatest_bound_difference']:.2f} bootstrap standard errors.",
        "",
        f"A look at each seed from {FIRST} to {LAST} a side, {found['tests']:,} tests of each kind: the share that showed a "
        "difference at any look.",
        "",
        "| scores | which is better | `ab_verdict` | its confidence sequence | t-test | seeds of the median verdict |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for which, tests in (("neither", found["equal"]), ("x", found["better"])):
        lines += [
            f"| {one['scores']} | {which} | {one['verdict']:.1%} | {one['sequence']:.1%} | {one['t_test']:.1%} "
            f"| {one['median_seeds'] if which == 'x' else ''} |"
            for one in tests
        ]
    return "\n".join(lines)


def main() -> None:
    """Prints the figures and writes results/statistics.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rliable", metavar="PYTHON", help="an interpreter that has rliable")
    parser.add_argument("--tests", type=int, default=TESTS, help="simulated tests of each kind")
    parser.add_argument("--side", choices=("ours", "rliable"), help="measure one side alone, and print JSON")
    arguments = parser.parse_args()
    if arguments.side is not None:
        side = of_ours() if arguments.side == "ours" else of_rliable()
        sys.stdout.write(f"{json.dumps(side)}\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        python = arguments.rliable or interpreter(Path(folder), PINS)
        results = [compared(python, arguments.tests)]
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(results)}\n")


if __name__ == "__main__":
    main()
