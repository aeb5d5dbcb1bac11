"""The environment is read in one place, and a wrong value is answered with the right ones."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import (
    BigQueryAddress,
    DuckDBAddress,
    GcsGateway,
    LocalGateway,
    bigquery_emulator,
    load_settings,
)


def test_defaults_keep_everything_in_the_home(tmp_path: Path) -> None:
    home = tmp_path / "50% of # homes?"
    settings = load_settings({"GAELP_HOME": str(home)})
    assert settings.gateway == LocalGateway(home / "export_gateway")
    assert settings.warehouse == DuckDBAddress(home / "warehouse.duckdb")
    assert settings.first_date == dt.date(2025, 1, 1)


def test_sharing_with_a_group_has_to_be_asked_for() -> None:
    assert [load_settings({"GAELP_SHARED": value}).shared for value in ("", "group")] == [False, True]


def test_addresses_of_production() -> None:
    settings = load_settings(
        {
            "GAELP_GATEWAY": "gs://bucket/a/b",
            "GAELP_WAREHOUSE": "bigquery://project?location=EU&dataset_prefix=gaelp_",
        }
    )
    assert settings.gateway == GcsGateway("bucket", "a/b")
    assert settings.warehouse == BigQueryAddress("project", "EU", "gaelp_")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("GAELP_GATEWAY", "s3://bucket", "gs://bucket/prefix"),
        ("GAELP_GATEWAY", "gs://", "gs://bucket/prefix"),
        ("GAELP_GATEWAY", "gateway", "file:///folder"),
        ("GAELP_WAREHOUSE", "duckdb://relative.duckdb", "duckdb:///file"),
        ("GAELP_WAREHOUSE", "bigquery://p?locaton=EU", "unknown option 'locaton'"),
        ("GAELP_WAREHOUSE", "bigquery://p?dataset_prefix=a-b", "letters, digits and underscores"),
        ("GAELP_FIRST_DATE", "2025-02-30", "YYYY-MM-DD"),
        ("GAELP_SHARED", "all", "group"),
        ("GAELP_WAREHOSE", "duckdb:///file", "did you mean 'GAELP_WAREHOUSE'?"),
        ("GAELP_HOME", __file__, "is not a folder"),
    ],
)
def test_a_wrong_value_is_named_with_the_right_ones(name: str, value: str, expected: str) -> None:
    with pytest.raises(GaelpError) as caught:
        load_settings({name: value})
    assert name in str(caught.value)
    assert expected in str(caught.value)


def test_all_wrong_values_come_at_once() -> None:
    with pytest.raises(GaelpError) as caught:
        load_settings({"GAELP_GATEWAY": "x", "GAELP_WAREHOUSE": "y", "GAELP_FIRST_DATE": "z"})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (None, None),
        ("", None),
        ("127.0.0.1:9050", "http://127.0.0.1:9050"),
        ("https://bq.test", "https://bq.test"),
    ],
)
def test_an_emulators_address_has_a_scheme(host: str | None, address: str | None) -> None:
    assert bigquery_emulator({} if host is None else {"BIGQUERY_EMULATOR_HOST": host}) == address
