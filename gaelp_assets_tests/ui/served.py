"""Dagster's UI for tests: a real server with its daemon, and a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_SECONDS: Final = 240
GAELP: Final = (sys.executable, "-m", "gaelp_assets.cli.main")


@contextmanager
def served(home: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The address of `gaelp dev` on a home, without the demo's producer; the process ends with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (home / "dev.log").open("wb") as log:
        dev = subprocess.Popen(
            [*GAELP, "dev", "--no-demo", "--port", str(port)], env=dict(environment), stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(f"{address}/server_info"), "the UI to answer")
            yield address
        finally:
            dev.send_signal(signal.SIGINT)
            assert dev.wait(60) == 0


@contextmanager
def browser_page(address: str) -> Iterator[Page]:
    """A page of a browser that stands at the address; the test is skipped where there is no Chromium."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing; .ci/run installs it")
        pytest.skip("needs Chromium: apt-get install chromium")
    quiet = (
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*quiet, "--disable-component-update"]
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1100}, base_url=address)
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def answers(address: str) -> bool:
    """Whether the server behind the address is there."""
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.HTTPError:
        return False


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Waits for something that has to happen; the test fails where it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(1)
