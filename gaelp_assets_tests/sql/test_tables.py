"""What the fields of relations add: types of columns, `*` spelt out, misspelt names found, and the columns of a result."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from gaelp_assets.catalog import Relation, load_catalog
from gaelp_assets.catalog.model import Field, stored_fields
from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.transpile import output_columns, to_duckdb
from gaelp_assets_tests.sql.comparison import engine

CATALOG = load_catalog()
CATALOG_TABLES = {relation.id: stored_fields(relation) for relation in CATALOG}
TABLES = {
    "lab.runs": (
        Field(name="run", type="STRING"),
        Field(name="day", type="DATE"),
        Field(name="cost", type="NUMERIC"),
        Field(name="score", type="FLOAT"),
        Field(name="steps", type="INTEGER"),
        Field(name="tags", type="STRING", mode="REPEATED"),
        Field(name="parts", type="RECORD", mode="REPEATED", fields=(Field(name="weight", type="FLOAT"),)),
        Field(name="box", type="RECORD", fields=(Field(name="low", type="INTEGER"),)),
        Field(name="settings", type="JSON"),
        Field(name="group", type="STRING"),
    ),
    "lab.agents": (Field(name="agent", type="STRING"), Field(name="run", type="STRING")),
}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with engine() as connection:
        connection.execute("CREATE SCHEMA lab")
        connection.execute(
            "CREATE TABLE lab.runs (run VARCHAR, day DATE, cost DECIMAL(38, 9), score DOUBLE, steps BIGINT, tags VARCHAR[],"
            ' parts STRUCT(weight DOUBLE)[], box STRUCT(low BIGINT), settings JSON, "group" VARCHAR)'
        )
        connection.execute(
            "INSERT INTO lab.runs VALUES ('a', '2026-11-03', 19.99, 1e308, 3, ['x', 'y'], [{'weight': 0.5}], {'low': 1}, '{}', 'g'),"
            " ('b', '2026-11-04', 0.000000001, 2.5, 4, [], [], {'low': 2}, '{\"lr\": \"lin_3e-4\"}', 'g')"
        )
        connection.execute("CREATE TABLE lab.agents AS SELECT 'ppo' AS agent, 'a' AS run")
        yield connection


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT DIV(cost, 2) AS d FROM lab.runs ORDER BY run", ["9.000000000", "0E-9"]),
        ("SELECT CAST(cost AS STRING) AS s FROM lab.runs ORDER BY run", ["19.99", "0.000000001"]),
        ("SELECT DATE_TRUNC(day, MONTH) AS day FROM lab.runs GROUP BY day", ["2026-11-01"]),
        ("SELECT weight FROM lab.runs, UNNEST(parts)", ["0.5"]),
        ("SELECT tag FROM lab.runs, runs.tags AS tag ORDER BY tag", ["x", "y"]),
        ("SELECT box.low + steps AS n FROM lab.runs ORDER BY n", ["4", "6"]),
        ("SELECT day + steps AS d FROM lab.runs ORDER BY d", ["2026-11-06", "2026-11-08"]),
        ("SELECT SAFE_CAST(JSON_VALUE(settings, '$.lr') AS FLOAT64) AS lr FROM lab.runs", ["None", "None"]),
        ("SELECT `group` AS g, COUNT(*) AS n FROM lab.runs GROUP BY g", ["g"]),
        ("SELECT * FROM lab.runs JOIN lab.agents USING (run)", ["a"]),
        ("SELECT * FROM lab.agents JOIN lab.runs USING (run)", ["a"]),
        ("SELECT agent FROM agents", ["ppo"]),
    ],
)
def test_columns_have_the_meaning_that_their_type_gives(
    sql: str, rows: list[str], con: duckdb.DuckDBPyConnection
) -> None:
    assert [str(row[0]) for row in con.execute(to_duckdb(sql, TABLES)).fetchall()] == rows


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT scoer FROM lab.runs", "line 1, column 8: unrecognised name scoer, did you mean score"),
        ("SELECT run FROM lab.rns", "relation lab.rns is not known, did you mean lab.runs"),
        ("SELECT run FROM lab.runs, lab.agents", "column run is ambiguous"),
        (
            "SELECT run,\n  score + 'a' AS x FROM lab.runs",
            r"line 2, column 3: no matching signature: \+ of FLOAT64, STRING",
        ),
        ("SELECT EXP(cost) AS x FROM lab.runs", "EXP of NUMERIC is not used here.*CAST AS FLOAT64"),
        ("SELECT CAST(cost AS BOOL) AS x FROM lab.runs", "CAST of NUMERIC AS BOOL"),
        ("SELECT DISTINCT settings FROM lab.runs", "DISTINCT of JSON"),
        ("SELECT settings, COUNT(*) AS n FROM lab.runs GROUP BY settings", "GROUP BY JSON"),
        ("SELECT run FROM lab.runs WHERE day > TIMESTAMP '2026-01-01'", "> of DATE, TIMESTAMP"),
        ("SELECT steps FROM lab.runs UNION ALL SELECT run FROM lab.runs", "INT64 on one side and STRING"),
        ("SELECT run, SUM(score) AS s FROM lab.runs", "column run is neither grouped nor aggregated"),
        ("SELECT score AS s FROM lab.runs WHERE s > 1", "unrecognised name s"),
        ("SELECT settings.lr FROM lab.runs", "JSON has no field lr.*JSON_VALUE"),
        ("SELECT run, run FROM lab.runs", "the result has two columns run"),
        (
            "SELECT runs.day, COUNT(*) AS runs FROM lab.runs AS runs GROUP BY runs.day",
            "column 66: GROUP BY a field of runs, a name of the SELECT list; expected another name for the table",
        ),
    ],
)
def test_what_bigquery_refuses_is_refused_with_its_place(sql: str, words: str) -> None:
    with pytest.raises(GaelpError, match=words):
        to_duckdb(sql, TABLES)


@pytest.mark.parametrize("sql", ["score * 10.0", "score + score", "SUM(score * score)", "SUM(score) * 10"])
def test_infinity_was_the_result_of_an_overflow(sql: str, con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error, match="gaelp: double overflow"):
        con.execute(to_duckdb(f"SELECT {sql} AS x FROM lab.runs", TABLES)).fetchall()


def test_the_columns_of_a_result_are_known_without_running_it() -> None:
    sql = "SELECT *, cost / 3 AS third, AVG(steps) OVER () AS mean, NULL AS nothing, [day] AS days FROM lab.runs"
    found = output_columns(sql, TABLES)
    assert [(c.name, c.type, c.mode) for c in found] == [
        *((f.name, f.type, "REPEATED" if f.repeated else "NULLABLE") for f in TABLES["lab.runs"]),
        ("third", "NUMERIC", "NULLABLE"),
        ("mean", "FLOAT", "NULLABLE"),
        ("nothing", "INTEGER", "NULLABLE"),
        ("days", "DATE", "REPEATED"),
    ]
    assert [(c.name, c.type) for c in next(c for c in found if c.name == "parts").fields] == [
        ("weight", "FLOAT")
    ]


def test_columns_of_relations_without_fields_are_unknown() -> None:
    assert output_columns("SELECT a, a + 1.5 AS b, 'x' AS c FROM t")[0].type == "UNKNOWN"
    with pytest.raises(GaelpError, match="columns of \\* are not known"):
        output_columns("SELECT * FROM t")


@pytest.mark.parametrize("relation", [r for r in CATALOG.derived if r.python is None], ids=lambda r: r.id)
def test_derived_relations_have_the_declared_columns(relation: Relation) -> None:
    assert relation.sql is not None
    found = [(c.name, c.type) for c in output_columns(relation.sql, CATALOG_TABLES)]
    assert found == [(field.name, field.type) for field in relation.fields]
