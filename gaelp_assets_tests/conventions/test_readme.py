"""The README's commands do what it says, in the order in which it says it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaelp_assets.settings import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("gaelp ") and "catalog new" not in line
]


@pytest.mark.slow
def test_the_commands_of_the_readme_run_after_the_demo(tmp_path: Path) -> None:
    environment = {**os.environ, "GAELP_HOME": str(tmp_path / "home")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    assert len(COMMANDS) >= 8
    for command in ["gaelp demo --size quick", *COMMANDS]:
        result = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    assert (tmp_path / "curves.parquet").stat().st_size > 0


def test_the_python_examples_of_the_readme_run() -> None:
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        subprocess.run([sys.executable, "-W", "error", "-c", block], check=True)
