"""Dagster's UI where there are 1,000 environments and three years of days."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator

import dagster as dg
import pytest
from playwright.sync_api import Page, expect

from gaelp_assets.assets.partitions import ENVIRONMENTS
from gaelp_assets.cli.dev import dagster_instance
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.ui.served import browser_page, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

COUNT = 1_000
NAMES = [f"Bench{number:04d}-v1" for number in range(COUNT)]
YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
EPISODES = dg.AssetKey(["training", "episodes"])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    variables = {"GAELP_HOME": str(home), "GAELP_FIRST_DATE": str(YESTERDAY - dt.timedelta(days=3 * 365))}
    settings = load_settings(variables)
    with dagster_instance(settings) as instance:
        instance.add_dynamic_partitions(str(ENVIRONMENTS.name), NAMES)
        for name in (NAMES[0], NAMES[-1]):
            event = dg.AssetMaterialization(EPISODES, partition=f"{YESTERDAY}|{name}")
            instance.report_runless_asset_event(event)
    with served(home, {**os.environ, **variables}) as dev:
        yield dev.address


@pytest.fixture
def page(url: str) -> Iterator[Page]:
    with browser_page(url) as page:
        yield page


def test_the_partitions_of_a_table_are_shown(page: Page) -> None:
    page.goto("/assets/training/episodes?view=partitions")
    expect(page.get_by_text(YESTERDAY.isoformat(), exact=True).first).to_be_visible()
    page.get_by_text(YESTERDAY.isoformat(), exact=True).first.click()
    expect(page.get_by_text(NAMES[0], exact=True).first).to_be_visible()
    page.get_by_text(NAMES[0], exact=True).first.click()
    expect(page.get_by_text("Latest event").or_(page.get_by_text("Materialized")).first).to_be_visible()


def test_an_unsliced_relation_that_reads_all_of_them_is_shown(page: Page) -> None:
    page.goto("/assets/analytics/learning_curves?view=lineage&lineageScope=upstream&lineageDepth=1")
    for name in ("training_progress", "learning_curves"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
