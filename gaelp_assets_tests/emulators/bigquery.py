"""The BigQuery emulator of the tests: local-bigquery in an environment of its own, which needs Python 3.13.

The environment is made once, from a lock file with hashes, beside the checkout; a server is started when a test first needs it, on
free ports of the loopback interface, and ends with the process that started it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from filelock import FileLock

from gaelp_assets.settings import BigQueryAddress

CHECKOUT: Final = Path(__file__).parents[2]
LOCK_FILE: Final = CHECKOUT / "requirements-emulator.lock"
ENVIRONMENT: Final = CHECKOUT / ".venv-bigquery"
LAUNCHER: Final = Path(__file__).with_name("launch_bigquery.py")
PROJECT: Final = "gaelp-test"
HOST_VARIABLE: Final = "BIGQUERY_EMULATOR_HOST"
PYTHON: Final = "3.13"
START_SECONDS: Final = 120


class NoPython(Exception):
    """There is no Python that could run the emulator."""


@cache
def emulator() -> str:
    """The address of the emulator: that which `BIGQUERY_EMULATOR_HOST` names, else of one that is started now.

    `BIGQUERY_EMULATOR_HOST` names it from then on, in this process and those that it starts.

    Raises:
        NoPython: no Python 3.13 is installed.
    """
    named = os.environ.get(HOST_VARIABLE)
    if named:
        return named
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    address = stack.enter_context(running()).address
    os.environ[HOST_VARIABLE] = address
    return address


def forget_datasets() -> None:
    """Drops every dataset of the tests' project, if this process has used the emulator, which gets slower with each table that it holds."""
    if not emulator.cache_info().currsize:
        return
    datasets = f"{emulator()}/bigquery/v2/projects/{PROJECT}/datasets"
    with urllib.request.urlopen(f"{datasets}?maxResults=10000") as answer:
        found = [
            dataset["datasetReference"]["datasetId"] for dataset in json.load(answer).get("datasets", ())
        ]
    for dataset in found:
        gone = urllib.request.Request(f"{datasets}/{dataset}?deleteContents=true", method="DELETE")
        urllib.request.urlopen(gone).close()


def address(dataset_prefix: str) -> BigQueryAddress:
    """Datasets of that prefix on the emulator, which is started if need be.

    Raises:
        NoPython: no Python 3.13 is installed.
    """
    return BigQueryAddress(PROJECT, "US", dataset_prefix, emulator=emulator())


@dataclass(frozen=True)
class Emulator:
    """Where an emulator is."""

    address: str
    """Of the REST API, with its scheme."""
    storage_read: str
    """Of the Storage Read API, `host:port`: gRPC without TLS."""


@contextlib.contextmanager
def running(place: Path | None = None) -> Iterator[Emulator]:
    """An emulator of its own, as long as the context lasts, with its files in that folder, or else in one that goes with it.

    Raises:
        NoPython: no Python 3.13 is installed.
    """
    python = environment()
    with _folder(place) as folder:
        port, grpc_port = _free_ports(2)
        log = folder / "log.txt"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [
                    python, LAUNCHER, "--host", "127.0.0.1", "--port", str(port), "--grpc-port", str(grpc_port),
                    "--project", PROJECT, "--data-dir", str(folder / "data"),
                ],
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "CALLER": "user:test@localhost", "GCS_LOCAL_ROOT": str(folder / "buckets")},
                start_new_session=True,  # a Ctrl-C in the terminal is for those who use it: it goes after them
            )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, address, log)
            yield Emulator(address, f"127.0.0.1:{grpc_port}")
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _folder(place: Path | None) -> Iterator[Path]:
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="gaelp-emulator-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def environment() -> Path:
    """The Python of the emulator's environment, which is made if it is missing or older than its lock file.

    Raises:
        NoPython: no Python 3.13 is installed.
    """
    python = ENVIRONMENT / "bin" / "python"
    made_of = ENVIRONMENT / "made-of.lock"
    wanted = LOCK_FILE.read_bytes()
    with FileLock(f"{ENVIRONMENT}.lock"):
        if made_of.exists() and made_of.read_bytes() == wanted:
            return python
        base = _find_python()
        if base is None:
            raise NoPython(
                f"the BigQuery emulator needs Python {PYTHON} beside the platform's own, and none is found. "
                f"Install it (apt-get install python{PYTHON} python{PYTHON}-venv, brew install python@{PYTHON}, "
                f"uv python install {PYTHON} or pyenv install {PYTHON}), and try again."
            )
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        uv = _uv()
        if uv is not None:
            _run(uv, "venv", "--quiet", "--no-python-downloads", "--python", base, ENVIRONMENT)
            _run(
                uv,
                "pip",
                "install",
                "--quiet",
                "--compile-bytecode",
                "--python",
                python,
                "--require-hashes",
                "-r",
                LOCK_FILE,
            )
        else:
            _run(base, "-m", "venv", ENVIRONMENT)
            _run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", LOCK_FILE)
        made_of.write_bytes(wanted)
    return python


@cache
def _find_python() -> str | None:
    """A Python of that version: one that uv knows, that is on the path, or that pyenv keeps without putting it there."""
    uv = _uv()
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    kept = sorted(str(file) for file in pyenv.glob(f"{PYTHON}*/bin/python"))
    candidates = [sys.executable, f"python{PYTHON}", *kept]
    if uv is not None:
        found = subprocess.run(
            [uv, "python", "find", "--no-python-downloads", "--no-project", PYTHON],
            capture_output=True,
            text=True,
            check=False,
        )
        candidates.insert(0, found.stdout.strip())
    for candidate in filter(None, candidates):
        with contextlib.suppress(OSError):
            version = subprocess.run(
                [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
            )
            if version.stdout.strip() == PYTHON:
                return candidate
    return None


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"cannot make the emulator's environment: {' '.join(map(str, command))}\n{done.stderr}"
        )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the BigQuery emulator ended at once:\n{log.read_text(errors='replace')}")
        try:
            with urllib.request.urlopen(f"{address}/bigquery/v2/projects", timeout=10):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the BigQuery emulator does not answer:\n{log.read_text(errors='replace')}")
