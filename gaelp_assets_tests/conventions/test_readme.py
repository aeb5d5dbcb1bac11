"""The README's commands do what it says, in the order in which it says it."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaelp_assets.settings import CHECKOUT
from gaelp_assets_tests.commands import in_shell, typed_here

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
# The README's days stand for the last two of the demo.
DAYS = {"2026-11-20": YESTERDAY.isoformat(), "2026-11-19": (YESTERDAY - dt.timedelta(days=1)).isoformat()}
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith(("gaelp ", "dg ")) and "catalog new" not in line
]


@pytest.mark.slow
def test_the_commands_of_the_readme_run_after_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    home = tmp_path / "home"
    environment = {**os.environ, "GAELP_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["VIRTUAL_ENV"] = sys.prefix
    assert len(COMMANDS) >= 10
    # The first as a process, as `dg` is; the others in this one, where the imports are paid for once.
    assert in_shell("gaelp demo --size quick --days 2", environment, CHECKOUT).returncode == 0
    for command in COMMANDS:
        command = re.sub("|".join(DAYS), lambda day: DAYS[day[0]], command)
        command = command.replace("curves.parquet", str(tmp_path / "curves.parquet"))
        if command.startswith("gaelp "):
            result = typed_here(home, command, DAGSTER_HOME=environment["DAGSTER_HOME"])
        else:
            result = in_shell(command, environment, CHECKOUT)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    assert (tmp_path / "curves.parquet").stat().st_size > 0


def test_the_python_examples_of_the_readme_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        environment = {**os.environ, "GAELP_HOME": str(tmp_path)}
        subprocess.run([sys.executable, "-W", "error", "-c", block], check=True, env=environment)
