"""Interpreters of their own for peers whose requirements are not ours, and one side of a comparison in one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


def interpreter(folder: Path, pins: Sequence[str]) -> str:
    """The interpreter of a new environment in that folder that has these packages."""
    uv, python = str(Path(sys.executable).with_name("uv")), str(folder / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *pins], check=True)
    return python


def one_side(python: str, module: str, *arguments: str) -> str:
    """The last line that a module of the benchmarks prints when that interpreter runs it with one thread."""
    command = [python, "-W", "ignore", "-m", module, *arguments]
    answer = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **dict.fromkeys(_THREADS, "1")},
    )
    return answer.stdout.splitlines()[-1]
