"""Dagster's UI for tests: a real server with its daemon, and a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STANDS_STILL_SECONDS: Final = 90
"""After this time without any progress something hangs: the daemon looks for backfills every 30 s."""
# Of itself it gives up after 5 s, which pages need on a busy machine.
expect.set_options(timeout=60_000)
GAELP: Final = (sys.executable, "-m", "gaelp_assets.cli.main")


@dataclass(frozen=True)
class Dev:
    """`gaelp dev` on a home, and what it has written to its terminal."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path
    home: Path

    def progress(self) -> tuple[object, ...]:
        """What changes while it gets on: its terminal, the queue, Dagster's runs and their events."""
        said = self.log.read_text(errors="replace").splitlines()
        # `os.walk` does not mind folders that go while it looks.
        stages = [self.home / "export_gateway" / stage for stage in ("raw", "cloud_ready")]
        waiting = sum(len(names) for stage in stages for _, _, names in os.walk(stage))
        runs = self.home / "dagster" / "history" / "runs"
        return (
            f"it said {said[-1:]}",
            f"{waiting} files wait",
            f"the runs are {asked(runs.with_suffix('.db'), 'SELECT status, COUNT(*) FROM runs GROUP BY 1')}",
            f"the newest event is {asked(runs / 'index.db', 'SELECT MAX(id) FROM event_logs')}",
            f"the backfills are {asked(runs.with_suffix('.db'), 'SELECT key, status FROM bulk_actions')}",
        )

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits for as long as there is progress, and says what it waited for and how far that was."""
        seen, since = self.progress(), time.monotonic()
        while not holds():
            if self.process.poll() is not None:
                pytest.fail(
                    f"waited for {what}, and gaelp dev has ended:\n{self.log.read_text(errors='replace')}"
                )
            now = self.progress()
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() > since + STANDS_STILL_SECONDS:
                pytest.fail(
                    f"waited for {what}, and nothing went on for {STANDS_STILL_SECONDS} s: {'; '.join(map(str, seen))}"
                )
            time.sleep(0.2)


def asked(database: Path, query: str) -> list[tuple[object, ...]]:
    """What one of Dagster's databases answers; nothing while it is not there yet, or is being written."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error:
        return []


@contextmanager
def served(home: Path, environment: Mapping[str, str]) -> Iterator[Dev]:
    """`gaelp dev` on a home, without the demo's producer, once its UI answers; the process ends with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home / "dev.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*GAELP, "dev", "--no-demo", "--port", str(port)], env=dict(environment), stdout=file, stderr=file
        )
        dev = Dev(process, f"http://127.0.0.1:{port}", log, home)
        try:
            dev.wait_until(lambda: answers(f"{dev.address}/server_info"), "the UI to answer")
            yield dev
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


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
