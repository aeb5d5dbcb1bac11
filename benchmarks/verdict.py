"""The verdict on a batch of 10,000 parsed rows, in process: this platform's one pass beside plain Pandera with the same rules.

Clean rows, and rows of which 20 % break a rule; both find every reason of every row. Milliseconds, medians of many calls.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Final, TypedDict

import polars as pl

from benchmarks.files import BENCHMARKS, Benchmark

RESULTS: Final = Path(__file__).with_name("results") / "verdict.json"
ROWS: Final = 10_000
CALLS: Final = 50


class Figures(TypedDict):
    table: str
    rows: int
    rules: int
    broken: int
    fused_ms: float
    pandera_ms: float


def parsed(benchmark: Benchmark, bad: float) -> pl.DataFrame:
    """The rows of a file, decoded and not yet judged."""
    from gaelp_assets.ingest.decode.chunks import PythonDecoder
    from gaelp_assets.ingest.read.lines import LineReader
    from gaelp_assets.platform import read_catalog

    text = b"".join(benchmark.lines(ROWS, bad))
    relation = read_catalog()[benchmark.table]
    decoder = PythonDecoder(relation)
    blocks = decoder.blocks(LineReader(BytesIO(text), "part.ndjson"))
    return pl.concat([decoder.chunk(block).frame for block in blocks])


def milliseconds(judge: Callable[[], object], calls: int) -> float:
    """The median of a number of calls, after one to warm up."""
    judge()
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        judge()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def measure(benchmark: Benchmark, bad: float) -> Figures:
    """One table's figures."""
    import pandera.errors

    from gaelp_assets.platform import read_catalog
    from gaelp_assets.validation.schema import schema_for
    from gaelp_assets.validation.verdict import Verdict

    relation = read_catalog()[benchmark.table]
    frame, verdict, schema = parsed(benchmark, bad), Verdict.of(relation), schema_for(relation.id)
    rows = frame.select(field.name for field in relation.fields)

    def with_pandera() -> None:
        try:
            schema.validate(rows, lazy=True)
        except pandera.errors.SchemaErrors as errors:
            _ = errors.failure_cases

    found = verdict.failing(frame)[0].len()
    return {
        "table": benchmark.table,
        "rows": frame.height,
        "rules": len(verdict.rules),
        "broken": found,
        "fused_ms": milliseconds(lambda: verdict.failing(frame), CALLS),
        "pandera_ms": milliseconds(with_pandera, 10),
    }


def table(results: list[Figures]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| table | rules | rows that break one | fused, ms | plain Pandera, ms |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['table']} | {r['rules']} | {r['broken']:,} of {r['rows']:,} | {r['fused_ms']:.2f} | {r['pandera_ms']:.1f} |"
        for r in results
    ]
    return "\n".join(lines)


def main() -> None:
    """`python -m benchmarks.verdict`: prints the figures and writes results/verdict.json."""
    results = [measure(benchmark, bad) for benchmark in BENCHMARKS.values() for bad in (0.0, 0.2)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(results)}\n")


if __name__ == "__main__":
    main()
