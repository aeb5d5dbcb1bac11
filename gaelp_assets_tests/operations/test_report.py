"""The page of `gaelp report`."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import WHOLE, Slice
from gaelp_assets.catalog.derivation import slice_dimensions
from gaelp_assets.operations import charts
from gaelp_assets.operations.acknowledge import acknowledge
from gaelp_assets.operations.charts import chart_frame
from gaelp_assets.operations.compute import refresh
from gaelp_assets.operations.report import html, sections, shown
from gaelp_assets.platform import Platform
from gaelp_assets_tests.platforms import DATE, drop, load, ndjson, platform_in

ENVIRONMENTS = ("Own-v0", "Other-v0")


def metric(step: int, value: float, environment: str = "Own-v0", name: str = "loss") -> dict[str, Any]:
    return {
        "training_run_id": f"run-{environment}",
        "name": name,
        "global_step": step,
        "date": DATE.isoformat(),
        "environment_id": environment,
        "agent_id": "mine",
        "value": value,
        "measured_at": f"{DATE}T06:00:01Z",
    }


def episode(number: int, environment: str, agent: str) -> dict[str, Any]:
    return {
        "episode_id": f"{environment}.{number}",
        "date": DATE.isoformat(),
        "environment_id": environment,
        "agent_id": agent,
        "training_run_id": f"run-{environment}",
        "purpose": "training",
        "episode_index": number,
        "global_step": 100 * (number + 1),
        "episode_return": float(number),
        "episode_length": 100,
        "terminated": True,
        "truncated": False,
        "transitions_recorded": False,
        "ended_at": f"{DATE}T06:00:01Z",
    }


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    platform = platform_in(tmp_path_factory.mktemp("home"))
    for environment in ENVIRONMENTS:
        episodes = [episode(number, environment, "mine") for number in range(3)]
        name = f"cloud_ready/training/episodes/date={DATE}/environment={environment}/a.ndjson"
        drop(platform, name, ndjson([*episodes, {**episodes[0], "episode_id": "secret value"}]))
        load(platform, "training.episodes", Slice(DATE, environment))
    # It has diverged: the sum of its last values is more than a number can be.
    diverged = [metric(step, value) for step, value in ((0, 0.5), (1000, 1.7e308), (1001, 1.7e308))]
    drop(
        platform,
        f"cloud_ready/training/metrics/date={DATE}/environment=Own-v0/a.ndjson",
        ndjson([*diverged, metric(0, 0.25, name="steady"), metric(1000, 0.75, name="steady")]),
    )
    load(platform, "training.metrics", Slice(DATE, "Own-v0"))
    for relation in platform.catalog.derived:
        if relation.is_stored:
            slices = {
                (False, False): [WHOLE],
                (True, False): [Slice(DATE)],
                (True, True): [Slice(DATE, name) for name in ENVIRONMENTS],
            }[slice_dimensions(relation)]
            platform.warehouse.ensure([relation])
            refresh(platform, relation, *slices, run_id="test")
    return platform


class Page(HTMLParser):
    """What of a page is looked at: addresses, tags, texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.texts = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.texts += data


def test_the_page_shows_a_users_own_curve_and_needs_no_network(platform: Platform) -> None:
    seen: list[str] = []
    page = Page(html(platform, on_progress=seen.append))
    assert [relation.id for relation in shown(platform.catalog)] == seen[:-1]
    assert page.addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert not page.tags & {"link", "iframe"}
    assert "analytics.learning_curves" in page.texts
    assert "2 lines were rejected: gaelp dead-letter list" in page.texts
    assert "secret value" not in page.texts


def test_no_script_runs_but_the_pages_own(platform: Platform) -> None:
    text = html(platform)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = re.findall(r"'sha256-([^']*)'", policy[1].replace("&#39;", "'"))
    assert digests == allowed
    assert policy[1].startswith("default-src 'none';")
    assert "unsafe-eval" not in policy[1]


def test_an_environment_alone(platform: Platform) -> None:
    both, one = (len(html(platform, environment=name)) for name in (None, "Own-v0"))
    assert one < both
    assert list(sections(platform, "Nowhere-v0")) == []
    assert "Nothing of Nowhere-v0 to show" in Page(html(platform, environment="Nowhere-v0")).texts


def test_metrics_that_diverge_end_no_curve(platform: Platform) -> None:
    found = chart_frame(platform, platform.catalog["analytics.metric_curves"], None)
    assert found["mean_value"].to_list() == [0.5, 1.7e308, 0.25, 0.75]


def test_another_environments_metrics_are_not_on_the_page_of_one(platform: Platform) -> None:
    curves = {
        name: [s.relation.id for s in sections(platform, name) if s.picture is not None]
        for name in ENVIRONMENTS
    }
    assert "analytics.metric_curves" in curves["Own-v0"]
    assert "analytics.metric_curves" not in curves["Other-v0"]


def test_where_there_is_no_room_lines_are_missing_and_not_the_ends_of_lines(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "ROW_LIMIT", 2)
    found = chart_frame(platform, platform.catalog["analytics.metric_curves"], None)
    assert found.select("name", "step").rows() == [("loss", 0), ("loss", 1001)]


def test_an_empty_platform_says_what_comes_first(tmp_path: Path) -> None:
    empty = platform_in(tmp_path)
    assert "gaelp ingest" in Page(html(empty)).texts
    assert not (tmp_path / "warehouse.duckdb").exists()


def test_numbers_are_short_and_texts_are_escaped(platform: Platform) -> None:
    [curves] = [found for found in sections(platform) if found.relation.id == "analytics.learning_curves"]
    assert curves.picture is not None
    assert curves.picture.startswith(b"\x89PNG")
    relation = curves.relation.model_copy(update={"description": "<script>alert(1)</script>"})
    assert "alert(1)" in (text := html_of(platform, relation.description))
    assert "<script>alert" not in text


def html_of(platform: Platform, description: str) -> str:
    """The page of a catalogue whose first chart is described like this."""
    import dataclasses

    relations = [
        r.model_copy(update={"description": description}) if r.chart is not None else r
        for r in platform.catalog
    ]
    catalog = type(platform.catalog)(relations, platform.catalog.upstream)
    return html(dataclasses.replace(platform, catalog=catalog))


def test_lines_that_were_acknowledged_were_told_for_ever(platform: Platform) -> None:
    acknowledge(platform, platform.catalog["training.episodes"])
    assert "lines were rejected" not in Page(html(platform)).texts
