"""What the translation to DuckDB refuses, how it says so, and what holds of all of it."""

from __future__ import annotations

import unicodedata

import duckdb
import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import FUNCTION_NAMES
from gaelp_assets.sql.transforms_text import LOWER_SPECIAL, UPPER_SPECIAL
from gaelp_assets.sql.transpile import to_duckdb
from gaelp_assets_tests.zetasql_gate import Gate


@pytest.fixture(scope="module")
def engine() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def test_parameters_keep_their_names(engine: duckdb.DuckDBPyConnection) -> None:
    sql = to_duckdb("SELECT x FROM UNNEST(@ids) AS x WHERE x > @low ORDER BY x LIMIT @count")
    assert engine.execute(sql, {"ids": [3, 1, 2], "low": 1, "count": 1}).fetchall() == [(2,)]


def test_names_of_relations_stay_and_comments_go() -> None:
    assert to_duckdb("SELECT a -- why\nFROM analytics.curves") == "SELECT curves.a FROM analytics.curves"


@pytest.mark.parametrize(
    "expression",
    [
        "DATETIME_ADD(d, INTERVAL 1 HOUR)",
        "DATETIME_SUB(d, INTERVAL 1 MICROSECOND)",
        "DATE_TRUNC(d, HOUR)",
        "TIMESTAMP_TRUNC(d, MINUTE)",
        "DATE_DIFF(d, DATETIME '2026-11-20 01:00:00', HOUR)",
        "EXTRACT(HOUR FROM d)",
    ],
)
def test_a_date_was_given_hours_that_googlesql_does_not_know(expression: str) -> None:
    sql = f"SELECT {expression} AS x FROM (SELECT DATE '2026-11-20' AS d)"
    with pytest.raises(Exception, match=r"HOUR|MINUTE|MICROSECOND"):
        Gate().evaluate(sql)
    with pytest.raises(GaelpError, match=r"line 1, column \d+: .*(a DATE has no|FROM DATE)"):
        to_duckdb(sql)


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("APPROX_QUANTILES(x, n)", "APPROX_QUANTILES"),
        ("APPROX_TOP_COUNT(x, 3)", "APPROX_TOP"),
        ("FARM_FINGERPRINT(x)", "FARM_FINGERPRINT"),
        ("FORMAT('%x', x)", "FORMAT"),
        ("FORMAT(x, 1)", "FORMAT"),
        ("REVERSE(x)", "REVERSE"),
        ("IEEE_DIVIDE(1, x)", "IEEE_DIVIDE"),
        ("TO_JSON_STRING(x)", "TO_JSON_STRING of something whose type is not known"),
        ("TO_JSON_STRING(x, TRUE)", "TO_JSON_STRING with options"),
        ("PERCENTILE_CONT(x, 0.5 RESPECT NULLS) OVER ()", "RESPECT NULLS"),
        ("DATETIME_TRUNC(DATE '2024-01-01', HOUR)", "DATETIME_TRUNC of DATE"),
        ("STRING(CURRENT_TIMESTAMP(), 'Asia/Tokyo')", "STRING with a time zone"),
        ("NO_SUCH_FUNCTION(x)", "NO_SUCH_FUNCTION"),
        ("HLL_COUNT.INIT(x)", "HLL_COUNT"),
        ("DATE(x, '+09:00')", "time zone"),
        ("TIMESTAMP_TRUNC(x, DAY, zone)", "time zone"),
        ("PARSE_DATE('%d %B %Y', x)", "format to parse"),
        ("INSTR(x, 'a', 1, 2)", "STRPOS with position"),
        ("CAST(x AS BIGNUMERIC)", "CAST AS"),
        ("CAST(x AS NUMERIC(10, 2))", "a type with parameters"),
        ("EXP(NUMERIC '1.5')", "EXP of NUMERIC"),
        ("SUBSTR(b'abc', 1)", "SUBSTR of BYTES"),
        ("STRUCT(x + 1)", "STRUCT field without a name"),
        ("x[0]", "index without OFFSET"),
        ("x + INTERVAL 1 DAY", "INTERVAL as a value"),
        ("DATE_TRUNC(x, WEEK(TUESDAY))", r"WEEK\(TUESDAY\)"),
        ("EXTRACT(WEEK(TUESDAY) FROM x)", r"WEEK\(TUESDAY\)"),
        ("DATE_DIFF(x, x, ISOYEAR)", "ISOYEAR"),
        ("FORMAT_DATE('%c', x)", "date format"),
        ("ROUND(x, n)", "computed number of digits"),
        ("PERCENTILE_CONT(x, 0.5)", "PERCENTILE_CONT without OVER"),
        ("STRING_AGG(x LIMIT 2)", "STRING_AGG with LIMIT"),
        ("REGEXP_EXTRACT(x, pattern)", "REGEXP_EXTRACT with a computed pattern"),
        ("REGEXP_EXTRACT(x, '(a)?b')", "REGEXP_EXTRACT pattern"),
        ("SAFE.LOWER(x)", "SAFE. before LOWER"),
        ("SAFE.DATE(DIV(y, x), 1, 1)", "SAFE. around"),
        ("b'\\\\x00'", "escape in a literal of BYTES"),
        (r"b'\xff'", "escape in a literal of BYTES"),
        ("b'a' << 1", "<< of BYTES"),
        ("REGEXP_EXTRACT(x, 'a|(b)')", "REGEXP_EXTRACT pattern"),
        ("REGEXP_EXTRACT(x, '(?:(a)|b)')", "REGEXP_EXTRACT pattern"),
        ("REGEXP_EXTRACT(x, '(?:x(a))*')", "REGEXP_EXTRACT pattern"),
    ],
)
def test_what_was_not_found_equal_is_refused_by_name(expression: str, name: str) -> None:
    with pytest.raises(GaelpError, match=name):
        to_duckdb(f"SELECT {expression} AS y FROM t")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT x FROM a.t TABLESAMPLE SYSTEM (10 PERCENT)",
        "SELECT x FROM a.t FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
        "SELECT * FROM a.t PIVOT(SUM(x) FOR y IN ('a'))",
        "SELECT * FROM a.t JOIN a.u USING (k)",
        "SELECT (SELECT value FROM UNNEST(parts) WHERE key = 'x') AS y FROM a.t",
        "SELECT x FROM a.t JOIN (a.u JOIN a.v ON TRUE) ON TRUE",
        "SELECT x FROM a.t ORDER BY x UNION ALL SELECT y FROM a.u",
        "DELETE FROM a.t WHERE TRUE",
        "SELECT 1; SELECT 2",
        "SELECT FROM",
        "",
    ],
)
def test_only_one_plain_query_passes(sql: str) -> None:
    with pytest.raises(GaelpError):
        to_duckdb(sql)


def test_a_refusal_lists_near_names_first_and_all_refusals_come_at_once() -> None:
    with pytest.raises(GaelpError) as caught:
        to_duckdb("SELECT DATE_ADDD(x), REVERSE(x) FROM t")
    first, second = caught.value.problems
    assert first.what.startswith("DATE_ADDD")
    assert first.expected.startswith("one of DATE_ADD, ")
    assert first.where == "SQL, line 1, column 8"
    assert second.what.startswith("REVERSE")
    assert second.where == "SQL, line 1, column 22"
    assert set(first.expected.removeprefix("one of ").split(", ")) < set(FUNCTION_NAMES)


def test_a_field_of_an_unnested_record_is_not_a_column_of_the_outer_query() -> None:
    sql = "SELECT (SELECT p.value FROM UNNEST(t.parts) AS p WHERE p.key = t.key) AS y FROM a.t"
    assert "_unnest_p.p.key = t.key" in to_duckdb(sql)


def test_a_refusal_says_what_to_use_instead_rather_than_ninety_names() -> None:
    with pytest.raises(GaelpError) as caught:
        to_duckdb("SELECT APPROX_TOP_COUNT(x, 3), IEEE_DIVIDE(x, 2) FROM t")
    assert all(len(p.expected) < 120 for p in caught.value.problems)
    assert caught.value.problems[1].expected == "SAFE_DIVIDE"


@pytest.mark.parametrize(
    ("sql", "what", "instead"),
    [
        ("SELECT * FROM EXTERNAL_QUERY('a', 'b')", "EXTERNAL_QUERY", "a table that a collector loads"),
        ("SELECT NET.HOST(x) FROM a.t", "NET.HOST", "REGEXP_EXTRACT"),
        ("SELECT PARSE_JSON(x) FROM a.t", "PARSE_JSON", "JSON_VALUE or JSON_QUERY"),
        ("SELECT * FROM a.t PIVOT(SUM(x) FOR k IN ('a'))", "PIVOT of a relation whose fields", "SUM(IF(key = value, x, NULL))"),
        ("SELECT * FROM (SELECT 1 AS x, 'a' AS k) PIVOT(ARRAY_AGG(x) FOR k IN ('a'))", "this aggregate in PIVOT", "AVG, COUNT"),
        ("SELECT x FROM a.t JOIN (a.u JOIN a.v ON TRUE) ON TRUE", "this form of FROM", "the first joins only"),
        ("SELECT FORMAT_DATE('%c', DATE '2024-01-01')", "this date format", "%Y %m %d"),
        (
            "SELECT x + 1 AS k, (SELECT MAX(v) FROM UNNEST([1]) AS v WHERE v > k) AS m FROM UNNEST([1]) AS x GROUP BY x + 1 ORDER BY"
            " (SELECT MAX(v) FROM UNNEST([1]) AS v WHERE v > k)",
            "a subquery that refers to a group key",
            "compute it in a subquery in FROM",
        ),
        (
            "SELECT x + 1 AS k, x + 2 AS m FROM UNNEST([1]) AS x GROUP BY x + 1",
            "column x is neither grouped nor aggregated",
            "compute it in a subquery in FROM",
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_one_way_out(sql: str, what: str, instead: str) -> None:
    with pytest.raises(GaelpError) as caught:
        to_duckdb(sql)
    found = [p for p in caught.value.problems if what in p.what]
    assert found, caught.value
    assert instead in f"{found[0].expected} {found[0].remedy}"
    assert found[0].where.startswith("SQL, line 1, column")


def test_the_fields_of_a_computed_record_stand_beside_a_star_that_stays() -> None:
    sql = to_duckdb("SELECT t.*, IF(t.x > 1, STRUCT(1 AS a), STRUCT(2 AS a)).* FROM d.t")
    assert sql.startswith("SELECT t.*, CASE WHEN")
    assert sql.endswith("AS a FROM d.t")
    assert ".*," in sql
    assert "END.*" not in sql


def test_the_message_of_an_error_is_shown_as_written_and_never_with_values(
    engine: duckdb.DuckDBPyConnection,
) -> None:
    with pytest.raises(duckdb.InvalidInputException, match=r"gaelp: no rows today$"):
        engine.execute(to_duckdb("SELECT ERROR('no rows today') AS y")).fetchall()
    with pytest.raises(duckdb.InvalidInputException) as caught:
        engine.execute(
            to_duckdb("SELECT ERROR(CONCAT('secret ', x)) AS y FROM UNNEST(['row value']) AS x")
        ).fetchall()
    assert "row value" not in str(caught.value)


def test_a_syntax_error_names_line_and_column() -> None:
    with pytest.raises(GaelpError, match=r"SQL, line 2, column \d+: "):
        to_duckdb("SELECT x\nFROM (")


@pytest.mark.parametrize(
    "expression",
    [
        "UPPER('և')",
        "LOWER('ΟΔΟΣ')",
        "SAFE_CAST('0x1p3' AS FLOAT64)",
        "JSON_VALUE('{\"a\": 1', '$.a')",
        "NUMERIC '99999999999999999999' * NUMERIC '99999999999999999999'",
    ],
)
def test_values_that_would_differ_are_errors_even_when_safe(
    expression: str, engine: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(duckdb.InvalidInputException, match="gaelp: refused: "):
        engine.execute(to_duckdb(f"SELECT {expression} AS y")).fetchall()


@pytest.mark.parametrize(("function", "special"), [("UPPER", UPPER_SPECIAL), ("LOWER", LOWER_SPECIAL)])
def test_every_letter_but_the_refused_has_the_same_case_on_both_engines(
    function: str, special: str, engine: duckdb.DuckDBPyConnection
) -> None:
    letters = [
        c
        for c in map(chr, range(0x80, 0x1FBFF))
        if unicodedata.category(c).startswith("L")
        and (c not in special or (function == "UPPER" and c in "ßŉǰﬀﬁﬂﬃﬄﬅﬆ"))
    ]
    gate = Gate()
    for start in range(0, len(letters), 8000):
        text = " ".join(letters[start : start + 8000])
        sql = f"SELECT {function}('{text}') AS y"
        assert engine.execute(to_duckdb(sql)).fetchall() == gate.evaluate(sql)[1]
