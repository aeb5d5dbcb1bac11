"""What 10,000 more rows cost as their slice grows: files appended, one after another, to a slice that holds 0, 1 and 10 million rows.

Seconds for a file, medians; of the whole way from the queue to `sent/`, on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Final, TypedDict

from benchmarks.files import BENCHMARKS
from benchmarks.transitions import lines

RESULTS: Final = Path(__file__).with_name("results") / "append.json"
HELD: Final = (0, 1_000_000, 10_000_000)
ROWS: Final = 10_000
REPEAT: Final = 5


class Figures(TypedDict):
    held: int
    seconds: float


def measure(held: tuple[int, ...], folder: Path) -> list[Figures]:
    """The figures for a slice that holds so many rows, ascending."""
    from gaelp_assets.catalog.slices import parse_slice_path
    from gaelp_assets.ingest.load import load_slice
    from gaelp_assets.platform import open_platform
    from gaelp_assets.settings import load_settings

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    benchmark = BENCHMARKS["transitions"]
    platform = open_platform(load_settings({"GAELP_HOME": str(folder)}))
    platform.gateway.prepare()
    relation = platform.catalog[benchmark.table]
    slice_ = parse_slice_path(benchmark.slice_path.split("/"))
    queue = (
        folder / "export_gateway" / "cloud_ready" / benchmark.table.replace(".", "/") / benchmark.slice_path
    )
    stream = lines(max(held) + ROWS * (REPEAT + 1) * len(held))
    there = 0

    def append(rows: int) -> float:
        nonlocal there
        name = f"from-{there}.ndjson"
        queue.mkdir(parents=True, exist_ok=True)  # empty folders do not stay
        with (queue / f"{name}.tmp").open("wb") as file:
            for _ in range(0, rows, ROWS):
                file.write(b"".join(islice(stream, ROWS)))
        (queue / f"{name}.tmp").rename(queue / name)
        there += rows
        started = time.perf_counter()
        [report] = load_slice(platform, relation, slice_, run_id="benchmark").files
        seconds = time.perf_counter() - started
        assert report.counts is not None
        assert report.counts.loaded == rows
        return seconds

    results: list[Figures] = []
    for wanted in held:
        while there < wanted:
            append(min(1_000_000, wanted - there))
        append(ROWS)
        results.append({"held": wanted, "seconds": statistics.median(append(ROWS) for _ in range(REPEAT))})
    return results


def table(results: list[Figures]) -> str:
    """The figures as a Markdown table."""
    head = ["| rows in the slice | seconds for 10,000 more |", "|---:|---:|"]
    return "\n".join([*head, *(f"| {r['held']:,} | {r['seconds']:.2f} |" for r in results)])


def main() -> None:
    """`python -m benchmarks.append [--held N ...]`: prints the figures and writes results/append.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--held", type=int, nargs="+", default=HELD, help="rows in the slice, ascending")
    held = tuple(parser.parse_args().held)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(held, Path(folder))
    sys.stdout.write(table(results) + "\n")
    if held == HELD:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
