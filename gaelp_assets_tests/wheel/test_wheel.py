"""What a newcomer gets who installs the wheel: in an environment of its own, from an empty folder, with an empty home.

The tests build on one another, in the order in which they stand: `make test-wheel`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.ingest.decode import native
from gaelp_assets.settings import CHECKOUT

pytestmark = pytest.mark.wheel
SECONDS = 120
# What stands where the user stands, and must not be taken for the platform's packages of that name.
TRAPS = ("resources", "sensors")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and what it needs, and nothing else; a folder to stand in; a home."""

    root: Path

    @property
    def packages(self) -> Path:
        [found] = (self.root / "venv" / "lib").glob("python*/site-packages")
        return found

    @property
    def here(self) -> Path:
        return self.root / "here"

    @property
    def data(self) -> Path:
        """The platform's data folder on Linux, as the XDG Base Directory Specification has it."""
        return self.root / "home" / ".local" / "share" / "gaelp"

    def environment(self, **variables: str) -> dict[str, str]:
        return {
            "HOME": str(self.root / "home"),
            "PATH": f"{self.root / 'venv' / 'bin'}{os.pathsep}{os.defpath}",
            "PYTHONPYCACHEPREFIX": str(self.root / "bytecode"),
            **variables,
        }

    def run(self, *command: str, code: int = 0, **variables: str) -> str:
        """What the command prints, on both streams."""
        done = subprocess.run(
            command,
            cwd=self.here,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def files(self) -> dict[str, tuple[int, int]]:
        """Size and time of every file of the installed packages."""
        return {
            path.relative_to(self.packages).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in self.packages.rglob("*")
            if path.is_file()
        }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The sdist's wheel with its dependencies as they are locked."""
    place = Installed(tmp_path_factory.mktemp("wheel"))
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(place.root / "venv" / "bin" / "python")

    def run(*arguments: str) -> None:
        subprocess.run([uv, *arguments], check=True, cwd=CHECKOUT)

    dist = place.root / "dist"
    run("build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(dist))
    run("venv", "--quiet", "--python", sys.executable, str(place.root / "venv"))
    [wheel] = dist.glob("*.whl")
    locked = str(CHECKOUT / "requirements.lock")
    run("pip", "install", "--quiet", "--python", python, "--constraint", locked, str(wheel))
    (place.root / "home").mkdir()
    place.here.mkdir()
    for name in TRAPS:
        (place.here / f"{name}.py").write_text(f"raise ImportError('{name} of the user')\n")
    return place


@pytest.fixture(scope="module")
def files(installed: Installed) -> dict[str, tuple[int, int]]:
    """The installed files before anything has run."""
    return installed.files()


def test_the_wheel_brings_along_what_the_platform_needs(installed: Installed) -> None:
    [wheel] = (installed.root / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    version = wheel.name.split("-")[1]
    packages = ("gaelp_assets", "resources", "sensors")
    shipped = {
        path.relative_to(CHECKOUT).as_posix()
        for package in packages
        for path in (CHECKOUT / package).rglob("*")
        if path.is_file() and path.suffix in {".py", ".json", ".sql", ".yaml", ".typed"}
    }
    assert shipped <= names
    assert f"gaelp_assets-{version}.dist-info/licenses/LICENSE" in names
    assert ("gaelp_assets/ingest/decode/_native.so" in names) == (native.library() is not None)
    assert {name.split("/")[0] for name in names} == {*packages, f"gaelp_assets-{version}.dist-info"}


def test_the_version_is_the_packages(installed: Installed, files: dict[str, tuple[int, int]]) -> None:
    assert files
    [wheel] = (installed.root / "dist").glob("*.whl")
    assert installed.run("gaelp", "--version") == f"gaelp {wheel.name.split('-')[1]}\n"


def test_the_demo_runs_and_its_rows_can_be_queried(installed: Installed) -> None:
    installed.run("gaelp", "demo", "--size", "quick", "--days", "1")
    answer = installed.run("gaelp", "query", "SELECT COUNT(*) > 0 AS some FROM training.episodes")
    assert "yes" in answer


def test_a_users_table_lies_in_the_users_folder(installed: Installed) -> None:
    file = installed.data / "catalog" / "media" / "frames.json"
    assert str(file) in installed.run("gaelp", "catalog", "new", "media.frames").replace("\n", "")
    pointer = json.loads(file.read_text())["$schema"]
    assert json.loads((file.parent / pointer).read_text())["title"] == "A relation of the catalogue"
    assert "no problems" in installed.run("gaelp", "catalog", "validate")
    assert "media.frames" in installed.run("gaelp", "catalog", "list")
    pages = installed.run("gaelp", "catalog", "pages", code=2)
    assert "FOLDER" in pages
    installed.run("gaelp", "catalog", "pages", "pages")
    assert (installed.here / "pages" / "media.md").exists()


def test_the_ui_starts_anywhere_and_ends_with_ctrl_c(installed: Installed) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = installed.root / "dev.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["gaelp", "dev", "--port", str(port), "--no-demo"],
            cwd=installed.here,
            env=installed.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        info = _fetch(process, f"http://127.0.0.1:{port}/server_info")
        assert "dagster_webserver_version" in info
        keys = _asset_keys(process, port)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
    assert ["training", "episodes"] in keys
    assert ["media", "frames"] in keys, "the user's table is an asset"


LOCATION = "locationEntries { loadStatus locationOrLoadError { __typename ... on PythonError { message } } }"
QUERY = "{ assetNodes { assetKey { path } } workspaceOrError { ... on Workspace { " + LOCATION + " } } }"


def _asset_keys(process: subprocess.Popen[bytes], port: int) -> list[list[str]]:
    """The keys of all assets, once the code location is loaded, which is after the UI answers."""
    deadline = time.monotonic() + SECONDS
    while True:
        data = _fetch(process, f"http://127.0.0.1:{port}/graphql", {"query": QUERY})["data"]
        if data["assetNodes"]:
            return [node["assetKey"]["path"] for node in data["assetNodes"]]
        assert "PythonError" not in str(data), data
        assert time.monotonic() < deadline, data
        time.sleep(0.5)


def _fetch(process: subprocess.Popen[bytes], url: str, body: object = None) -> dict[str, Any]:
    """What the server answers, once it does."""
    deadline = time.monotonic() + SECONDS
    request = urllib.request.Request(url, headers={"Content-Type": "application/json"})
    data = None if body is None else json.dumps(body).encode()
    while True:
        assert process.poll() is None, "gaelp dev has ended"
        try:
            with urllib.request.urlopen(request, data, timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            assert time.monotonic() < deadline, f"no answer of {url}"
            time.sleep(0.5)


def test_nothing_was_written_among_the_installed_packages_nor_where_the_user_stands(
    installed: Installed, files: dict[str, tuple[int, int]]
) -> None:
    assert installed.files() == files
    assert {path.name for path in installed.here.iterdir()} == {*(f"{name}.py" for name in TRAPS), "pages"}
    assert {path.name for path in (installed.root / "home").iterdir()} <= {".local", ".cache", ".config"}
