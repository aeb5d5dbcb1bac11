"""The platform in Dagster's own UI, as its users see it: a real server, a real daemon, a real browser."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import httpx
import pytest
from playwright.sync_api import Page, expect

from gaelp_assets.cli.dev import dagster_instance
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.platforms import platform_in, rows
from gaelp_assets_tests.ui.served import GAELP, Dev, browser_page, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ENVIRONMENTS = ("CartPole-v1", "Taxi-v4")
LAST = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
FIRST = LAST - dt.timedelta(days=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def dev(home: Path) -> Iterator[Dev]:
    """`gaelp dev` on two days of the demo, which its sensors have to find."""
    environment = {**os.environ, "GAELP_HOME": str(home)}
    produce = [*GAELP, "demo", "--produce-only", "--size", "quick", "--days", "2"]
    subprocess.run(produce, env=environment, check=True, capture_output=True)
    with served(home, environment) as dev:
        yield dev


@pytest.fixture(scope="module")
def url(dev: Dev) -> str:
    """The UI's address."""
    return dev.address


@pytest.fixture(scope="module")
def instance(url: str, dev: Dev) -> Iterator[dg.DagsterInstance]:
    """The instance behind the UI, once its sensors have loaded the demo and refreshed the charts."""
    with dagster_instance(load_settings({"GAELP_HOME": str(dev.home)})) as instance:
        charts = dg.AssetKey(["analytics", "learning_curves"])
        gateway = platform_in(dev.home).gateway

        def loaded() -> bool:
            return (
                not gateway.pending().files and instance.get_latest_materialization_event(charts) is not None
            )

        dev.wait_until(loaded, "the sensors to load the demo and to draw the learning curves")
        yield instance


@pytest.fixture(scope="module")
def started_by_graphql(url: str, instance: dg.DagsterInstance) -> str:
    """A backfill that GraphQL has launched. It goes on while other tests run: the daemon looks for backfills every 30 s."""
    del instance
    answer = httpx.post(
        f"{url}/graphql",
        json={
            "query": """mutation Backfill($params: LaunchBackfillParams!) {
                launchPartitionBackfill(backfillParams: $params) { __typename ... on LaunchBackfillSuccess { backfillId } }
            }""",
            "variables": {
                "params": {
                    "assetSelection": [{"path": ["training", "checkpoints"]}],
                    "partitionNames": [f"{LAST}|{ENVIRONMENTS[0]}"],
                }
            },
        },
        timeout=60,
    ).json()
    return str(answer["data"]["launchPartitionBackfill"]["backfillId"])


@pytest.fixture
def page(url: str) -> Iterator[Page]:
    with browser_page(url) as page:
        yield page


def select_partitions(page: Page, dates: str, environments: tuple[str, ...]) -> None:
    page.goto("/assets/training/episodes")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input[type=text]").first.fill(dates)
    dialog.locator("input[type=text]").first.press("Enter")
    dialog.get_by_text("Select a partition or create one").click()
    for environment in environments:
        page.get_by_role("menuitem", name=environment).first.click()
    page.keyboard.press("Escape")


def episodes(home: Path) -> list[dict[str, object]]:
    return rows(
        platform_in(home),
        "SELECT date, environment_id, COUNT(*) AS n, MIN(_loaded_at) AS since FROM training.episodes GROUP BY 1, 2 ORDER BY 1, 2",
    )


def test_a_backfill_over_two_dates_and_two_environments_rebuilds_four_slices(
    page: Page, instance: dg.DagsterInstance, started_by_graphql: str, dev: Dev
) -> None:
    before = episodes(dev.home)
    select_partitions(page, f"[{FIRST}...{LAST}]", ENVIRONMENTS)
    expect(page.get_by_text("4 partitions").first).to_be_visible()
    page.get_by_role("button", name="Launch backfill").click()

    def finished() -> bool:
        own = [b.status.value for b in instance.get_backfills() if b.backfill_id != started_by_graphql]
        return own == ["COMPLETED_SUCCESS"]

    dev.wait_until(finished, "the backfill that the UI launched")
    rebuilt = {row["slice"] for row in rows(platform_in(dev.home), REBUILT)}
    assert rebuilt == {f"{date}|{environment}" for date in (FIRST, LAST) for environment in ENVIRONMENTS}
    assert episodes(dev.home) == before


def test_a_backfill_starts_through_graphql(
    instance: dg.DagsterInstance, started_by_graphql: str, dev: Dev
) -> None:
    def finished() -> bool:
        backfill = instance.get_backfill(started_by_graphql)
        return backfill is not None and backfill.status.value == "COMPLETED_SUCCESS"

    dev.wait_until(finished, "the backfill that GraphQL launched")


def test_a_slice_is_materialized(page: Page, instance: dg.DagsterInstance, dev: Dev) -> None:
    before = episodes(dev.home)
    select_partitions(page, LAST.isoformat(), ENVIRONMENTS[:1])
    page.get_by_role("button", name="Launch 1 run").click()
    slice_key = f"{LAST}|{ENVIRONMENTS[0]}"
    by_hand = dg.RunsFilter(tags={"dagster/partition": slice_key, "dagster/from_ui": "true"})

    def finished() -> bool:
        return [run.status for run in instance.get_runs(by_hand)] == [dg.DagsterRunStatus.SUCCESS]

    dev.wait_until(finished, "the run that the UI launched")
    assert episodes(dev.home) == before


REBUILT = (
    "SELECT DISTINCT CONCAT(CAST(slice_date AS STRING), '|', slice_environment) AS slice FROM ops.import_logs "
    "WHERE mode = 'rebuild' AND `table` = 'episodes'"
)


def test_the_lineage_leads_from_the_gateway_to_the_charts(page: Page, instance: dg.DagsterInstance) -> None:
    page.goto("/assets/analytics/learning_curves?view=lineage&lineageScope=upstream&lineageDepth=5")
    for name in ("export_gateway", "episodes", "training_progress", "agents", "learning_curves"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()


def test_the_checks_are_seen_and_have_passed(page: Page, instance: dg.DagsterInstance) -> None:
    page.goto("/assets/training/episodes?view=checks")
    for check in ("accounting", "rejected_rows", "schema_conformance", "key_uniqueness", "foreign_keys"):
        expect(page.get_by_text(check, exact=True).first).to_be_visible()
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(5)


def test_the_learning_curve_is_a_picture(page: Page, instance: dg.DagsterInstance) -> None:
    page.goto("/assets/analytics/learning_curves")
    page.get_by_text("See the picture").click()
    # The first of what an event says, before its preview.
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.get_by_role("dialog").locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 600
