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
    assert to_duckdb("SELECT a -- why\nFROM analytics.curves") == "SELECT a FROM analytics.curves"


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("APPROX_QUANTILES(x, 4)", "APPROX_QUANTILES"),
        ("APPROX_COUNT_DISTINCT(x)", "APPROX_COUNT_DISTINCT"),
        ("FARM_FINGERPRINT(x)", "FARM_FINGERPRINT"),
        ("FORMAT('%05d', x)", "FORMAT"),
        ("REVERSE(x)", "REVERSE"),
        ("IEEE_DIVIDE(1, x)", "IEEE_DIVIDE"),
        ("TO_JSON_STRING(x)", "TO_JSON_STRING"),
        ("NO_SUCH_FUNCTION(x)", "NO_SUCH_FUNCTION"),
        ("HLL_COUNT.INIT(x)", "HLL_COUNT"),
        ("DATE(x, 'Asia/Tokyo')", "DATE with zone"),
        ("TIMESTAMP_TRUNC(x, DAY, 'Asia/Tokyo')", "TIMESTAMP_TRUNC with zone"),
        ("FORMAT_TIMESTAMP('%F', x, 'Asia/Tokyo')", "FORMAT_DATE with zone"),
        ("EXTRACT(HOUR FROM x AT TIME ZONE 'Asia/Tokyo')", "AT TIME ZONE"),
        ("INSTR(x, 'a', 1, 2)", "STRPOS with position"),
        ("CAST(x AS NUMERIC)", "CAST AS NUMERIC"),
        ("CAST(x AS DATETIME)", "CAST AS DATETIME"),
        ("NUMERIC '1.5'", "CAST AS NUMERIC"),
        ("STRUCT(x)", "STRUCT field without a name"),
        ("x[0]", "array index without OFFSET"),
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
        ("SAFE.LN(1 / x)", "SAFE. around"),
        ("b'bytes'", "BYTE STRING"),
        ("x & 1", "BITWISE AND"),
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
        "SELECT * FROM a.t, UNNEST(t.parts) AS part",
        "SELECT AS STRUCT x FROM a.t",
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
    assert second.what.startswith("REVERSE")
    assert set(first.expected.removeprefix("one of ").split(", ")) == set(FUNCTION_NAMES)


def test_a_syntax_error_names_line_and_column() -> None:
    with pytest.raises(GaelpError, match=r"SQL, line 2, column \d+: "):
        to_duckdb("SELECT x\nFROM (")


@pytest.mark.parametrize(
    "expression",
    [
        "UPPER('straße')",
        "LOWER('ΟΔΟΣ')",
        "CAST(1.5 AS STRING)",
        "CAST(TIMESTAMP '2024-01-01 00:00:00+00' AS STRING)",
        "SAFE_CAST('nan' AS FLOAT64)",
        "SAFE_CAST('0x1F' AS INT64)",
        "CAST('2024-01-01 00:00:00 Asia/Tokyo' AS TIMESTAMP)",
    ],
)
def test_values_that_would_differ_are_errors_even_when_safe(
    expression: str, engine: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(duckdb.InvalidInputException, match="refused: "):
        engine.execute(to_duckdb(f"SELECT {expression} AS y")).fetchall()


@pytest.mark.parametrize(("function", "special"), [("UPPER", UPPER_SPECIAL), ("LOWER", LOWER_SPECIAL)])
def test_every_letter_but_the_refused_has_the_same_case_on_both_engines(
    function: str, special: str, engine: duckdb.DuckDBPyConnection
) -> None:
    letters = [
        c
        for c in map(chr, range(0x80, 0x1FBFF))
        if unicodedata.category(c).startswith("L") and c not in special
    ]
    gate = Gate()
    for start in range(0, len(letters), 8000):
        text = " ".join(letters[start : start + 8000])
        sql = f"SELECT {function}('{text}') AS y"
        assert engine.execute(to_duckdb(sql)).fetchall() == gate.evaluate(sql)[1]
