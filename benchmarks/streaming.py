"""Rows that are pushed: how long until each can be queried, and what a row costs, beside a load, and beside the simplest peer.

    python -m benchmarks.streaming --producers 15 --rows 1000 --seconds 20

Each producer posts a body of new rows of `training.metrics` a second, and waits for the answer, which comes when the rows are in the
warehouse. The peer is what one writes in an afternoon: the same server, each body inserted into a DuckDB table by `read_json`, without
checks, keys, files or a ledger. Figures go to `results/streaming.json`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from benchmarks.serving import cpu_seconds, figures
from benchmarks.slices import write_slices

RESULTS: Final = Path(__file__).with_name("results") / "streaming.json"
GAELP: Final = [sys.executable, "-m", "gaelp_assets.cli.main"]
PEER: Final = [sys.executable, "-m", "benchmarks.streaming_peer"]
PATH: Final = "/v1/rows/training/metrics"
HEADERS: Final = {"Content-Type": "application/x-ndjson"}


def body(run: str, first: int, rows: int) -> bytes:
    """New rows of one run."""
    now = dt.datetime.now(dt.UTC)
    row = {
        "training_run_id": run,
        "name": "loss",
        "date": str(now.date()),
        "environment_id": "CartPole-v1",
        "agent_id": "bench",
        "measured_at": now.isoformat(),
    }
    lines = ({**row, "global_step": step, "value": step % 997 / 997} for step in range(first, first + rows))
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


class Producer(threading.Thread):
    """Posts a body a second, or as fast as answers come if they take longer."""

    def __init__(self, url: str, name: str, rows: int, until: float) -> None:
        super().__init__()
        self._url, self._run, self._rows, self._until = url, name, rows, until
        self.took: list[float] = []
        self.loaded = 0

    def run(self) -> None:
        """Until its time is over."""
        sent = 0
        with httpx.Client(base_url=self._url, timeout=120) as client:
            while time.time() < self._until:
                content = body(self._run, sent, self._rows)
                began = time.perf_counter()
                answer = client.post(PATH, content=content, headers=HEADERS)
                answer.raise_for_status()
                assert answer.status_code == 200, answer.text
                self.took.append((time.perf_counter() - began) * 1000)
                self.loaded += answer.json()["loaded"]
                sent += self._rows
                time.sleep(max(0.0, 1 - (time.perf_counter() - began)))


@contextmanager
def server(command: Sequence[str], home: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server that takes rows, and says where in its first line."""
    process = subprocess.Popen(
        command,
        env={**os.environ, "GAELP_HOME": home, "GAELP_FIRST_DATE": "2020-01-01"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield (
            next(word for word in line.split() if word.startswith("http")).removesuffix(
                "/v1/rows/DATASET/TABLE"
            ),
            process,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def measure(
    command: Sequence[str], producers: int, rows: int, seconds: float, *, beside_a_load: bool
) -> dict[str, object]:
    """What came of so many producers."""
    with tempfile.TemporaryDirectory() as home, server(command, home) as (url, process):
        httpx.post(url + PATH, content=body("first", 0, 10), headers=HEADERS, timeout=120).raise_for_status()
        load = None
        if beside_a_load:
            write_slices(Path(home) / "export_gateway", 20, 10, 1_000)
            load = subprocess.Popen(
                [*GAELP, "ingest"],
                env={**os.environ, "GAELP_HOME": home, "GAELP_FIRST_DATE": "2020-01-01"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        before, began = cpu_seconds(process.pid), time.time()
        threads = [Producer(url, f"run-{n}", rows, began + seconds) for n in range(producers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.time() - began
        loaded = sum(thread.loaded for thread in threads)
        cpu = cpu_seconds(process.pid) - before
        memory = int(
            next(
                line.split()[1]
                for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
                if line.startswith("VmHWM")
            )
        )
        if load is not None:
            load.kill()
            load.wait()
    return {
        **figures([one for thread in threads for one in thread.took]),
        "rows_per_second": round(loaded / took),
        "cpu_us_per_row": round(cpu / loaded * 1e6, 1),
        "peak_mb": round(memory / 1024),
    }


def main() -> None:
    """Measures, prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--producers", type=int, default=15)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20)
    asked = parser.parse_args()
    results: dict[str, object] = {**vars(asked)}
    for name, command, beside in (
        ("gaelp", [*GAELP, "stream", "--listen", "127.0.0.1:0"], False),
        ("gaelp_beside_a_load", [*GAELP, "stream", "--listen", "127.0.0.1:0"], True),
        ("peer", PEER, False),
    ):
        results[name] = measure(command, asked.producers, asked.rows, asked.seconds, beside_a_load=beside)
        print(name, results[name], flush=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
