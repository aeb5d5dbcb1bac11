"""Where a view's columns come from."""

from __future__ import annotations

import pytest

from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import Field, Kind, Relation
from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.lineage import relation_lineage

FIELDS = (
    Field(name="run", type="STRING"),
    Field(name="steps", type="INTEGER"),
    Field(name="score", type="FLOAT"),
)


def _relation(dataset: str, name: str, fields: tuple[Field, ...], sql: str | None = None) -> Relation:
    kind = Kind.TABLE if sql is None else Kind.VIEW
    return Relation(
        dataset=dataset, name=name, sql=sql, kind=kind, description="-", owner="team:t", fields=fields
    )


def _view(sql: str, *names: str) -> tuple[Relation, Catalog]:
    view = _relation("analytics", "curve", tuple(Field(name=n, type="STRING") for n in names), sql)
    tables = [
        _relation("training", "episodes", FIELDS),
        _relation("training", "runs", (Field(name="run", type="STRING"), Field(name="agent", type="STRING"))),
    ]
    return view, Catalog([view, *tables])


def column_lineage(view: Relation, catalog: Catalog) -> dict[str, list[tuple[str, str]]]:
    found = relation_lineage(view, catalog)
    return {name: found.sources(name) for name in found.columns}


def test_expressions_aggregates_and_windows_are_seen_through() -> None:
    view, catalog = _view(
        "SELECT run, SUM(score) / SUM(steps) AS rate, COUNT(*) AS n FROM training.episodes GROUP BY run",
        "run",
        "rate",
        "n",
    )
    assert column_lineage(view, catalog) == {
        "run": [("training.episodes", "run")],
        "rate": [("training.episodes", "score"), ("training.episodes", "steps")],
        "n": [],
    }


def test_common_table_expressions_joins_and_stars_are_seen_through() -> None:
    sql = """WITH e AS (SELECT * FROM training.episodes WHERE steps > 1), best AS (SELECT run, MAX(score) AS top FROM e GROUP BY run)
    SELECT agent, top FROM best JOIN training.runs USING (run)"""
    view, catalog = _view(sql, "agent", "top")
    assert column_lineage(view, catalog) == {
        "agent": [("training.runs", "agent")],
        "top": [("training.episodes", "score")],
    }


def test_both_sides_of_a_union_count() -> None:
    view, catalog = _view("SELECT run FROM training.episodes UNION ALL SELECT run FROM training.runs", "run")
    assert column_lineage(view, catalog) == {"run": [("training.episodes", "run"), ("training.runs", "run")]}


def test_a_table_has_no_lineage() -> None:
    _, catalog = _view("SELECT run FROM training.episodes", "run")
    assert column_lineage(catalog["training.runs"], catalog) == {}


@pytest.mark.parametrize(
    ("sql", "name"),
    [("SELECT scor FROM training.episodes", "scor"), ("SELECT run FROM training.episodes", "agent")],
)
def test_an_unknown_column_is_named_with_its_file(sql: str, name: str) -> None:
    view, catalog = _view(sql, name)
    with pytest.raises(GaelpError, match=rf"analytics/curve\.sql.*{name}"):
        column_lineage(view, catalog)


def test_a_common_table_expression_may_be_called_as_a_relation_is() -> None:
    """The expression's name was taken for the relation's, whose columns are others."""
    view, catalog = _view("WITH runs AS (SELECT steps AS n FROM training.episodes) SELECT n FROM runs", "n")
    assert column_lineage(view, catalog) == {"n": [("training.episodes", "steps")]}
