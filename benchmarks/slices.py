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
from pathlib import Path
from typing import Final

from benchmarks import transitions
from benchmarks.files import episodes

RESULTS: Final = Path(__file__).with_name("results") / "slices.json"
LAST: Final = dt.date.fromisoformat(transitions.DATE)
UNCHECKED: Final = (
    "import duckdb, sys; con = duckdb.connect(sys.argv[1]); con.execute('SET threads = 1'); "
    'con.execute("CREATE TABLE episodes AS SELECT * FROM read_json(?)", [sys.argv[2]])'
)


def write_slices(gateway: Path, dates: int, environments: int, rows: int) -> int:
    """Puts one file for each slice into `cloud_ready/`, each row with a key of its own; the number of lines."""
    lines = episodes(dates * environments * rows)
    for number in range(dates):
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


def _gaelp(home: Path) -> tuple[Sequence[str], Mapping[str, str]]:
    first = LAST - dt.timedelta(days=400)
    return [str(Path(sys.executable).with_name("gaelp")), "ingest"], {
        "GAELP_HOME": str(home),
        "GAELP_FIRST_DATE": str(first),
    }


def _unchecked(home: Path) -> tuple[Sequence[str], Mapping[str, str]]:
    files = str(home / "export_gateway/cloud_ready/training/episodes/*/*/*.ndjson")
    return [sys.executable, "-c", UNCHECKED, str(home / "unchecked.duckdb"), files], {}


WAYS: Final[Mapping[str, Callable[[Path], tuple[Sequence[str], Mapping[str, str]]]]] = {
    "DuckDB, unchecked": _unchecked,
    "gaelp ingest": _gaelp,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dates", type=int, default=20)
    parser.add_argument("--environments", type=int, default=10)
    parser.add_argument("--rows", type=int, default=100, help="of each slice")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no figures")
    asked = parser.parse_args()
    figures: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(asked.times):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            lines = write_slices(home / "export_gateway", asked.dates, asked.environments, asked.rows)
            for way, command in WAYS.items():
                figures[way].append(measured(*command(home)))
                print(way, *(f"{seconds:.2f} s" for seconds in figures[way][-1]), flush=True)
    slices = asked.dates * asked.environments
    medians = {
        way: {"cpu_seconds": round(statistics.median(cpu for cpu, _ in found), 2),
              "seconds": round(statistics.median(wall for _, wall in found), 2)}
        for way, found in figures.items()
    }  # fmt: skip
    ratio = medians["gaelp ingest"]["cpu_seconds"] / medians["DuckDB, unchecked"]["cpu_seconds"]
    print(f"{slices} slices, {lines} rows: {medians}, {ratio:.1f} times", flush=True)
    if not asked.dry:
        found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        found[f"{slices} slices x {asked.rows} rows"] = {**medians, "times": round(ratio, 1)}
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
