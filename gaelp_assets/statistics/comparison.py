"""The rows of the shipped relations that compare agents, computed of evaluations: pure functions from Polars frames to one.

The catalogue names these functions, and says what each field means. A run is the unit: it counts with the mean return of one evaluation,
normalised where each evaluation of the environment that counts has bounds, its own or its environment's, and else as it is, since scores
and returns cannot be compared (`measure` says which). The same rows, in whatever order, give the same result.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, Final

import numpy as np
import polars as pl

from gaelp_assets.statistics.aggregates import interquartile_mean
from gaelp_assets.statistics.improvement import improvement_interval
from gaelp_assets.statistics.intervals import difference_interval
from gaelp_assets.statistics.profiles import performance_profile
from gaelp_assets.statistics.profiles import sample_efficiency as efficiency_curve
from gaelp_assets.statistics.scores import Floats
from gaelp_assets.statistics.sequential import Verdict, ab_verdict, holm

Inputs = Mapping[str, pl.DataFrame]
EVALUATIONS: Final = "training.evaluations"
ENVIRONMENTS: Final = "training.environments"
SEED: Final = 0
"""Of all draws: who computes the rows again gets the same."""
DAYS: Final = 30
"""As in the leaderboard: a run that has not been evaluated for so long before the newest evaluation is not one of today's."""
ALPHA: Final = 0.05
TAUS: Final = tuple(place / 20 for place in range(41))
STEPS: Final = 50
"""Of an environment's curves, at most: each is a bootstrap."""
_OVERFLOWS: Final = np.errstate(over="ignore", invalid="ignore")
"""What overflows is NULL in the rows, and needs no warning besides."""
_PAIR: Final = {"environment_id": pl.String, "agent_a": pl.String, "agent_b": pl.String, "measure": pl.String}
_RUNS: Final = {"runs_a": pl.Int64, "runs_b": pl.Int64}


@_OVERFLOWS
def agent_comparison(inputs: Inputs) -> pl.DataFrame:
    """A row for each two agents of an environment: how likely a run of the first is better, and by how much, with intervals."""
    rows = []
    for names, x, y in _pairs(_latest(_recent(_scored(inputs)))):
        improvement = improvement_interval(x, y, seed=SEED)
        difference = difference_interval(x, y, interquartile_mean, seed=SEED)
        rows.append(
            {
                **names,
                "runs_a": len(x),
                "runs_b": len(y),
                "probability_of_improvement": improvement.point,
                "improvement_low": improvement.low,
                "improvement_high": improvement.high,
                "iqm_a": interquartile_mean(x),
                "iqm_b": interquartile_mean(y),
                "iqm_difference": difference.point,
                "difference_low": difference.low,
                "difference_high": difference.high,
            }
        )
    values = (
        "probability_of_improvement", "improvement_low", "improvement_high",
        "iqm_a", "iqm_b", "iqm_difference", "difference_low", "difference_high",
    )  # fmt: skip
    return _frame(rows, {**_PAIR, **_RUNS, **dict.fromkeys(values, pl.Float64)})


@_OVERFLOWS
def ab_tests(inputs: Inputs) -> pl.DataFrame:
    """A row for each two agents of an environment: the verdict on them after all runs so far, corrected for the environment's other pairs.

    Runs are paired in the order of their first evaluations, which no later run changes; and none drops out as time goes by.
    """
    found: dict[str, list[tuple[dict[str, str], Verdict]]] = {}
    for names, x, y in _pairs(_latest(_scored(inputs))):
        found.setdefault(names["environment_id"], []).append((names, ab_verdict(x, y, alpha=ALPHA)))
    rows: list[dict[str, Any]] = []
    for of_environment in found.values():
        adjusted = holm([verdict.p_value for _, verdict in of_environment]).tolist()
        for (names, verdict), p_value in zip(of_environment, adjusted, strict=True):
            rows.append(
                {
                    **names,
                    "verdict": _text(verdict, p_value),
                    "runs_a": verdict.seeds[0],
                    "runs_b": verdict.seeds[1],
                    "wins_a": verdict.wins,
                    "wins_b": verdict.losses,
                    "ties": verdict.ties,
                    "e_value": verdict.e_value,
                    "p_value": verdict.p_value,
                    "adjusted_p_value": p_value,
                    "effect": verdict.effect,
                    "effect_low": verdict.low,
                    "effect_high": verdict.high,
                }
            )
    counts = dict.fromkeys(("wins_a", "wins_b", "ties"), pl.Int64)
    values = ("e_value", "p_value", "adjusted_p_value", "effect", "effect_low", "effect_high")
    return _frame(
        rows, {**_PAIR, "verdict": pl.String, **_RUNS, **counts, **dict.fromkeys(values, pl.Float64)}
    )


@_OVERFLOWS
def performance_profiles(inputs: Inputs) -> pl.DataFrame:
    """A row for each agent and score: the share of its runs, over all its environments, that are above; NULL if no run has a score."""
    rows = []
    latest = _latest(_recent(_scored(inputs)))
    for (agent,), of_agent in latest.group_by("agent_id", maintain_order=True):
        scores = of_agent.drop_nulls("score")
        counts = {
            "environments": scores["environment_id"].n_unique(),
            "runs": scores.height,
            "runs_without_score": of_agent.height - scores.height,
        }
        shares = low = high = np.full(len(TAUS), None)
        if not scores.is_empty():
            columns = [
                group["score"].to_numpy()
                for _, group in scores.group_by("environment_id", maintain_order=True)
            ]
            profile = performance_profile(_side_by_side(columns), TAUS, seed=SEED, on_missing="allow")
            shares, low, high = (part.astype(object) for part in (profile.shares, profile.low, profile.high))
        rows += [
            {
                "agent_id": agent,
                "place": place,
                "tau": tau,
                "share": share,
                "share_low": least,
                "share_high": most,
                **counts,
            }
            for place, (tau, share, least, most) in enumerate(zip(TAUS, shares, low, high, strict=True))
        ]
    shared = dict.fromkeys(("tau", "share", "share_low", "share_high"), pl.Float64)
    counted = dict.fromkeys(("environments", "runs", "runs_without_score"), pl.Int64)
    return _frame(rows, {"agent_id": pl.String, "place": pl.Int64, **shared, **counted})


@_OVERFLOWS
def sample_efficiency(inputs: Inputs) -> pl.DataFrame:
    """A row for each agent, environment and step: the interquartile mean of its runs after so many training steps.

    A run counts with its latest evaluation up to the step, from its first evaluation to its last.
    """
    rows = []
    for (environment,), of_environment in _measured(_scored(inputs)).group_by(
        "environment_id", maintain_order=True
    ):
        shared = _some(of_environment["global_step"].unique().sort().to_numpy())
        for (agent,), of_agent in of_environment.group_by("agent_id", maintain_order=True):
            # Its last step is its own: each agent has a row.
            steps = np.union1d(shared, [of_agent["global_step"].max()])
            runs = [
                _at(steps, run["global_step"].to_numpy(), run["value"].to_numpy())
                for _, run in of_agent.group_by("training_run_id", maintain_order=True)
            ]
            scores = np.stack(runs)
            reached = ~np.isnan(scores).all(axis=0)
            curve = efficiency_curve(scores[:, reached], steps[reached], seed=SEED, on_missing="allow")
            rows += [
                {
                    "environment_id": environment,
                    "agent_id": agent,
                    "step": int(step),
                    "measure": of_agent["measure"][0],
                    "iqm": interval.point,
                    "iqm_low": interval.low,
                    "iqm_high": interval.high,
                    "runs": interval.runs[0],
                    "runs_in_all": len(runs),
                }
                for step, interval in zip(steps[reached], curve.intervals, strict=True)
            ]
    values = dict.fromkeys(("iqm", "iqm_low", "iqm_high"), pl.Float64)
    return _frame(
        rows,
        {
            "environment_id": pl.String, "agent_id": pl.String, "step": pl.Int64, "measure": pl.String,
            **values, "runs": pl.Int64, "runs_in_all": pl.Int64,
        },
    )  # fmt: skip


def _frame(rows: list[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    """The rows; a number that overflowed is NULL."""
    found = pl.DataFrame(rows, schema)
    return found.with_columns(
        pl.when(pl.col(name).is_finite()).then(name) for name, dtype in schema.items() if dtype == pl.Float64
    )


def _scored(inputs: Inputs) -> pl.DataFrame:
    """All evaluations with their scores, those of a run in the order of its training, and the moment of its first one there."""
    bounds = inputs[ENVIRONMENTS].select(
        "environment_id", environment_low="normalisation_low", environment_high="normalisation_high"
    )
    low = pl.coalesce("normalisation_low", "environment_low")
    span = pl.coalesce("normalisation_high", "environment_high") - low
    score = (pl.col("mean_return") - low) / span
    run = ("environment_id", "training_run_id")
    return (
        inputs[EVALUATIONS]
        # The catalogue takes no other returns; a table from before its rule may hold one, which would end the whole relation.
        .filter(pl.col("mean_return").is_finite())
        .join(bounds, on="environment_id", how="left")
        .with_columns(
            score=pl.when((span != 0) & score.is_finite()).then(score),
            first=pl.col("evaluated_at").min().over(run),
        )
        # The last of a run is the one that the leaderboard takes.
        .sort(*run, "global_step", "evaluated_at", "evaluation_id", descending=[False] * 4 + [True])
    )


def _recent(scored: pl.DataFrame) -> pl.DataFrame:
    return scored.filter(pl.col("date") > pl.col("date").max() - dt.timedelta(days=DAYS))


def _latest(scored: pl.DataFrame) -> pl.DataFrame:
    """The last evaluation of each run in each environment; an agent's runs in the order of their arrival."""
    latest = scored.unique(("environment_id", "training_run_id"), keep="last", maintain_order=True)
    return latest.sort("environment_id", "agent_id", "first", "training_run_id")


def _measured(scored: pl.DataFrame) -> pl.DataFrame:
    """With the value that counts: the score where the environment has no evaluation without one, else the return."""
    scores = pl.col("score").is_not_null().all().over("environment_id")
    return scored.with_columns(
        measure=pl.when(scores).then(pl.lit("score")).otherwise(pl.lit("return")),
        value=pl.when(scores).then("score").otherwise("mean_return"),
    )


def _pairs(latest: pl.DataFrame) -> Iterator[tuple[dict[str, str], Floats, Floats]]:
    """Each two agents of each environment, by name, with the values of their runs."""
    for (environment,), of_environment in _measured(latest).group_by("environment_id", maintain_order=True):
        values = {
            str(agent): group["value"].to_numpy()
            for (agent,), group in of_environment.group_by("agent_id", maintain_order=True)
        }
        for first, second in combinations(values, 2):
            names = {"environment_id": str(environment), "agent_a": first, "agent_b": second}
            yield {**names, "measure": of_environment["measure"][0]}, values[first], values[second]


def _text(verdict: Verdict, adjusted: float) -> str:
    if verdict.verdict in ("x is better", "y is better"):
        if adjusted > ALPHA:
            return "no difference shown"
        return "a is better" if verdict.verdict == "x is better" else "b is better"
    return verdict.verdict


def _side_by_side(columns: list[Floats]) -> Floats:
    """Runs x environments, NaN where an environment has fewer runs than another."""
    found = np.full((max(map(len, columns)), len(columns)), np.nan)
    for place, column in enumerate(columns):
        found[: len(column), place] = column
    return found


def _some(steps: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """At most `STEPS` of these, evenly, with the first and the last."""
    places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), STEPS)).round().astype(np.int64))
    return steps[places]


def _at(
    steps: np.ndarray[Any, np.dtype[np.int64]], evaluated: np.ndarray[Any, np.dtype[np.int64]], values: Floats
) -> Floats:
    """A run's value at each of these steps: that of the evaluation before; NaN before the first and after the last."""
    before = np.searchsorted(evaluated, steps, side="right") - 1
    within = (before >= 0) & (steps <= evaluated[-1])
    return np.where(within, values[before], np.nan)
