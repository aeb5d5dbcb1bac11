"""The same results on both engines: every function on the allow-list, by Google's reference evaluator and by DuckDB."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any

import duckdb
import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import ALLOWED
from gaelp_assets.sql.transpile import parse, to_duckdb
from gaelp_assets_tests.sql.examples import EXAMPLES, WITHOUT_EXAMPLE, Example
from gaelp_assets_tests.zetasql_gate import Gate

TYPES = {
    "INTEGER": "BIGINT",
    "FLOAT": "DOUBLE",
    "STRING": "VARCHAR",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
}


@pytest.fixture(scope="module")
def oracle() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def engine() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.key}: {e.sql}"[:120])
def test_same_result_on_both_engines(
    example: Example, oracle: Gate, engine: duckdb.DuckDBPyConnection
) -> None:
    if example.error:
        with pytest.raises(Exception, match=r".") as theirs:
            oracle.evaluate(example.sql)
        assert not isinstance(theirs.value, AssertionError)
        with pytest.raises((duckdb.Error, GaelpError)):
            engine.execute(to_duckdb(example.sql)).fetchall()
        return
    if example.rows is None:
        columns, expected = oracle.evaluate(example.sql)
        types = [kind for _, kind in columns]
    else:
        expected, types = list(example.rows), list(example.types)
    cursor = engine.execute(to_duckdb(example.sql))
    found_types = [str(column[1]) for column in cursor.description or ()]
    found = [tuple(map(_comparable, row)) for row in cursor.fetchall()]
    assert found_types == [
        _duckdb_type(kind) or actual for kind, actual in zip(types, found_types, strict=True)
    ]
    assert len(found) == len(expected)
    # BigQuery returns a NULL array as an empty one; the evaluator's wrapper returns an empty one as None.
    arrays = [kind.startswith("ARRAY<") for kind in types]
    found, expected = (
        [
            tuple([] if v is None and is_array else v for v, is_array in zip(row, arrays, strict=True))
            for row in rows
        ]
        for rows in (found, expected)
    )
    if parse(example.sql).args.get("order") is None:
        found, expected = sorted(found, key=_sort_key), sorted(expected, key=_sort_key)
    for mine, theirs_row in zip(found, expected, strict=True):
        assert _equal(mine, theirs_row), (mine, theirs_row)


def _duckdb_type(kind: str) -> str | None:
    if kind.startswith("ARRAY<"):
        inner = _duckdb_type(kind[6:-1])
        return None if inner is None else f"{inner}[]"
    return TYPES.get(kind)


def _comparable(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        assert value.tzinfo is not None
        return (value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    if isinstance(value, dict):
        return [_comparable(part) for part in value.values()]
    if isinstance(value, list):
        return [_comparable(part) for part in value]
    return value


def _sort_key(row: Sequence[Any]) -> str:
    return repr([round(v, 9) + 0.0 if isinstance(v, float) else v for v in row])


def _equal(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, list | tuple) and isinstance(theirs, list | tuple):
        return len(mine) == len(theirs) and all(map(_equal, mine, theirs))
    if isinstance(mine, float) and isinstance(theirs, float):
        return (
            mine == theirs
            or math.isclose(mine, theirs, rel_tol=1e-13)
            or (math.isnan(mine) and math.isnan(theirs))
        )
    return type(mine) is type(theirs) and bool(mine == theirs)


def test_every_allowed_expression_has_an_example_that_contains_it() -> None:
    shown = {e.key for e in EXAMPLES}
    assert ALLOWED.keys() - shown == WITHOUT_EXAMPLE.keys()
    for example in EXAMPLES:
        assert example.key in {type(node).__name__ for node in parse(example.sql).walk()}, example
