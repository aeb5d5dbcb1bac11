"""The same results on both engines: every function on the allow-list, by Google's reference evaluator and by DuckDB."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from gaelp_assets.sql.functions import ALLOWED, key_of
from gaelp_assets.sql.transpile import parse
from gaelp_assets_tests.sql.comparison import Answer, difference, googles, ours
from gaelp_assets_tests.sql.comparison import engine as opened
from gaelp_assets_tests.sql.example import Example
from gaelp_assets_tests.sql.examples import EXAMPLES, WITHOUT_EXAMPLE
from gaelp_assets_tests.zetasql_gate import Gate


@pytest.fixture(scope="module")
def oracle() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with opened() as connection:
        yield connection


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.key}: {e.sql}"[:120])
def test_same_result_on_both_engines(
    example: Example, oracle: Gate, engine: duckdb.DuckDBPyConnection
) -> None:
    mine = ours(engine, example.sql)
    if example.rows is None:
        theirs = googles(oracle, example.sql)
    else:
        names = [name for name, _ in mine.columns]
        theirs = Answer(list(zip(names, example.types, strict=True)), list(example.rows))
    assert bool(theirs.error) is example.error, theirs.error
    assert example.error or not mine.error, mine.error
    assert not difference(engine, example.sql, theirs, mine)


def test_every_allowed_expression_has_an_example_that_contains_it() -> None:
    shown = {e.key for e in EXAMPLES}
    assert ALLOWED.keys() - shown == WITHOUT_EXAMPLE.keys()
    for example in EXAMPLES:
        assert example.key in {key_of(node) for node in parse(example.sql).walk()}, example
