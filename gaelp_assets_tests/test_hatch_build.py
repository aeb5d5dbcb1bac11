"""Building the native decoder: with a compiler, without one, and with one that fails."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from gaelp_assets.ingest.decode.native import INTERFACE

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_compiler_that_is_there_builds_without_a_warning(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("there is no C++ compiler")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("CXXFLAGS", "-Werror -O0")
    library = tmp_path / "_native.so"
    assert hook.build(ROOT, library) is None
    assert ctypes.CDLL(str(library)).gaelp_interface() == INTERFACE
    assert [path.name for path in tmp_path.iterdir()] == ["_native.so"]


@pytest.mark.skipif(
    not shutil.which("make") or not shutil.which("c++"), reason="there is no make, or no C++ compiler"
)
def test_every_source_of_the_library_is_a_reason_to_build_it_again(hook: ModuleType) -> None:
    def lines(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout

    rules = lines("make", "--dry-run", "--print-data-base", "--question", ".venv/.installed")
    [needed] = [line for line in rules.splitlines() if line.startswith(".venv/.installed:")]
    sources = (
        lines("c++", "-std=c++17", "-M", "-isystem", hook.VENDORED, hook.SOURCE).replace("\\\n", " ").split()
    )
    ours = {name for name in sources if name.startswith("native/")}
    assert ours > {"native/decoder.cpp", "native/vendor/xxhash.h"}
    assert ours <= set(needed.split())


@pytest.mark.parametrize(
    ("compiler", "words"),
    [("/no/compiler", "No such file"), ("false", "false fails"), ("", "no C++ compiler")],
)
def test_without_a_compiler_no_library_is_left_and_the_reason_is_told(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, words: str
) -> None:
    """An old library must go: it may belong to another source."""
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    library = tmp_path / "_native.so"
    library.write_bytes(b"of another age")
    assert words in hook.build(ROOT, library)
    assert list(tmp_path.iterdir()) == []
