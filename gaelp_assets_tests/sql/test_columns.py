"""Columns without a name are called as BigQuery calls them."""

from __future__ import annotations

import duckdb
import pytest

from gaelp_assets.sql.transpile import to_duckdb


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT COUNT(*), SUM(x) FROM UNNEST([1, 2]) AS x", ["f0_", "f1_"]),
        ("SELECT 1, x AS named, 'a', (x), x / 2.5 FROM UNNEST([1, 2]) AS x", ["f0_", "named", "f1_", "x", "f2_"]),
        ("SELECT *, 1 FROM (SELECT 1 AS a, 2 AS b)", ["a", "b", "f0_"]),
        ("SELECT s.a, s.a + 1 FROM (SELECT STRUCT(1 AS a) AS s)", ["a", "f0_"]),
        ("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", ["f0_"]),
        ("WITH t AS (SELECT 1 AS x) SELECT x, -x FROM t", ["x", "f0_"]),
        ("(SELECT 1)", ["f0_"]),
        ("SELECT (SELECT 1), EXISTS(SELECT 1)", ["f0_", "f1_"]),
        ("SELECT x, COUNT(*) FROM UNNEST([1]) AS x GROUP BY x ORDER BY COUNT(*), 2", ["x", "f0_"]),
    ],
)  # fmt: skip
def test_unnamed_columns_were_called_by_their_whole_expression(sql: str, names: list[str]) -> None:
    result = duckdb.sql(to_duckdb(sql))
    assert result is not None
    assert result.columns == names
