"""How much memory a load takes as its file grows, plain and compressed: the peak of a fresh process, which should stay flat.

The peak is that of the whole process (`ru_maxrss`), with the interpreter and all that it imports.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, TypedDict

import zstandard

from benchmarks.files import BENCHMARKS
from benchmarks.peers import Task, gaelp
from benchmarks.transitions import lines

RESULTS: Final = Path(__file__).with_name("results") / "memory.json"
THREADS: Final = 2
ROWS: Final = (1_000_000, 20_000_000)


class _Loaded(TypedDict):
    loaded: int
    seconds: float
    cpu_seconds: float
    imports_mb: float
    peak_mb: float


class Figures(_Loaded):
    rows: int
    form: str
    bad: float
    bytes: int


FORMS: Final[dict[str, Callable[[Path], BinaryIO | gzip.GzipFile]]] = {
    "ndjson": lambda path: path.open("wb"),
    "ndjson.gz": partial(gzip.open, mode="wb", compresslevel=1),
    "ndjson.zst": lambda path: zstandard.open(path, "wb"),
}


def write(path: Path, form: str, rows: int, bad: float) -> None:
    """A file of transitions in that form."""
    stream = lines(rows, bad)
    with FORMS[form](path) as file:
        while part := b"".join(islice(stream, 10_000)):
            file.write(part)


def run_here(file: Path) -> None:
    """Loads the file in this process, and prints its figures as JSON."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        load = gaelp(Task(BENCHMARKS["transitions"], file, Path(folder), THREADS))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, cpu = time.perf_counter(), time.process_time()
        rows = load()
        figures = {
            "loaded": rows,
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "imports_mb": before / 1024,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    sys.stdout.write(json.dumps(figures) + "\n")


def measure(rows: int, form: str, bad: float) -> Figures:
    """The figures of one load in a fresh process."""
    folder = Path(tempfile.mkdtemp())
    try:
        file = folder / f"transitions.{form}"
        write(file, form, rows, bad)
        command = [sys.executable, "-m", "benchmarks.memory", "--file", str(file)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        figures: _Loaded = json.loads(done.stdout.splitlines()[-1])
        return {"rows": rows, "form": form, "bad": bad, "bytes": file.stat().st_size, **figures}
    finally:
        shutil.rmtree(folder)


def table(results: Sequence[Figures]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| rows | form | file, MB | peak, MB | of it imports | CPU us/row |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['rows']:,} | {r['form']} | {r['bytes'] / 1e6:.0f} | {r['peak_mb']:.0f} | {r['imports_mb']:.0f} "
        f"| {1e6 * r['cpu_seconds'] / r['rows']:.2f} |"
        for r in results
    ]
    return "\n".join(lines)


def main() -> None:
    """`python -m benchmarks.memory [--rows N ...] [--bad SHARE]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--bad", type=float, default=0.0001, help="share of bad lines, 0 to 1")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file:
        run_here(arguments.file)
        return
    results = []
    for rows in arguments.rows:
        for form in FORMS:
            results.append(measure(rows, form, arguments.bad))
            sys.stdout.write(table(results[-1:]) + "\n")
            sys.stdout.flush()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
