"""`gaelp ingest` of many small slices, beside DuckDB's unchecked load of the same files: CPU seconds and wall, process start included.

    python -m benchmarks.slices --dates 20 --environments 10 --rows 100

Everything that a load does is there: verdicts, ledger, checks, derived relations, pictures, events. Figures go to `results/slices.json`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias, TypedDict

from benchmarks import transitions
from benchmarks.files import episodes

RESULTS: Final = Path(__file__).with_name("results") / "slices.json"
LAST: Final = dt.date.fromisoformat(transitions.DATE)
UNCHECKED_WAY: Final = "DuckDB, unchecked"
UNCHECKED: Final = (
    "import duckdb, sys; con = duckdb.connect(sys.argv[1]); con.execute('SET threads = 1'); "
    'con.execute("CREATE TABLE episodes AS SELECT * FROM read_json(?)", [sys.argv[2]])'
)


Way: TypeAlias = Callable[[Path], tuple[Sequence[str], Mapping[str, str]]]
"""From a home to a command, and its environment."""


class Figures(TypedDict):
    """Medians of CPU and wall seconds of each way."""

    slices: int
    rows: int
    medians: dict[str, tuple[float, float]]


def write_slices(gateway: Path, dates: int, environments: int, rows: int, *, before: int = 0) -> int:
    """Puts one file for each slice into `cloud_ready/`, each row with a key of its own; the number of lines.

    Those of `before` dates have been written already, and are left out.
    """
    lines = islice(episodes((before + dates) * environments * rows), before * environments * rows, None)
    for number in range(before, before + dates):
        date = LAST - dt.timedelta(days=number)
        for place in range(environments):
            environment = f"Bench{place:04d}-v1"
            folder = gateway / f"cloud_ready/training/episodes/date={date}/environment={environment}"
            folder.mkdir(parents=True)
            text = b"".join(next(lines) for _ in range(rows)).decode()
            text = text.replace(transitions.ENVIRONMENT, environment).replace(transitions.DATE, str(date))
            (folder / "part-0.ndjson").write_text(text)
    return dates * environments * rows


def measured(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of a command and of what it starts.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.monotonic() - began


def _ingest(command: Path) -> Way:
    first = LAST - dt.timedelta(days=400)
    return lambda home: ([str(command), "ingest"], {"GAELP_HOME": str(home), "GAELP_FIRST_DATE": str(first)})


def _unchecked(home: Path) -> tuple[Sequence[str], Mapping[str, str]]:
    files = str(home / "export_gateway/cloud_ready/training/episodes/*/*/*.ndjson")
    return [sys.executable, "-c", UNCHECKED, str(home / "unchecked.duckdb"), files], {}


def table(results: Sequence[Figures]) -> str:
    """What was measured as a Markdown table."""
    lines = [
        "| slices | rows of each | how | CPU s | s | CPU of unchecked DuckDB |",
        "|---:|---:|---|---:|---:|---:|",
    ]
    for result in results:
        base = result["medians"][UNCHECKED_WAY][0]
        lines += [
            f"| {result['slices']:,} | {result['rows']} | {way} | {cpu:.1f} | {wall:.1f} | {cpu / base:.0f} x |"
            for way, (cpu, wall) in result["medians"].items()
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dates", type=int, default=20)
    parser.add_argument("--environments", type=int, default=10)
    parser.add_argument("--rows", type=int, default=100, help="of each slice")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument(
        "--before", type=Path, help="the command `gaelp` of another version, measured in turns"
    )
    parser.add_argument("--dry", action="store_true", help="write no figures")
    asked = parser.parse_args()
    ways: dict[str, Way] = {
        UNCHECKED_WAY: _unchecked,
        "gaelp ingest": _ingest(Path(sys.executable).with_name("gaelp")),
    }
    if asked.before is not None:
        ways["gaelp ingest, the version before"] = _ingest(asked.before)
    figures: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(asked.times):
        for way, command in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                write_slices(Path(folder) / "export_gateway", asked.dates, asked.environments, asked.rows)
                figures[way].append(measured(*command(Path(folder))))
                print(way, *(f"{seconds:.2f} s" for seconds in figures[way][-1]), flush=True)
    medians = {
        way: (round(statistics.median(cpu for cpu, _ in found), 2), round(statistics.median(wall for _, wall in found), 2))
        for way, found in figures.items()
    }  # fmt: skip
    result = Figures(slices=asked.dates * asked.environments, rows=asked.rows, medians=medians)
    print(table([result]), flush=True)
    if not asked.dry:
        known: list[Figures] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
        others = [
            found for found in known if (found["slices"], found["rows"]) != (result["slices"], result["rows"])
        ]
        RESULTS.write_text(json.dumps([*others, result], indent=2) + "\n")


if __name__ == "__main__":
    main()
