"""One slice of a million transitions into a DuckDB file: this platform, every line proven and accounted for, beside DuckDB's own
`INSERT ... SELECT ... FROM read_json`, which checks nothing.

Every run is a fresh process on one core with one thread, the peers in turn; medians are printed and written to `results.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.transitions import DATE, ENVIRONMENT, TABLE, write

RESULTS: Final = Path(__file__).with_name("results.json")


def gaelp(file: Path, folder: Path) -> Callable[[], int]:
    """Loads the file through `load_slice`; the rows that are then in the table."""
    import datetime as dt

    from gaelp_assets.catalog import Slice
    from gaelp_assets.ingest.load import load_slice
    from gaelp_assets.ingest.platform import open_platform
    from gaelp_assets.settings import load_settings

    platform = open_platform(load_settings({"GAELP_HOME": str(folder)}))
    platform.gateway.prepare()
    queue = folder / "export_gateway" / "cloud_ready" / TABLE.replace(".", "/")
    target = queue / f"date={DATE}" / f"environment={ENVIRONMENT}" / "transitions.ndjson"
    target.parent.mkdir(parents=True)
    os.link(file, target)
    slice_ = Slice(dt.date.fromisoformat(DATE), ENVIRONMENT)

    def load() -> int:
        report = load_slice(platform, platform.catalog[TABLE], slice_, run_id="benchmark")
        [file_report] = report.files
        fates = file_report.fates
        assert fates is not None, file_report.problems
        assert fates.lines == fates.loaded + fates.duplicate + fates.rejected
        return fates.loaded

    return load


def plain_duckdb(file: Path, folder: Path) -> Callable[[], int]:
    """Inserts what DuckDB reads, as the same column types; errors are ignored, for one would end the load."""
    import duckdb

    from gaelp_assets.ingest.platform import read_catalog
    from gaelp_assets.warehouse.types import duckdb_type, quote

    columns = {field.name: duckdb_type(field) for field in read_catalog()[TABLE].fields}

    def load() -> int:
        with duckdb.connect(str(folder / "plain.duckdb"), config={"threads": 1}) as con:
            con.execute(f"CREATE TABLE t ({', '.join(f'{quote(n)} {t}' for n, t in columns.items())})")
            con.execute(
                "INSERT INTO t SELECT * FROM read_json(?, format = 'newline_delimited', ignore_errors = true, "
                f"columns = {columns})",
                [str(file)],
            )
            row = con.execute("SELECT count(*) FROM t").fetchone()
            assert row is not None
            return int(row[0])

    return load


PEERS: Final[dict[str, Callable[[Path, Path], Callable[[], int]]]] = {
    "gaelp (proven)": gaelp,
    "DuckDB (unchecked)": plain_duckdb,
}


def run_here(peer: str, file: Path) -> None:
    """One run, in this process; prints its figures as JSON. The clocks run from the call to the closed warehouse file; imports and
    the reading of the catalogue are told apart, as `startup_seconds`."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        load = PEERS[peer](file, Path(folder))
        startup = time.process_time()
        started = time.perf_counter()
        rows = load()
        seconds, cpu = time.perf_counter() - started, time.process_time() - startup
        usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "startup_seconds": startup,
        "rows": rows,
        "peak_mb": usage.ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def run_apart(peer: str, file: Path) -> dict[str, Any]:
    """One run in a fresh process with one thread."""
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.load", "--run", peer, "--file", str(file)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(rows: int, repeat: int, bad: float, folder: Path) -> dict[str, Any]:
    """Medians of `repeat` runs of each peer, in turn, over the same new file below the folder."""
    file = folder / "transitions.ndjson"
    write(file, rows, bad)
    runs: dict[str, list[dict[str, Any]]] = {peer: [] for peer in PEERS}
    for _ in range(repeat):
        for peer, done in runs.items():
            done.append(run_apart(peer, file))
    medians = {
        peer: {key: statistics.median(run[key] for run in done) for key in done[0]}
        for peer, done in runs.items()
    }
    plain = medians["DuckDB (unchecked)"]
    for figures in medians.values():
        figures["lines_per_second"] = rows / figures["seconds"]
        figures["speed_of_plain"] = plain["seconds"] / figures["seconds"]
        figures["cpu_speed_of_plain"] = plain["cpu_seconds"] / figures["cpu_seconds"]
    return {"lines": rows, "bad": bad, "bytes": file.stat().st_size, "repeat": repeat, "medians": medians}


def table(result: dict[str, Any]) -> str:
    """The figures as a table of text."""
    head = f"{'':20}{'seconds':>9}{'CPU s':>9}{'lines/s':>11}{'of plain':>10}{'(CPU)':>8}{'rows':>11}{'peak MB':>9}{'start-up s':>12}"
    lines = [
        f"{result['lines']:,} lines, {result['bytes'] / 1e6:.0f} MB, {result['bad']:.2%} bad, "
        f"medians of {result['repeat']}",
        head,
    ]
    for peer, m in result["medians"].items():
        lines.append(
            f"{peer:20}{m['seconds']:9.2f}{m['cpu_seconds']:9.2f}{m['lines_per_second']:11,.0f}"
            f"{m['speed_of_plain']:10.2f}{m['cpu_speed_of_plain']:8.2f}{m['rows']:11,.0f}{m['peak_mb']:9.0f}{m['startup_seconds']:12.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """`python -m benchmarks.load [--rows N] [--repeat 3] [--bad 0 --bad 0.01]`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--bad", type=float, action="append", help="share of bad lines; may be repeated")
    parser.add_argument("--run", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_here(arguments.run, arguments.file)
        return
    results = []
    for bad in arguments.bad or [0.0, 0.01]:
        folder = Path(tempfile.mkdtemp())
        try:
            results.append(measure(arguments.rows, arguments.repeat, bad, folder))
        finally:
            shutil.rmtree(folder)
        sys.stdout.write(table(results[-1]) + "\n\n")
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
