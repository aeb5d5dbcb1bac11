"""Every view is bound against the declared fields of what it reads: names, types, modes and columns are those that its file declares."""

from __future__ import annotations

import pytest

from gaelp_assets.catalog import Catalog, Field, Kind, Relation, load_catalog
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.sql.views import view_problems

SHIPPED = load_catalog()


def view(name: str, sql: str, *fields: Field | str, kind: Kind = Kind.DERIVED_TABLE) -> Relation:
    """A derived relation `analytics.NAME` whose fields are given as they are, or as `name TYPE`."""
    declared = [
        field if isinstance(field, Field) else Field(name=field.split()[0], type=field.split()[1])  # type: ignore[arg-type]
        for field in fields
    ]
    return Relation(
        dataset="analytics",
        name=name,
        sql=sql,
        kind=kind,
        description="A case.",
        owner="team:research",
        fields=tuple(declared),
        file=f"analytics/{name}.json",
    )


def found(*views: Relation) -> dict[str, list[str]]:
    """The problems of views beside the shipped catalogue, in words."""
    relations = [*SHIPPED, *views]
    problems = view_problems(Catalog(relations, upstream_of(relations)))
    return {relation_id.partition(".")[2]: list(map(str, texts)) for relation_id, texts in problems.items()}


FROM = "FROM training.episodes WHERE date >= DATE '2000-01-01' GROUP BY agent_id"


def test_the_shipped_views_have_no_problems() -> None:
    assert view_problems(SHIPPED) == {}


@pytest.mark.parametrize(
    ("relation", "words"),
    [
        pytest.param(
            view("intf", f"SELECT agent_id, AVG(episode_return) AS m {FROM}", "agent_id STRING", "m INTEGER"),
            [
                "analytics/intf.sql, line 1, column 18, field m: the query gives FLOAT64, the field is declared as INTEGER"
            ],
            id="a mean of 1.85 was stored as 2",
        ),
        pytest.param(
            view(
                "strnum",
                "SELECT agent_id, COUNT(*) AS n, MAX(ended_at) AS t, MAX(ended_at) AS d, COUNT(*) AS b,"
                f"\n  AVG(episode_return) / 3 AS num {FROM}",
                *("agent_id STRING", "n STRING", "t STRING", "d DATE", "b BOOLEAN", "num NUMERIC"),
            ),
            [
                "line 1, column 18, field n: the query gives INT64, the field is declared as STRING",
                "field t: the query gives TIMESTAMP, the field is declared as STRING",
                "field d: the query gives TIMESTAMP, the field is declared as DATE",
                "field b: the query gives INT64, the field is declared as BOOLEAN",
                "line 2, column 3, field num: the query gives FLOAT64, the field is declared as NUMERIC",
            ],
            id="numbers, moments and a mean were stored as other types",
        ),
        pytest.param(
            view(
                "alias",
                f"SELECT agent_id, AVG(episode_return) AS mean_ret {FROM}",
                *("agent_id STRING", "mean_return FLOAT"),
            ),
            [
                "field mean_return: the query gives no column mean_return, did you mean 'mean_ret'?",
                "line 1, column 18, field mean_ret: no field declares the column mean_ret, did you mean 'mean_return'?",
            ],
            id="a declared column failed when it was refreshed",
        ),
        pytest.param(
            view("extra", f"SELECT agent_id, COUNT(*) AS n {FROM}", "agent_id STRING"),
            ["line 1, column 18, field n: no field declares the column n"],
            id="a column that no field declares was dropped",
        ),
        pytest.param(
            view("nosuch", "SELECT agent_d AS a FROM training.agents", "a STRING", kind=Kind.VIEW),
            ["analytics/nosuch.sql, line 1, column 8: unrecognised name agent_d, did you mean agent_id?"],
            id="a column that its table does not have",
        ),
    ],
)
def test_a_view_that_was_stored_otherwise_than_declared_is_refused(
    relation: Relation, words: list[str]
) -> None:
    problems = found(relation)
    assert problems.keys() == {relation.name}
    assert len(problems[relation.name]) == len(words)
    for text, expected in zip(problems[relation.name], words, strict=True):
        assert expected in text
