"""The native decoder under the address and undefined-behaviour sanitizers: its own tests, and some seconds of fuzzing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = os.environ.get("CXX") or "g++"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which(COMPILER) or not shutil.which("make"), reason="there is no C++ compiler, or no make"
    ),
]


def make(target: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", target, f"CXX={COMPILER}", "NATIVE_BUILD=built", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the native targets of the Makefile need."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "native", tmp_path / "native")
    return tmp_path


def test_decoder_passes_its_own_tests_without_python(checkout: Path) -> None:
    done = make("test-native", checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("0 checks of the native decoder failed\n")


def test_fuzzing_finds_nothing_in_the_decoder(checkout: Path) -> None:
    done = make("fuzz", checkout, "SECONDS=2")
    assert done.returncode == 0, done.stderr
    assert not list((checkout / "built").glob("finding*"))


@pytest.mark.thorough
def test_fuzzing_finds_a_read_behind_the_last_line_and_keeps_the_input(checkout: Path) -> None:
    decoder = checkout / "native" / "decoder.cpp"
    source = decoder.read_text(encoding="utf-8")
    guard = "found != nullptr && "
    assert source.count(guard) == 1
    decoder.write_text(source.replace(guard, ""), encoding="utf-8")
    done = make("fuzz", checkout, "SECONDS=30")
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr or "finding: " in done.stderr
    assert list((checkout / "built").glob("finding*"))
