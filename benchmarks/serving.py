"""`gaelp serve` beside `gaelp ingest`: how long an answer takes of rows of one slice, with loads under way and without.

    python -m benchmarks.serving --dates 20 --environments 10 --rows 1000

The slices are loaded first; then others of that size are loaded while one asker takes pages of 1,000 rows of a slice as
JSON, again and again. Figures go to `results/serving.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx

from benchmarks.slices import LAST, write_slices

RESULTS: Final = Path(__file__).with_name("results") / "serving.json"
GAELP: Final = [sys.executable, "-m", "gaelp_assets.cli.main"]


def answers(url: str, dates: int, environments: int, until: Callable[[int], bool]) -> list[float]:
    """Milliseconds of one answer after another, until so many are enough."""
    chance = random.Random(1)
    took: list[float] = []
    with httpx.Client(base_url=url, timeout=60) as client:
        while not until(len(took)):
            day = LAST.toordinal() - chance.randrange(dates)
            environment = f"Bench{chance.randrange(environments):04d}-v1"
            query = {"first": LAST.fromordinal(day).isoformat(), "environment": environment}
            began = time.perf_counter()
            client.get("/relations/training.episodes/rows", params=query).raise_for_status()
            took.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02)
    return took


def cpu_seconds(process: int) -> float:
    """What a process has used so far."""
    parts = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def figures(took: Sequence[float]) -> dict[str, float]:
    """What there is to tell of answers."""
    ordered = sorted(took)
    return {
        "answers": len(took),
        "median_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "longest_ms": round(ordered[-1], 1),
    }


def measure(dates: int, environments: int, rows: int, dates_beside: int) -> dict[str, object]:
    """The figures of a warehouse of that size."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment: Mapping[str, str] = {
            **os.environ,
            "GAELP_HOME": str(home),
            "GAELP_FIRST_DATE": "2020-01-01",
        }
        subprocess.run([*GAELP, "gateway", "init"], env=environment, check=True, stdout=subprocess.DEVNULL)
        write_slices(home / "export_gateway", dates, environments, rows)
        subprocess.run([*GAELP, "ingest"], env=environment, check=True, stdout=subprocess.DEVNULL)
        command = [*GAELP, "serve", "--port", "0", "--requests", "1000000"]
        began = time.monotonic()
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[1]
            started = time.monotonic() - began
            used = cpu_seconds(server.pid)
            quiet = answers(url, dates, environments, lambda number: number >= 300)
            used = cpu_seconds(server.pid) - used
            write_slices(home / "export_gateway", dates_beside, environments, rows, before=dates)
            loading = subprocess.Popen([*GAELP, "ingest"], env=environment, stdout=subprocess.DEVNULL)
            beside = answers(url, dates, environments, lambda _: loading.poll() is not None)
            return {
                "rows_of_a_slice": rows,
                "rows_before": dates * environments * rows,
                "rows_loaded_beside": dates_beside * environments * rows,
                "file_mb": round((home / "warehouse.duckdb").stat().st_size / 2**20),
                "seconds_to_start": round(started, 2),
                "cpu_ms_of_an_answer": round(used * 1000 / len(quiet), 1),
                "quiet": figures(quiet),
                "beside_loads": figures(beside),
            }
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    """Measures, prints and notes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dates", type=int, default=20)
    parser.add_argument("--environments", type=int, default=10)
    parser.add_argument("--rows", type=int, default=1000, help="of a slice")
    parser.add_argument(
        "--beside", type=int, default=20, help="dates of the slices that are loaded beside the answers"
    )
    options = parser.parse_args()
    text = json.dumps(measure(options.dates, options.environments, options.rows, options.beside), indent=2)
    print(text)
    RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
