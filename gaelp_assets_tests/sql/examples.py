"""One or more queries for every function and expression on the allow-list, over values where engines differ: NULLs, empty
arrays, leap days, the largest integers, halves, negative numbers, text beyond ASCII."""

from __future__ import annotations

from typing import Final

from gaelp_assets_tests.sql.example import Example
from gaelp_assets_tests.sql.examples_queries import MORE_QUERIES

INTEGERS: Final = "UNNEST([0, 1, -1, 7, -7, 3, NULL, 9223372036854775806, -9223372036854775807]) AS x"
SMALL: Final = "UNNEST([1, 2, 2, 3, NULL, -7]) AS x"
FLOATS: Final = (
    "UNNEST([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.4999, 0.0, 1e15, 123456.785, 2.675, 1.005, NULL, 1e-7]) AS x"
)
POSITIVE: Final = "UNNEST([1.0, 0.5, 2.0, 10.0, 1e-10, 1e10, 1000.0, 8.0, NULL]) AS x"
TEXTS: Final = "UNNEST(['abc', '', 'Äpfel', 'a,b,,c', '  x ', NULL, 'a\\nb', '日本語', '😀a', '1.5', '50%', 'a_b', 'x\\\\y']) AS x"
DATES: Final = (
    "UNNEST([DATE '2024-02-29', DATE '2023-12-31', DATE '2024-01-01', DATE '2020-12-31', DATE '1969-07-20', DATE '2024-03-31',"
    " DATE '2021-01-03', DATE '2021-01-04', NULL]) AS d"
)
TIMES: Final = (
    "UNNEST([TIMESTAMP '2024-02-29 23:59:59.999999+00', TIMESTAMP '1969-12-31 23:59:59.5+00', TIMESTAMP '2024-03-31 02:30:00+02',"
    " TIMESTAMP '2024-01-07 00:00:00+00', TIMESTAMP '2023-12-31 12:34:56.123456+00', NULL]) AS t"
)
ROWS: Final = (
    "(SELECT 'a' AS g, 1 AS i, 2 AS x, 1.5 AS f UNION ALL SELECT 'a', 2, NULL, 2.25 UNION ALL SELECT 'a', 3, 5, NULL"
    " UNION ALL SELECT 'b', 4, NULL, NULL UNION ALL SELECT NULL, 5, -3, 0.25 UNION ALL SELECT NULL, 6, 4, -8.5"
    " UNION ALL SELECT 'ä', 7, 2, 3.0)"
)


def _each(key: str, source: str, *expressions: str) -> list[Example]:
    return [Example(key, f"SELECT {expression} AS y FROM {source}") for expression in expressions]


def _grouped(key: str, *expressions: str) -> list[Example]:
    """Over groups with NULLs, over everything, and over nothing."""
    return [
        Example(key, sql)
        for e in expressions
        for sql in (
            f"SELECT g, {e} AS y FROM {ROWS} GROUP BY g",
            f"SELECT {e} AS y FROM {ROWS}",
            f"SELECT {e} AS y FROM {ROWS} WHERE i > 99",
        )
    ]


def _over(key: str, *expressions: str) -> list[Example]:
    return [Example(key, f"SELECT i, {e} AS y FROM {ROWS}") for e in expressions]


def _errors(key: str, *expressions: str) -> list[Example]:
    return [Example(key, f"SELECT {e} AS y FROM UNNEST([0]) AS x", error=True) for e in expressions]


NUMBERS: Final = [
    *_each("Abs", INTEGERS, "ABS(x)"),
    *_each("Abs", FLOATS, "ABS(x)"),
    *_each("Abs", SMALL, "SAFE.ABS(x)"),
    *_each("Ceil", FLOATS, "CEIL(x)", "CEILING(x)"),
    *_each("Ceil", SMALL, "CEIL(x)"),
    *_each("Floor", FLOATS, "FLOOR(x)"),
    *_each("Floor", SMALL, "FLOOR(x)"),
    *_each("Trunc", FLOATS, "TRUNC(x)"),
    *_each("Trunc", SMALL, "TRUNC(x)"),
    *_each("Round", FLOATS, "ROUND(x)", "ROUND(x, 2)", "ROUND(x, -1)"),
    *_each("Round", SMALL, "ROUND(x)", "ROUND(x, 1)"),
    *_each("Sign", FLOATS, "SIGN(x)"),
    *_each("Sign", INTEGERS, "SIGN(x)"),
    *_each("Exp", SMALL, "EXP(x)"),
    *_errors("Exp", "EXP(x + 1000)"),
    *_each("Ln", POSITIVE, "LN(x)", "SAFE.LN(x - 1)"),
    *_errors("Ln", "LN(x)"),
    *_each("Ln", POSITIVE, "LOG(x)"),
    *_each("Log", POSITIVE, "LOG(x, 2)", "LOG10(x)", "LOG(x, 10)"),
    *_errors("Ln", "LOG(x)"),
    *_errors("Log", "LOG(x, 2)", "LOG10(x)"),
    *_each("Pow", FLOATS, "POW(x, 2)", "POWER(2, 3)"),
    *_each("Pow", SMALL, "POW(x, 3)"),
    *_errors("Pow", "POW(x, -1)", "POW(x - 1, 0.5)", "POW(10, x + 400)"),
    *_each("Sqrt", POSITIVE, "SQRT(x)", "SAFE.SQRT(x - 1)"),
    *_each("Sqrt", UNSIGNED := "UNNEST([0, 1, 2, 9]) AS x", "SQRT(x)"),
    *_errors("Sqrt", "SQRT(x - 1)"),
    *_each("Greatest", SMALL, "GREATEST(x, 1)", "GREATEST(x, 2, NULL)", "GREATEST(x, 1.5)", "GREATEST(1, 2)"),
    *_each("Least", SMALL, "LEAST(x, 1)", "LEAST(x, -x)", "LEAST(0.5, x)"),
    *_each("Least", TEXTS, "LEAST(x, 'b')"),
    *_each("Mod", INTEGERS, "MOD(x, 3)", "MOD(x, -3)"),
    *_each("Mod", SMALL, "SAFE.MOD(5, x - 1)"),
    *_errors("Mod", "MOD(5, x)"),
    *_each("IntDiv", INTEGERS, "DIV(x, 3)", "DIV(x, -3)", "DIV(x, 2) * 2"),
    *_each("IntDiv", SMALL, "SAFE.DIV(5, x - 1)"),
    *_errors("IntDiv", "DIV(5, x)"),
    *_each("Add", INTEGERS, "x + 1"),
    *_each("Add", FLOATS, "x + 0.1", "x + 1", "0.1 + 0.2"),
    *_each("Add", DATES, "d + 1"),
    *_errors("Add", "9223372036854775807 + 1", "x + 9223372036854775807 + 1"),
    *_each("Sub", INTEGERS, "x - 1"),
    *_each("Sub", FLOATS, "x - 0.1"),
    *_errors("Sub", "x - 9223372036854775807 - 2"),
    *_each("Mul", SMALL, "x * 1000000000", "x * 0.1"),
    *_errors("Mul", "(x + 3037000500) * 3037000500"),
    *_each("Div", INTEGERS, "x / 2", "x / (x * 0 + 4)", "(x - 1) / 3"),
    *_each("Div", FLOATS, "x / 0.1", "1 / NULLIF(x, 0)"),
    *_each("Div", SMALL, "1 / x"),
    *_errors("Div", "1 / x", "x / x", "1.5 / x", "x / 0"),
    *_each("Neg", INTEGERS, "-x", "-(-x)", "-5", "IF(x > 1, -1, NULL)", "-9223372036854775808"),
    *_each("Neg", FLOATS, "-x"),
    *_each("Paren", SMALL, "(x + 1) * 2", "x - (1 - x)", "-(x + 1)", "2 * (x - 1) / 3"),
    *_each("IntDiv", SMALL, "DIV(x + 4, 1 + 2)", "20 - 2 * DIV(x, 2)", "DIV(20, DIV(7, 2))"),
    *_each("Mod", SMALL, "MOD(x + 4, 1 + 2)", "2 * MOD(x, 3)", "MOD(20, MOD(7, 4))"),
    *_each(
        "Round",
        "UNNEST([0.125, -0.125, 0.375, 1.115, 1e-9, 4503599627370497.5, 0.045, 1234567.005, 0.5, -2.675]) AS x",
        "ROUND(x, 1)",
        "ROUND(x, 2)",
        "ROUND(x, 10)",
    ),
    *_each("Div", SMALL, "x / NULLIF(x, x)", "CAST(NULL AS INT64) / (x - x)", "MOD(x, 3) / 2"),
    *_each("SafeDivide", INTEGERS, "SAFE_DIVIDE(x, 2)", "SAFE_DIVIDE(1, x)", "SAFE_DIVIDE(x, 0)"),
    *_each("SafeDivide", FLOATS, "SAFE_DIVIDE(x + 1, x)", "SAFE_DIVIDE(1e300, x * 1e-300)"),
    *_each("SafeAdd", INTEGERS, "SAFE_ADD(x, 5)"),
    *_each("SafeSubtract", INTEGERS, "SAFE_SUBTRACT(x, 5)"),
    *_each("SafeMultiply", INTEGERS, "SAFE_MULTIPLY(x, 2)"),
    *_each(
        "SafeFunc",
        SMALL,
        "SAFE.SQRT(x)",
        "SAFE.LOG(x)",
        "SAFE.POW(x, 0.5)",
        "SAFE.EXP(x * 1000)",
        "SAFE.SUBSTR('abc', 1, x)",
    ),
    *_each("IsNan", FLOATS, "IS_NAN(x)"),
    *_each("IsInf", FLOATS, "IS_INF(x)"),
    *_each("Literal", SMALL, "1", "1.5", "1e3", "'a'", "0.1", ".5", "5."),
    *_each("Null", SMALL, "CAST(NULL AS INT64)", "IF(x > 1, NULL, x)"),
    *_each("Boolean", SMALL, "TRUE", "x > 1 OR FALSE"),
]

LOGIC: Final = [
    *_each(
        "If",
        SMALL,
        "IF(x > 1, 1, 0)",
        "IF(x > 1, x, NULL)",
        "IF(x IS NULL, 'none', 'some')",
        "IF(x > 1, 1, 0.5)",
    ),
    *_each(
        "Case",
        SMALL,
        "CASE WHEN x > 2 THEN 'big' WHEN x > 1 THEN 'mid' END",
        "CASE x WHEN 2 THEN 1 ELSE 0 END",
    ),
    *_each("Coalesce", SMALL, "COALESCE(x, 0)", "IFNULL(x, -1)", "COALESCE(NULL, x, 5)", "COALESCE(x, 0.5)"),
    *_each("Nullif", SMALL, "NULLIF(x, 2)", "NULLIF(x + 1, 3)"),
    *_each("Nullif", TEXTS, "NULLIF(x, '')"),
    *_each("And", SMALL, "x > 1 AND x < 3", "x > 1 AND NULL"),
    *_each("Or", SMALL, "x > 2 OR x < 0"),
    *_each("Not", SMALL, "NOT x > 1"),
    *_each("EQ", SMALL, "x = 2", "x = 2.0"),
    *_each("EQ", TEXTS, "x = 'Äpfel'", "x = 'ÄPFEL'"),
    *_each("NEQ", SMALL, "x <> 2", "x != 2"),
    *_each("GT", TEXTS, "x > 'b'", "x > 'Z'"),
    *_each("GTE", SMALL, "x >= 2"),
    *_each("LT", SMALL, "x < 2"),
    *_each("LTE", DATES, "d <= '2024-01-01'"),
    *_each("Between", SMALL, "x BETWEEN 1 AND 2", "x NOT BETWEEN 1 AND 2"),
    *_each(
        "In",
        SMALL,
        "x IN (1, 2)",
        "x NOT IN (1, NULL)",
        "x IN UNNEST([1, 3])",
        "x IN UNNEST([1, NULL])",
        "x IN (SELECT 2)",
        "x NOT IN UNNEST(CAST([] AS ARRAY<INT64>))",
    ),
    *_each("Is", SMALL, "x IS NULL", "x IS NOT NULL", "(x > 1) IS TRUE", "(x > 1) IS NOT FALSE"),
    *_each("NullSafeEQ", SMALL, "x IS NOT DISTINCT FROM NULL", "x IS NOT DISTINCT FROM 2"),
    *_each("NullSafeNEQ", SMALL, "x IS DISTINCT FROM 2"),
    *_each("Exists", SMALL, "EXISTS(SELECT 1 FROM UNNEST([1, 2]) AS z WHERE z = x)"),
    *_each("Cast", FLOATS, "CAST(x AS INT64)", "CAST(x AS FLOAT64)"),
    *_each(
        "Cast",
        SMALL,
        "CAST(x AS FLOAT64)",
        "CAST(x AS STRING)",
        "CAST(x AS BOOL)",
        "CAST(x > 1 AS INT64)",
        "CAST(x > 1 AS STRING)",
    ),
    *_each("Cast", DATES, "CAST(d AS STRING)", "CAST(d AS TIMESTAMP)", "CAST(CAST(d AS STRING) AS DATE)"),
    *_each("Cast", TIMES, "CAST(t AS DATE)"),
    *_each("Cast", "UNNEST(['12', '-7', '+3', NULL]) AS x", "CAST(x AS INT64)", "CAST(x AS FLOAT64)"),
    *_each("Cast", "UNNEST(['true', 'FALSE', NULL]) AS x", "CAST(x AS BOOL)"),
    *_each(
        "Cast",
        "UNNEST(['2024-02-29', '2024-2-9', NULL]) AS x",
        "CAST(x AS DATE)",
        "DATE(CAST(x AS TIMESTAMP))",
    ),
    *_each(
        "Cast",
        "UNNEST(['2024-02-29 10:11:12', '2024-02-29T10:11:12.5Z', '2024-02-29 10:11:12+02',"
        " '2024-02-29 10:11:12.123456-03:30', '2024-02-29 10:11:12 UTC', NULL]) AS x",
        "CAST(x AS TIMESTAMP)",
    ),
    *_errors(
        "Cast",
        "CAST('abc' AS INT64)",
        "CAST('1.5' AS INT64)",
        "CAST('yes' AS BOOL)",
        "CAST('2023-02-29' AS DATE)",
        "CAST(x + 1e19 AS INT64)",
    ),
    *_each("TryCast", FLOATS, "SAFE_CAST(x AS INT64)", "SAFE_CAST(x * 1e10 AS INT64)"),
    *_each("TryCast", "UNNEST(['true', 'yes', '1', NULL]) AS x", "SAFE_CAST(x AS BOOL)"),
    *_each(
        "TryCast",
        "UNNEST(['2024-02-29', '2023-02-29', '2024-13-01', NULL]) AS x",
        "SAFE_CAST(x AS DATE)",
        "SAFE_CAST(x AS TIMESTAMP)",
    ),
    *_each(
        "TryCast",
        "UNNEST(['1', '9223372036854775808', '-9223372036854775808', NULL]) AS x",
        "SAFE_CAST(x AS INT64)",
        "SAFE_CAST(x AS FLOAT64)",
    ),
    *_each("DataType", SMALL, "CAST(x AS FLOAT64)", "ARRAY_LENGTH(CAST([] AS ARRAY<STRING>))"),
]

STRINGS: Final = [
    *_each("Concat", TEXTS, "CONCAT(x, '-', x)"),
    *_each("DPipe", TEXTS, "x || 'é'"),
    *_each("Length", TEXTS, "LENGTH(x)", "CHAR_LENGTH(x)"),
    *_each("Lower", TEXTS, "LOWER(x)", "LOWER('ÀÉÎÕÜ ΑΒΓ ДЖ')"),
    *_each("Upper", TEXTS, "UPPER(x)", "UPPER('àéîõü αβγ дж')"),
    *_each(
        "Substring",
        TEXTS,
        "SUBSTR(x, 2)",
        "SUBSTR(x, 0)",
        "SUBSTR(x, 0, 2)",
        "SUBSTR(x, -2)",
        "SUBSTR(x, -4, 2)",
        "SUBSTR(x, 1, 2)",
        "SUBSTRING(x, 2, 0)",
        "SUBSTR(x, 99)",
        "SUBSTR(x, -9, 3)",
    ),
    *_each("Substring", SMALL, "SUBSTR('hello', x)", "SUBSTR('hello', x, 3)", "SUBSTR('hello', 2, ABS(x))"),
    *_errors("Substring", "SUBSTR('abc', 1, x - 1)"),
    *_each("StartsWith", TEXTS, "STARTS_WITH(x, 'a')", "STARTS_WITH(x, '')"),
    *_each("EndsWith", TEXTS, "ENDS_WITH(x, 'c')", "ENDS_WITH(x, '語')"),
    *_each("StrPosition", TEXTS, "STRPOS(x, 'b')", "STRPOS(x, '語')", "INSTR(x, 'a')", "STRPOS(x, '')"),
    *_each(
        "RegexpLike",
        TEXTS,
        r"REGEXP_CONTAINS(x, r'^\w+$')",
        r"REGEXP_CONTAINS(x, 'a.b')",
        r"REGEXP_CONTAINS(x, r'[äÄ]')",
        "REGEXP_CONTAINS(x, '')",
        r"REGEXP_CONTAINS(x, '(?i)ABC')",
        "REGEXP_CONTAINS(x, 'b$')",
    ),
    *_errors("RegexpLike", "REGEXP_CONTAINS('a', '(')"),
    *_each(
        "RegexpExtract",
        TEXTS,
        r"REGEXP_EXTRACT(x, r'[a-c]+')",
        r"REGEXP_EXTRACT(x, r'(\d+)\.\d')",
        "REGEXP_EXTRACT(x, 'x*')",
    ),
    *_each(
        "RegexpReplace",
        TEXTS,
        r"REGEXP_REPLACE(x, r'([ab])', r'<\1>')",
        "REGEXP_REPLACE(x, 'a', '')",
        "REGEXP_REPLACE(x, '[^a-z]', '_')",
    ),
    *_each("RawString", TEXTS, r"r'\d\n'", r"CONCAT(x, r'\n')"),
    *_each("Replace", TEXTS, "REPLACE(x, 'a', 'ä')", "REPLACE(x, '', 'z')"),
    *_each("Repeat", TEXTS, "REPEAT(x, 2)", "REPEAT(x, 0)"),
    *_each(
        "Trim",
        TEXTS,
        "TRIM(x)",
        "LTRIM(x)",
        "RTRIM(x)",
        "TRIM(x, 'ac')",
        r"TRIM('\t\n\u00a0\u2003 a b \u3000\r')",
        "LTRIM(x, ' ')",
        "RTRIM(x, 'c')",
    ),
    *_each("Pad", TEXTS, "LPAD(x, 4, '0')", "RPAD(x, 4, 'äb')", "LPAD(x, 2)", "RPAD(x, 5)"),
    *_each("Split", TEXTS, "SPLIT(x, ',')", "SPLIT(x)", "SPLIT(x, 'bc')"),
    *_each(
        "Like",
        TEXTS,
        "x LIKE 'a%'",
        "x LIKE '%_b%'",
        r"x LIKE '50\\%'",
        r"x LIKE 'a\\_b'",
        "x NOT LIKE '%a%'",
        "x LIKE ''",
        "x LIKE '___'",
    ),
    *_each(
        "JSONExtractScalar",
        """UNNEST(['{"a": {"b": "x\\\\"y"}, "n": 1, "t": true, "z": null, "l": [1, "é"], "f": 1.5}', '{}', NULL, '{"a": 1}']) AS x""",
        "JSON_VALUE(x, '$.a.b')",
        "JSON_VALUE(x, '$.n')",
        "JSON_VALUE(x, '$.t')",
        "JSON_VALUE(x, '$.z')",
        "JSON_VALUE(x, '$.l')",
        "JSON_VALUE(x, '$.l[1]')",
        "JSON_VALUE(x, '$.f')",
        "JSON_VALUE(x, '$.t') = 'true'",
        "JSON_VALUE(x, '$.n') || '!'",
        "JSON_VALUE(x, '$.a') IS NULL",
        "CAST(JSON_VALUE(x, '$.n') AS INT64) + 1",
        "JSON_VALUE(x, '$.n') IN ('1')",
        "JSON_VALUE(x, '$.a')",
    ),
    *_each("JSONPath", """UNNEST(['{"a": {"b": 2}}']) AS x""", "JSON_VALUE(x, '$.a.b')"),
    *_each("JSONPathKey", """UNNEST(['{"a": "v"}']) AS x""", "JSON_VALUE(x, '$.a')"),
    *_each("JSONPathRoot", """UNNEST(['"v"', '3', '[1]']) AS x""", "JSON_VALUE(x, '$')"),
    *_each(
        "JSONPathSubscript",
        """UNNEST(['{"a": [5, 6]}']) AS x""",
        "JSON_VALUE(x, '$.a[1]')",
        "JSON_VALUE(x, '$.a[2]')",
    ),
]

DATES_AND_TIMES: Final = [
    *_each("Date", TIMES, "DATE(t)"),
    *_each("Date", DATES, "DATE('2024-02-29')"),
    *_each("DateFromParts", SMALL, "DATE(2024, 2, 29)", "DATE(2020 + x, 1, 1)", "SAFE.DATE(2023, 2, 29)"),
    *_errors("DateFromParts", "DATE(2023, 2, 29)"),
    *_each(
        "DateAdd",
        DATES,
        *(
            f"DATE_ADD(d, INTERVAL {n} {u})"
            for u in ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
            for n in ("1", "-13")
        ),
    ),
    *_each(
        "DateSub",
        DATES,
        *(
            f"DATE_SUB(d, INTERVAL {n} {u})"
            for u in ("DAY", "MONTH", "YEAR")
            for n in ("1", "EXTRACT(DAY FROM d)")
        ),
    ),
    *_each(
        "DateDiff",
        DATES,
        *(
            f"DATE_DIFF(d, {other}, {u})"
            for u in ("DAY", "WEEK", "ISOWEEK", "WEEK(MONDAY)", "MONTH", "QUARTER", "YEAR")
            for other in ("DATE '2021-01-03'", "DATE '2023-12-31'", "DATE '1970-01-01'")
        ),
    ),
    *_each(
        "DateTrunc",
        DATES,
        *(
            f"DATE_TRUNC(d, {u})"
            for u in ("DAY", "WEEK", "ISOWEEK", "WEEK(MONDAY)", "MONTH", "QUARTER", "YEAR")
        ),
    ),
    *_each(
        "WeekStart", DATES, "DATE_TRUNC(d, WEEK(SUNDAY))", "DATE_DIFF(d, DATE '2020-01-01', WEEK(SUNDAY))"
    ),
    *_each(
        "Extract",
        DATES,
        *(
            f"EXTRACT({p} FROM d)"
            for p in (
                "DAYOFWEEK",
                "DAY",
                "DAYOFYEAR",
                "WEEK",
                "ISOWEEK",
                "ISOYEAR",
                "MONTH",
                "QUARTER",
                "YEAR",
            )
        ),
    ),
    *_each(
        "Extract",
        TIMES,
        *(
            f"EXTRACT({p} FROM t)"
            for p in (
                "DAYOFWEEK",
                "DAY",
                "WEEK",
                "YEAR",
                "HOUR",
                "MINUTE",
                "SECOND",
                "MILLISECOND",
                "MICROSECOND",
                "DATE",
            )
        ),
    ),
    *_each("Timestamp", DATES, "TIMESTAMP(d)"),
    *_each("Timestamp", TIMES, "TIMESTAMP('2024-02-29 01:02:03+01')"),
    *_each(
        "TimestampAdd",
        TIMES,
        *(
            f"TIMESTAMP_ADD(t, INTERVAL {n} {u})"
            for u in ("MICROSECOND", "MILLISECOND", "SECOND", "MINUTE", "HOUR", "DAY")
            for n in ("1", "-5000")
        ),
    ),
    *_each(
        "TimestampSub",
        TIMES,
        "TIMESTAMP_SUB(t, INTERVAL 1 DAY)",
        "TIMESTAMP_SUB(t, INTERVAL EXTRACT(MINUTE FROM t) MINUTE)",
    ),
    *_each(
        "TimestampDiff",
        TIMES,
        *(
            f"TIMESTAMP_DIFF(t, TIMESTAMP '{other}', {u})"
            for u in ("MICROSECOND", "MILLISECOND", "SECOND", "MINUTE", "HOUR", "DAY")
            for other in ("2024-01-01 12:00:00+00", "1970-01-01 00:00:00.7+00")
        ),
    ),
    *_each(
        "TimestampTrunc",
        TIMES,
        *(
            f"TIMESTAMP_TRUNC(t, {u})"
            for u in (
                "MICROSECOND",
                "MILLISECOND",
                "SECOND",
                "MINUTE",
                "HOUR",
                "DAY",
                "WEEK",
                "ISOWEEK",
                "MONTH",
                "QUARTER",
                "YEAR",
            )
        ),
    ),
    *_each("UnixSeconds", TIMES, "UNIX_SECONDS(t)"),
    *_each("UnixMillis", TIMES, "UNIX_MILLIS(t)"),
    *_each("UnixMicros", TIMES, "UNIX_MICROS(t)"),
    *_each(
        "UnixToTime",
        "UNNEST([0, 1700000000, -1, NULL]) AS x",
        "TIMESTAMP_SECONDS(x)",
        "TIMESTAMP_MILLIS(x)",
        "TIMESTAMP_MICROS(x)",
        "TIMESTAMP_SECONDS(1700000000)",
    ),
    *_each("TimeToStr", DATES, "FORMAT_DATE('%Y-%m-%d', d)", "FORMAT_DATE('%F %j %y %a %A %b %B %%', d)"),
    *_each("TimeToStr", TIMES, "FORMAT_TIMESTAMP('%F %T', t)", "FORMAT_TIMESTAMP('%Y%m%dT%H%M%S %I %p', t)"),
    *_each("TsOrDsToDate", DATES, "FORMAT_DATE('%m', d)"),
    *_each("TsOrDsToTimestamp", TIMES, "FORMAT_TIMESTAMP('%H', t)"),
    *_each("CurrentDate", SMALL, "CURRENT_DATE() > DATE '2024-01-01'"),
    *_each("CurrentTimestamp", SMALL, "CURRENT_TIMESTAMP() > TIMESTAMP '2024-01-01 00:00:00+00'"),
    *_each(
        "GenerateDateArray",
        DATES,
        "GENERATE_DATE_ARRAY(d, DATE_ADD(d, INTERVAL 2 DAY))",
        "GENERATE_DATE_ARRAY(d, DATE '1900-01-01')",
    ),
    *_each("Interval", DATES, "GENERATE_DATE_ARRAY(d, DATE_ADD(d, INTERVAL 20 DAY), INTERVAL 7 DAY)"),
    *_each("Extract", DATES, "2 * EXTRACT(DAYOFWEEK FROM d)", "10 - EXTRACT(WEEK FROM d) * 2"),
    *_each("TimestampDiff", TIMES, "2 * TIMESTAMP_DIFF(t, TIMESTAMP '2024-01-01 00:00:00+00', HOUR) / 3"),
    *_each(
        "DateDiff", DATES, "DATE_DIFF(DATE_ADD(d, INTERVAL 3 DAY), DATE_SUB(d, INTERVAL 1 WEEK), DAY) * 2"
    ),
    *_each("Var", DATES, "EXTRACT(YEAR FROM d)"),
]

AGGREGATES: Final = [
    *_grouped("Count", "COUNT(*)", "COUNT(x)", "COUNT(DISTINCT x)", "COUNT(1)"),
    *_grouped("Distinct", "COUNT(DISTINCT f)", "SUM(DISTINCT x)"),
    *_grouped("CountIf", "COUNTIF(x > 1)"),
    *_grouped("Sum", "SUM(x)", "SUM(f)", "SUM(1)", "SUM(IF(x > 1, 1, 0))", "SUM(x * f)", "SUM(x) / COUNT(*)"),
    Example("Sum", f"SELECT SUM(x) AS y FROM {INTEGERS}"),
    Example("Sum", "SELECT SUM(x) AS y FROM UNNEST([9223372036854775807, 1]) AS x", error=True),
    *_grouped("Avg", "AVG(x)", "AVG(f)", "AVG(x + 0.5)"),
    *_grouped("Max", "MAX(x)", "MAX(f)", "MAX(g)"),
    *_grouped("Min", "MIN(x)", "MIN(f)", "MIN(g)"),
    *_grouped("LogicalAnd", "LOGICAL_AND(x > 1)"),
    *_grouped("LogicalOr", "LOGICAL_OR(x > 4)"),
    *_grouped("StddevSamp", "STDDEV_SAMP(x)", "STDDEV_SAMP(f)"),
    *_grouped("Stddev", "STDDEV(f)"),
    *_grouped("StddevPop", "STDDEV_POP(f)"),
    *_grouped("Variance", "VAR_SAMP(x)", "VARIANCE(f)"),
    *_grouped("VariancePop", "VAR_POP(x)"),
    *_grouped("CovarSamp", "COVAR_SAMP(x, f)"),
    *_grouped("CovarPop", "COVAR_POP(x, f)"),
    *_grouped("AnyValue", "ANY_VALUE(IF(x IS NULL, 1, 1))"),
    *_grouped(
        "HavingMax", "ANY_VALUE(x HAVING MAX i)", "ANY_VALUE(x HAVING MIN i)", "ANY_VALUE(i HAVING MAX f)"
    ),
    Example(
        "ArgMax",
        f"SELECT g, MAX_BY(f, i) AS y FROM {ROWS} GROUP BY g",
        (("a", None), ("b", None), (None, -8.5), ("ä", 3.0)),
        ("STRING", "FLOAT"),
    ),
    Example(
        "ArgMin",
        f"SELECT g, MIN_BY(f, -i) AS y FROM {ROWS} GROUP BY g",
        (("a", None), ("b", None), (None, -8.5), ("ä", 3.0)),
        ("STRING", "FLOAT"),
    ),
    *_grouped(
        "ArrayAgg",
        "ARRAY_AGG(i ORDER BY i)",
        "ARRAY_AGG(i ORDER BY x, i)",
        "ARRAY_AGG(i ORDER BY x DESC, i LIMIT 2)",
        "ARRAY_AGG(x IGNORE NULLS ORDER BY i DESC)",
        "ARRAY_AGG(i ORDER BY f DESC, i LIMIT 1)[OFFSET(0)]",
    ),
    *_grouped(
        "IgnoreNulls",
        "ARRAY_AGG(x IGNORE NULLS ORDER BY i DESC LIMIT 2)",
        "ARRAY_AGG(DISTINCT x IGNORE NULLS ORDER BY x)",
        "ARRAY_AGG(IF(x > 1, x, NULL) IGNORE NULLS ORDER BY x LIMIT 1)",
    ),
    *_grouped(
        "GroupConcat",
        "STRING_AGG(g, '-' ORDER BY i)",
        "STRING_AGG(g ORDER BY g)",
        "STRING_AGG(CAST(x AS STRING), ', ' ORDER BY i DESC)",
    ),
]

WINDOWS: Final = [
    *_over(
        "Window",
        "SUM(x) OVER (PARTITION BY g ORDER BY i)",
        "SUM(x) OVER ()",
        "COUNTIF(x > 1) OVER (ORDER BY i)",
        "AVG(f) OVER (PARTITION BY g)",
        "COUNT(*) OVER (PARTITION BY g)",
        "MAX(x) OVER (ORDER BY i DESC)",
        "SUM(f) OVER (ORDER BY f)",
        "SUM(1) OVER (ORDER BY i)",
    ),
    *_over(
        "WindowSpec",
        "SUM(x) OVER (ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
        "AVG(x) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
        "COUNT(x) OVER (ORDER BY i RANGE BETWEEN 2 PRECEDING AND CURRENT ROW)",
        "SUM(x) OVER (PARTITION BY g ORDER BY i ROWS UNBOUNDED PRECEDING)",
        "MIN(i) OVER (ORDER BY i ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)",
    ),
    *_over(
        "RowNumber",
        "ROW_NUMBER() OVER (ORDER BY f, i)",
        "ROW_NUMBER() OVER (PARTITION BY g ORDER BY x DESC, i)",
    ),
    *_over("Rank", "RANK() OVER (ORDER BY x)"),
    *_over("DenseRank", "DENSE_RANK() OVER (ORDER BY x DESC)"),
    *_over("PercentRank", "PERCENT_RANK() OVER (ORDER BY x)"),
    *_over("CumeDist", "CUME_DIST() OVER (ORDER BY x)"),
    *_over("Ntile", "NTILE(3) OVER (ORDER BY i)"),
    *_over("Lag", "LAG(x) OVER (ORDER BY i)", "LAG(x, 2, 0) OVER (PARTITION BY g ORDER BY i)"),
    *_over("Lead", "LEAD(x, 1) OVER (ORDER BY i)", "LEAD(g, 1, 'none') OVER (ORDER BY i)"),
    *_over(
        "FirstValue",
        "FIRST_VALUE(x) OVER (PARTITION BY g ORDER BY i DESC)",
        "FIRST_VALUE(x IGNORE NULLS) OVER (ORDER BY i DESC)",
    ),
    *_over(
        "LastValue",
        "LAST_VALUE(x) OVER (ORDER BY i)",
        "LAST_VALUE(x IGNORE NULLS) OVER (ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
    ),
    *_over("RespectNulls", "FIRST_VALUE(x RESPECT NULLS) OVER (ORDER BY f, i)"),
    *_over("NthValue", "NTH_VALUE(x, 2) OVER (ORDER BY i)"),
    *_over(
        "PercentileCont",
        "PERCENTILE_CONT(f, 0.5) OVER (PARTITION BY g)",
        "PERCENTILE_CONT(x, 0.25) OVER ()",
        "PERCENTILE_CONT(f, 1) OVER ()",
    ),
    Example(
        "Qualify",
        f"SELECT g, i FROM {ROWS} WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY g ORDER BY x, i) = 1",
    ),
    Example("Window", f"SELECT g, SUM(SUM(x)) OVER (ORDER BY g) AS y FROM {ROWS} GROUP BY g"),
    Example(
        "Window",
        f"SELECT i, SUM(x) OVER w AS y, COUNT(*) OVER w AS n FROM {ROWS} WINDOW w AS (PARTITION BY g ORDER BY i)",
    ),
]

ARRAYS: Final = [
    *_each(
        "Array",
        SMALL,
        "[1, 2, x]",
        "['a', 'ä']",
        "ARRAY(SELECT z FROM UNNEST([3, 1, 2]) AS z ORDER BY z)",
        "ARRAY(SELECT z FROM UNNEST([1]) AS z WHERE z > 1)",
        "[0.5, 1]",
    ),
    *_each(
        "ArraySize",
        SMALL,
        "ARRAY_LENGTH([1, 2, x])",
        "ARRAY_LENGTH(GENERATE_ARRAY(1, x))",
        "ARRAY_LENGTH(CAST(NULL AS ARRAY<INT64>))",
        "ARRAY_LENGTH(SPLIT('', ','))",
    ),
    *_each(
        "ArrayToString", TEXTS, "ARRAY_TO_STRING(SPLIT(x, ','), '-')", "ARRAY_TO_STRING([x, 'z', NULL], ',')"
    ),
    *_each(
        "Bracket",
        SMALL,
        "[10, 20, 30][OFFSET(1)]",
        "[10, 20, 30][ORDINAL(1)]",
        "[10, 20][SAFE_OFFSET(5)]",
        "[10, 20][SAFE_ORDINAL(2)]",
        "[10, 20, 30][SAFE_OFFSET(x)]",
        "[10, 20, 30][SAFE_ORDINAL(x)]",
        "[10, 20][SAFE_OFFSET(-1)]",
        "SPLIT('a,b', ',')[OFFSET(1)]",
    ),
    *_errors("Bracket", "[10][OFFSET(1)]", "[10][OFFSET(x - 1)]", "[10][ORDINAL(0)]", "[10][ORDINAL(x + 2)]"),
    *_each(
        "GenerateSeries",
        SMALL,
        "GENERATE_ARRAY(1, x)",
        "GENERATE_ARRAY(x, 3)",
        "GENERATE_ARRAY(1, 10, 4)",
        "GENERATE_ARRAY(3, 1, -1)",
    ),
    *_each("Struct", SMALL, "STRUCT(x AS a, 'b' AS b)", "STRUCT(x AS a).a"),
    *_each("PropertyEQ", SMALL, "STRUCT(1 AS one, x AS two)"),
    *_each("Dot", SMALL, "[STRUCT(x AS a)][OFFSET(0)].a"),
    Example("Unnest", "SELECT v, o FROM UNNEST(['a', 'b', NULL]) AS v WITH OFFSET AS o"),
    Example("Unnest", "SELECT v, offset FROM UNNEST([5, 6]) AS v WITH OFFSET"),
    Example(
        "Unnest",
        f"SELECT x, v, o FROM (SELECT x, SPLIT(x, ',') AS parts FROM {TEXTS}) AS t, UNNEST(t.parts) AS v WITH OFFSET AS o",
    ),
    Example(
        "Unnest",
        f"SELECT x, v, o FROM (SELECT x, GENERATE_ARRAY(1, x) AS parts FROM {SMALL}) AS t LEFT JOIN UNNEST(t.parts) AS v WITH OFFSET AS o",
    ),
    Example(
        "Unnest",
        f"SELECT x, v FROM (SELECT x, GENERATE_ARRAY(1, x) AS parts FROM {SMALL}) AS t LEFT JOIN UNNEST(t.parts) AS v",
    ),
    Example(
        "Unnest",
        f"SELECT x, v FROM (SELECT x, GENERATE_ARRAY(1, x) AS parts FROM {SMALL}) AS t CROSS JOIN UNNEST(t.parts) AS v WHERE v > 1",
    ),
    Example(
        "Unnest", "SELECT s.a, s.b FROM UNNEST([STRUCT(1 AS a, 'x' AS b), STRUCT(2 AS a, NULL AS b)]) AS s"
    ),
    Example(
        "Unnest",
        "SELECT s.a, s.b, o FROM UNNEST([STRUCT(1 AS a, 'x' AS b), STRUCT(2 AS a, NULL AS b)]) AS s WITH OFFSET AS o",
    ),
]

LEFT_AND_RIGHT: Final = (
    "(SELECT x AS k, x * 10 AS l FROM UNNEST([1, 2, NULL, 4]) AS x) AS a {join}"
    " (SELECT x AS k, x * 100 AS r FROM UNNEST([2, 2, 4, NULL, 5]) AS x) AS b"
)
QUERIES: Final = [
    Example("Select", f"SELECT DISTINCT g FROM {ROWS}"),
    Example("Star", f"SELECT * FROM {ROWS}"),
    Example("Star", f"SELECT r.* EXCEPT (f) FROM {ROWS} AS r"),
    Example("Star", f"SELECT r.* REPLACE (i + 1 AS i) FROM {ROWS} AS r"),
    Example("Where", f"SELECT i + 1 AS i FROM {ROWS} WHERE i > 5"),
    Example("Alias", f"SELECT i AS `some name`, x AS `order` FROM {ROWS}"),
    Example("Identifier", f"SELECT `i` FROM {ROWS}"),
    Example("Column", f"SELECT r.i FROM {ROWS} AS r"),
    Example("From", "SELECT x FROM UNNEST([1]) AS x"),
    Example("Select", "SELECT 1 AS one"),
    Example(
        "Subquery",
        f"SELECT (SELECT MAX(i) FROM {ROWS}) AS y, i FROM (SELECT i FROM {ROWS} WHERE x IS NULL) AS s",
    ),
    Example("Subquery", "SELECT (SELECT z FROM UNNEST([1, 2]) AS z) AS y", error=True),
    Example("Subquery", "SELECT (SELECT z FROM UNNEST([1]) AS z WHERE z > 1) AS y"),
    Example("TableAlias", f"SELECT q.i FROM {ROWS} AS q"),
    Example("Table", f"WITH w AS (SELECT * FROM {ROWS}) SELECT i FROM w"),
    Example("CTE", f"WITH a AS (SELECT i FROM {ROWS}), b AS (SELECT i * 2 AS j FROM a) SELECT j FROM b"),
    Example(
        "With",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r",
    ),
    Example("Group", f"SELECT g, COUNT(*) AS n FROM {ROWS} GROUP BY 1"),
    Example("Group", f"SELECT DIV(i, 2) AS h, SUM(x) AS s FROM {ROWS} GROUP BY h"),
    Example("Group", f"SELECT g, MAX(i) AS n FROM {ROWS} GROUP BY ALL"),
    Example("Having", f"SELECT g, SUM(x) AS s FROM {ROWS} GROUP BY g HAVING SUM(x) > 1"),
    Example("Order", f"SELECT i, f FROM {ROWS} ORDER BY f, i"),
    Example("Ordered", f"SELECT i, x FROM {ROWS} ORDER BY x DESC, i"),
    Example("Ordered", f"SELECT i, x FROM {ROWS} ORDER BY x NULLS LAST, i DESC"),
    Example("Ordered", f"SELECT i, x FROM {ROWS} ORDER BY x DESC NULLS FIRST, i"),
    Example("Order", f"SELECT g, i FROM {ROWS} ORDER BY 1 DESC, 2"),
    Example("Order", f"SELECT x FROM {TEXTS} ORDER BY x"),
    Example("Limit", f"SELECT i FROM {ROWS} ORDER BY i LIMIT 3"),
    Example("Offset", f"SELECT i FROM {ROWS} ORDER BY i LIMIT 2 OFFSET 3"),
    *[
        Example(
            "Join", f"SELECT a.k AS ak, l, b.k AS bk, r FROM {LEFT_AND_RIGHT.format(join=j)} ON a.k = b.k"
        )
        for j in ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
    ],
    *[
        Example("Join", f"SELECT k, l, r FROM {LEFT_AND_RIGHT.format(join=j)} USING (k)")
        for j in ("JOIN", "LEFT JOIN", "FULL JOIN")
    ],
    Example("Join", f"SELECT l, r FROM {LEFT_AND_RIGHT.format(join='CROSS JOIN')}"),
    Example("Union", "SELECT 1 AS x UNION ALL SELECT 2 UNION ALL SELECT NULL"),
    Example("Union", "SELECT 1 AS x UNION DISTINCT SELECT 1 UNION DISTINCT SELECT 2"),
    Example("Union", "SELECT 1 AS x UNION ALL SELECT 0.5"),
    Example(
        "Intersect",
        "SELECT x FROM UNNEST([1, 2, 2, NULL]) AS x INTERSECT DISTINCT SELECT x FROM UNNEST([2, NULL]) AS x",
    ),
    Example("Except", "SELECT x FROM UNNEST([1, 2, 2, 3]) AS x EXCEPT DISTINCT SELECT 3"),
    Example("Tuple", f"SELECT i FROM {ROWS} WHERE (g, x) IN (('a', 2), ('a', 5))"),
]

NEW_YORK: Final = "'America/New_York'"
MOMENTS: Final = (
    "UNNEST([TIMESTAMP '2024-03-10 06:59:59.5+00', TIMESTAMP '2024-03-10 07:30:00+00', TIMESTAMP '2024-11-03 05:30:00+00',"
    " TIMESTAMP '2024-11-03 06:30:00+00', NULL]) AS t"
)
CLOCKS: Final = (
    "UNNEST([DATETIME '2024-02-29 23:59:59.999999', DATETIME '2023-12-31 00:00:00', DATETIME '2024-11-03 01:30:00',"
    " DATETIME '2024-03-10 02:30:00', DATETIME '1969-12-31 12:34:56.5', NULL]) AS c"
)
MONEY: Final = "UNNEST([NUMERIC '19.99', 0.2, 0.000000001, -7.5, 0, NULL, 12345678901234567.123456789]) AS m"
DIRTY: Final = (
    "UNNEST(['12', ' 7 ', '-3', '+3', '', 'n/a', '1.5', '.5', '5.', '1e3', '0x1F', '-0x1F', '0x', '1_000',"
    " 'lin_2.5e-4', 'auto', 'inf', '-Infinity',"
    " 'NaN', 'TRUE', 'false', 't', '2024-02-29', '2024-2-9', '2023-02-29', '0000-01-01', '20240229', '2024-02-29"
    " 10:11:12', '2024-02-29T10:11:12.5Z',"
    " '2024-02-29 10:11', '2024-02-29 24:00:00', '2024-02-29 10:11:12+5', '2024-02-29 10:11:12.1234567+05:30',"
    " '2024-02-29 10:11:12 Asia/Tokyo',"
    " '2024-02-29 10:11:12 UTC', ' 2024-02-29', '10:11:12', '99999999999999999999', '1e400', NULL]) AS x"
)
DATES_WITH_ZONES: Final = [
    *_each("Date", MOMENTS, f"DATE(t, {NEW_YORK})", "DATE(t, 'UTC')"),
    *_each("Datetime", MOMENTS, f"DATETIME(t, {NEW_YORK})"),
    *_each("Datetime", CLOCKS, "DATETIME(DATE(c), TIME '10:11:12')"),
    *_each("TsOrDsToDatetime", MOMENTS, "DATETIME(t)"),
    *_each(
        "AtTimeZone",
        MOMENTS,
        f"EXTRACT(HOUR FROM t AT TIME ZONE {NEW_YORK})",
        f"EXTRACT(DATE FROM t AT TIME ZONE {NEW_YORK})",
    ),
    *_each(
        "TimestampTrunc",
        MOMENTS,
        *(f"TIMESTAMP_TRUNC(t, {u}, {NEW_YORK})" for u in ("DAY", "HOUR", "WEEK", "MONTH")),
    ),
    *_each("TimestampTrunc", MOMENTS, "TIMESTAMP_TRUNC(t, HOUR, 'Asia/Kolkata')"),
    *_each("TimeToStr", MOMENTS, f"FORMAT_TIMESTAMP('%F %T', t, {NEW_YORK})"),
    *_each(
        "Timestamp", CLOCKS, f"TIMESTAMP(c, {NEW_YORK})", "TIMESTAMP(c)", f"TIMESTAMP(DATE(c), {NEW_YORK})"
    ),
    *_each(
        "DatetimeAdd",
        CLOCKS,
        "DATETIME_ADD(c, INTERVAL 1 HOUR)",
        "DATETIME_ADD(c, INTERVAL 1 MONTH)",
    ),
    *_each("DateAdd", CLOCKS, "DATE_ADD(c, INTERVAL 36 HOUR)"),
    *_each("DatetimeSub", CLOCKS, "DATETIME_SUB(c, INTERVAL 1 WEEK)", "DATETIME_SUB(c, INTERVAL 1 YEAR)"),
    *_each("DatetimeTrunc", CLOCKS, "DATETIME_TRUNC(c, HOUR)", "DATETIME_TRUNC(c, WEEK)"),
    *_each(
        "DatetimeDiff",
        CLOCKS,
        *(
            f"DATETIME_DIFF(c, DATETIME '2023-12-31 00:59:59', {u})"
            for u in ("MICROSECOND", "SECOND", "HOUR", "DAY", "WEEK", "MONTH", "YEAR")
        ),
    ),
    *_each("Extract", CLOCKS, "EXTRACT(DATE FROM c)", "EXTRACT(TIME FROM c)", "EXTRACT(HOUR FROM c)"),
    *_each("DateTrunc", CLOCKS, "DATE_TRUNC(c, MONTH)"),
    *_each("LastDay", DATES, "LAST_DAY(d)", "LAST_DAY(d, MONTH)"),
    *_each("UnixDate", DATES, "UNIX_DATE(d)"),
    *_each("DateFromUnixDate", SMALL, "DATE_FROM_UNIX_DATE(x)"),
    *_each("Interval", DATES, "d + INTERVAL 1 DAY", "d - INTERVAL 2 MONTH"),
    *_each("Interval", TIMES, "t + INTERVAL 90 MINUTE", "t - INTERVAL 1 DAY"),
    *_each("Interval", CLOCKS, "c + INTERVAL 1 MONTH"),
    *_each("Add", SMALL, "DATE '2024-02-28' + x"),
    *_each("Sub", SMALL, "DATE '2024-02-28' - x"),
    *_errors("Add", "DATE '9999-12-31' + 1 + x", "DATE '2024-01-01' + 9223372036854775807"),
    *_errors(
        "DateAdd",
        "DATE_ADD(DATE '9999-12-31', INTERVAL 1 DAY)",
        "DATE_ADD(DATE '2024-01-01', INTERVAL 9223372036854775807 MONTH)",
    ),
    *_errors("TimestampAdd", "TIMESTAMP_ADD(TIMESTAMP '9999-12-31 12:00:00', INTERVAL 1 DAY)"),
    *_each(
        "StrToDate",
        DIRTY,
        "SAFE.PARSE_DATE('%Y-%m-%d', x)",
        "SAFE.PARSE_DATE('%Y%m%d', x)",
        "SAFE.PARSE_DATE('%Y-%m', x)",
    ),
    *_each("StrToDate", SMALL, "PARSE_DATE('%Y-%m-%d', '2024-2-29')"),
    *_errors("StrToDate", "PARSE_DATE('%Y-%m-%d', '2023-02-29')", "PARSE_DATE('%Y-%m-%d', 'n/a')"),
    *_each(
        "StrToTime",
        DIRTY,
        "SAFE.PARSE_TIMESTAMP('%Y-%m-%d %H:%M:%S', x)",
        f"SAFE.PARSE_TIMESTAMP('%Y-%m-%d %H:%M:%S', x, {NEW_YORK})",
    ),
    *_each("ParseDatetime", DIRTY, "SAFE.PARSE_DATETIME('%Y-%m-%d %H:%M:%S', x)"),
]
CASTS: Final = [
    *_each(
        "TryCast",
        DIRTY,
        *(
            f"SAFE_CAST(x AS {t})"
            for t in ("INT64", "FLOAT64", "NUMERIC", "BOOL", "DATE", "DATETIME", "TIMESTAMP", "TIME", "BYTES")
        ),
    ),
    *_each("Cast", FLOATS, "CAST(x AS STRING)", "CAST(x AS NUMERIC)"),
    *_each(
        "Cast",
        "UNNEST([1e20, 1e15, 1e16, 123456789012345678.0, 0.1, 5e-324, 1.7976931348623157e308, 0.1234567890123456, 1e21]) AS x",
        "CAST(x AS STRING)",
    ),
    *_each(
        "Cast",
        TIMES,
        "CAST(t AS STRING)",
        "CAST(t AS DATETIME)",
        "CAST(t AS TIME)",
        "CAST(CAST(t AS TIME) AS STRING)",
    ),
    *_each("Cast", CLOCKS, "CAST(c AS STRING)", "CAST(c AS DATE)", "CAST(c AS TIMESTAMP)", "CAST(c AS TIME)"),
    *_each("Cast", MONEY, "CAST(m AS STRING)", "CAST(m AS FLOAT64)", "CAST(m AS INT64)"),
    *_each("Cast", TEXTS, "CAST(x AS BYTES)", "CAST(CAST(x AS BYTES) AS STRING)"),
    *_errors(
        "Cast",
        "CAST(NUMERIC '1' AS BOOL)",
        "CAST(1.5 AS BOOL)",
        "CAST('x' AS NUMERIC)",
        "CAST(DATE '2024-01-01' AS INT64)",
        "CAST(1e300 AS NUMERIC)",
    ),
    *_each("ColumnDef", SMALL, "CAST(NULL AS STRUCT<a INT64>)"),
]
NUMERICS: Final = [
    *_each("Div", MONEY, "m / 3", "m / 0.7", "m / NULLIF(m, 0)"),
    *_each("IntDiv", MONEY, "DIV(m, 2)", "DIV(m, -3)"),
    *_each("Mod", MONEY, "MOD(m, 2)", "MOD(m, 0.3)"),
    *_each(
        "Mul",
        MONEY,
        "m * 2",
        "m * 0.000000001",
        "IF(ABS(m) < 100, m * m, 0)",
        "m * x * 1.5".replace("x", "2"),
    ),
    *_each("Add", MONEY, "m + 1", "m + 0.5", "m + m"),
    *_each("Sub", MONEY, "m - 0.1"),
    *_each("Neg", MONEY, "-m"),
    *_each("Round", MONEY, "ROUND(m)", "ROUND(m, 1)", "ROUND(m, -1)"),
    *_each("Floor", MONEY, "FLOOR(m)"),
    *_each("Ceil", MONEY, "CEIL(m)"),
    *_each("Trunc", MONEY, "TRUNC(m)"),
    *_each("Sign", MONEY, "SIGN(m)"),
    *_each("Abs", MONEY, "ABS(m)"),
    *_each("Greatest", MONEY, "GREATEST(m, 1)", "GREATEST(m, 0.5)"),
    *_each("Coalesce", MONEY, "COALESCE(m, 0)", "IFNULL(m, 1.5)"),
    *_each("EQ", MONEY, "m = 19.99", "m = 0"),
    *_each("LT", MONEY, "m < 0.2"),
    *_each("SafeDivide", MONEY, "SAFE_DIVIDE(m, 3)", "SAFE_DIVIDE(1, m)", "SAFE_DIVIDE(m, 2.5)"),
    *[
        Example("Sum", f"SELECT {e} AS y FROM {MONEY}")
        for e in ("SUM(m)", "SUM(m) / 3", "ROUND(SUM(m), 2)", "SUM(DISTINCT m)")
    ],
    Example("Min", f"SELECT MIN(m) AS y FROM {MONEY}"),
    Example("Count", f"SELECT COUNT(DISTINCT m) AS y FROM {MONEY}"),
    *[
        Example("Avg", f"SELECT {e} AS y FROM {MONEY}")
        for e in ("AVG(m)", "AVG(DISTINCT m)", "AVG(IF(m > 99, m, NULL))")
    ],
    Example(
        "Avg",
        f"SELECT m, AVG(m) OVER (ORDER BY m ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS y FROM {MONEY}",
    ),
    *_errors("Div", "NUMERIC '1' / x", "NUMERIC '1' / 0"),
    *_errors("IntDiv", "DIV(NUMERIC '1', x)"),
    *_errors("Add", "1e308 + 1e308", "1e308 + 1e308 - 1e308", "NUMERIC '99999999999999999999999999999' + 1"),
    *_errors("Mul", "1e308 * 10.0", "(1e200 + x) * 1e200"),
    *_errors("Div", "1e308 / 1e-10"),
    *_errors("Sum", "(SELECT SUM(f) FROM UNNEST([1e308, 1e308]) AS f)"),
    Example("Sum", "SELECT SUM(f) OVER () AS y FROM UNNEST([1e308, 1e308]) AS f", error=True),
    *_each(
        "SafeAdd",
        "UNNEST([1e308, 2.5, NULL]) AS x",
        "SAFE_ADD(x, x)",
        "SAFE_ADD(x, CAST('5' AS FLOAT64))",
        "SAFE_ADD(x / 2, (SELECT 1.5))",
    ),
    *_each(
        "SafeSubtract",
        INTEGERS,
        "SAFE_SUBTRACT(x, LENGTH(UPPER('abc')))",
        "SAFE_SUBTRACT(CAST('5' AS INT64), x)",
    ),
    *_each("SafeMultiply", INTEGERS, "SAFE_MULTIPLY(x, DIV(x, 2))", "SAFE_MULTIPLY((SELECT 3), x)"),
    *_errors("SafeAdd", "SAFE_ADD(1 / x, 1)", "SAFE_ADD(CAST('x' AS INT64), 1)"),
    *_each("SafeFunc", SMALL, "SAFE.LN(CAST('5' AS FLOAT64) - x)", "SAFE.LN(1 / (x + 10) - 0.1)"),
    *_errors("SafeFunc", "SAFE.LN(1 / x)"),
]
MORE_TEXT: Final = [
    *_each("Upper", "UNNEST(['straße', 'ﬁﬂ', 'ŉ', 'Ärger', NULL]) AS x", "UPPER(x)"),
    *_each("Left", TEXTS, "LEFT(x, 2)", "LEFT(x, 0)", "LEFT(x, 9223372036854775807)"),
    *_each("Right", TEXTS, "RIGHT(x, 2)", "RIGHT(x, 99)"),
    *_errors("Left", "LEFT('abc', x - 1)"),
    *_errors("Pad", "LPAD('abc', x - 1)"),
    *_errors("Repeat", "REPEAT('abc', x - 1)"),
    *_each(
        "Substring",
        "UNNEST([9223372036854775807, -9223372036854775807, 2, NULL]) AS x",
        "SUBSTR('abc', x)",
        "SUBSTR('abc', 1, ABS(x))",
        "SUBSTR('abc', 9223372036854775807)",
        "SUBSTR('abc', 2, 9223372036854775807)",
        "SUBSTR('abc', -9223372036854775808)",
    ),
    *_each(
        "RegexpExtractAll", TEXTS, "REGEXP_EXTRACT_ALL(x, '[a-c]')", r"REGEXP_EXTRACT_ALL(x, r'([a-z]),')"
    ),
    *_each("Concat", SMALL, "CONCAT('a', x)", "CONCAT(x / 2, 'b', DATE '2024-01-01')"),
    *_each("DPipe", SMALL, "'a' || x"),
    *_each("ByteString", SMALL, "b'abc'", "LENGTH(b'abc')", "b'a' = 'a'"),
    *_each("Length", TEXTS, "LENGTH(CAST(x AS BYTES))"),
    *_each("MD5Digest", TEXTS, "MD5(x)", "MD5(CAST(x AS BYTES))"),
    *_each("MD5", TEXTS, "TO_HEX(MD5(x))"),
    *_each("SHA1Digest", TEXTS, "SHA1(x)"),
    *_each("SHA2Digest", TEXTS, "SHA256(x)", "TO_HEX(SHA256(x))"),
    *_each("LowerHex", TEXTS, "TO_HEX(CAST(x AS BYTES))"),
    *_each("JSONFormat", TEXTS, "TO_JSON_STRING(x)"),
    *_each("JSONFormat", INTEGERS, "TO_JSON_STRING(x)", "TO_JSON_STRING(x > 1)"),
    *_each("JSONFormat", DATES, "TO_JSON_STRING(d)"),
    *_each(
        "Format",
        SMALL,
        "FORMAT('%d', x)",
        "FORMAT('%05d-%%', x)",
        "FORMAT('%5d|', x)",
        "FORMAT('%.2f', x / 3)",
        "FORMAT('%8.3f', x / 3)",
    ),
    *_each("Format", TEXTS, "FORMAT('%s!', x)", "FORMAT('plain')"),
    *_errors("Format", "FORMAT('%s', x)", "FORMAT('%d', 'a')"),
    *_each(
        "JSONExtract",
        """UNNEST(['{"a": {"b": [1, "x"]}, "c": "s", "d": null}', 'n/a', '', NULL, '{}']) AS x""",
        "JSON_QUERY(x, '$.a')",
        "JSON_QUERY(x, '$.c')",
        "JSON_QUERY(x, '$.d')",
    ),
    *_each(
        "JSONExtractScalar",
        """UNNEST(['not json', '', '{"a": 1.5}', '{"a": "1.50"}', '{"a": 3e-05}', '{"a": 1.50, "b": 2}', '{"a" : 1e3}', NULL]) AS x""",
        "JSON_VALUE(x, '$.a')",
        "SAFE_CAST(JSON_VALUE(x, '$.a') AS FLOAT64)",
    ),
    *_each(
        "JSONExtractScalar",
        """UNNEST(['{"a": 1.50}', '{"a": 1e3}', '{"a": "lin_2.5e-4"}']) AS x""",
        "SAFE_CAST(JSON_VALUE(x, '$.a') AS FLOAT64)",
    ),
]
BITS: Final = [
    *_each("BitwiseAnd", INTEGERS, "x & 5"),
    *_each("BitwiseOr", INTEGERS, "x | 5"),
    *_each("BitwiseXor", INTEGERS, "x ^ 5"),
    *_each("BitwiseNot", INTEGERS, "~x"),
    *_each("BitwiseCount", INTEGERS, "BIT_COUNT(x)"),
    *_grouped("BitwiseAndAgg", "BIT_AND(x)"),
    *_grouped("BitwiseOrAgg", "BIT_OR(x)"),
    *_grouped("BitwiseXorAgg", "BIT_XOR(i)"),
    Example("CurrentDate", "SELECT CURRENT_DATE('UTC') = CURRENT_DATE() AS y"),
    Example("CurrentDatetime", "SELECT CURRENT_DATETIME() > DATETIME '2024-01-01' AS y"),
    *_each(
        "RegexpExtract",
        TEXTS,
        "REGEXP_EXTRACT(x, '(a|b|Ä)')",
        "REGEXP_EXTRACT(x, '^(?:a|b)(.?)')",
        r"REGEXP_EXTRACT(x, r'[(|]?([a-z]+)\|?')",
    ),
    *_each(
        "GenerateDateArray",
        DATES,
        "GENERATE_DATE_ARRAY(d, DATE '2024-05-15', INTERVAL 1 MONTH)",
        "GENERATE_DATE_ARRAY(DATE '2023-01-31', d, INTERVAL 3 MONTH)",
        "GENERATE_DATE_ARRAY(DATE '2020-02-29', d, INTERVAL 1 YEAR)",
        "GENERATE_DATE_ARRAY(DATE '2023-12-25', d, INTERVAL 1 WEEK)",
    ),
    Example("Struct", "SELECT STRUCT(x, t.x AS z).x AS y FROM (SELECT 1 AS x) AS t"),
    Example(
        "Struct", "SELECT s.k AS y FROM (SELECT STRUCT(t.k, v) AS s FROM (SELECT 1 AS k, 'a' AS v) AS t)"
    ),
]
MORE_ARRAYS: Final = [
    *_each(
        "ArrayConcat",
        SMALL,
        "ARRAY_CONCAT([1], [2, x])",
        "ARRAY_CONCAT([1], CAST(NULL AS ARRAY<INT64>))",
        "ARRAY_CONCAT([1], [x], [2])",
    ),
    *_each("ArrayReverse", SMALL, "ARRAY_REVERSE([1, 2, x])"),
    Example(
        "ArrayConcatAgg",
        "SELECT ARRAY_CONCAT_AGG(x ORDER BY ARRAY_LENGTH(x)) AS y FROM (SELECT [1, 2] AS x UNION ALL SELECT [3] UNION ALL SELECT NULL)",
    ),
    Example(
        "ApproxDistinct",
        f"SELECT APPROX_COUNT_DISTINCT(x) AS y FROM {SMALL}",
        rows=((4,),),
        types=("INTEGER",),
    ),
    Example(
        "ApproxQuantiles",
        f"SELECT APPROX_QUANTILES(x, 2) AS y FROM {SMALL}",
        rows=(([-7, 2, 3],),),
        types=("ARRAY<INTEGER>",),
    ),
    *_each("Bracket", SMALL, "[10, 20, 30][0]", "SPLIT('a,b', ',')[1]"),
    *_grouped("Corr", "CORR(i, x)"),
    Example("Unnest", "SELECT a, b FROM UNNEST([STRUCT(1 AS a, 'x' AS b), STRUCT(2 AS a, NULL AS b)])"),
    Example("Unnest", "SELECT a, s.b FROM UNNEST([STRUCT(1 AS a, 'x' AS b)]) AS s WHERE b = 'x'"),
    Example("Star", "SELECT * FROM UNNEST([STRUCT(1 AS a, 'x' AS b)]) AS s WITH OFFSET"),
    Example("Unnest", "SELECT v FROM (SELECT [1, 2] AS parts) AS t, t.parts AS v"),
    Example("Unnest", "SELECT v FROM (SELECT [1, 2] AS parts) AS t, UNNEST(parts) AS v"),
    Example(
        "Select", "SELECT ARRAY(SELECT AS STRUCT x AS a, -x AS b FROM UNNEST([2, 1]) AS x ORDER BY a) AS y"
    ),
    Example("Select", "SELECT (SELECT AS STRUCT 1 AS a, 'x' AS b).b AS y"),
    Example("Column", "SELECT t FROM (SELECT 1 AS x, 'a' AS y) AS t"),
    Example("Column", "SELECT t FROM (SELECT 1 AS t) AS t"),
]
NAMES: Final = [
    Example(
        "Greatest",
        "SELECT (f * f - f) AS y, COUNT(*) AS n FROM UNNEST([1.5, 2.5]) AS f GROUP BY y ORDER BY GREATEST(y, 1.0)",
    ),
    Example(
        "Order", "SELECT f + f AS y, COUNT(*) AS n FROM UNNEST([1.5, 2.5]) AS f GROUP BY y ORDER BY y * y - y"
    ),
    Example(
        "Group", "SELECT MOD(x, 2) AS x, COUNT(*) AS n FROM UNNEST([1, 2, 3, 4]) AS x GROUP BY x HAVING x = 1"
    ),
    Example(
        "Group",
        "SELECT DATE_TRUNC(d, MONTH) AS d, COUNT(*) AS n FROM UNNEST([DATE '2024-01-01', DATE '2024-01-02']) AS d GROUP BY d ORDER BY d",
    ),
    Example(
        "Qualify",
        "SELECT MOD(x, 2) AS x, y FROM (SELECT 1 AS x, 10 AS y UNION ALL SELECT 2, 20 UNION ALL SELECT 3, -5 UNION ALL"
        " SELECT 4, 7) AS t WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) = 1",
    ),
    Example(
        "Qualify",
        f"SELECT g, ROW_NUMBER() OVER (PARTITION BY g ORDER BY i) AS place FROM {ROWS} WHERE TRUE QUALIFY place = 1",
    ),
    Example(
        "Qualify",
        "SELECT CAST(x AS INT64) AS k FROM UNNEST(['1', '2', '2']) AS x WHERE TRUE QUALIFY ROW_NUMBER() OVER"
        " (PARTITION BY k ORDER BY k) = 1",
    ),
    Example("Order", "SELECT -x AS x FROM UNNEST([1, 2, 3, 4]) AS x ORDER BY x + 0"),
    Example("Order", "SELECT -x AS x FROM UNNEST([1, 2, 3]) AS x GROUP BY x ORDER BY SUM(x)"),
    Example(
        "Group",
        "SELECT x AS y, SUM(x) AS s FROM (SELECT x, -x AS y FROM UNNEST([1, 2, 3, 4]) AS x) AS t GROUP BY y",
    ),
    Example(
        "Group",
        "SELECT g.algo AS agent_id, COUNT(*) AS n FROM (SELECT 'a' AS agent_id UNION ALL SELECT 'b' UNION ALL SELECT"
        " 'a') AS e JOIN (SELECT 'a' AS agent_id, 'ppo' AS algo UNION ALL SELECT 'b', 'dqn') AS g ON e.agent_id ="
        " g.agent_id GROUP BY agent_id",
    ),
    Example(
        "Having", "SELECT x + 1 AS y, COUNT(*) AS n FROM UNNEST([1, 1, 2]) AS x GROUP BY y HAVING y * 2 > 4"
    ),
    Example("Rollup", "SELECT MOD(x, 2) AS g, COUNT(*) AS n FROM UNNEST([1, 2, 3]) AS x GROUP BY ROLLUP(g)"),
    Example(
        "Cube", "SELECT MOD(x, 2) AS g, x, COUNT(*) AS n FROM UNNEST([1, 2, 3]) AS x GROUP BY CUBE(g, x)"
    ),
    Example(
        "GroupingSets",
        "SELECT MOD(x, 2) AS g, x, COUNT(*) AS n FROM UNNEST([1, 2, 3]) AS x GROUP BY GROUPING SETS ((g), (g, x), ())",
    ),
    Example("Star", "SELECT * FROM (SELECT 1 AS x, 2 AS k) JOIN (SELECT 2 AS k, 3 AS y) USING (k)"),
    Example(
        "Star",
        "WITH j AS (SELECT * FROM (SELECT 1 AS x, 2 AS k) JOIN (SELECT 2 AS k, 3 AS y) USING (k)) SELECT * FROM j UNION ALL SELECT 2, 1, 3",
    ),
    *[
        Example(
            "Star",
            f"SELECT * FROM {LEFT_AND_RIGHT.format(join=j)} USING (k) FULL JOIN (SELECT 2 AS k, 'z' AS q UNION ALL SELECT"
            " 9, 'y') AS c USING (k)",
        )
        for j in ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
    ],
    Example(
        "Join",
        "SELECT t.k AS a, k FROM (SELECT 1 AS a, 2 AS k) AS t FULL JOIN (SELECT 3 AS k, 3 AS b) AS u USING (k)",
    ),
    Example(
        "Subquery",
        "SELECT x, (SELECT MAX(y) FROM (SELECT 1 AS x, 5 AS y UNION ALL SELECT 2, 7) AS t WHERE t.x = u.x) AS m FROM"
        " (SELECT 1 AS x UNION ALL SELECT 2) AS u",
    ),
    Example(
        "Subquery",
        "SELECT x, (SELECT COUNT(*) FROM (SELECT 2 AS x) AS t WHERE y = 5) AS m FROM (SELECT 1 AS x, 5 AS y) AS t",
    ),
    Example("Union", "SELECT 1 AS x, NULL AS y UNION ALL SELECT 2.5, 'a' ORDER BY x"),
    Example("Union", "SELECT x AS a, x AS b FROM UNNEST([1]) AS x UNION ALL SELECT 0.5, NULL"),
    Example("CTE", "WITH a AS (SELECT 1, 2 AS b) SELECT b FROM a"),
    *[
        Example(key, sql, error=True)
        for key, sql in (
            ("Where", "SELECT x + 1 AS z FROM UNNEST([1, 2]) AS x WHERE z = 2"),
            ("Group", "SELECT MOD(x, 2) AS x FROM UNNEST([1, 2, 3]) AS x GROUP BY x + 0"),
            ("Group", "SELECT x AS a, -x AS a FROM UNNEST([1]) AS x GROUP BY a"),
            ("Having", "SELECT MAX(y) AS y, x FROM (SELECT 1 AS x, 5 AS y) GROUP BY x HAVING SUM(y) > 1"),
            ("Having", "SELECT MOD(x, 2) AS x FROM (SELECT 1 AS x) AS t GROUP BY x HAVING t.x = 1"),
            ("Order", "SELECT DISTINCT -x AS y FROM UNNEST([1, 2]) AS x ORDER BY x"),
            ("Select", "SELECT 1 AS a, 2 AS a FROM (SELECT a FROM (SELECT 1 AS a, 2 AS a))"),
            ("Column", "SELECT x FROM (SELECT 1 AS x), (SELECT 2 AS x)"),
            ("Column", "SELECT t.z FROM (SELECT 1 AS x) AS t"),
            ("Add", "SELECT '5' + 3 AS y"),
            ("If", "SELECT IF(1, 2, 3) AS y"),
            ("Sum", "SELECT SUM(TRUE) AS y FROM UNNEST([1])"),
            ("EQ", "SELECT DATE '2020-01-01' = TIMESTAMP '2020-01-01' AS y"),
            ("EQ", "SELECT TRUE = 1 AS y"),
            ("EQ", "SELECT d = 'n/a' AS y FROM UNNEST([DATE '2024-01-01']) AS d WHERE FALSE"),
            ("EQ", "SELECT NULL = 1 AS y"),
            ("EQ", "SELECT CONCAT('2020', '-01-01') = DATE '2020-01-01' AS y"),
            ("In", "SELECT x FROM UNNEST([1]) AS x WHERE x IN ('1')"),
            ("Union", "SELECT 1 AS x UNION ALL SELECT 'a'"),
            ("Where", "SELECT x FROM UNNEST([1]) AS x WHERE x"),
            ("Case", "SELECT CASE WHEN 1 THEN 2 END AS y"),
            ("Coalesce", "SELECT COALESCE(x, 'a') AS y FROM UNNEST([1]) AS x"),
            ("Order", "SELECT x FROM UNNEST([1]) AS x ORDER BY 'a'"),
            ("Group", "SELECT COUNT(*) AS n FROM UNNEST([1]) AS x GROUP BY 'a'"),
            ("Limit", "SELECT x FROM UNNEST([1]) AS x LIMIT '1'"),
            ("Unnest", "SELECT x FROM UNNEST(5) AS x"),
        )
    ],
]

EXAMPLES: Final = [
    *NUMBERS,
    *LOGIC,
    *STRINGS,
    *DATES_AND_TIMES,
    *AGGREGATES,
    *WINDOWS,
    *ARRAYS,
    *QUERIES,
    *DATES_WITH_ZONES,
    *CASTS,
    *NUMERICS,
    *MORE_TEXT,
    *BITS,
    *MORE_ARRAYS,
    *NAMES,
    *MORE_QUERIES,
]
WITHOUT_EXAMPLE: Final = {
    "Parameter": "the evaluator's wrapper takes no parameters; see test_parameters_keep_their_names",
    "DataTypeParam": "only inside a type, where it is refused",
}
