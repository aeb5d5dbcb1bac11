"""The receiver as a process of its own, and a recorder that pushes to it."""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gymnasium
import pytest

from gaelp_assets.gateway.stores import push
from gaelp_assets.record import RecordEnv, Recorder
from gaelp_assets.settings import CHECKOUT
from gaelp_assets_tests.platforms import platform_in, rows

WAIT = 60
ADDRESS = "http://127.0.0.1:8600"


@contextmanager
def running(home: Path, listen: str = "127.0.0.1:0") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A receiver of that home: its address, and the process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gaelp_assets.cli.main", "stream", "--listen", listen],
        env={**os.environ, "GAELP_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "without a key, from this machine alone" in line
        yield line.split()[3].removesuffix("/v1/rows/DATASET/TABLE"), process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=WAIT)
        finally:
            process.kill()


def test_the_examples_of_the_page_run_and_what_is_sent_while_nobody_receives_waits_in_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = platform_in(tmp_path / "home")
    monkeypatch.setenv("GAELP_HOME", str(tmp_path / "trainer"))
    page = (CHECKOUT / "docs" / "streaming.md").read_text(encoding="utf-8")
    [loop] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    [command] = re.findall(r"^curl (?:.*\\\n)*.*$", page, flags=re.MULTILINE)
    with running(platform.settings.home) as (url, process):
        exec(loop.replace(ADDRESS, url), {})
        if shutil.which("curl"):
            words = shlex.split(command.replace(ADDRESS, url).replace("\\\n", " "))
            answer = subprocess.run([*words, "--fail", "--silent"], capture_output=True, check=True)
            assert answer.stdout.decode() in page
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    episodes = rows(
        platform,
        "SELECT COUNT(*) AS n, SUM(episode_length) AS steps FROM training.episodes WHERE date >= '2026-01-01'",
    )
    assert episodes[0]["n"] == 20
    steps = rows(platform, "SELECT COUNT(*) AS n FROM training.transitions WHERE date >= '2026-01-01'")
    assert steps[0]["n"] == episodes[0]["steps"]
    assert not platform.gateway.failed()

    gone = Recorder(url, run="while-nobody-receives", agent="a", algorithm="random")
    env = RecordEnv(gymnasium.make("CartPole-v1"), gone, transitions=False)
    env.reset(seed=1)
    while not any(env.step(0)[2:4]):
        pass
    assert gone.flush(wait=True, seconds=WAIT)  # into the spool
    gone.abandon()
    monkeypatch.setattr(push, "OTHERS_AFTER", dt.timedelta())
    with (
        running(platform.settings.home, url.removeprefix("http://")),
        Recorder(url, run="another", agent="a", algorithm="random"),
    ):
        pass
    sql = "SELECT COUNT(*) AS n FROM training.episodes WHERE training_run_id = 'while-nobody-receives'"
    assert rows(platform, sql) == [{"n": 1}]
