"""The server as a process of its own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from gaelp_assets.platform import Platform
from gaelp_assets.settings import CHECKOUT
from gaelp_assets_tests.serve.conftest import ROWS

WAIT = 60


def test_the_examples_of_the_page_run_and_a_server_is_stopped_while_a_query_runs(platform: Platform) -> None:
    environment = {
        **os.environ,
        "GAELP_HOME": str(platform.settings.home),
        "GAELP_CATALOG": str(platform.settings.catalog[0]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "gaelp_assets.cli.main", "serve", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[1]
        assert "without a key, from this machine alone" in line
        rows = httpx.get(f"{url}/relations/lab.people/rows", timeout=WAIT).json()["rows"]
        assert [row["id"] for row in rows] == [1, 2]
        for path in (
            "/",
            "/health",
            "/relations",
            "/relations/lab.people",
            "/relations/lab.people/rows?limit=1",
        ):
            got, told = httpx.get(url + path, timeout=WAIT), httpx.head(url + path, timeout=WAIT)
            headers = ("content-length", "content-type", "etag", "gaelp-next", "link")
            assert (told.status_code, told.content) == (200, b"")
            assert [told.headers.get(name) for name in headers] == [got.headers.get(name) for name in headers]
        _run_examples(url)
        asking = threading.Thread(target=_ask, args=(f"{url}/relations/lab.endless/rows",))
        asking.start()
        while not _has_open(process.pid, platform.settings.home / "warehouse.duckdb"):
            assert asking.is_alive()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 0
        asking.join(WAIT)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def _run_examples(url: str) -> None:
    """The examples of the page, at this server's address."""
    page = (
        (CHECKOUT / "docs" / "serving.md").read_text(encoding="utf-8").replace("http://127.0.0.1:8750", url)
    )
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, found)
    assert found["checkpoints"].height == 2 * ROWS
    assert len(found["table"]) == ROWS
    commands = [line for line in page.splitlines() if line.startswith("curl ")]
    assert commands
    for command in commands if shutil.which("curl") else ():
        answer = subprocess.run(
            [*shlex.split(command), "--fail", "--silent"], capture_output=True, check=True
        )
        assert b"checkpoint-0-1" in answer.stdout


def _ask(url: str) -> None:
    with suppress(httpx.HTTPError):
        assert httpx.get(url, timeout=WAIT).status_code != 200


def _has_open(process: int, file: Path) -> bool:
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            if link.readlink() == file:
                return True
    return False
