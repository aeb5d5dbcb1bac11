"""Builds the native decoder (`native/`) into the package, where there is a C++ compiler; elsewhere the package works without it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "gaelp_assets/ingest/decode/_native.so"
SOURCE = "native/decoder.cpp"
WARNINGS = (
    *("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow"),
    "-Wold-style-cast",
)
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", *WARNINGS)
VENDORED = "native/vendor"


def compilers() -> list[list[str]]:
    """The commands to try: CXX alone, if it is set."""
    if chosen := os.environ.get("CXX"):
        return [shlex.split(chosen)]
    return [[name] for name in ("c++", "g++", "clang++") if shutil.which(name)]


def build(root: Path, library: Path) -> str | None:
    """Builds the library; the reason if that is not possible, and then there is none, not even an old one."""
    if sys.platform == "win32":
        library.unlink(missing_ok=True)
        return "the native decoder is not built on Windows"
    reason = "there is no C++ compiler"
    new = library.with_suffix(".new")
    for compiler in compilers():
        extra = shlex.split(os.environ.get("CXXFLAGS", ""))
        command = [
            *compiler,
            *FLAGS,
            "-isystem",
            str(root / VENDORED),
            *extra,
            "-o",
            str(new),
            str(root / SOURCE),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the compiler that was asked for
        except OSError as error:
            reason = f"{shlex.join(compiler)}: {error.strerror}"
            continue
        if done.returncode == 0:
            new.replace(library)  # processes that use the old one keep it
            return None
        reason = f"{shlex.join(compiler)} fails: {done.stderr.strip().partition(chr(10))[0]}"
        new.unlink(missing_ok=True)
    library.unlink(missing_ok=True)
    return reason


class NativeDecoderHook(BuildHookInterface[Any]):
    """Hatchling's hook: a wheel with the library is one for this platform, and for any Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the editable install needs it too
        """Builds before the files of a wheel are collected."""
        reason = build(Path(self.root), Path(self.root, LIBRARY))
        if reason is not None:
            self.app.display_warning(f"{reason}: files will be validated in Python alone, more slowly")
            return
        build_data["artifacts"].append(f"/{LIBRARY}")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
