"""The platform as a resource: shown with its addresses, opened once for all copies that Dagster makes."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from gaelp_assets.errors import GaelpError
from gaelp_assets.platform import open_platform, read_catalog
from gaelp_assets.settings import load_settings
from resources.platform import PlatformResource, platform_resource, shown


@pytest.fixture
def resource(tmp_path: Path) -> PlatformResource:
    folder = tmp_path / "catalog"
    settings = load_settings({"GAELP_HOME": str(tmp_path), "GAELP_CATALOG": str(folder)})
    catalog = read_catalog()
    open_platform(settings, catalog).gateway.prepare()
    return platform_resource(settings, catalog)


def test_the_resource_page_shows_the_addresses_and_the_users_folders_and_nothing_else(
    resource: PlatformResource, tmp_path: Path
) -> None:
    repository = dg.Definitions(resources={"platform": resource}).get_repository_def()
    [page] = [
        found for found in RepositorySnap.from_def(repository).resources or () if found.name == "platform"
    ]
    assert {key: json.loads(str(value)) for key, value in page.configured_values.items()} == {
        "gateway": (tmp_path / "export_gateway").as_uri(),
        "warehouse": f"duckdb://{tmp_path}/warehouse.duckdb",
        "catalog_folders": [str(tmp_path / "catalog")],
    }
    assert page.resource_type == "resources.platform.PlatformResource"


def test_a_run_that_asks_for_another_warehouse_is_refused_and_not_given_this_one(
    resource: PlatformResource,
) -> None:
    @dg.op
    def use(platform: PlatformResource) -> None:
        with pytest.raises(GaelpError, match="a run cannot change the warehouse"):
            platform.open()

    @dg.job(resource_defs={"platform": resource})
    def job() -> None:
        use()

    config = {**shown(resource.opener.settings), "warehouse": "duckdb:///elsewhere"}
    other = {"resources": {"platform": {"config": config}}}
    assert job.execute_in_process(other).success


def test_every_run_gets_the_platform_that_was_opened_first(resource: PlatformResource) -> None:
    found = []

    @dg.op
    def first(platform: PlatformResource) -> None:
        found.append(platform.open())

    @dg.op
    def second(platform: PlatformResource) -> None:
        found.append(platform.open())

    @dg.job(resource_defs={"platform": resource})
    def both() -> None:
        first()
        second()

    for _ in range(2):
        assert both.execute_in_process().success
    assert len(found) == 4
    assert {id(platform) for platform in found} == {id(resource.open())}
