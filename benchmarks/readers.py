"""A long query beside loads, each in a process of its own: how long a load waits for its turn, and how much longer the query takes.

    python -m benchmarks.readers --sizes 0.1 1

A load here is the commit alone, of `--rows` rows: what is before it does without the file. Figures go to `results/readers.json`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gaelp_assets.platform_reader import open_platform_reader
from gaelp_assets.settings import load_settings
from gaelp_assets.warehouse.duckdb.connection import DuckDBFile

RESULTS: Final = Path(__file__).with_name("results") / "readers.json"
SPAWN: Final = multiprocessing.get_context("spawn")
LONG: Final = (
    "SELECT COUNT(*) AS n FROM UNNEST(GENERATE_ARRAY(1, {outer})) AS a "
    "CROSS JOIN UNNEST(GENERATE_ARRAY(1, 1000000)) AS b WHERE MOD(a * b, 7) = 3"
)
SHORT: Final = "SELECT COUNT(*) AS n FROM training.episodes"


def make(file: Path, gigabytes: float) -> None:
    """A warehouse of that size, which numbers without an order fill, and a table for the loads."""
    with DuckDBFile(file, 600).writing("fill") as con:
        con.execute("CREATE SCHEMA filler")
        con.execute("CREATE TABLE filler.loaded (id BIGINT, text VARCHAR, x DOUBLE)")
        con.execute(
            "CREATE TABLE filler.numbers AS SELECT hash(i) AS a, hash(i + 1) AS b, hash(i + 2) AS c, hash(i + 3) AS d "
            f"FROM range({int(gigabytes * 2**30 / 32)}) AS t(i)"
        )


def ask(home: str, sql: str, ready: Any, stop: Any, told: Any) -> None:
    """Asks once, or again and again until it is told to stop; tells how long each answer took."""
    reader = open_platform_reader(load_settings({"GAELP_HOME": home}))
    reader.query(SHORT)
    ready.set()
    took = []
    while True:
        began = time.monotonic()
        reader.query(sql)
        took.append(time.monotonic() - began)
        if stop is None or stop.is_set():
            break
        time.sleep(0.01)
    told.put(took)


def load(file: Path, rows: int) -> float:
    """Commits so many rows; the seconds that it waited for its turn."""
    began = time.monotonic()
    with DuckDBFile(file, 600).writing("load") as con:
        waited = time.monotonic() - began
        con.execute(
            f"INSERT INTO filler.loaded SELECT i, md5(i::VARCHAR), random() FROM range({rows}) AS t(i)"
        )
    return waited


def beside(home: Path, sql: str, rows: int, pause: float, *, again: bool) -> tuple[list[float], list[float]]:
    """Loads beside a query until it has its answer, or beside many for ten loads: seconds that loads waited, and of the answers."""
    ready, told = SPAWN.Event(), SPAWN.SimpleQueue()
    stop = SPAWN.Event() if again else None
    reader = SPAWN.Process(target=ask, args=(str(home), sql, ready, stop, told))
    reader.start()
    ready.wait()
    time.sleep(pause)
    loads = []
    while reader.is_alive():
        loads.append(load(home / "warehouse.duckdb", rows))
        if stop is not None and len(loads) == 10:
            stop.set()
            break
        time.sleep(pause)
    answers = told.get() if stop is not None or reader.exitcode == 0 else [float("inf")]
    reader.join()
    return loads, answers


def measure(gigabytes: float, outer: int, rows: Sequence[int], pause: float) -> dict[str, Any]:
    """The figures of a warehouse of that size."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        file = home / "warehouse.duckdb"
        make(file, gigabytes)
        sql = LONG.format(outer=outer)
        reader = open_platform_reader(load_settings({"GAELP_HOME": folder}))
        began = time.monotonic()
        reader.query(sql)
        alone = time.monotonic() - began
        found: dict[str, Any] = {
            "gigabytes": file.stat().st_size / 2**30,
            "query_alone": alone,
            "processors_busy": os.getloadavg()[0],
            "rows_of_a_load": {},
        }
        for each in rows:
            undisturbed = [load(file, each) for _ in range(3)]
            loads, answers = beside(home, sql, each, pause, again=False)
            others, short = beside(home, SHORT, each, 0.1, again=True)
            found["rows_of_a_load"][each] = {
                "longest_wait_of_a_load_alone": max(undisturbed),
                "longest_wait_of_a_load_beside_the_query": max(loads),
                "query_beside_loads": answers[0],
                "loads": len(loads),
                "longest_wait_of_a_load_beside_short_queries": max(others),
                "longest_short_query": max(short),
                "short_queries": len(short),
            }
        return found


def main() -> None:
    """Measures, prints and notes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.1, 1.0], help="of the file, in GiB")
    parser.add_argument("--outer", type=int, default=500, help="how long the query is, in millions of rows")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 1_000_000], help="of a load")
    parser.add_argument(
        "--pause", type=float, default=2.0, help="seconds between two loads beside the long query"
    )
    options = parser.parse_args()
    found = [measure(size, options.outer, options.rows, options.pause) for size in options.sizes]
    text = json.dumps(found, indent=2)
    print(text)
    RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
