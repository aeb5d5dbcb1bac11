"""This platform beside its peers: the same file, a fresh process for each run, the peers in turn, medians of ratios of one session.

python -m benchmarks.compare                     everything: writes results/compare.json, report.md and report.png
python -m benchmarks.compare --table episodes --peer gaelp --peer "DuckDB, unchecked" --rows 100000 --dry
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.files import BENCHMARKS
from benchmarks.peers import BASE, OURS, PEERS, SLOW_ROWS, Task

if TYPE_CHECKING:
    from benchmarks.report import Compared, PeerFigures, RunFigures

RESULTS: Final = Path(__file__).with_name("results") / "compare.json"
KINDS: Final = ("peers", "cores", "bad")


@dataclass(frozen=True)
class Case:
    """What is measured together: a table's file with a share of bad lines, on a number of cores, by some peers."""

    table: str
    rows: int
    bad: float
    threads: int
    peers: tuple[str, ...]


def cases(rows: int, tables: Sequence[str], peers: Sequence[str], cores: int) -> list[Case]:
    """All tables on one core by all peers; two cores, and growing shares of bad lines, by the first two."""
    found = [Case(table, rows, 0.0, 1, tuple(peers)) for table in tables]
    both = tuple(peer for peer in (OURS, BASE) if peer in peers)
    if both and cores > 1:
        found += [Case(table, rows, 0.0, 2, both) for table in tables]
    if both and "transitions" in tables:
        found += [Case("transitions", rows, bad, 1, both) for bad in (0.0001, 0.01, 0.2)]
    return found


def run_here(peer: str, task: Task) -> None:
    """One run, in this process; prints its figures as JSON. The clocks run from the call to the closed warehouse file; imports and the
    making of schemas before it are told apart, as `startup_seconds`."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[-task.threads :]))
    load = PEERS[peer].prepare(task)
    startup = time.process_time()
    started = time.perf_counter()
    rows = load()
    figures: RunFigures = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - startup,
        "startup_seconds": startup,
        "rows": rows,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    sys.stdout.write("\n" + json.dumps(figures) + "\n")


def run_apart(peer: str, case: Case, file: Path) -> RunFigures:
    """One run in a fresh process, whose libraries are told its number of threads."""
    threads = str(case.threads)
    environment = {**os.environ, "POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads}
    command = [
        sys.executable, "-W", "ignore", "-m", "benchmarks.compare",
        "--run", peer, "--table", case.table, "--threads", threads, "--file", str(file),
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
    if done.returncode:
        raise SystemExit(f"{peer} failed on {case}:\n{done.stderr}")
    figures: RunFigures = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(case: Case, repeat: int, folder: Path) -> Compared:
    """Medians of each peer's runs over one new file below the folder; a slow peer gets a shorter file, once."""
    files = {}
    for rows in {_rows(case, peer) for peer in case.peers}:
        files[rows] = folder / f"{case.table}-{rows}.ndjson"
        BENCHMARKS[case.table].write(files[rows], rows, case.bad)
    runs: dict[str, list[RunFigures]] = {peer: [] for peer in case.peers}
    for turn in range(repeat):
        for peer, done in runs.items():
            if turn and PEERS[peer].slow:
                continue
            done.append(run_apart(peer, case, files[_rows(case, peer)]))
            words = f"{case.table} {case.bad:.2%} {case.threads} core(s) {peer}: {done[-1]['seconds']:.2f} s"
            sys.stderr.write(words + "\n")
    size = files[case.rows].stat().st_size if case.rows in files else 0
    for file in files.values():
        file.unlink()
    medians: dict[str, PeerFigures] = {
        peer: {
            **_medians(done),
            "lines": _rows(case, peer),
            "runs": len(done),
        }
        for peer, done in runs.items()
    }
    return {
        "table": case.table,
        "rows": case.rows,
        "bad": case.bad,
        "threads": case.threads,
        "peers": case.peers,
        "bytes": size,
        "medians": medians,
    }


def _medians(runs: Sequence[RunFigures]) -> RunFigures:
    return {
        "seconds": statistics.median(run["seconds"] for run in runs),
        "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
        "startup_seconds": statistics.median(run["startup_seconds"] for run in runs),
        "rows": statistics.median(run["rows"] for run in runs),
        "peak_mb": statistics.median(run["peak_mb"] for run in runs),
    }


def _rows(case: Case, peer: str) -> int:
    return min(case.rows, SLOW_ROWS) if PEERS[peer].slow else case.rows


def main() -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each peer; of slow ones there is one")
    parser.add_argument("--table", choices=BENCHMARKS, action="append", help="may be repeated; default: all")
    parser.add_argument("--peer", choices=PEERS, action="append", help="may be repeated; default: all")
    parser.add_argument("--only", choices=KINDS, action="append", help="may be repeated; default: all")
    parser.add_argument("--dry", action="store_true", help="print the figures, and write nothing")
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--run", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        [table] = arguments.table
        with tempfile.TemporaryDirectory(dir=arguments.file.parent) as folder:
            run_here(arguments.run, Task(BENCHMARKS[table], arguments.file, Path(folder), arguments.threads))
        return
    from benchmarks import report

    cores = len(os.sched_getaffinity(0))
    chosen = cases(arguments.rows, arguments.table or list(BENCHMARKS), arguments.peer or list(PEERS), cores)
    only = set(arguments.only or KINDS)
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            if kind(case) not in only:
                continue
            result = measure(case, arguments.repeat, Path(folder))
            sys.stdout.write(report.table(result) + "\n\n")
            sys.stdout.flush()
            if not arguments.dry:
                keep(result)
                report.write()


def kind(case: Case) -> str:
    """What a case is measured for, one of `KINDS`."""
    return "bad" if case.bad else "cores" if case.threads > 1 else "peers"


def keep(result: Compared) -> None:
    """Puts the result among those that are there, in place of the same case's."""

    def same(other: Compared) -> bool:
        return all(other[key] == result[key] for key in ("table", "rows", "bad", "threads"))

    RESULTS.parent.mkdir(exist_ok=True)
    there = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    results = [other for other in there if not same(other)] + [result]
    results.sort(key=lambda r: (r["bad"], r["threads"], list(BENCHMARKS).index(r["table"])))
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
