"""What bad lines and unfolding files cost `gaelp ingest`: the peak of its process and CPU seconds, process start included.

    python -m benchmarks.bad_input --rows 50000 400000 1000000

Of a file with few bad lines, each is in the dead letter with its reasons; one with many is set aside. Both peaks should stay flat.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypedDict

from benchmarks import transitions
from benchmarks.memory import FORMS

RESULTS: Final = Path(__file__).with_name("results") / "bad_input.json"
COMMAND: Final = Path(sys.executable).with_name("gaelp")
ROWS: Final = (50_000, 400_000, 1_000_000)
SHARES: Final = (0.0, 0.01, 0.2, 1.0)
FOLDER: Final = (
    f"cloud_ready/training/transitions/date={transitions.DATE}/environment={transitions.ENVIRONMENT}"
)


class Figures(TypedDict):
    """What one file cost."""

    what: str
    rows: int
    bad: float
    bytes: int
    set_aside: str
    """Why the file was set aside; empty where it was loaded."""
    peak_mb: float
    cpu_seconds: float
    seconds: float


class Case(TypedDict):
    """A file to be measured."""

    what: str
    rows: int
    bad: float
    ending: str


def _renamed(rows: int, _: float) -> Iterator[bytes]:
    return (line.replace(b'"reward":', b'"rewards":') for line in transitions.lines(rows))


def _empty(rows: int, _: float) -> Iterator[bytes]:
    return (b"{}\n" for _ in range(rows))


def _spaces(rows: int, _: float) -> Iterator[bytes]:
    return (b" " * (1 << 20) for _ in range(rows))


def _same(rows: int, _: float) -> Iterator[bytes]:
    [line] = transitions.lines(1)
    return (line for _ in range(rows))


def _endless(rows: int, _: float) -> Iterator[bytes]:
    yield b'{"episode_id":"'
    yield from (b"a" * (1 << 20) for _ in range(rows))


FILES: Final[dict[str, Callable[[int, float], Iterator[bytes]]]] = {
    "defects of every kind": transitions.lines,
    "a field is renamed": _renamed,
    "`{}` in each line": _empty,
    "one row, again and again": _same,
    "MiB of spaces": _spaces,
    "MiB of one line": _endless,
}
UNFOLDING: Final = (
    Case(what="`{}` in each line", rows=3_000_000, bad=1.0, ending=".gz"),
    Case(what="`{}` in each line", rows=30_000_000, bad=1.0, ending=".zst"),
    Case(what="one row, again and again", rows=3_000_000, bad=0.0, ending=".zst"),
    Case(what="MiB of spaces", rows=2_000, bad=1.0, ending=".gz"),
    Case(what="MiB of one line", rows=2_000, bad=1.0, ending=".gz"),
)


def cases(rows: Sequence[int], shares: Sequence[float]) -> list[Case]:
    """Growing files with each share of bad lines, then those of a producer that has renamed a field."""
    kinds = [("defects of every kind", share) for share in shares]
    if 1.0 in shares:
        kinds.append(("a field is renamed", 1.0))
    return [Case(what=what, rows=count, bad=bad, ending="") for what, bad in kinds for count in rows]


def write(path: Path, case: Case) -> None:
    """Writes the file of a case."""
    stream = FILES[case["what"]](case["rows"], case["bad"])
    with FORMS[f"ndjson{case['ending']}"](path) as file:
        while part := b"".join(islice(stream, 1000)):
            file.write(part)


def measured(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float, float]:
    """Peak MB, CPU seconds and wall seconds of a command, whatever its exit code."""
    began = time.monotonic()
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_maxrss / 1024, used.ru_utime + used.ru_stime, time.monotonic() - began


def measure(case: Case, command: Path) -> Figures:
    """Loads the case's file into a new warehouse."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = Path(folder) / "export_gateway"
        file = gateway / FOLDER / f"part-0.ndjson{case['ending']}"
        file.parent.mkdir(parents=True)
        write(file, case)
        size = file.stat().st_size
        peak, cpu, wall = measured([str(command), "ingest"], {"GAELP_HOME": folder})
        assert not file.exists(), "it is still in the queue"
        errors = [json.loads(error.read_text()) for error in (gateway / "failed").rglob("*.error.json")]
        return Figures(
            what=case["what"] + (f" ({case['ending']})" if case["ending"] else ""), rows=case["rows"], bad=case["bad"], bytes=size,
            set_aside=errors[0]["problems"][0]["what"] if errors else "",
            peak_mb=round(peak, 1), cpu_seconds=round(cpu, 2), seconds=round(wall, 2),
        )  # fmt: skip


def table(results: Sequence[Figures]) -> str:
    """What was measured as a Markdown table."""
    lines = [
        "| file | lines | bad | stored MB | peak MB | CPU s | set aside |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {r['what']} | {r['rows']:,} | {r['bad']:.0%} | {r['bytes'] / 1e6:,.2f} | {r['peak_mb']:.0f} | {r['cpu_seconds']:.1f} "
        f"| {'yes' if r['set_aside'] else 'no'} |"
        for r in results
    ]
    return "\n".join(lines)


def main() -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--bad", type=float, nargs="*", default=SHARES, help="shares of bad lines, 0 to 1")
    parser.add_argument("--unfolding", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--command", type=Path, default=COMMAND, help="the command `gaelp` that is measured")
    parser.add_argument("--dry", action="store_true", help="write no figures")
    asked = parser.parse_args()
    results = []
    for case in [*cases(asked.rows, asked.bad), *(UNFOLDING if asked.unfolding else ())]:
        results.append(measure(case, asked.command))
        sys.stdout.write(f"{table(results[-1:]).splitlines()[-1]} {results[-1]['set_aside']}\n")
        sys.stdout.flush()
    if not asked.dry:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
