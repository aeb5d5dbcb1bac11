"""What one new slice costs where 10, 100 and 1,000 are there: `gaelp ingest` of its file, with all that is derived from it, start included.

    python -m benchmarks.one_more_slice

The slices are of `training.episodes`, ten environments a day. What is sliced is computed for the new slice alone; what is not, such as a
leaderboard, is computed as a whole, and grows with its rows. A start of `gaelp ingest` with nothing to do is measured beside it. CPU
seconds; figures go to `results/one_more_slice.json`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final, TypedDict

from benchmarks import transitions
from benchmarks.files import episodes
from benchmarks.slices import LAST, measured, write_slices

RESULTS: Final = Path(__file__).with_name("results") / "one_more_slice.json"
ENVIRONMENTS: Final = 10
ROWS: Final = 100


class Figures(TypedDict):
    """Medians of CPU seconds."""

    slices: int
    rows: int
    new_slice: float
    nothing: float


def write_new(gateway: Path, days_before: int, dates: int) -> None:
    """One file of rows that nobody has, for a day before all others."""
    date, environment = LAST - dt.timedelta(days=days_before), "Bench0000-v1"
    folder = gateway / f"cloud_ready/training/episodes/date={date}/environment={environment}"
    folder.mkdir(parents=True)
    lines = [*episodes((dates * ENVIRONMENTS + days_before) * ROWS)][-ROWS:]
    text = b"".join(lines).decode()
    text = text.replace(transitions.ENVIRONMENT, environment).replace(transitions.DATE, str(date))
    (folder / "new.ndjson").write_text(text.replace('"episode_id":"', '"episode_id":"new-'))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no figures")
    asked = parser.parse_args()
    command = [str(Path(sys.executable).with_name("gaelp")), "ingest"]
    results: list[Figures] = []
    for slices in asked.slices:
        with tempfile.TemporaryDirectory() as folder:
            gateway, dates = Path(folder) / "export_gateway", slices // ENVIRONMENTS
            variables = {"GAELP_HOME": folder, "GAELP_FIRST_DATE": str(LAST - dt.timedelta(days=dates + 400))}
            write_slices(gateway, dates, ENVIRONMENTS, ROWS)
            measured(command, variables)
            new, nothing = [], []
            for time in range(asked.times):
                write_new(gateway, dates + time, dates)
                new.append(measured(command, variables)[0])
                nothing.append(measured(command, variables)[0])
        results.append(
            Figures(
                slices=slices,
                rows=slices * ROWS,
                new_slice=round(statistics.median(new), 2),
                nothing=round(statistics.median(nothing), 2),
            )
        )
        print(json.dumps(results[-1]), flush=True)
    if not asked.dry:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
