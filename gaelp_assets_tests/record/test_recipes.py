"""The recipes of docs/recording.md run as they stand there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from gaelp_assets.settings import CHECKOUT
from gaelp_assets_tests.record.telling import lines

PAGE = CHECKOUT / "docs" / "recording.md"
RECIPES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
HEAVY = ("stable_baselines3", "pettingzoo")


def marked(recipe: str) -> object:
    [name] = re.findall(r'run="([\w-]+)"', recipe)
    [needed] = [heavy for heavy in HEAVY if heavy in recipe] or [""]
    missing = bool(needed) and importlib.util.find_spec(needed) is None
    marks = (
        [pytest.mark.thorough, pytest.mark.skipif(missing, reason=f"{needed} is not installed")]
        if needed
        else []
    )
    return pytest.param(recipe, id=name, marks=marks)


def test_there_is_a_recipe_for_each_kind_of_loop() -> None:
    assert len(RECIPES) == 5


@pytest.mark.parametrize("recipe", [marked(recipe) for recipe in RECIPES])
def test_a_recipe_runs_and_its_run_is_there(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(recipe, PAGE.name, "exec"), {})
    [*_, run] = lines(tmp_path / "gateway", "training_runs")
    assert (run["status"], run["global_step"] >= 100) == ("succeeded", True)
    assert lines(tmp_path / "gateway", "episodes")
    assert [record.message for record in caplog.records if "not recorded" in record.message] == []
