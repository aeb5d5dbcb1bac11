"""The text that the warehouses are sent: types, names, constants, slices; and which engine the settings mean."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pytest

from gaelp_assets.catalog import WHOLE, Field, Slice
from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import load_settings
from gaelp_assets.warehouse.bigquery.dialect import GOOGLESQL, googlesql_type
from gaelp_assets.warehouse.duckdb.ddl import create_statements, slice_predicate
from gaelp_assets.warehouse.duckdb.dialect import DUCKDB, duckdb_type, literal, quote
from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER
from gaelp_assets.warehouse.open import open_warehouse
from gaelp_assets_tests.contract.warehouses import CATALOG, DAY, EPISODES, EVENTS, VERSIONS, relation

NESTED = Field.model_validate(
    {
        "name": "steps",
        "type": "RECORD",
        "mode": "REPEATED",
        "fields": [
            {"name": "order", "type": "INTEGER"},
            {"name": "values", "type": "FLOAT", "mode": "REPEATED"},
        ],
    }
)


def test_both_dialects_name_every_type() -> None:
    assert DUCKDB.keys() == GOOGLESQL.keys()
    assert {str(duckdb.type(name)) for name in DUCKDB.values()} == set(DUCKDB.values())


def test_nested_types() -> None:
    assert duckdb_type(NESTED) == 'STRUCT("order" BIGINT, "values" DOUBLE[])[]'
    assert googlesql_type(NESTED) == "ARRAY<STRUCT<`order` INT64, `values` ARRAY<FLOAT64>>>"
    assert str(duckdb.type(duckdb_type(NESTED))).endswith("[]")


def test_names_and_constants_cannot_leave_their_quotes() -> None:
    assert quote('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"
    assert literal(DAY) == "DATE '2026-11-20'"
    east = dt.timezone(dt.timedelta(hours=2))
    assert literal(dt.datetime(2026, 1, 1, 1, tzinfo=east)) == "TIMESTAMPTZ '2025-12-31 23:00:00+00:00'"


def test_a_slice_is_a_condition_of_constants() -> None:
    assert slice_predicate(VERSIONS, WHOLE) == "TRUE"
    assert slice_predicate(EPISODES, Slice(DAY, "Taxi-v3")) == (
        "\"date\" = DATE '2026-11-20' AND \"environment_id\" = 'Taxi-v3'"
    )
    assert slice_predicate(EVENTS, Slice(dt.date(2024, 2, 29))) == (
        "\"at\" >= TIMESTAMPTZ '2024-02-29 00:00:00+00:00' AND \"at\" < TIMESTAMPTZ '2024-03-01 00:00:00+00:00'"
    )


@pytest.mark.parametrize(
    ("table", "slice_"),
    [(EPISODES, WHOLE), (EPISODES, Slice(DAY)), (EVENTS, Slice(DAY, "Taxi-v3")), (VERSIONS, Slice(DAY))],
    ids=str,
)
def test_a_slice_of_other_dimensions_is_refused(table: object, slice_: Slice) -> None:
    with pytest.raises(GaelpError, match="is not one of this relation"):
        slice_predicate(table, slice_)  # type: ignore[arg-type]


def test_names_that_duckdb_keeps_for_itself_are_refused() -> None:
    fields = [{"name": "rowid", "type": "INTEGER", "mode": "REQUIRED"}]
    with pytest.raises(GaelpError, match="'rowid' is DuckDB's own"):
        create_statements(relation("lab", "odd", fields, primary_key=["rowid"]))


def test_the_platforms_own_relations_are_in_the_catalogue() -> None:
    assert CATALOG[LEDGER].kind == CATALOG[DEAD_LETTER].kind == "ledger"


def test_the_settings_name_the_engine(tmp_path: Path) -> None:
    settings = load_settings(
        {"GAELP_HOME": str(tmp_path), "GAELP_WAREHOUSE": f"duckdb://{tmp_path}/w.duckdb"}
    )
    warehouse = open_warehouse(settings.warehouse, CATALOG)
    assert (warehouse.capabilities.engine, warehouse.location) == ("duckdb", f"{tmp_path}/w.duckdb")
    assert not (tmp_path / "w.duckdb").exists()
    with pytest.raises(GaelpError, match="no engine for a object"):
        open_warehouse(object(), CATALOG)
