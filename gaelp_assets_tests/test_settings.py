"""The environment is read in one place, and a wrong value is answered with the right ones."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from platformdirs import user_data_path

from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import (
    CHECKOUT,
    BigQueryAddress,
    DuckDBAddress,
    GcsGateway,
    LocalGateway,
    default_home,
    is_checkout,
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
        ("GAELP_BEAM", "/nowhere/python", "is no program that can be run"),
        ("GAELP_BEAM", "/", "is no program that can be run"),
        ("GAELP_QUERY_SECONDS", "soon", "'soon' is not a number"),
        ("GAELP_QUERY_SECONDS", "nan", "is no time to wait"),
        ("GAELP_QUERY_SECONDS", "0", "is no time to wait"),
        ("GAELP_KAFKA", "kafka://broker:9092", "host:port"),
        ("GAELP_KAFKA", "broker:9092,", "is no list of brokers"),
        ("GAELP_PUBSUB", "projects/me", "is not the name of a project"),
        ("GAELP_HOME", __file__, "is not a folder"),
        ("GAELP_HOME", "~nobody-here/home", "names the home of a user"),
        ("GAELP_CATALOG", f"/one{os.pathsep}{os.pathsep}/two", "has an empty name"),
    ],
)
def test_a_wrong_value_is_named_with_the_right_ones(name: str, value: str, expected: str) -> None:
    with pytest.raises(GaelpError) as caught:
        load_settings({name: value})
    assert name in str(caught.value)
    assert expected in str(caught.value)


def test_a_variable_that_is_no_setting_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """It ended every command: a variable of a newer version, or of another tool of the name, kept all of them from working."""
    for _ in range(2):
        load_settings({"GAELP_WAREHOSE": "hunter2"})
    [warned] = [record.getMessage() for record in caplog.records]
    assert "unknown environment variable 'GAELP_WAREHOSE', did you mean 'GAELP_WAREHOUSE'?" in warned
    assert "hunter2" not in warned


def config(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gaelp.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_environment_comes_before_the_file_where_one_stands_and_that_before_the_one_in_the_home(
    tmp_path: Path,
) -> None:
    start = config(tmp_path / "start", 'home = "../home"\nquery_seconds = 20\nfirst_date = 2026-01-02\n')
    home = config(
        tmp_path / "home", '# mine\ngateway = "gs://bucket"\nquery_seconds = 30\ncatalog = ["one", "/two"]\n'
    )
    settings = load_settings({"GAELP_FIRST_DATE": "2026-05-05"}, folder=start)
    assert settings.home.resolve() == home
    assert settings.gateway == GcsGateway("bucket", "")
    assert (settings.query_seconds, settings.first_date) == (20, dt.date(2026, 5, 5))
    assert [path.resolve() for path in settings.catalog] == [home / "one", Path("/two")]
    assert settings.origins == {
        "GAELP_HOME": f"{start}/gaelp.toml, line 1",
        "GAELP_QUERY_SECONDS": f"{start}/gaelp.toml, line 2",
        "GAELP_FIRST_DATE": "environment",
        "GAELP_GATEWAY": f"{settings.home}/gaelp.toml, line 2",
        "GAELP_CATALOG": f"{settings.home}/gaelp.toml, line 4",
        "GAELP_WAREHOUSE": "default",
        "GAELP_STREAM_KEY": "default",
        "GAELP_SHARED": "default",
        "GAELP_KAFKA": "default",
        "GAELP_KAFKA_CONFIG": "default",
        "GAELP_PUBSUB": "default",
        "GAELP_BEAM": "default",
        "GAELP_OPENLINEAGE": "default",
    }
    # What is started elsewhere does not find the file of this folder.
    assert settings.folders()["GAELP_QUERY_SECONDS"] == "20"
    assert "GAELP_FIRST_DATE" not in settings.folders()
    assert load_settings({**settings.folders(), "GAELP_FIRST_DATE": "2026-05-05"}) == settings


def test_a_mark_that_editors_put_first_was_no_toml(tmp_path: Path) -> None:
    (tmp_path / "gaelp.toml").write_bytes(b"\xef\xbb\xbfquery_seconds = 20\r\n")
    assert load_settings({"GAELP_HOME": str(tmp_path)}).query_seconds == 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('\nwarehose = "x"\n', "line 2: unknown setting 'warehose', did you mean 'warehouse'?"),
        ("query_seconds = true", "line 1: the value of query_seconds is of another kind"),
        ('gateway = ["gs://bucket"]', "line 1: the value of gateway is of another kind"),
        ("first_date = 2026-01-01T00:00:00Z", "line 1: the value of first_date is of another kind"),
        ('shared = "all"', "line 1, shared: 'all' is not a way to share"),
        ("a = 1\nwarehouse = x", "line 2, column 13: is not TOML"),
        ('gateway = "gs://x', "line 1: is not TOML"),
        ("[gateway]\nurl = 1", "line 1: the value of gateway is of another kind"),
        ('home = "elsewhere"', "line 1: the home cannot be set in a file that lies in it"),
        ('gateway = "s3://user:hunter2@bucket"', "'s3://user:***@bucket' is not the address of a gateway"),
    ],
)
def test_a_wrong_file_is_told_with_its_line_and_no_secret(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(GaelpError) as caught:
        load_settings({"GAELP_HOME": str(config(tmp_path, text))})
    assert f"{tmp_path}/gaelp.toml" in str(caught.value)
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_text_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "gaelp.toml").write_bytes(b'gateway = "\xff"')
    with pytest.raises(GaelpError, match="is not UTF-8 at byte 11"):
        load_settings({"GAELP_HOME": str(tmp_path)})
    (tmp_path / "gaelp.toml").unlink()
    (tmp_path / "gaelp.toml").mkdir()
    with pytest.raises(GaelpError, match="cannot be read: Is a directory"):
        load_settings({"GAELP_HOME": str(tmp_path)})


def test_all_wrong_values_come_at_once() -> None:
    with pytest.raises(GaelpError) as caught:
        load_settings({"GAELP_GATEWAY": "x", "GAELP_WAREHOUSE": "y", "GAELP_FIRST_DATE": "z"})
    assert len(caught.value.problems) == 3


def test_the_home_is_beside_a_checkout_and_elsewhere_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed package kept everything in `site-packages/.gaelp`."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    packages, checkout = tmp_path / "site-packages", tmp_path / "checkout"
    packages.mkdir()
    assert default_home(packages) == user_data_path("gaelp", appauthor=False)
    (packages / ".git").mkdir()
    assert not is_checkout(packages), "a repository of somebody else's, who keeps an environment in it"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text("")
    assert not is_checkout(checkout)
    (checkout / "workspace.yaml").write_text("")
    assert default_home(checkout) == checkout / ".gaelp"
    assert is_checkout(CHECKOUT)


def test_folders_are_named_in_full_to_processes_that_may_stand_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings({"GAELP_HOME": "home", "GAELP_CATALOG": f"one{os.pathsep}two"})
    assert settings.folders() == {
        "GAELP_HOME": f"{tmp_path}/home",
        "GAELP_CATALOG": f"{tmp_path}/one{os.pathsep}{tmp_path}/two",
    }
    assert load_settings({"GAELP_HOME": "home"}).folders() == {"GAELP_HOME": f"{tmp_path}/home"}


@pytest.mark.parametrize(
    ("variables", "gateway", "warehouse"),
    [
        ({}, "file:///h%20o/export_gateway", "duckdb:///h%20o/warehouse.duckdb"),
        (
            {"GAELP_GATEWAY": "gs://b/p", "GAELP_WAREHOUSE": "bigquery://p?location=EU"},
            "gs://b/p",
            "bigquery://p?location=EU&dataset_prefix=",
        ),
    ],
)
def test_an_address_is_shown_as_its_variable_takes_it(
    variables: dict[str, str], gateway: str, warehouse: str
) -> None:
    settings = load_settings({"GAELP_HOME": "/h o", **variables})
    assert (settings.gateway.url, settings.warehouse.url) == (gateway, warehouse)
    again = load_settings({"GAELP_GATEWAY": gateway, "GAELP_WAREHOUSE": warehouse})
    assert (again.gateway, again.warehouse) == (settings.gateway, settings.warehouse)


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
    variables = {} if host is None else {"BIGQUERY_EMULATOR_HOST": host}
    settings = load_settings({"GAELP_WAREHOUSE": "bigquery://project", **variables})
    assert settings.warehouse == BigQueryAddress("project", "US", "", emulator=address)
