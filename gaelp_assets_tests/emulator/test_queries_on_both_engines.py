"""Queries over every type's awkward values, on DuckDB and on BigQuery's emulator: what people ask and what views are made of.

The emulator is made of DuckDB, and has its order and equality of NaN; what BigQuery's are stands in `unit/test_sql_nan.py`, with the gaps.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import pytest

from gaelp_assets.catalog import WHOLE, Catalog
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.warehouse.protocol import Warehouse
from gaelp_assets_tests.contract.warehouses import CATALOG, ENGINES, relation, write
from gaelp_assets_tests.emulator.generated import LARGEST, Rows
from gaelp_assets_tests.emulator.test_same_on_both_engines import equal

_BOOKS = [each for each in CATALOG if each.dataset == "ops"]
ZOO = relation(
    "lab",
    "zoo",
    [
        {"name": "id", "type": "INTEGER", "mode": "REQUIRED"},
        {"name": "txt", "type": "STRING"},  # the emulator stumbles over a column that is called s
        {"name": "i", "type": "INTEGER"},
        {"name": "f", "type": "FLOAT"},
        {"name": "n", "type": "NUMERIC"},
        {"name": "b", "type": "BOOLEAN"},
        {"name": "ts", "type": "TIMESTAMP"},
        {"name": "d", "type": "DATE"},
        {"name": "dtm", "type": "DATETIME"},
        {"name": "t", "type": "TIME"},
        {"name": "j", "type": "JSON"},
        {"name": "raw", "type": "BYTES"},
        {"name": "fs", "type": "FLOAT", "mode": "REPEATED"},
        {"name": "ss", "type": "STRING", "mode": "REPEATED"},
        {"name": "ds", "type": "DATE", "mode": "REPEATED"},
        {
            "name": "r",
            "type": "RECORD",
            "fields": [{"name": "name", "type": "STRING"}, {"name": "x", "type": "FLOAT"}],
        },
        {
            "name": "rs",
            "type": "RECORD",
            "mode": "REPEATED",
            "fields": [
                {"name": "name", "type": "STRING"},
                {"name": "xs", "type": "INTEGER", "mode": "REPEATED"},
            ],
        },
    ],
    primary_key=["id"],
)
RELATIONS: Final = (*_BOOKS, ZOO)
ZOO_CATALOG: Final = Catalog(RELATIONS, upstream_of(RELATIONS))

QUERIES: Final = {
    "every column": "SELECT * EXCEPT (_loaded_at) FROM lab.zoo",
    "aggregates": (
        "SELECT b, COUNT(*) AS n, COUNT(f) AS nf, COUNT(DISTINCT f) AS df, COUNT(DISTINCT txt) AS ds, "
        "SUM(i) AS si, AVG(i) AS ai, "
        "MIN(i) AS mi, MAX(i) AS xi, COUNTIF(f > 0) AS pos, LOGICAL_AND(f > 0) AS la, "
        "LOGICAL_OR(f > 0) AS lo FROM lab.zoo GROUP BY b"
    ),
    "aggregates with NaN and infinities": (
        "SELECT txt, SUM(f) AS sf, AVG(f) AS af, MAX(f) AS xf FROM lab.zoo GROUP BY txt"
    ),
    "aggregates over everything": (
        "SELECT SUM(f) AS total, MIN(f) AS lo, MAX(f) AS hi, SUM(n) AS n, MIN(n) AS ln, "
        "MAX(n) AS hn FROM lab.zoo"
    ),
    "spread of finite numbers": (
        "SELECT b, STDDEV(f) AS sd, VAR_POP(f) AS vp, STDDEV_POP(f) AS sp FROM lab.zoo "
        "WHERE NOT IS_NAN(f) AND NOT IS_INF(f) AND ABS(f) < 1e6 GROUP BY b"
    ),
    "extremes of text and time": (
        "SELECT b, MIN(txt) AS ls, MAX(txt) AS hs, MIN(d) AS ld, MAX(d) AS hd, MIN(ts) AS lt, "
        "MAX(ts) AS ht FROM lab.zoo GROUP BY b"
    ),
    "groups by a float": "SELECT f, COUNT(*) AS n FROM lab.zoo GROUP BY f",
    "distinct floats": "SELECT DISTINCT f, b FROM lab.zoo",
    "order with infinities": (
        "SELECT id, RANK() OVER (ORDER BY f) AS up, RANK() OVER (ORDER BY f DESC) AS down, "
        "ROW_NUMBER() OVER (ORDER BY f, id) AS place, LAG(f) OVER (ORDER BY f DESC, id) AS before "
        "FROM lab.zoo WHERE f IS NULL OR NOT IS_NAN(f)"
    ),
    "order of text": (
        "SELECT id, RANK() OVER (ORDER BY txt) AS up, "
        "DENSE_RANK() OVER (ORDER BY txt DESC) AS down FROM lab.zoo"
    ),
    "extremes in windows": (
        "SELECT id, MAX(f) OVER (PARTITION BY b) AS hi, MIN(i) OVER (PARTITION BY b) AS lo, "
        "SUM(i) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS run FROM lab.zoo"
    ),
    "comparisons with infinities": (
        "SELECT id, f > 0 AS gt, f >= f AS ge, f = f AS eq, f <> f AS ne, f < 1e400 AS lt, "
        "f BETWEEN -1 AND 1 AS bt, f IN (0.0, 0.1) AS i, "
        "f IS NOT DISTINCT FROM f AS same FROM lab.zoo WHERE f IS NULL OR NOT IS_NAN(f)"
    ).replace("1e400", "1e300"),
    "functions of floats": (
        "SELECT id, IS_NAN(f) AS nan, IS_INF(f) AS inf, ABS(f) AS a, SIGN(f) AS sg, GREATEST(f, "
        "1.0) AS g, LEAST(f, 1.0) AS l, "
        "COALESCE(f, -1) AS c, SAFE_DIVIDE(1, f) AS sd, FLOOR(f) AS fl, CEIL(f) AS ce, ROUND(f) AS r0, "
        "ROUND(f, 2) AS r2, TRUNC(f) AS t, "
        "-f AS neg, f * 2 AS tw, NULLIF(f, 0.0) AS nz FROM lab.zoo WHERE f IS NULL OR NOT IS_NAN(f)"
    ),
    "arithmetic with NaN and infinities": (
        "SELECT id, f + f AS a, f - f AS s, f * f AS m, f / 2.0 AS h, 1 / (f * f + 1) AS inv, POW(f, "
        "2) AS p, POWER(2.0, f) AS e, EXP(f) AS x, "
        "SQRT(ABS(f)) AS r, LN(ABS(f) + 1) AS ln, SAFE_DIVIDE(f, 2) AS d2, SAFE_DIVIDE(f, f) AS dd, "
        "SAFE_ADD(f, 1) AS s1, SAFE_MULTIPLY(f, f) AS sm, "
        "MOD(id, 3) = 0 OR f > 1 AS o FROM lab.zoo WHERE IS_NAN(f) OR IS_INF(f) OR ABS(f) < 200"
    ),
    "joins on a float": (
        "SELECT a.id, b.id AS other FROM lab.zoo AS a INNER JOIN lab.zoo AS b ON a.f = b.f "
        "WHERE NOT IS_NAN(a.f)"
    ),
    "left joins on text": (
        "SELECT a.id, COUNT(b.id) AS n "
        "FROM lab.zoo AS a LEFT JOIN lab.zoo AS b ON a.txt = b.txt AND b.b GROUP BY a.id"
    ),
    "integers": (
        "SELECT id, DIV(i, 7) AS dv, MOD(i, 7) AS md, i / 3 AS q, SAFE_ADD(id, i) AS sa, SAFE_SUBTRACT(id, i) AS ss, "
        "SAFE_MULTIPLY(id, i) AS sm, CAST(i AS STRING) AS st, CAST(i AS FLOAT64) AS fl, SAFE_CAST(f AS INT64) AS fi, "
        "i IS NULL AS nul FROM lab.zoo WHERE f IS NULL OR ABS(f) < 1e10"
    ),
    "casts of text": (
        "SELECT id, SAFE_CAST(txt AS INT64) AS i, SAFE_CAST(txt AS FLOAT64) AS f FROM lab.zoo "
        "WHERE txt = '0' OR txt IS NULL"
    ),
    "dates": (
        "SELECT id, EXTRACT(YEAR FROM d) AS y, EXTRACT(DAYOFWEEK FROM d) AS dw, EXTRACT(DAYOFYEAR "
        "FROM d) AS dy, EXTRACT(ISOWEEK FROM d) AS iw, "
        "EXTRACT(ISOYEAR FROM d) AS iy, EXTRACT(QUARTER FROM d) AS q, DATE_TRUNC(d, MONTH) AS m, "
        "DATE_TRUNC(d, YEAR) AS ty, "
        "DATE_DIFF(d, DATE '2024-02-29', DAY) AS dd, DATE_DIFF(d, DATE '2024-02-29', MONTH) AS dm, "
        "DATE_DIFF(d, DATE '2024-02-29', YEAR) AS dyr FROM lab.zoo"
    ),
    "weeks and neighbouring days": (
        "SELECT id, DATE_TRUNC(d, WEEK) AS w, DATE_TRUNC(d, WEEK(MONDAY)) AS wm, DATE_TRUNC(d, "
        "ISOWEEK) AS iw, DATE_DIFF(d, DATE '2024-02-29', WEEK) AS dw, "
        "DATE_ADD(d, INTERVAL 1 YEAR) AS ny, DATE_SUB(d, INTERVAL 1 MONTH) AS pm, DATE_ADD(d, INTERVAL 1 DAY) AS nd, "
        "FORMAT_DATE('%Y-%m-%d', d) AS fd FROM lab.zoo WHERE d BETWEEN DATE '1900-01-01' AND DATE '2100-01-01'"
    ),
    "moments": (
        "SELECT id, DATE(ts) AS d, EXTRACT(HOUR FROM ts) AS h, EXTRACT(DAYOFWEEK FROM ts) AS dw, "
        "TIMESTAMP_TRUNC(ts, HOUR) AS th, TIMESTAMP_TRUNC(ts, DAY) AS td, TIMESTAMP_TRUNC(ts, "
        "MONTH) AS tm, UNIX_MICROS(ts) AS um, "
        "TIMESTAMP_DIFF(ts, TIMESTAMP '2024-02-29 12:00:00+00', HOUR) AS dh, "
        "TIMESTAMP_DIFF(ts, TIMESTAMP '2024-02-29 12:00:00+00', DAY) AS dd FROM lab.zoo"
    ),
    "text": (
        "SELECT id, UPPER(txt) AS u, LOWER(txt) AS l, LENGTH(txt) AS n, SUBSTR(txt, 2, 3) AS sub, "
        "SUBSTR(txt, -2) AS tail, TRIM(txt) AS t, "
        "REPLACE(txt, 'a', 'ä') AS r, STARTS_WITH(txt, 'Z') AS sw, ENDS_WITH(txt, '語') AS ew, "
        "STRPOS(txt, '本') AS p, LPAD(txt, 5, '*') AS lp, "
        "CONCAT(txt, '!') AS c, txt LIKE '%a\\\\_b%' AS lk, txt LIKE '_' AS one, REGEXP_CONTAINS(txt, "
        "r'^\\w+$') AS rx, "
        "REGEXP_REPLACE(txt, r'[aeiou]', '') AS rr FROM lab.zoo "
        "WHERE txt IS NULL OR txt NOT IN ('İstanbul', 'ß', 'ẞ')"
    ),
    "arrays": (
        "SELECT id, ARRAY_LENGTH(fs) AS n, ss[SAFE_OFFSET(0)] AS first, fs[SAFE_OFFSET(2)] AS third, "
        "ARRAY_TO_STRING(ss, '|') AS joined, "
        "EXISTS (SELECT 1 FROM UNNEST(ds) AS d WHERE d = DATE '2024-02-29') AS leap, "
        "(SELECT SUM(x) FROM UNNEST(fs) AS x WHERE NOT IS_NAN(x)) AS total FROM lab.zoo"
    ),
    "array elements": "SELECT id, x, place FROM lab.zoo CROSS JOIN UNNEST(fs) AS x WITH OFFSET AS place",
    "array elements or none": "SELECT id, x FROM lab.zoo LEFT JOIN UNNEST(ss) AS x",
    "records": (
        "SELECT id, r.name, r.x, ARRAY_LENGTH(rs) AS n, (SELECT COUNT(*) FROM UNNEST(rs) AS one, "
        "UNNEST(one.xs) AS x) AS inner_n FROM lab.zoo"
    ),
    "documents": (
        "SELECT id, JSON_VALUE(j, '$.a') AS a, JSON_VALUE(j, '$.b[1]') AS b1, JSON_VALUE(j, "
        "'$.b[2].c') AS c, JSON_VALUE(j, '$.n') AS n, "
        "JSON_VALUE(j, '$.f') AS f, JSON_VALUE(j) AS whole FROM lab.zoo"
    ),
    "sets": "SELECT txt, f FROM lab.zoo WHERE id > 0 EXCEPT DISTINCT SELECT txt, f FROM lab.zoo WHERE b",
    "the best of each group": (
        "SELECT id, b, f FROM lab.zoo QUALIFY ROW_NUMBER() OVER (PARTITION BY b ORDER BY f DESC, id) = 1"
    ),
    "rows at an extreme": (
        "SELECT b, MAX_BY(id, f) AS hi, MIN_BY(id, f) AS lo FROM lab.zoo "
        "WHERE NOT IS_NAN(f) AND NOT IS_INF(f) AND f <> 0 GROUP BY b"
    ),
}


@pytest.fixture(scope="module", params=(1, 2))
def engines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Warehouse]:
    folder: Path = tmp_path_factory.mktemp("zoo")
    both = {name: ENGINES[name](folder, ZOO_CATALOG, 60) for name in ("duckdb", "bigquery")}
    batch = dataclasses.replace(Rows(ZOO_CATALOG, request.param, 150).batch(ZOO, WHOLE, folder))
    for warehouse in both.values():
        warehouse.ensure(RELATIONS)
        write(warehouse, ZOO, [batch])
        assert set(LARGEST) <= set(warehouse.query("SELECT id FROM lab.zoo").frame["id"])
    return both


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_the_same(engines: dict[str, Warehouse], name: str) -> None:
    duckdb, bigquery = (engines[engine].query(QUERIES[name]).frame for engine in ("duckdb", "bigquery"))
    assert duckdb.height
    assert duckdb.schema == bigquery.schema
    mine, theirs = (sorted(frame.rows(), key=_order) for frame in (duckdb, bigquery))
    assert len(mine) == len(theirs)
    differing = [
        dict(zip(duckdb.columns, pair, strict=True))
        for rows in zip(mine, theirs, strict=True)
        for pair in [tuple(zip(*rows, strict=True))]
        if not equal(*rows)
    ]
    assert [{name: pair for name, pair in row.items() if not equal(*pair)} for row in differing] == []


def _order(row: tuple[object, ...]) -> str:
    return repr([f"{v + 0.0:.9g}" if isinstance(v, float) else v for v in row])
