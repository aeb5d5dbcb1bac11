"""How BigQuery keeps each materialized view: the rules, one case each, and the statements that follow from them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from gaelp_assets.catalog import Catalog, Relation, load_catalog
from gaelp_assets.catalog.model import Kind
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.cli.catalog import show
from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.bigquery import materialized_views as views
from gaelp_assets.warehouse.bigquery.dialect import Names, selected
from gaelp_assets.warehouse.bigquery.materialization_rules import (
    Decision,
    Materialization,
    decide,
)
from gaelp_assets_tests.contract.warehouses import relation
from gaelp_assets_tests.zetasql_gate import Gate

NAMES = Names("project", "pre_")
D = {"name": "d", "type": "DATE", "mode": "REQUIRED"}
COLUMNS = [D, *({"name": name, "type": "INTEGER"} for name in ("k", "x", "y"))]
FACT: dict[str, Any] = {"primary_key": ["k"], "partitioning": {"date": "d"}, "retention_days": 30}
T = relation("lab", "t", COLUMNS, **FACT)
U = relation("lab", "u", COLUMNS, primary_key=["k"])
STRICT = relation("lab", "strict", COLUMNS, **FACT, require_partition_filter=True)
LISTS = relation(
    "lab", "lists", [{"name": "parts", "type": "STRING", "mode": "REPEATED"}], primary_key=["parts"]
)
PLAIN = relation("lab", "plain", COLUMNS, kind="view", sql="SELECT * FROM lab.u")


def _view(sql: str, kind: str = "materialized_view", **keys: Any) -> Relation:
    return relation("lab_views", "v", COLUMNS, kind=kind, sql=sql, **keys)


def _decision(view: Relation, *more: Relation) -> Decision:
    relations = [T, U, STRICT, LISTS, PLAIN, *more, view]
    return decide(view, Catalog(relations, upstream_of(relations)))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT d, SUM(x) AS s, COUNTIF(x > 1) AS n, AVG(x * y) AS a FROM lab.u WHERE x > 2 GROUP BY d",
        "SELECT d, x FROM lab.u",
        "SELECT u.d, MAX(t.x) AS m FROM lab.u AS u INNER JOIN lab.t AS t ON t.k = u.k GROUP BY u.d",
        "WITH a AS (SELECT d, DIV(x, 2) AS h FROM lab.u) SELECT d, h, COUNT(*) AS n FROM a GROUP BY d, h",
        "SELECT d, q FROM lab.u, UNNEST([x, y]) AS q",
        "SELECT d, APPROX_COUNT_DISTINCT(x) AS n, MAX_BY(x, y) AS m, LOGICAL_OR(x > y) AS l FROM lab.u GROUP BY d",
    ],
)
def test_bigquery_adds_new_rows_to_plain_aggregates(sql: str) -> None:
    assert _decision(_view(sql)) == Decision(Materialization.INCREMENTAL)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT d, SUM(x) / COUNT(*) AS s FROM lab.u GROUP BY d", ["arithmetic on aggregates"]),
        ("SELECT d, IF(COUNT(*) > 1, 1, 2) AS s FROM lab.u GROUP BY d", ["arithmetic on aggregates"]),
        ("SELECT d, COUNT(DISTINCT x) AS s FROM lab.u GROUP BY d", ["COUNT(DISTINCT ...)"]),
        ("SELECT d, SUM(DISTINCT x) AS s FROM lab.u GROUP BY d", ["SUM of DISTINCT values"]),
        ("SELECT d, STDDEV(x) AS s FROM lab.u GROUP BY d", ["the aggregate STDDEV"]),
        ("SELECT d, APPROX_QUANTILES(x, 4) AS s FROM lab.u GROUP BY d", ["the aggregate APPROX_QUANTILES"]),
        ("SELECT d, SUM(x) AS s FROM lab.u GROUP BY d HAVING SUM(x) > 1", ["HAVING"]),
        ("SELECT d, ROW_NUMBER() OVER (ORDER BY d) AS n FROM lab.u", ["a window function"]),
        ("SELECT d, SUM(x) OVER (PARTITION BY d) AS n FROM lab.u", ["a window function"]),
        ("SELECT u.d FROM lab.u AS u LEFT JOIN lab.t AS t ON t.k = u.k", ["a LEFT JOIN"]),
        ("SELECT u.d FROM lab.u AS u CROSS JOIN lab.t AS t", ["a CROSS JOIN"]),
        ("SELECT a.d FROM lab.u AS a INNER JOIN lab.u AS b ON a.k = b.k", ["a self-join"]),
        ("SELECT d FROM lab.t UNION ALL SELECT d FROM lab.u", ["a set operation"]),
        ("SELECT DISTINCT d FROM lab.u", ["SELECT DISTINCT"]),
        ("SELECT d FROM lab.u ORDER BY d LIMIT 3", ["ORDER BY or LIMIT"]),
        ("SELECT d FROM lab.u WHERE x IN (SELECT t.x FROM lab.t AS t)", ["a subquery in an expression"]),
        ("SELECT d, ARRAY(SELECT q FROM UNNEST([x]) AS q) AS a FROM lab.u", ["a subquery in an expression"]),
        (
            "SELECT MAX(n) AS m FROM (SELECT COUNT(*) AS n FROM lab.u GROUP BY d)",
            ["a subquery in FROM", "aggregates of aggregates"],
        ),
        ("SELECT d, COUNT(*) AS n FROM (SELECT d FROM lab.u WHERE x > 1) GROUP BY d", ["a subquery in FROM"]),
        (
            "SELECT d, ANY_VALUE(STRUCT(x, y)) AS s FROM lab.u GROUP BY d",
            ["ANY_VALUE of a record or an array"],
        ),
        ("SELECT ARRAY_AGG(l.parts) AS a FROM lab.lists AS l", ["ARRAY_AGG of a record or an array"]),
        (
            "WITH a AS (SELECT d, COUNT(*) AS n FROM lab.u GROUP BY d) SELECT n, COUNT(*) AS m FROM a GROUP BY n",
            ["aggregates of aggregates"],
        ),
        (
            "SELECT d, STDDEV(x) / 2 AS s FROM lab.u GROUP BY d HAVING d > DATE '2020-01-01'",
            ["HAVING", "the aggregate STDDEV", "arithmetic on aggregates"],
        ),
    ],
)
def test_what_bigquery_cannot_add_to_is_computed_again(sql: str, words: list[str]) -> None:
    decision = _decision(_view(sql))
    assert decision.keeping is Materialization.MAX_STALENESS
    assert len(decision.reasons) == len(words), decision.reasons
    assert all(word in reason.what for word, reason in zip(words, decision.reasons, strict=True)), (
        decision.reasons
    )
    assert all(reason.remedy for reason in decision.reasons)


SLICED: dict[str, Any] = {"partitioning": {"date": "d"}}


@pytest.mark.parametrize(
    ("sql", "keys", "words"),
    [
        ("SELECT d FROM lab.u WHERE d < CURRENT_DATE()", {}, "CURRENT_DATE"),
        ("SELECT d, GENERATE_UUID() AS g FROM lab.u", {}, "depends on when, or by whom"),
        ("SELECT d FROM lab.u TABLESAMPLE SYSTEM (10 PERCENT)", {}, "a sample"),
        ("SELECT d FROM lab.plain", {}, "reads lab.plain, a view"),
        ("SELECT d FROM lab.strict", {}, "insists on a filter of d"),
        (
            "SELECT d FROM lab.strict WHERE x = 1 AND (d > CURRENT_DATE() OR d = DATE '2020-01-01')",
            {},
            "insists on",
        ),
        ("SELECT d, COUNT(*) AS n FROM lab.t GROUP BY d", {**SLICED, "retention_days": 31}, "31 days"),
        (
            "SELECT DATE_ADD(d, INTERVAL 1 DAY) AS d FROM lab.t",
            {**SLICED, "retention_days": 30},
            "with its table's only",
        ),
        (
            "SELECT d, MAX(x) AS x FROM lab.u GROUP BY d",
            {"clustering": ["d", "x"]},
            "clustered by x, an aggregate",
        ),
        (
            f"SELECT a.d FROM lab.u AS a {' '.join(f'INNER JOIN lab.t AS t{i} ON t{i}.k = a.k' for i in range(10))}",
            {},
            "reads 11 tables",
        ),
    ],
)
def test_what_bigquery_cannot_keep_is_a_table(sql: str, keys: dict[str, Any], words: str) -> None:
    decision = _decision(_view(sql, **keys))
    assert decision.keeping is Materialization.DERIVED_TABLE
    assert words in decision.reasons[0].what, decision.reasons


@pytest.mark.parametrize(
    "sql",
    ["SELECT DATE_ADD(d, INTERVAL 1 DAY) AS d FROM lab.t", "SELECT d, COUNT(*) AS n FROM lab.u GROUP BY d"],
)
def test_partitions_of_its_own_only_a_view_that_is_computed_again_can_have(sql: str) -> None:
    decision = _decision(_view(sql, **SLICED))
    assert decision.keeping is Materialization.MAX_STALENESS
    assert [reason.what for reason in decision.reasons] == [
        "its partitions, by d, are not those of a table that it reads"
    ]


@pytest.mark.parametrize(
    ("unit", "keeping"), [("HOUR", Materialization.INCREMENTAL), ("MONTH", Materialization.MAX_STALENESS)]
)
def test_a_moment_may_be_cut_as_long_as_its_day_stays(unit: str, keeping: Materialization) -> None:
    moments = relation(
        "lab", "moments", [{"name": "d", "type": "TIMESTAMP"}], primary_key=["d"], partitioning={"date": "d"}
    )
    view = _view(f"SELECT TIMESTAMP_TRUNC(d, {unit}) AS d FROM lab.moments", **SLICED)
    assert _decision(view, moments).keeping is keeping


def test_a_view_of_a_view_that_bigquery_keeps_is_a_table_and_of_a_table_it_is_not() -> None:
    below = relation("lab_views", "below", [D], kind="materialized_view", sql="SELECT d FROM lab.u")
    above = _view("SELECT d FROM lab_views.below")
    assert "reads lab_views.below, a materialized view" in _decision(above, below).reasons[0].what
    kept_as_table = below.model_copy(update={"sql": "SELECT d FROM lab.plain"})
    assert _decision(above, kept_as_table).keeping is Materialization.INCREMENTAL


def test_partitions_and_retention_of_the_table_below_pass_through_named_queries() -> None:
    sql = "WITH a AS (SELECT d, x FROM lab.strict WHERE d >= DATE '2000-01-01') SELECT a.d, SUM(a.x) AS s FROM a GROUP BY a.d"
    assert _decision(_view(sql, **SLICED, retention_days=30)) == Decision(Materialization.INCREMENTAL)


def test_a_derived_table_stays_one_and_learns_what_it_could_be() -> None:
    decision = _decision(_view("SELECT d, STDDEV(x) AS s FROM lab.u GROUP BY d", kind="derived_table"))
    assert decision.keeping is Materialization.DERIVED_TABLE
    assert [reason.leaves for reason in decision.reasons] == [
        Materialization.DERIVED_TABLE,
        Materialization.MAX_STALENESS,
    ]
    with pytest.raises(GaelpError, match="kept in one way only"):
        _decision(T)


def _native(catalog: Catalog) -> dict[str, Decision]:
    """The relations of which BigQuery keeps a materialized view of its own."""
    decisions = {
        relation.id: decide(relation, catalog)
        for relation in catalog.derived
        if relation.kind is Kind.MATERIALIZED_VIEW
    }
    return {relation_id: decision for relation_id, decision in decisions.items() if decision.is_native}


def test_the_catalogue_has_a_view_that_bigquery_keeps_incrementally() -> None:
    assert _native(load_catalog()) == {"analytics.training_progress": Decision(Materialization.INCREMENTAL)}


# Statements


@pytest.mark.parametrize("keeping", [Materialization.INCREMENTAL, Materialization.MAX_STALENESS])
def test_google_accepts_the_statement_that_makes_a_view(keeping: Materialization) -> None:
    catalog = load_catalog()
    gate = Gate(catalog)
    for view in (found for found in catalog.derived if found.id in _native(catalog)):
        assert view.sql is not None
        query = NAMES.qualify(selected(view.sql), frozenset(r.dataset for r in catalog))
        text = views.create_statement(NAMES, view, keeping, query)
        # The analyzer knows tables as dataset.name, not as one quoted path.
        gate.accept(text.replace("`project.pre_training`.episodes", "training.episodes"))
        assert "PARTITION BY `date`\nCLUSTER BY `agent_id`, `training_run_id`" in text
        assert ("allow_non_incremental_definition=TRUE" in text) is (keeping is Materialization.MAX_STALENESS)
        assert "expiration" not in text


def test_a_view_of_moments_is_partitioned_by_their_day() -> None:
    moments = _view("SELECT d FROM lab.t", partitioning={"date": "d"}).model_copy(
        update={"fields": (T.field("d").model_copy(update={"type": "TIMESTAMP"}),)}
    )
    text = views.create_statement(NAMES, moments, Materialization.INCREMENTAL, "SELECT 1")
    assert "PARTITION BY TIMESTAMP_TRUNC(`d`, DAY)" in text


@pytest.mark.parametrize(
    ("hours", "words"), [(None, "'4:0:0'"), (0.1, "'0:30:0'"), (36, "'36:0:0'"), (900, "'72:0:0'")]
)
def test_a_view_lags_no_longer_than_it_counts_as_fresh(hours: float | None, words: str) -> None:
    view = _view("SELECT d FROM lab.u", freshness_hours=hours)
    text = views.create_statement(NAMES, view, Materialization.MAX_STALENESS, "SELECT 1")
    assert f"max_staleness=INTERVAL {words} HOUR TO SECOND" in text


def test_a_definition_changes_with_the_query_its_layout_and_its_keeping() -> None:
    view = _view("SELECT d FROM lab.t", partitioning={"date": "d"})
    digests = {
        views.definition(view, Materialization.INCREMENTAL, "SELECT 1"),
        views.definition(view, Materialization.INCREMENTAL, "SELECT 2"),
        views.definition(view, Materialization.MAX_STALENESS, "SELECT 1"),
        views.definition(
            view.model_copy(update={"clustering": ("k",)}), Materialization.INCREMENTAL, "SELECT 1"
        ),
        views.definition(
            view.model_copy(update={"partitioning": None}), Materialization.INCREMENTAL, "SELECT 1"
        ),
    }
    assert len(digests) == 5
    described = view.model_copy(update={"description": "other words"})
    assert views.definition(described, Materialization.INCREMENTAL, "SELECT 1") in digests


def test_a_view_whose_table_was_made_again_after_it_is_made_again_too() -> None:
    live = {"creationTime": "2000"}
    assert views.survives(live, [{"creationTime": "1999"}, {"creationTime": "2000"}])
    assert not views.survives(live, [{"creationTime": "1999"}, {"creationTime": "2001"}])
    assert not views.survives(live, [{"creationTime": "1999"}, None])


def test_a_view_is_refreshed_once_for_each_change_below_it() -> None:
    base = {"lastModifiedTime": str(int(dt.datetime(2026, 11, 20, tzinfo=dt.UTC).timestamp() * 1000))}
    before, after = "2026-11-19T23:59:59.999Z", "2026-11-20T00:00:00.001Z"

    def moment(text: str) -> str:
        return str(int(dt.datetime.fromisoformat(text).timestamp() * 1000))

    assert views.needs_refresh({}, [base])
    assert views.needs_refresh({"materializedView": {"lastRefreshTime": moment(before)}}, [base])
    assert not views.needs_refresh({"materializedView": {"lastRefreshTime": moment(after)}}, [base])
    watermark = {
        "materializedView": {"lastRefreshTime": moment(after)},
        "materializedViewStatus": {"refreshWatermark": before},
    }
    assert views.needs_refresh(watermark, [base])


def test_the_catalogue_shows_the_decision_with_each_reason_and_what_to_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def shown(name: str) -> str:
        show(name)
        return " ".join(capsys.readouterr().out.split())

    assert "kept by BigQuery as │ an incremental materialized view" in shown("analytics.training_progress")
    summary = shown("analytics.daily_environment_summary")
    assert "kept by BigQuery as │ a table that the platform refreshes" in summary
    assert "│ the catalogue calls it a derived_table │ derived table │" in summary
    assert "│ arithmetic on aggregates │ max_staleness │ Keep the aggregates alone" in summary
    assert "kept by BigQuery" not in shown("training.episodes")


def test_the_catalogue_shows_a_relation_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    """It was refused, as BigQuery keeps no view of it."""
    show("analytics.agent_comparison")
    answer = " ".join(capsys.readouterr().out.split())
    assert "computed by gaelp_assets.statistics.comparison:agent_comparison" in answer
    assert "kept by BigQuery" not in answer
