"""What a run's row tells of where it runs: host, device, versions, the version of the code. Asked of the system, not of the user."""

from __future__ import annotations

import importlib
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

GIT_SECONDS: Final = 3.0
FRAMEWORKS: Final = ("torch", "jax", "tensorflow", "mlx", "paddle")
"""Libraries of function approximators, by the name of their module; the first that the loop has imported is the run's."""


def host() -> str:
    """The name of this machine."""
    return socket.gethostname()[:255] or "unknown"


def device() -> dict[str, object]:
    """The fields of the device: a GPU where torch, imported by the loop, has begun to use one; else the CPU."""
    cuda: Any = getattr(sys.modules.get("torch"), "cuda", None)
    try:
        if cuda is not None and cuda.is_available() and cuda.is_initialized():
            used = sum(cuda.memory_allocated(number) > 0 for number in range(cuda.device_count()))
            model = str(cuda.get_device_name(0))[:200]
            return {"device": "gpu", "device_model": model or None, "device_count": max(1, used)}
    except Exception:  # noqa: BLE001, RUF100 - a driver's own errors; the run goes on, and its row says what is known
        return {"device": "other", "device_model": None, "device_count": 1}
    return {"device": "cpu", "device_model": platform.processor()[:200] or None, "device_count": 1}


def framework() -> tuple[str | None, str | None]:
    """The framework that the loop has imported, and its version."""
    for name in FRAMEWORKS:
        if name in sys.modules:
            return name, _version(name)
    return None, None


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that make the steps, as far as they are imported."""
    names = ("numpy", "gymnasium", "stable_baselines3", "pettingzoo", *FRAMEWORKS)
    found = {name: _version(name) for name in names if name in sys.modules}
    return {"python": platform.python_version(), **{name: text for name, text in found.items() if text}}


def _version(name: str) -> str | None:
    text = getattr(importlib.import_module(name), "__version__", None)
    if text is None:
        try:
            text = metadata.version(name)
        except metadata.PackageNotFoundError:
            return None
    return str(text)[:100]


def code_version(folder: Path | None = None) -> str | None:
    """The commit of the caller's folder, with `-dirty` where a tracked file has changes; None outside of a repository."""
    folder = folder or _caller()
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed else commit


def _caller() -> Path:
    """The folder of the script that runs; of a notebook or a prompt, the current one."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(script).resolve().parent if script else Path.cwd()


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - arguments of this module alone
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True, text=True, timeout=GIT_SECONDS, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
