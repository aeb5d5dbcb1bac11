"""What Google's analyzer says of the catalogue's SQL: it resolves, and gives the declared columns with the declared types."""

from __future__ import annotations

import pytest

from gaelp_assets.catalog import Relation, load_catalog
from gaelp_assets.sql.transpile import to_duckdb
from gaelp_assets_tests.zetasql_gate import Gate, declared_type

CATALOG = load_catalog()
DERIVED = [pytest.param(relation, id=relation.id) for relation in CATALOG.derived if relation.python is None]


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate(CATALOG)


@pytest.mark.parametrize("relation", DERIVED)
def test_sql_gives_the_declared_columns_and_types(relation: Relation, gate: Gate) -> None:
    assert relation.sql is not None
    assert gate.output_columns(relation.sql) == [
        (field.name, declared_type(field)) for field in relation.fields
    ]


@pytest.mark.parametrize("relation", DERIVED)
def test_sql_translates_to_duckdb(relation: Relation) -> None:
    assert relation.sql is not None
    assert to_duckdb(relation.sql)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT episode_retrn FROM training.episodes", "Did you mean episode_return"),
        ("SELECT environment_id = 1 FROM training.episodes", "No matching signature"),
        (
            "SELECT environment_id, SUM(episode_return) FROM training.episodes",
            "neither grouped nor aggregated",
        ),
        ("SELECT 1 FROM training.episods", "not found"),
    ],
)
def test_the_gate_refuses_what_bigquery_refuses(sql: str, words: str, gate: Gate) -> None:
    with pytest.raises(Exception, match=words):
        gate.output_columns(sql)


def test_the_gate_knows_parameters(gate: Gate) -> None:
    sql = "SELECT date FROM training.episodes WHERE date >= @since"
    assert gate.output_columns(sql, {"since": "DATE"}) == [("date", "DATE")]
    with pytest.raises(Exception, match="No matching signature"):
        gate.output_columns(sql, {"since": "INTEGER"})
