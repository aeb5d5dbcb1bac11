"""More examples of the allow-list: what queries of other teams use, and what random queries have found."""

from __future__ import annotations

from typing import Final

from gaelp_assets_tests.sql.example import Example

BITS: Final = "UNNEST([1, -1, 5, 9223372036854775807, -9223372036854775808, 0, NULL]) AS x"
SHIFTS: Final = "UNNEST([0, 1, 2, 62, 63, 64, 70, NULL]) AS n"
INSTANTS: Final = (
    "UNNEST([TIMESTAMP '2024-02-29 23:59:59.999999+00', TIMESTAMP '1969-12-31 23:59:59.5+00', TIMESTAMP '2024-03-31 00:00:00+02', NULL])"
    " AS t"
)
WEEKS: Final = "UNNEST([DATE '2024-02-05', DATE '2024-12-30', DATE '2021-01-03', DATE '2020-12-31', DATE '1999-01-01', NULL]) AS d"
JSON_TEXTS: Final = (
    """UNNEST(['["x", 1, true, null]', '[]', '{"a": ["y", "z"]}', '["x", [1]]', '[{"b": 1}]', '7', 'no json', NULL, '"a"', '[""]'])"""
    " AS x"
)
PAIRS: Final = (
    "(SELECT STRUCT(1 AS a, 'x' AS b) AS s, 5 AS x UNION ALL SELECT STRUCT(NULL AS a, 'y' AS b), 6)"
)


def _each(key: str, source: str, *expressions: str) -> list[Example]:
    return [Example(key, f"SELECT {expression} AS y FROM {source}") for expression in expressions]


def _queries(key: str, *queries: str) -> list[Example]:
    return [Example(key, sql) for sql in queries]


def _errors(key: str, *queries: str) -> list[Example]:
    return [Example(key, sql, error=True) for sql in queries]


FUNCTIONS: Final = [
    *_each("ERROR", "UNNEST([1, 2]) AS x", "IF(x > 5, ERROR('too large'), 'fine')", "COALESCE(x, ERROR(CONCAT('none', 'at all')))"),
    *_queries(
        "ERROR",
        "SELECT x FROM UNNEST([1, 2]) AS x WHERE IF(x > 5, ERROR('too large'), TRUE)",
        "SELECT ERROR('never') AS y FROM UNNEST([1]) AS x WHERE x > 5",
    ),
    *_errors("ERROR", "SELECT IF(x > 1, ERROR('too large'), 'fine') AS y FROM UNNEST([1, 2]) AS x"),
    *_each("BitwiseLeftShift", f"{BITS} CROSS JOIN {SHIFTS}", "x << n"),
    *_each("BitwiseLeftShift", BITS, "x << 3", "1 << 62"),
    *_each("BitwiseRightShift", f"{BITS} CROSS JOIN {SHIFTS}", "x >> n"),
    *_errors("BitwiseLeftShift", "SELECT x << -1 AS y FROM UNNEST([1]) AS x"),
    *_errors("BitwiseRightShift", "SELECT x >> n AS y FROM UNNEST([1]) AS x CROSS JOIN UNNEST([-3]) AS n"),
    *_each("Extract", INSTANTS, "EXTRACT(TIME FROM t)"),
    *_each("TsOrDsToTime", INSTANTS, "TIME(t)", "TIME(DATETIME(t))"),
    *_each("Time", INSTANTS, "TIME(t, 'Asia/Tokyo')"),
    *_each("TimeFromParts", "UNNEST([0, 23, NULL]) AS x", "TIME(x, 59, 0)", "TIME(23, x, 59)"),
    *_errors("TimeFromParts", "SELECT TIME(24, 0, 0) AS y", "SELECT TIME(1, 60, 0) AS y", "SELECT TIME(1, 0, 61) AS y"),
    *_queries("TimeFromParts", "SELECT TIME(1, 0, 60) AS y, TIME(23, 59, 60) AS z"),
    *_each("String", INSTANTS, "STRING(t)", "STRING(t, 'UTC')", "STRING(DATE(t))", "STRING(DATETIME(t))", "STRING(TIME(t))"),
    *_each(
        "UnixToTime",
        "UNNEST([1, 9223372036854775807, 253402300800, -62135596801, 253402300799, NULL]) AS x",
        "SAFE.TIMESTAMP_SECONDS(x)",
    ),
    *_errors(
        "UnixToTime",
        "SELECT TIMESTAMP_SECONDS(253402300800) AS y",
        "SELECT TIMESTAMP_SECONDS(x) AS y FROM UNNEST([9223372036854775807]) AS x"),
    *_each("TimeToStr", WEEKS, "FORMAT_DATE('%V %G %u %w %D %h %U %W', d)"),
    *_each("TimeToStr", INSTANTS, "FORMAT_TIMESTAMP('%E3S %E6S %E4Y-%m', t)", "FORMAT_TIMESTAMP('%V/%G', t, 'Asia/Tokyo')"),
    *_each("JSONValueArray", JSON_TEXTS, "JSON_VALUE_ARRAY(x)", "JSON_VALUE_ARRAY(x, '$.a')", "JSON_EXTRACT_STRING_ARRAY(x)"),
    *_each("JSONExtractArray", JSON_TEXTS, "JSON_QUERY_ARRAY(x)", "JSON_QUERY_ARRAY(x, '$.a')", "JSON_EXTRACT_ARRAY(x)"),
    *_each(
        "JSONFormat",
        "UNNEST([1.0, 0.1, 1e300, -0.0, 2.5e-7, NULL]) AS x",
        "TO_JSON_STRING(x)",
        "TO_JSON_STRING([x, 1])",
        "TO_JSON_STRING(STRUCT(x AS a, 'a\"\\\\b' AS `c d`, [STRUCT(x AS k)] AS l, CAST(NULL AS STRING) AS n))",
        "TO_JSON_STRING(CAST(x AS STRING))",
    ),
    *_each("JSONFormat", "UNNEST([NUMERIC '1.5', NUMERIC '3', NUMERIC '-9007199254740993', NULL]) AS x", "TO_JSON_STRING(x)"),
    *_each(
        "JSONFormat", INSTANTS, "TO_JSON_STRING(t)", "TO_JSON_STRING(DATETIME(t))", "TO_JSON_STRING(TIME(t))", "TO_JSON_STRING([DATE(t)])"
    ),
    *_each("JSONFormat", "UNNEST([b'abc', b'', NULL]) AS x", "TO_JSON_STRING(x)"),
    *_each("JSONFormat", PAIRS, "TO_JSON_STRING(s)"),
    *_queries("PercentileDisc", *(
        f"SELECT x, PERCENTILE_DISC(x, {p}) OVER (PARTITION BY MOD(x, 2)) AS y FROM UNNEST([1, 2, 4, 7, 9, 3, NULL, 3]) AS x"
        for p in ("0", "0.1", "0.25", "0.5", "0.75", "0.9", "1")
    )),
    *_queries("PercentileDisc", "SELECT PERCENTILE_DISC(x, 0.5) OVER () AS y FROM UNNEST(['b', 'a', NULL, 'c', 'd']) AS x"),
    *_each("Bracket", "UNNEST([9223372036854775807, 0, 1, -1, 2, NULL]) AS x", "[1, 2][SAFE_OFFSET(x)]", "[1, 2][SAFE_ORDINAL(x)]"),
    *_queries("Bracket", "SELECT [1, 2][SAFE_OFFSET(9223372036854775807)] AS y"),
]  # fmt: skip

STARS: Final = _queries(
    "Star",
    f"SELECT s.* FROM {PAIRS}",
    f"SELECT q.s.*, x FROM {PAIRS} AS q",
    f"SELECT (SELECT AS STRUCT s.* EXCEPT (a), x AS c).c AS y FROM {PAIRS}",
    f"SELECT (SELECT AS STRUCT s.* REPLACE (x AS b)).b AS y FROM {PAIRS}",
    f"SELECT IF(x > 5, s, NULL).* FROM {PAIRS}",
    "SELECT ARRAY_AGG(STRUCT(x AS a, 2 AS b) ORDER BY x DESC LIMIT 1)[OFFSET(0)].* EXCEPT (b) FROM UNNEST([1, 3]) AS x",
)

GROUPS: Final = [
    # A name is found everywhere, a computed key as a whole or by its name, one with a subquery by its name only.
    *_queries(
        "Group",
        "SELECT x + 1 AS z, x + 1 AS y, COUNT(*) AS n FROM UNNEST([1]) AS x GROUP BY z",
        "SELECT x + 1 AS z, x + 1 AS y, COUNT(*) AS n FROM UNNEST([1]) AS x GROUP BY 1, 2 HAVING TRUE",
        "SELECT x AS z, x + 1 AS y, COUNT(*) AS n FROM UNNEST([1]) AS x GROUP BY z HAVING x > 0",
        "SELECT s.a AS z, s.a + 1 AS y FROM (SELECT STRUCT(1 AS a) AS s) GROUP BY s.a",
        "SELECT UPPER(x) AS z, COUNT(*) AS n FROM (SELECT 'a' AS x) GROUP BY z ORDER BY UPPER(x)",
        "SELECT UPPER(x) AS z, COUNT(*) AS n FROM (SELECT 'a' AS x) GROUP BY z ORDER BY z || 'b'",
        "SELECT k + 1 AS y FROM (SELECT 1 AS k) AS a FULL JOIN (SELECT 1 AS k) AS b USING (k) GROUP BY k",
        "SELECT (SELECT x) AS z, COUNT(*) AS n FROM UNNEST([1, 2]) AS x GROUP BY z HAVING z > 1",
    ),
    *_queries(
        "Qualify",
        "SELECT UPPER(x) AS z, COUNT(*) AS n FROM (SELECT 'a' AS x) GROUP BY z"
        " QUALIFY ROW_NUMBER() OVER (PARTITION BY z ORDER BY z || 'a') = 1",
        "SELECT UPPER(x) AS z, COUNT(*) AS n FROM (SELECT 'a' AS x) GROUP BY UPPER(x)"
        " QUALIFY ROW_NUMBER() OVER (ORDER BY z) = 1 ORDER BY z",
        # The key of a window is a subquery that may raise an error.
        "SELECT (SELECT STRING_AGG(v, '-' ORDER BY o DESC) FROM UNNEST(SPLIT(UPPER(x), ',')) AS v WITH OFFSET AS o) AS n"
        " FROM UNNEST(['a,b', 'c']) AS x WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY n ORDER BY n) = 1",
        "SELECT (SELECT MAX(v) FROM UNNEST([1, 7]) AS v WHERE v > CAST('2' AS INT64)) AS n FROM (SELECT 'a' AS x) WHERE TRUE"
        " QUALIFY ROW_NUMBER() OVER (PARTITION BY n ORDER BY n) = 1",
    ),
    *_errors(
        "Group",
        "SELECT x + 1 AS z, x + 1 + 5 AS y FROM UNNEST([1]) AS x GROUP BY z",
        "SELECT x + 1 AS z, COUNT(*) AS n FROM UNNEST([1]) AS x GROUP BY z HAVING x + 1 > 0",
        "SELECT x + 1 AS z, x + 1 AS y, COUNT(*) AS n FROM UNNEST([1]) AS x GROUP BY z ORDER BY z",
        "SELECT DATE(x) AS d, EXTRACT(YEAR FROM DATE(x)) AS y FROM (SELECT TIMESTAMP '2024-01-01 00:00:00+00' AS x) GROUP BY DATE(x)",
        "SELECT UPPER(x) AS z, ROW_NUMBER() OVER (ORDER BY UPPER(x)) AS n FROM (SELECT 'a' AS x) GROUP BY z",
        "SELECT (SELECT x) AS z, (SELECT x) AS y, COUNT(*) AS n FROM UNNEST([1, 2]) AS x GROUP BY z",
    ),
]

SALES: Final = "(SELECT 'a' AS k, 1 AS x, 5 AS g UNION ALL SELECT 'b', 2, 5 UNION ALL SELECT 'a', 4, 5 UNION ALL SELECT 'c', NULL, 6)"
WIDE: Final = "(SELECT 1 AS id, 5 AS a, NULL AS b UNION ALL SELECT 2, 6, 7)"
TWO: Final = "WITH a AS (SELECT 1 AS k UNION ALL SELECT 2), b AS (SELECT 1 AS k, 2 AS v)"

RELATIONS: Final = [
    *_queries(
        "Pivot",
        f"SELECT * FROM {SALES} PIVOT(SUM(x) FOR k IN ('a', 'b'))",
        f"SELECT * FROM {SALES} PIVOT(AVG(x) AS m, COUNT(*) AS c, COUNT(DISTINCT x) AS d FOR k IN ('a', 'b'))",
        f"SELECT p.g, p.s_a FROM {SALES} PIVOT(MAX(x) AS s FOR k IN ('a', 'b')) AS p WHERE s_b > 1",
        f"WITH t AS {SALES} SELECT * FROM t PIVOT(MIN(x) FOR k IN ('a', 'd'))",
        f"SELECT * FROM (SELECT k, x FROM {SALES}) PIVOT(COUNTIF(x > 1) FOR k IN ('a', 'b'))",
        f"SELECT * FROM {WIDE} UNPIVOT(v FOR k IN (a, b))",
        f"SELECT u.k, u.v + 1 AS y FROM {WIDE} UNPIVOT INCLUDE NULLS (v FOR k IN (a, b)) AS u",
        f"WITH t AS {WIDE} SELECT x, k, v FROM UNNEST([1, 2]) AS x JOIN t UNPIVOT(v FOR k IN (a, b)) AS u ON x = u.id",
    ),
    *_queries(
        "PivotAlias",
        f"SELECT * FROM {SALES} PIVOT(SUM(x) AS s, COUNT(*) AS c FOR k IN ('a' AS first, 'b'))",
        "SELECT * FROM (SELECT 1 AS k, 1 AS x UNION ALL SELECT 2, 2) PIVOT(AVG(x) FOR k IN (1 AS one, 2 AS two))",
        f"SELECT * FROM {WIDE} UNPIVOT(v FOR k IN (a AS 'first', b))",
    ),
    *_queries(
        "Join",
        f"{TWO} SELECT a.k, b.v FROM (a JOIN b ON a.k = b.k)",
        f"{TWO} SELECT k, b.v, c.v AS w FROM (a LEFT JOIN b USING (k)) FULL JOIN b AS c USING (k)",
        f"{TWO} SELECT a.k, b.v FROM ((a JOIN b USING (k)) CROSS JOIN b AS c)",
        "SELECT * FROM ((SELECT 1 AS a) AS q JOIN (SELECT 1 AS b) AS r ON a = b)",
    ),
    *_queries(
        "Select",
        "WITH m AS (SELECT AS VALUE MAX(x) FROM UNNEST([1, 2]) AS x) SELECT x FROM UNNEST([1, 2, 3]) AS x CROSS JOIN m WHERE x <= m",
        "WITH m AS (SELECT AS VALUE STRUCT(1 AS a, 2 AS b)) SELECT m.a, b, m.a + b AS c FROM m",
        "WITH m AS (SELECT AS VALUE STRUCT(1 AS a, 2 AS b)) SELECT * FROM m",
        "SELECT v + 1 AS y FROM (SELECT AS VALUE 5) AS v",
        "SELECT ARRAY(SELECT AS VALUE x FROM UNNEST([1, 2]) AS x) AS y",
    ),
    *_queries(
        "Window",
        "SELECT SUM(x) OVER w AS y FROM UNNEST([1, 2, 3]) AS x WINDOW w AS (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "SELECT SUM(x) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS y FROM UNNEST([1, 2, 3]) AS x WINDOW w AS (ORDER BY x)",
        "SELECT x, SUM(x) OVER (ORDER BY x RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS y FROM UNNEST([1, 2, 4, NULL, 2]) AS x",
        "SELECT x, COUNT(*) OVER (ORDER BY x DESC RANGE BETWEEN 0.5 PRECEDING AND 1.5 FOLLOWING) AS y FROM UNNEST([1.0, 1.5, 3, 9]) AS x",
    ),
    *_queries(
        "IgnoreNulls",
        "SELECT PERCENTILE_CONT(x, 0.5 IGNORE NULLS) OVER () AS y FROM UNNEST([1.0, NULL]) AS x",
        "SELECT ARRAY_LENGTH(ARRAY_AGG(x IGNORE NULLS)) AS y FROM UNNEST([1.0, NULL]) AS x",
        "SELECT NTH_VALUE(x, 1 IGNORE NULLS) OVER (ORDER BY x ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS y"
        " FROM UNNEST([1.0, NULL, 2]) AS x",
    ),
    *_queries(
        "RespectNulls",
        "SELECT FIRST_VALUE(x RESPECT NULLS) OVER (ORDER BY x) AS y FROM UNNEST([1.0, NULL]) AS x",
    ),
    *_errors("IgnoreNulls", "SELECT MAX(x IGNORE NULLS) AS y FROM UNNEST([1.0, NULL]) AS x"),
    *_queries("Union", "SELECT DATE '2024-01-01' AS x UNION ALL SELECT '2024-01-02'"),
    *_errors(
        "Union",
        "SELECT DATE '2024-01-01' AS x UNION ALL SELECT 'x'",
        "SELECT 'x' AS x UNION ALL SELECT DATE '2024-01-01' FROM UNNEST([1]) AS n WHERE n > 5",
    ),
]

BYTES: Final = [
    *_each("Unhex", "UNNEST(['00ff', '', 'ABcd', 'abc', NULL]) AS x", "FROM_HEX(x)"),
    *_errors("Unhex", "SELECT FROM_HEX('xy') AS y"),
    *_each("ToBase64", "UNNEST([b'abc', b'', b'a', NULL]) AS x", "TO_BASE64(x)"),
    *_each("FromBase64", "UNNEST(['YWJj', '', 'YQ==', NULL]) AS x", "FROM_BASE64(x)"),
    *_each("ByteLength", "UNNEST(['äb', '', '日本', NULL]) AS x", "BYTE_LENGTH(x)", "OCTET_LENGTH(x)"),
    *_each("ByteLength", "UNNEST([b'abc', b'', NULL]) AS x", "BYTE_LENGTH(x)"),
]

MORE_QUERIES: Final = [*FUNCTIONS, *STARS, *GROUPS, *RELATIONS, *BYTES]
