"""What many environments cost: Dagster knows them all, and three years of days; the warehouse holds one day of a few of them.

    python -m benchmarks.environments --environments 10 1000 5000

Each measurement is a process of its own, with the same start: CPU seconds of it and of what it starts, and its peak memory. Figures go to
`results/environments.json`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypedDict

from benchmarks import transitions
from benchmarks.slices import write_slices

RESULTS: Final = Path(__file__).with_name("results") / "environments.json"
DAYS: Final = 3 * 365
LOADED: Final = 5
"""Environments that the warehouse holds rows of: what many rows cost is measured elsewhere."""

_DEFINITIONS: Final = """
from gaelp_assets.definitions import defs
definitions = defs()
repository = definitions.get_repository_def()
"""
_INSTANCE: Final = """
import dagster as dg
instance = dg.DagsterInstance.get()
"""
_RUN: Final = """
result = definitions.resolve_job_def("__ASSET_JOB").execute_in_process(
    instance=instance, asset_selection=[dg.AssetKey({key})], partition_key={partition!r}
)
assert result.success
"""
_TICK: Final = """
sensor = repository.get_sensor_def({name!r})
with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
    sensor(context)
"""
_NOTHING: Final = "import dagster, gaelp_assets.definitions"
WAYS: Final[Mapping[str, str]] = {
    "imports alone": _NOTHING,
    "loading the definitions": _DEFINITIONS,
    "refreshing learning_curves": _DEFINITIONS
    + _INSTANCE
    + _RUN.format(key=["analytics", "learning_curves"], partition=None),
    "a slice of episodes": _DEFINITIONS
    + _INSTANCE
    + _RUN.format(key=["training", "episodes"], partition=f"{transitions.DATE}|Bench0000-v1"),
    "a tick of cloud_ready": _DEFINITIONS + _INSTANCE + _TICK.format(name="cloud_ready"),
    "a tick of refresh": _DEFINITIONS + _INSTANCE + _TICK.format(name="refresh"),
    "gaelp status": "import sys\nfrom gaelp_assets.cli.main import main\nsys.argv = ['gaelp', 'status']\nmain()",
}


class Figures(TypedDict):
    """CPU seconds and peak megabytes of each way."""

    environments: int
    days: int
    measured: dict[str, tuple[float, float]]


def prepare(home: Path, environments: int) -> dict[str, str]:
    """A home whose warehouse holds one day of some environments, and whose Dagster knows all; the variables that name it."""
    variables = {
        **os.environ,
        "GAELP_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "GAELP_FIRST_DATE": str(dt.date.fromisoformat(transitions.DATE) - dt.timedelta(days=DAYS)),
    }
    names = [f"Bench{number:04d}-v1" for number in range(environments)]
    write_slices(home / "export_gateway", 1, LOADED, 20)
    subprocess.run(
        [str(Path(sys.executable).with_name("gaelp")), "ingest"],
        env=variables,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run(
        [sys.executable, "-c", f"{_INSTANCE}instance.add_dynamic_partitions('environments', {names!r})"],
        env=variables,
        check=True,
    )
    return variables


def measured(code: str, variables: Mapping[str, str]) -> tuple[float, float]:
    """CPU seconds and peak megabytes of a Python process.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=dict(variables), stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.stderr.write(said.read().decode())
            raise subprocess.CalledProcessError(process.returncode, code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, usage.ru_maxrss / 1024


def table(results: Sequence[Figures]) -> str:
    """What was measured as a Markdown table."""
    ways = list(dict.fromkeys(way for found in results for way in found["measured"]))
    lines = [f"| environments | days | {' | '.join(ways)} |", f"|---:|---:|{'---:|' * len(ways)}"]
    for found in results:
        cells = [f"{found['measured'][way][0]:.1f} s, {found['measured'][way][1]:.0f} MB" for way in ways]
        lines.append(f"| {found['environments']:,} | {found['days']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environments", type=int, nargs="+", default=[10, 1_000, 5_000])
    parser.add_argument("--dry", action="store_true", help="write no figures")
    asked = parser.parse_args()
    results = []
    for environments in asked.environments:
        with tempfile.TemporaryDirectory() as folder:
            variables = prepare(Path(folder), environments)
            found: dict[str, tuple[float, float]] = {}
            for way, code in WAYS.items():
                seconds, megabytes = measured(code, variables)
                found[way] = round(seconds, 2), round(megabytes)
                print(environments, way, f"{seconds:.1f} s, {megabytes:.0f} MB", flush=True)
        results.append(Figures(environments=environments, days=DAYS, measured=found))
    print(table(results), flush=True)
    if not asked.dry:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
