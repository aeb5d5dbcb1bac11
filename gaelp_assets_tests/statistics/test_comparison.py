"""The relations that compare agents: what the golden cases are too small for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from gaelp_assets.catalog import WHOLE, Relation, load_catalog
from gaelp_assets.operations.compute import load_function, proved
from gaelp_assets.statistics import bootstrap_interval, interquartile_mean, mean
from gaelp_assets.statistics.comparison import STEPS, ab_tests
from gaelp_assets.statistics.comparison import sample_efficiency as curves
from gaelp_assets.statistics.intervals import difference_interval
from gaelp_assets.validation.schema import polars_schema

CATALOG = load_catalog()
RELATIONS = [relation for relation in CATALOG.derived if relation.python is not None]
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def inputs(rows: list[dict[str, Any]]) -> dict[str, pl.DataFrame]:
    """Evaluations, each of which says what it is not by default; and no environment."""
    complete = [
        {
            "evaluation_id": f"e{number}",
            "date": NOON.date(),
            "environment_id": "E-v0",
            "global_step": 1000,
            "normalisation_low": 0.0,
            "normalisation_high": 1.0,
            "evaluated_at": NOON,
            **row,
        }
        for number, row in enumerate(rows)
    ]
    evaluations, environments = (
        polars_schema(CATALOG[name]) for name in ("training.evaluations", "training.environments")
    )
    return {
        "training.evaluations": pl.DataFrame(complete, evaluations),
        "training.environments": pl.DataFrame(schema=environments),
    }


def seeds(agent: str, values: Any, **keys: Any) -> list[dict[str, Any]]:
    return [
        {"agent_id": agent, "training_run_id": f"{agent}{number:03}", "mean_return": float(value), **keys}
        for number, value in enumerate(values)
    ]


def some() -> dict[str, pl.DataFrame]:
    random = np.random.default_rng(4)
    rows = []
    for agent, better in (("a", 0.3), ("b", 0.0), ("c", 0.1)):
        for environment in ("E-v0", "F-v0"):
            for step in (1000, 2000):
                values = random.normal(0.5 + better, 0.2, 12)
                rows += seeds(agent, values, environment_id=environment, global_step=step)
    return inputs(rows)


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_rows_are_proved_and_their_order_does_not_matter(relation: Relation) -> None:
    function = load_function(relation)
    given: Mapping[str, pl.DataFrame] = some()
    found = proved(relation, WHOLE, function(given))
    assert found.height
    mixed = {name: frame.sample(fraction=1.0, shuffle=True, seed=3) for name, frame in given.items()}
    assert_frame_equal(found, proved(relation, WHOLE, function(mixed)), check_exact=True)
    nothing = {name: frame.clear() for name, frame in given.items()}
    assert proved(relation, WHOLE, function(nothing)).is_empty()


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_a_return_beyond_all_scores_is_no_score(relation: Relation) -> None:
    """A score that overflows is infinite, which no statistic takes: the environment is compared by returns."""
    rows = seeds("a", [1e300, 0.0], normalisation_high=1e-300) + seeds("b", [1.0])
    found = proved(relation, WHOLE, load_function(relation)(inputs(rows)))
    assert found.height
    if "measure" in found.columns:
        assert set(found["measure"]) == {"return"}
    else:
        assert found.filter(pl.col("agent_id") == "a")["runs_without_score"].unique().to_list() == [1]


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
@pytest.mark.filterwarnings("error")
def test_returns_beyond_all_numbers_end_no_relation(relation: Relation) -> None:
    """One evaluation without a finite return, in a table that was loaded before the rule, ended all of them."""
    function = load_function(relation)
    usual = [*seeds("a", [0.9, 0.2] * 6), *seeds("b", [0.1, 0.4] * 6)]
    lost = seeds("a", [float("nan"), float("inf"), float("-inf")], global_step=9000)
    expected = proved(relation, WHOLE, function(inputs(usual)))
    assert_frame_equal(proved(relation, WHOLE, function(inputs([*usual, *lost]))), expected)
    bounds = {"normalisation_low": None, "normalisation_high": None}
    great = [*seeds("a", [1.7e308] * 12, **bounds), *seeds("b", [-1.7e308] * 12, **bounds)]
    assert proved(relation, WHOLE, function(inputs(great))).height


def test_pairs_of_an_environment_are_corrected_for_one_another() -> None:
    twelve = [*seeds("a", [0.9] * 12), *seeds("b", [0.1] * 12)]
    [alone] = ab_tests(inputs(twelve)).to_dicts()
    assert alone["verdict"] == "a is better"
    of_three = ab_tests(inputs([*twelve, *seeds("c", [0.1])])).to_dicts()
    [pair] = [row for row in of_three if (row["agent_a"], row["agent_b"]) == ("a", "b")]
    assert pair["p_value"] == alone["p_value"]
    assert pair["adjusted_p_value"] == pytest.approx(3 * alone["p_value"])
    assert pair["verdict"] == "no difference shown"
    elsewhere = [*twelve, *seeds("c", [0.1], environment_id="F-v0")]
    assert ab_tests(inputs(elsewhere)).to_dicts() == [alone]


def test_a_run_that_arrives_later_changes_no_pair_before_it() -> None:
    """The order of ids would put it first."""
    rows = [*seeds("b", [0.9, 0.1]), *seeds("c", [0.5, 0.5])]
    late = seeds("b", [0.2], training_run_id="a-first-by-name", evaluated_at=NOON + dt.timedelta(days=1))
    [before], [after] = (ab_tests(inputs(found)).to_dicts() for found in (rows, [*rows, *late]))
    assert (before["runs_a"], after["runs_a"]) == (2, 3)
    assert {**before, "runs_a": 3} == after


def test_curves_have_a_bounded_number_of_steps_and_no_agent_is_missing() -> None:
    rows = [row for step in range(1, 400) for row in seeds("a", [step], global_step=10 * step)]
    rows += seeds("between", [1.0], global_step=1234)
    found = curves(inputs(rows))
    of_a = found.filter(pl.col("agent_id") == "a")
    assert of_a.height == STEPS
    assert (of_a["step"].min(), of_a["step"].max()) == (10, 3990)
    assert of_a["iqm"].to_list() == [step // 10 for step in of_a["step"]]
    assert found.filter(pl.col("agent_id") == "between")["step"].to_list() == [1234]


def test_the_interval_of_a_difference() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(1.0, 1.0, (30, 2)), random.normal(0.0, 1.0, (20, 2))
    found = difference_interval(x, y, interquartile_mean, seed=1)
    assert found.point == pytest.approx(interquartile_mean(x) - interquartile_mean(y))
    assert found.runs == (30, 30, 20, 20)
    # Both vary independently, so that their variances add up.
    of_mean = difference_interval(x, y, mean, seed=1)
    parts = [bootstrap_interval(each, mean, seed=1).standard_error for each in (x, y)]
    assert of_mean.standard_error == pytest.approx((parts[0] ** 2 + parts[1] ** 2) ** 0.5, rel=0.1)
