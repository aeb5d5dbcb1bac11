"""The platform in Dagster's own UI, as its users see it: a real server, a real daemon, a real browser."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from gaelp_assets.cli.dev import dagster_instance
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.platforms import platform_in, rows

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ENVIRONMENTS = ("CartPole-v1", "Taxi-v4")
LAST = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
FIRST = LAST - dt.timedelta(days=1)
STANDS_STILL_SECONDS = 90
"""After this time without any progress something hangs: the daemon looks for backfills every 30 s."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@dataclass(frozen=True)
class Dev:
    """`gaelp dev` on a home, and what it has written to its terminal."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path
    home: Path

    def progress(self) -> tuple[object, ...]:
        """What changes while it gets on: its terminal, the queue, Dagster's runs and their events."""
        said = self.log.read_text(errors="replace").splitlines()
        # `os.walk` does not mind folders that go meanwhile.
        stages = [self.home / "export_gateway" / stage for stage in ("raw", "cloud_ready")]
        waiting = sum(len(names) for stage in stages for _, _, names in os.walk(stage))
        runs = self.home / "dagster" / "history" / "runs"
        return (
            f"it said {said[-1:]}",
            f"{waiting} files wait",
            f"the runs are {asked(runs.with_suffix('.db'), 'SELECT status, COUNT(*) FROM runs GROUP BY 1')}",
            f"the newest event is {asked(runs / 'index.db', 'SELECT MAX(id) FROM event_logs')}",
            f"the backfills are {asked(runs.with_suffix('.db'), 'SELECT key, status FROM bulk_actions')}",
        )

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits for as long as there is progress, and says what it waited for and how far that was."""
        seen, since = self.progress(), time.monotonic()
        while not holds():
            if self.process.poll() is not None:
                pytest.fail(
                    f"waited for {what}, and gaelp dev has ended:\n{self.log.read_text(errors='replace')}"
                )
            now = self.progress()
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() > since + STANDS_STILL_SECONDS:
                pytest.fail(
                    f"waited for {what}, and nothing went on for {STANDS_STILL_SECONDS} s: {'; '.join(map(str, seen))}"
                )
            time.sleep(0.2)


def asked(database: Path, query: str) -> list[tuple[object, ...]]:
    """What one of Dagster's databases answers; nothing while it is not there yet, or is being written."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error:
        return []


@pytest.fixture(scope="module")
def dev(home: Path) -> Iterator[Dev]:
    """`gaelp dev` on two days of the demo, which its sensors have to find."""
    environment = {**os.environ, "GAELP_HOME": str(home)}
    gaelp = [sys.executable, "-m", "gaelp_assets.cli.main"]
    produce = [*gaelp, "demo", "--produce-only", "--size", "quick", "--days", "2"]
    subprocess.run(produce, env=environment, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home / "dev.log"
    with log.open("wb") as file:
        command = [*gaelp, "dev", "--no-demo", "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            yield Dev(process, f"http://127.0.0.1:{port}", log, home)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


@pytest.fixture(scope="module")
def url(dev: Dev) -> str:
    """The UI's address, once it answers."""
    dev.wait_until(lambda: answers(f"{dev.address}/server_info"), "the UI to answer")
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
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing; .ci/run installs it")
        pytest.skip("needs Chromium: apt-get install chromium")
    quiet = (
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*quiet, "--disable-component-update"]
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1100}, base_url=url)
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.HTTPError:
        return False


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
    page.goto("/assets/analytics/learning_curves?view=events")
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.get_by_role("dialog").locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 600
