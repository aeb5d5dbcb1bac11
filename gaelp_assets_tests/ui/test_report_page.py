"""The page of `gaelp report` in a real browser that has no network: its pictures, without a pointer and in both of a reader's colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from gaelp_assets.catalog import WHOLE, Slice
from gaelp_assets.operations.report import html
from gaelp_assets.platform import Platform
from gaelp_assets_tests.operations.test_report import episode
from gaelp_assets_tests.platforms import DATE, drop, load, ndjson, platform_in
from gaelp_assets_tests.ui.served import browser_page

pytestmark = pytest.mark.browser

AGENTS = ("dqn", "ppo")
CURVES = "analytics.learning_curves"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    platform = platform_in(tmp_path_factory.mktemp("home"))
    rows: list[dict[str, Any]] = []
    for number, agent in enumerate(AGENTS):
        for step in range(3):
            row = episode(10 * number + step, "Own-v0", agent)
            rows.append({**row, "training_run_id": agent, "global_step": 2_000 * step + 100})
    drop(platform, f"cloud_ready/training/episodes/date={DATE}/environment=Own-v0/a.ndjson", ndjson(rows))
    load(platform, "training.episodes", Slice(DATE, "Own-v0"))
    for name in ("training_progress", "learning_curves"):
        relation = platform.catalog[f"analytics.{name}"]
        platform.warehouse.ensure([relation])
        platform.warehouse.refresh(
            relation, Slice(DATE, "Own-v0") if relation.partitioning is not None else WHOLE, run_id="test"
        )
    return platform


@pytest.fixture(scope="module")
def page(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(html(platform), encoding="utf-8")
    assert file.stat().st_size < 5e6
    with browser_page("about:blank") as page:
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.context.set_offline(True)
        page.goto(file.as_uri())
        expect(page.locator(f"[id='{CURVES}'] .panel[data-drawn]")).to_have_count(1)
        yield page
        assert said == []


def lines(page: Page) -> int:
    """The lines that are drawn."""
    return page.locator(f"[id='{CURVES}'] svg .mark-line path[stroke-width='2']").count()


def test_a_series_is_hidden_by_the_keyboard_alone(page: Page) -> None:
    assert lines(page) == 2
    box = page.get_by_role("checkbox", name="dqn")
    box.focus()
    page.keyboard.press("Space")
    expect(page.locator(f"[id='{CURVES}'] svg .mark-line path[stroke-width='2']")).to_have_count(1)
    page.keyboard.press("Space")
    expect(page.locator(f"[id='{CURVES}'] svg .mark-line path[stroke-width='2']")).to_have_count(2)


def test_a_screen_reader_is_told_what_a_picture_is_and_finds_its_values(page: Page) -> None:
    section = page.locator(f"[id='{CURVES}']")
    expect(
        section.get_by_role("group", name="Learning curves: return over training steps, Own-v0")
    ).to_be_visible()
    expect(section.locator("svg[aria-label], svg [aria-roledescription]").first).to_be_attached()
    section.get_by_text(f"Values of {CURVES}").click()
    expect(section.get_by_role("cell", name=AGENTS[1]).first).to_be_visible()
    section.get_by_text(f"Values of {CURVES}").click()


def test_the_pictures_follow_the_readers_colours(page: Page) -> None:
    title = page.locator(f"[id='{CURVES}'] svg .role-axis-title text").first
    colors = []
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        expect(title).to_have_attribute("fill", {"dark": "#e8eaed", "light": "#1d2430"}[scheme])
        colors.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(colors)) == 2


def test_what_a_point_is_of_is_told_where_it_is_pointed_at(page: Page) -> None:
    page.locator(f"[id='{CURVES}'] svg .mark-symbol path").first.hover(force=True)
    tip = page.locator("#vg-tooltip-element")
    expect(tip).to_contain_text("mean return")
    expect(tip).to_contain_text("dqn")
