"""From a file to a row that can be queried, in an idle platform with daemon and sensors: one small file after another.

    python -m benchmarks.latency --files 20

`gaelp dev` runs without the demo. Each file holds 100 episodes of a slice, is put into `cloud_ready/` at a random moment, and waited for by
asking the warehouse ten times a second. When the first run after it began is told by Dagster: before it lie the sensor's interval, the
queue and the start of a process. Where a refresh of what came before is that run, the load waits for it. Figures go to
`results/latency.json`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import signal
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.first_minutes import answers, start_dev
from benchmarks.slices import LAST, write_slices

RESULTS: Final = Path(__file__).with_name("results") / "latency.json"
POLL_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 300.0
ROWS: Final = 100


def measure(files: int) -> dict[str, object]:
    """Seconds from a file to its rows, and to the begin of the first run after it."""
    from gaelp_assets.platform_reader import open_platform_reader
    from gaelp_assets.settings import load_settings

    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        variables = {"GAELP_HOME": folder, "GAELP_FIRST_DATE": "2020-01-01"}
        dev, port = start_dev(variables, "--no-demo")
        try:
            _wait(lambda: answers(port), "the UI")
            platform = open_platform_reader(load_settings(variables))
            rows, began = [], []
            for number in range(files):
                time.sleep(chance.uniform(6.0, 11.0))
                dropped = time.time()
                write_slices(home / "export_gateway", 1, 1, ROWS, before=number)
                day = LAST - dt.timedelta(days=number)

                def there(day: dt.date = day) -> bool:
                    asked = "SELECT COUNT(*) AS n FROM training.episodes WHERE date = @day"
                    found = platform.warehouse.query(asked, {"day": day}).frame
                    return int(found["n"][0]) == ROWS

                _wait(there, "the rows")
                rows.append(time.time() - dropped)
                began.append(_began(home, dropped) - dropped)
                print(f"{rows[-1]:.1f} s, the run began after {began[-1]:.1f} s", flush=True)
        finally:
            dev.send_signal(signal.SIGINT)
            dev.wait(60)
    ordered = sorted(rows)
    return {
        "files": files,
        "rows_of_each": ROWS,
        "median_s": round(statistics.median(rows), 1),
        "p95_s": round(ordered[int(0.95 * (len(rows) - 1))], 1),
        "longest_s": round(ordered[-1], 1),
        "median_until_the_run_begins_s": round(statistics.median(began), 1),
    }


def _began(home: Path, after: float) -> float:
    """When the first run after that moment began."""
    with sqlite3.connect(home / "dagster/history/runs.db") as database:
        asked = "SELECT MIN(start_time) FROM runs WHERE start_time > ?"
        return float(database.execute(asked, [after]).fetchone()[0])


def _wait(reached: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + LONGEST_SECONDS
    while not reached():
        if time.monotonic() > until:
            raise TimeoutError(f"waited for {what} for {LONGEST_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def main() -> None:
    """Measures, prints and notes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20)
    text = json.dumps(measure(parser.parse_args().files), indent=2)
    print(text)
    RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
