"""The page that takes a newcomer to their own curve does what it says, from the script to the page with the curve."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaelp_assets.settings import CHECKOUT
from gaelp_assets_tests.commands import typed_here

TEXT = (CHECKOUT / "docs" / "your-training-loop.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
[COMMANDS] = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
HEAVY = ("stable_baselines3", "pettingzoo")
LIGHT = [script for script in SCRIPTS if not any(name in script for name in HEAVY)]


@pytest.mark.slow
def test_a_newcomer_sees_their_own_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    environment = {**os.environ, "GAELP_HOME": str(home)}
    for script in LIGHT:
        (tmp_path / "train.py").write_text(script)
        subprocess.run([sys.executable, "-W", "error", "train.py"], cwd=tmp_path, env=environment, check=True)
    said = {}
    for command in COMMANDS.splitlines()[1:]:
        done = typed_here(home, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said[command] = done.stdout + done.stderr
    assert "did not pass" not in said["gaelp ingest"]
    page = (tmp_path / "curves.html").read_text(encoding="utf-8")
    assert "analytics.learning_curves" in page
    assert "analytics.metric_curves" in page
    assert "random-mine" in said[COMMANDS.splitlines()[-1]]


def test_the_page_has_a_script_for_each_kind_of_loop() -> None:
    assert len(LIGHT) == 3
    assert len(SCRIPTS) == 5
    assert COMMANDS.splitlines()[0] == "python train.py"


@pytest.mark.thorough
@pytest.mark.parametrize("name", HEAVY)
def test_a_script_that_needs_a_library_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    [script] = [script for script in SCRIPTS if name in script]
    monkeypatch.setenv("GAELP_HOME", str(tmp_path))
    exec(compile(script, name, "exec"), {})
    assert list((tmp_path / "export_gateway/cloud_ready/training/episodes").rglob("*.ndjson"))
