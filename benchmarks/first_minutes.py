"""The first minutes of `gaelp dev` on an empty home: when the UI answers, the first learning curve is drawn, all of the demo is loaded.

Beside wall time, which tells of the machine as much as of the platform, CPU time of all processes until then, by what they are. Linux
only: `/proc` tells it. Figures go to `results/first_minutes.json`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).with_name("results") / "first_minutes.json"
POLL_SECONDS: Final = 0.25
IDLE_SECONDS: Final = 40
"""After this time without files and runs, nothing more is to come: the sensors look every few seconds."""
LONGEST_SECONDS: Final = 1800
TICKS: Final = os.sysconf("SC_CLK_TCK")
# What a process is, by a part of its command; the first that is found.
KINDS: Final = {
    "cli.services": "webserver and daemon",
    "api grpc": "code server",
    "--produce-only": "demo",
    "forkserver": "runs",
    "cli.main dev": "gaelp dev",
}


class Processes:
    """The CPU seconds of a process and of all that it has started, those that have ended too."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._seconds: dict[tuple[int, str], float] = {}
        self._kinds: dict[tuple[int, str], str] = {}
        self.alive: set[str] = set()

    def look(self) -> None:
        """Notes what the living have used so far."""
        children: dict[int, list[int]] = defaultdict(list)
        found: dict[int, tuple[str, float]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                children[int(fields[1])].append(int(entry.name))
                found[int(entry.name)] = fields[19], (int(fields[11]) + int(fields[12])) / TICKS
        self.alive = set()
        of_root = [self._root]
        while of_root:
            process = of_root.pop()
            of_root += children[process]
            if process in found:
                started, seconds = found[process]
                self._seconds[process, started] = seconds
                # A process that has ended has no command any more.
                command = _command(process)
                if command or (process, started) not in self._kinds:
                    self._kinds[process, started] = _kind(command)
                if command:
                    self.alive.add(self._kinds[process, started])

    def seconds(self) -> dict[str, float]:
        """By kind of process, and of all."""
        found: dict[str, float] = defaultdict(float)
        for process, seconds in self._seconds.items():
            found[self._kinds[process]] += seconds
        return {kind: round(seconds, 1) for kind, seconds in (*found.items(), ("all", sum(found.values())))}


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _kind(command: str) -> str:
    return next((kind for part, kind in KINDS.items() if part in command), "other")


def start_dev(variables: Mapping[str, str], *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """`gaelp dev` in the home that these variables name, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gaelp_assets.cli.main", "dev", *options, "--port", str(port)]
    with Path(variables["GAELP_HOME"], "log").open("wb") as log:
        return subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log), port


def measure() -> dict[str, dict[str, object]]:
    """What is reached, after how many seconds of wall and CPU time."""
    reached: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        started = time.monotonic()
        dev, port = start_dev({"GAELP_HOME": folder})
        processes = Processes(dev.pid)

        def note(what: str) -> None:
            figures = {"seconds": round(time.monotonic() - started, 1), "cpu_seconds": processes.seconds()}
            reached[what] = dict(figures)
            print(what, figures, flush=True)

        try:
            _follow(home, port, processes, reached, note)
            note(f"{IDLE_SECONDS} s later")
        finally:
            asked = time.monotonic()
            dev.send_signal(signal.SIGINT)
            dev.wait(60)
        reached["the end after Ctrl-C"] = {"seconds": round(time.monotonic() - asked, 1)}
    return reached


def _follow(
    home: Path,
    port: int,
    processes: Processes,
    reached: dict[str, dict[str, object]],
    note: Callable[[str], None],
) -> None:
    """Notes what is reached, until nothing more is to come."""
    quiet_since, started = None, time.monotonic()
    runs = home / "dagster" / "history" / "runs"
    curve = "SELECT 1 FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key LIKE '%learning_curves%' LIMIT 1"
    busy = "SELECT 1 FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED') LIMIT 1"
    while time.monotonic() < started + LONGEST_SECONDS:
        time.sleep(POLL_SECONDS)
        processes.look()
        waiting = any(_has_files(home / "export_gateway" / stage) for stage in ("raw", "cloud_ready"))
        if "the UI answers" not in reached and answers(port):
            note("the UI answers")
        if "the first file" not in reached and waiting:
            note("the first file")
        if "the first learning curve" not in reached and _ask(runs / "index.db", curve):
            note("the first learning curve")
        if (
            "the first learning curve" not in reached
            or "demo" in processes.alive
            or waiting
            or _ask(runs.with_suffix(".db"), busy)
        ):
            quiet_since = None
            reached.pop("all is loaded", None)
        elif quiet_since is None:
            quiet_since = time.monotonic()
            note("all is loaded")
        elif time.monotonic() > quiet_since + IDLE_SECONDS:
            return
    raise TimeoutError(f"not all was loaded after {LONGEST_SECONDS} s")


def _has_files(folder: Path) -> bool:
    # `os.walk` does not mind folders that go while it looks.
    return any(name.endswith(".ndjson") for _, _, names in os.walk(folder) for name in names)


def answers(port: int) -> bool:
    """Whether the UI does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _ask(database: Path, query: str) -> list[tuple[object, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error:
        return []


def main() -> None:
    RESULTS.write_text(json.dumps(measure(), indent=2) + "\n")


if __name__ == "__main__":
    main()
