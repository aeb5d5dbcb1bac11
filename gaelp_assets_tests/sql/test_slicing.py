"""Which queries can be computed slice by slice, and which are said to read other slices."""

from __future__ import annotations

from typing import Any

import pytest

from gaelp_assets.catalog import Catalog, load_catalog
from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.sql.slicing import slice_problems

DAY = {"name": "date", "type": "DATE", "mode": "REQUIRED"}
ENV = {"name": "env", "type": "STRING", "mode": "REQUIRED"}
OTHERS = [
    {"name": "id", "type": "STRING"}, {"name": "n", "type": "INTEGER"}, {"name": "tags", "type": "STRING", "mode": "REPEATED"}
]  # fmt: skip
BY_DATE = {"date": "date"}
BY_BOTH = {"date": "date", "environment": "env"}


def relation(name: str, **keys: Any) -> Relation:
    return Relation.model_validate(
        {"dataset": "lab", "name": name, "description": name, "owner": "team:lab", **keys}
    )


def catalog(sql: str, partitioning: dict[str, str] | None = None, **keys: Any) -> tuple[Catalog, Relation]:
    """Two facts by date and environment, one by date, one by a moment, a dimension, a plain view, and a derived table of that SQL."""
    facts = [
        relation(name, fields=[DAY, ENV, *OTHERS], partitioning=BY_BOTH, primary_key=["id"])
        for name in ("a", "b")
    ]
    moment = {"name": "at", "type": "TIMESTAMP", "mode": "REQUIRED"}
    derived = relation(
        "made", kind="derived_table", fields=[DAY, ENV], partitioning=partitioning or BY_DATE, sql=sql, **keys
    )
    relations = [
        *facts,
        relation("daily", fields=[DAY, *OTHERS], partitioning=BY_DATE, primary_key=["id"]),
        relation("events", fields=[moment, *OTHERS], partitioning={"date": "at"}, primary_key=["id"]),
        relation("agents", fields=OTHERS, primary_key=["id"]),
        relation(
            "board",
            kind="derived_table",
            fields=OTHERS[:2],
            sql="SELECT id, SUM(n) AS n FROM lab.a GROUP BY id",
        ),
        relation("plain", kind="view", fields=[DAY, ENV, *OTHERS], sql="SELECT * FROM lab.a WHERE n > 1"),
        relation(
            "total",
            kind="view",
            fields=[DAY, OTHERS[1]],
            sql="SELECT date, SUM(n) OVER (ORDER BY date) AS n FROM lab.a",
        ),
        derived,
    ]
    return Catalog(relations, upstream_of(relations)), derived


SLICE_BY_SLICE = [
    "SELECT date, COUNT(*) AS n FROM lab.a GROUP BY date",
    "SELECT date, COUNT(*) AS n FROM lab.a GROUP BY 1",
    "SELECT a.date AS day, a.date FROM lab.a AS a WHERE a.n > (SELECT MAX(n) FROM lab.agents)",
    "SELECT date, LAG(n) OVER (PARTITION BY date ORDER BY id) AS n FROM lab.a",
    "SELECT date, LAG(n) OVER w AS n FROM lab.a WINDOW w AS (PARTITION BY date ORDER BY id)",
    "SELECT date, n FROM lab.a QUALIFY ROW_NUMBER() OVER (PARTITION BY date, id ORDER BY n) = 1",
    "SELECT a.date, b.n FROM lab.a AS a JOIN lab.b AS b ON a.id = b.id AND a.date = b.date",
    "SELECT a.date, b.n FROM lab.a AS a LEFT JOIN lab.b AS b USING (date, id)",
    "SELECT date, a.n FROM lab.a AS a FULL JOIN lab.b AS b USING (date, id)",
    "SELECT b.date, a.n FROM lab.a AS a RIGHT JOIN lab.b AS b ON b.date = a.date",
    "SELECT a.date, b.n FROM lab.a AS a, lab.b AS b WHERE b.date = a.date AND a.id = b.id",
    "SELECT a.date, g.n FROM lab.a AS a JOIN lab.agents AS g ON g.id = a.id",
    "SELECT date, tag FROM lab.a CROSS JOIN UNNEST(tags) AS tag",
    "SELECT date, n FROM lab.a UNION ALL SELECT date, n FROM lab.b",
    "SELECT date, n FROM lab.a EXCEPT DISTINCT SELECT DATE '2026-11-20', 1",
    "SELECT date, LAG(n) OVER v AS n FROM lab.a WINDOW w AS (PARTITION BY date), v AS (w ORDER BY id)",
    "SELECT a.date, d.n FROM lab.a AS a LEFT JOIN lab.b AS b USING (date, id) LEFT JOIN lab.daily AS d ON d.date = b.date",
    "SELECT DISTINCT date, n FROM lab.a",
    "WITH x AS (SELECT date, id, SUM(n) AS n FROM lab.a GROUP BY date, id) SELECT date, MAX(n) AS n FROM x GROUP BY date",
    "SELECT date, n FROM (SELECT * FROM lab.a)",
    "SELECT date, n FROM lab.plain",
    "SELECT date, n FROM lab.a AS a WHERE EXISTS (SELECT 1 FROM lab.b AS b WHERE b.date = a.date AND b.id = a.id)",
    "SELECT date, (SELECT COUNT(*) FROM lab.b AS b WHERE b.date = a.date) AS n FROM lab.a AS a",
    "SELECT date, n FROM lab.a WHERE date IN (SELECT date FROM lab.b)",
    "SELECT DATE(at) AS date, COUNT(*) AS n FROM lab.events GROUP BY date",
    "SELECT EXTRACT(DATE FROM at) AS date, n FROM lab.events",
    "SELECT date, ARRAY_AGG(n ORDER BY n LIMIT 1) AS n FROM lab.a GROUP BY date",
]
OTHER_SLICES = {
    "SELECT date, COUNT(*) AS n, LAG(COUNT(*)) OVER (ORDER BY date) AS p FROM lab.a GROUP BY date": "a window",
    "SELECT date, SUM(n) OVER (PARTITION BY id ORDER BY date) AS n FROM lab.a": "a window",
    "SELECT date, LAG(n) OVER w AS n FROM lab.a WINDOW w AS (ORDER BY date)": "a window",
    "SELECT date, n FROM lab.a QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY date DESC) = 1": "a window",
    "SELECT DATE_ADD(date, INTERVAL 1 DAY) AS date, COUNT(*) AS n FROM lab.a GROUP BY 1": "aggregated",
    "SELECT DATE_TRUNC(date, MONTH) AS date, SUM(n) AS n FROM lab.a GROUP BY 1": "aggregated",
    "SELECT MAX(date) AS date, id FROM lab.a GROUP BY id": "aggregated",
    "SELECT MAX(date) AS date FROM lab.a": "aggregated",
    "SELECT a.date, b.n FROM lab.a AS a JOIN lab.b AS b ON a.id = b.id": "joined",
    "SELECT a.date, b.n FROM lab.a AS a JOIN lab.b AS b ON b.date = DATE_SUB(a.date, INTERVAL 1 DAY)": "joined",
    "SELECT a.date, b.n FROM lab.a AS a JOIN lab.b AS b ON b.date <= a.date": "joined",
    "SELECT a.date, b.n FROM lab.a AS a JOIN lab.b AS b ON b.date = a.date OR b.id = a.id": "joined",
    "SELECT a.date, b.n FROM lab.a AS a, lab.b AS b": "joined",
    "SELECT b.date, a.n FROM lab.a AS a LEFT JOIN lab.b AS b ON b.date = a.date": "date is not, unchanged",
    "SELECT date, n FROM lab.a UNION ALL SELECT DATE_ADD(date, INTERVAL 1 DAY), n FROM lab.b": "date is not, unchanged",
    "SELECT date, n FROM lab.a ORDER BY n LIMIT 10": "LIMIT",
    "SELECT date, n FROM (SELECT * FROM lab.a LIMIT 10)": "LIMIT",
    "SELECT date, n - (SELECT AVG(n) FROM lab.a) AS n FROM lab.a": "a subquery",
    "SELECT date, n FROM lab.a WHERE id IN (SELECT id FROM lab.b)": "a subquery",
    "SELECT date, n FROM lab.a AS a WHERE NOT EXISTS (SELECT 1 FROM lab.b AS b WHERE b.id = a.id AND b.date < a.date)": "a subquery",
    "SELECT date, n FROM lab.a CROSS JOIN (SELECT MAX(date) AS last FROM lab.a)": "aggregated",
    "WITH x AS (SELECT id, SUM(n) AS n FROM lab.a GROUP BY id) SELECT a.date, x.n FROM lab.a AS a JOIN x USING (id)": "aggregated",
    "SELECT date, n FROM lab.total": "lab.total looks at several slices",
    "SELECT DATE(at, 'Europe/Berlin') AS date, n FROM lab.events": "date is not, unchanged",
    "SELECT DATE_ADD(date, INTERVAL 1 DAY) AS date, n FROM lab.a": "date is not, unchanged",
    "SELECT date, SUM(n) AS n FROM lab.a GROUP BY ROLLUP(date)": "aggregated",
    "SELECT IF(n > 1, date, DATE '2026-11-20') AS date, n FROM lab.a": "date is not, unchanged",
    "SELECT date, n FROM lab.a UNION ALL SELECT DATE '2026-11-20', 1": "date is not, unchanged",
    "SELECT a.date, b.n FROM lab.a AS a JOIN lab.b AS b USING (id) LEFT JOIN lab.agents AS g ON g.id = a.id AND a.date = b.date": "joined",
    "SELECT a.date, d.n FROM lab.a AS a CROSS JOIN lab.daily AS d LEFT JOIN lab.b AS b ON b.date = a.date AND b.date = d.date": "joined",
    "SELECT a.date, COUNT(*) OVER (PARTITION BY COALESCE(b.date, d.date)) AS n FROM lab.a AS a "
    "LEFT JOIN lab.b AS b ON b.date = a.date AND b.id = a.id LEFT JOIN lab.daily AS d ON d.date = a.date AND d.id = a.id": "a window",
    "SELECT date, (SELECT COUNT(*) FROM lab.agents AS g RIGHT JOIN lab.b AS b ON b.date = a.date) AS n FROM lab.a AS a": "a subquery",
    "SELECT date, (SELECT COUNT(*) FROM lab.b AS b LEFT JOIN lab.agents AS g ON b.date = a.date) AS n FROM lab.a AS a": "a subquery",
}


@pytest.mark.parametrize("sql", SLICE_BY_SLICE)
def test_these_are_made_of_the_same_slice(sql: str) -> None:
    assert slice_problems(*catalog(sql)) == []


@pytest.mark.parametrize("sql", OTHER_SLICES)
def test_these_are_made_of_other_slices(sql: str) -> None:
    problems = slice_problems(*catalog(sql))
    assert problems
    assert OTHER_SLICES[sql] in problems[0].what
    assert problems[0].where.startswith("lab/made.sql, line 1, column ")
    assert "reads_slices" in problems[0].remedy


@pytest.mark.parametrize("sql", OTHER_SLICES)
def test_what_is_declared_to_read_all_dates_may_read_them(sql: str) -> None:
    problems = slice_problems(*catalog(sql, reads_slices={"before": "all", "after": "all"}))
    is_computed = any(word in sql for word in ("_ADD(date", "_TRUNC(date", "DATE(at", "IF(", "SELECT DATE"))
    assert [problem.what for problem in problems] == [
        "a computed date makes slices of days without rows"
    ] * is_computed


def test_the_slices_of_a_shifted_date_were_never_made_under_a_declaration_of_all_days() -> None:
    shifted = "SELECT DATE_ADD(date, INTERVAL 3 DAY) AS date, n FROM lab.a"
    assert slice_problems(*catalog(shifted, reads_slices={"before": 3})) == []
    assert slice_problems(*catalog(shifted, reads_slices={"before": "all"}))
    assert slice_problems(*catalog(shifted, reads_slices={"before": 2}))
    back = "SELECT DATE_SUB(date, INTERVAL 3 DAY) AS date, n FROM lab.a"
    assert slice_problems(*catalog(back, reads_slices={"after": 3})) == []
    assert slice_problems(*catalog(back, reads_slices={"before": 3}))


@pytest.mark.parametrize(
    ("value", "enough", "too_little"),
    [
        ("LAG(n) OVER (ORDER BY date)", {"before": "all"}, {"before": 9, "after": "all"}),
        ("LEAD(n) OVER (ORDER BY date)", {"after": "all"}, {"before": "all"}),
        ("LAG(n) OVER (ORDER BY date DESC)", {"after": "all"}, {"before": "all"}),
        ("SUM(n) OVER (PARTITION BY id ORDER BY date)", {"before": "all"}, {"after": "all"}),
        ("SUM(n) OVER ()", {"before": "all", "after": "all"}, {"before": "all"}),
        ("RANK() OVER (ORDER BY n)", {"before": "all", "after": "all"}, {"before": "all"}),
        ("NTILE(4) OVER (ORDER BY date)", {"before": "all", "after": "all"}, {"before": "all"}),
        ("SUM(n) OVER (ORDER BY UNIX_DATE(date) RANGE BETWEEN 6 PRECEDING AND CURRENT ROW)", {"before": 6}, {"before": 5}),
        ("SUM(n) OVER (ORDER BY UNIX_DATE(date) RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING)", {"before": 2, "after": 1}, {"before": 2}),
        ("SUM(n) OVER (ORDER BY UNIX_DATE(date) DESC RANGE BETWEEN 2 PRECEDING AND CURRENT ROW)", {"after": 2}, {"before": 2}),
        ("SUM(n) OVER (ORDER BY date ROWS BETWEEN 6 PRECEDING AND CURRENT ROW)", {"before": "all"}, {"before": 6}),
        ("(SELECT MAX(n) FROM lab.b)", {"before": "all", "after": "all"}, {"before": "all"}),
    ],
)  # fmt: skip
def test_a_declaration_smaller_than_what_the_sql_reads_was_taken(
    value: str, enough: dict[str, Any], too_little: dict[str, Any]
) -> None:
    sql = f"SELECT date, {value} AS n FROM lab.a"
    assert slice_problems(*catalog(sql, reads_slices=enough)) == []
    problems = slice_problems(*catalog(sql, reads_slices=too_little))
    assert any(problem.what.startswith("reads more days than it declares") for problem in problems)


def test_what_reads_nothing_in_slices_is_never_due() -> None:
    [problem] = slice_problems(*catalog("SELECT DATE '2026-11-20' AS date, id FROM lab.agents"))
    assert "no slice of it is ever due" in problem.what


def test_a_declaration_of_days_is_too_little_for_a_window_that_counts_rows() -> None:
    lag = "SELECT date, LAG(n) OVER (ORDER BY date) AS n FROM lab.a"
    [problem] = slice_problems(*catalog(lag, reads_slices={"before": 7}))
    assert "more days than it declares" in problem.what
    assert slice_problems(*catalog(lag, reads_slices={"before": "all"})) == []
    week = "SELECT date, SUM(n) OVER (ORDER BY UNIX_DATE(date) RANGE BETWEEN 6 PRECEDING AND CURRENT ROW) AS n FROM lab.a"
    assert slice_problems(*catalog(week, reads_slices={"before": 6})) == []
    assert slice_problems(*catalog(week))


def test_environments_are_slices_too() -> None:
    ranked = "SELECT date, env, RANK() OVER (PARTITION BY date ORDER BY n) AS n FROM lab.a"
    assert slice_problems(*catalog(ranked)) == []
    [problem] = slice_problems(*catalog(ranked, BY_BOTH))
    assert "environment" in problem.what
    [problem] = slice_problems(*catalog(ranked, BY_BOTH, reads_slices={"before": "all"}))
    assert "environment" in problem.what
    assert "reads_slices" not in problem.remedy
    [problem] = slice_problems(
        *catalog("SELECT a.date, a.env, d.n FROM lab.a AS a JOIN lab.daily AS d USING (date)", BY_BOTH)
    )
    assert "lab.daily is kept by date alone" in problem.what


@pytest.mark.parametrize("declared", [{}, {"reads_slices": {"before": "all", "after": "all"}}])
def test_a_board_of_all_slices_was_taken_for_a_dimension(declared: dict[str, Any]) -> None:
    joined = "SELECT a.date, board.n FROM lab.a AS a JOIN lab.board AS board ON board.id = a.id"
    [problem] = slice_problems(*catalog(joined, **declared))
    assert "lab.board is one slice" in problem.what


def test_no_shipped_relation_reads_other_slices_undeclared() -> None:
    shipped = load_catalog()
    assert [problem for relation in shipped.derived for problem in slice_problems(shipped, relation)] == []


def test_views_that_read_one_another_in_a_circle_are_left_to_the_catalogue() -> None:
    circle = [
        relation(name, kind="view", fields=[DAY], sql=f"SELECT date FROM lab.{other}")
        for name, other in (("one", "two"), ("two", "one"))
    ]
    made = relation(
        "made", kind="derived_table", fields=[DAY], partitioning=BY_DATE, sql="SELECT date FROM lab.one"
    )
    assert [problem.what for problem in slice_problems(Catalog([*circle, made]), made)] == [
        "reads nothing that is kept in slices: no slice of it is ever due"
    ]


def test_the_columns_that_a_load_adds_are_known() -> None:
    sql = "SELECT date, MAX(_loaded_at) OVER () AS n FROM lab.a"
    assert slice_problems(*catalog(sql))
    assert not slice_problems(*catalog("SELECT date, _batch_id AS id FROM lab.a"))
