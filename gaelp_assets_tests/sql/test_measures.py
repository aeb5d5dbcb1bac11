"""Measures of derived relations: what is wrong with them is told with file and place, all of it."""

from __future__ import annotations

import pytest

from gaelp_assets.catalog import load_catalog
from gaelp_assets.catalog.model import Measure, Relation
from gaelp_assets.sql.measures import measure_problems, measure_type, measured_fields, with_table

CURVES = load_catalog()["analytics.learning_curves"]


def _with(sql: str, name: str = "figure", **fields: bool) -> Relation:
    measure = Measure(name=name, description="-", sql=sql)
    changed = tuple(
        field.model_copy(update={"sensitive": fields.get(field.name, False)}) for field in CURVES.fields
    )
    return CURVES.model_copy(update={"measures": (measure,), "fields": changed})


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("AVG(mean_retrn)", "did you mean 'mean_return'"),
        ("mean_return", "not an aggregate"),
        ("AVG(mean_return) + step", "neither grouped nor aggregated"),
        ("AVG(algorithm)", "no matching signature"),
        ("AVG(step), 1", "more than one expression"),
        ("AVG(step) FROM analytics.training_progress", "more than one expression"),
        ("AVG(step) AS other", "a name of its own"),
        ("(SELECT MAX(step) FROM analytics.learning_curves)", "a subquery"),
        ("MAX(step) OVER ()", "a function over a window"),
        ("MAX(step); DROP TABLE x", "not an expression"),
        ("AVG(step", "not an expression"),
        ("ARRAY_AGG(step)", "the measure is ARRAY<INT64>"),
        ("MAX(@x)", "a parameter"),
        ("MAX(step) -- of them", "a comment"),
        ("MAX(step) /* of them */", "a comment"),
    ],
)
def test_what_is_no_measure_is_refused_at_its_place(sql: str, words: str) -> None:
    [problem] = measure_problems(_with(sql))
    assert words in str(problem)
    assert problem.where.endswith("learning_curves.json, measures.0.sql")


def test_sensitive_fields_and_taken_names_are_told_together() -> None:
    found = [str(problem) for problem in measure_problems(_with("MAX(agent_id)", "step", agent_id=True))]
    assert len(found) == 2
    assert "stands 2 times" in found[0]
    assert "'agent_id' is sensitive" in found[1]


def test_the_fields_of_a_measure_are_found_in_its_text() -> None:
    measure = Measure(name="m", description="-", sql="SUM(`mean_return` * episodes)\n/ SUM(episodes)")
    relation = CURVES.model_copy(update={"measures": (measure,)})
    assert measure_problems(relation) == []
    assert str(measure_type(relation, measure)) == "FLOAT64"
    assert measured_fields(measure) == {"mean_return", "episodes"}
    assert with_table(measure, "t") == "SUM(t.`mean_return` * t.episodes)\n/ SUM(t.episodes)"
