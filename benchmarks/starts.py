"""What each process pays before it does anything, as the catalogue grows: Dagster's processes, and the commands.

    python -m benchmarks.starts --relations 254 1000 5000

The first start of a home works out what SQL tells and keeps it; the others find it. CPU seconds (medians) of a process and of what it
starts, and its peak memory. Figures go to `results/starts.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypedDict

from benchmarks import catalogs
from benchmarks.environments import measured

RESULTS: Final = Path(__file__).with_name("results") / "starts.json"
DAGSTER: Final = "import dagster alone"
_INIT: Final = (
    "from gaelp_assets.cli.main import main\nimport sys\nsys.argv = ['gaelp', 'gateway', 'init']\nmain()"
)
_COMMAND: Final = "import sys\nfrom gaelp_assets.cli.main import main\nsys.argv = ['gaelp', {word!r}]\nmain()"
_LOAD: Final = "from gaelp_assets.definitions import defs\ndefs().get_repository_def()"
WAYS: Final[Sequence[tuple[str, str]]] = (
    (DAGSTER, "import dagster"),
    ("definitions, first start", _LOAD),
    ("definitions", _LOAD),
    (
        "dagster definitions validate",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'dagster', 'definitions', 'validate', "
        "'-m', 'gaelp_assets.definitions'], check=True)",
    ),
    ("gaelp deploy, everything new", _COMMAND.format(word="deploy")),
    ("gaelp deploy, nothing to do", _COMMAND.format(word="deploy")),
    ("gaelp status", _COMMAND.format(word="status")),
    ("gaelp ingest, nothing waits", _COMMAND.format(word="ingest")),
)  # fmt: skip
ONCE: Final = frozenset({"definitions, first start", "gaelp deploy, everything new"})


class Figures(TypedDict):
    """CPU seconds and peak megabytes of each way."""

    relations: int
    measured: dict[str, tuple[float, float]]


def measure(relations: int, times: int, ways: Sequence[str]) -> Figures:
    """Measures these ways in their order, on one home."""
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        home, catalog = Path(folder) / "home", Path(folder) / "catalog"
        home.mkdir()
        catalogs.write(catalog, relations)
        variables: Mapping[str, str] = {
            **os.environ,
            "GAELP_HOME": str(home),
            "GAELP_CATALOG": str(catalog),
            "DAGSTER_HOME": str(home),
        }
        measured(_INIT, variables)
        for way, code in WAYS:
            if way not in ways:
                continue
            figures = [measured(code, variables) for _ in range(1 if way in ONCE else times)]
            seconds, megabytes = (statistics.median(each) for each in zip(*figures, strict=True))
            found[way] = round(seconds, 2), round(megabytes)
            print(relations, way, f"{seconds:.1f} s, {megabytes:.0f} MB", flush=True)
    return Figures(relations=relations, measured=found)


def table(results: Sequence[Figures]) -> str:
    """What was measured as a Markdown table."""
    sizes = " | ".join(f"{found['relations']:,} relations" for found in results)
    lines = [f"| | {sizes} |", f"|---|{'---:|' * len(results)}"]
    for way in dict.fromkeys(way for found in results for way in found["measured"]):
        cells = [
            f"{found['measured'][way][0]:.1f} s, {found['measured'][way][1]:.0f} MB" for found in results
        ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--relations", type=int, nargs="+", default=[254, 1_000, 5_000])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument(
        "--ways", nargs="+", default=[way for way, _ in WAYS], help="their names; all if left out"
    )
    parser.add_argument("--dry", action="store_true", help="write no figures")
    asked = parser.parse_args()
    known: list[Figures] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    by_size = {found["relations"]: found for found in known}
    for relations in asked.relations:
        by_size[relations] = measure(relations, asked.times, asked.ways)
        if not asked.dry:
            results = [by_size[size] for size in sorted(by_size)]
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(table([by_size[size] for size in sorted(by_size)]), flush=True)


if __name__ == "__main__":
    main()
