"""What a tick of the gateway's sensors costs while many files wait: by default 100,000 in 300 slices of 50 tables.

    python -m benchmarks.queue

Each measurement is a process of its own: CPU seconds without what importing and loading the definitions takes, which a daemon does once.
The catalogue is made up (`catalogs`). Its peer is `find`, which lists the same files and knows nothing of them. Figures go to
`results/queue.json`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from benchmarks import catalogs
from benchmarks.environments import measured

RESULTS: Final = Path(__file__).with_name("results") / "queue.json"
RELATIONS: Final = 80
"""Of which 56 are loaded from files."""
_TICK: Final = """
import json, resource, sys
import dagster as dg
from gaelp_assets.definitions import defs
instance = dg.DagsterInstance.get()
repository = defs().get_repository_def()
sensor = repository.get_sensor_def({name!r})
figures = []
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF)
    with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
        found = sensor(context)
    after = resource.getrusage(resource.RUSAGE_SELF)
    figures.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
with open({out!r}, "w") as file:
    json.dump([min(figures), len(getattr(found, "run_requests", None) or [])], file)
"""


def fill(home: Path, catalog: Path, files: int, slices: int, tables: int) -> None:
    """Writes empty files into the load queue, in turn over the slices of the tables."""
    found = []
    for path in sorted(catalog.glob("*/*.json")):
        content = json.loads(path.read_text())
        if "kind" not in content:
            found.append((path.parent.name, path.stem, content.get("partitioning") or {}))
    folders = []
    day = dt.date(2026, 11, 20)
    for number, (dataset, name, by) in enumerate(islice(cycle(found[:tables]), slices)):
        place = number // tables
        parts = [dataset, name]
        if "date" in by:
            parts.append(f"date={day - dt.timedelta(days=place)}")
        if "environment" in by:
            parts.append(f"environment=Bench{place:04d}-v1")
        folders.append(home.joinpath("export_gateway", "cloud_ready", *parts))
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number, folder in zip(range(files), cycle(folders), strict=False):
        (folder / f"part-{number:06d}.ndjson").touch()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--tables", type=int, default=50)
    parser.add_argument("--dry", action="store_true", help="write no figures")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, catalog, out = Path(folder, "home"), Path(folder, "catalog"), Path(folder, "out.json")
        variables = {
            **os.environ,
            "GAELP_HOME": str(home),
            "GAELP_CATALOG": str(catalog),
            "GAELP_FIRST_DATE": "2026-01-01",
            "DAGSTER_HOME": str(home / "dagster"),
        }
        catalogs.write(catalog, RELATIONS)
        for command in (["gateway", "init"], ["ingest"]):
            subprocess.run(
                [sys.executable, "-m", "gaelp_assets.cli.main", *command],
                env=variables,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        fill(home, catalog, asked.files, asked.slices, asked.tables)
        figures: dict[str, object] = {"files": asked.files, "slices": asked.slices, "tables": asked.tables}
        for name in ("cloud_ready", "raw"):
            _, megabytes = measured(_TICK.format(name=name, out=str(out)), variables)
            seconds, runs = json.loads(out.read_text())
            figures[name] = {
                "cpu_seconds": round(seconds, 2),
                "peak_megabytes": round(megabytes),
                "runs": runs,
            }
        find = shutil.which("find") or "find"
        command = [find, str(home / "export_gateway"), "-printf", "%p %s %T@\\n"]
        code = f"import subprocess; subprocess.run({command!r}, stdout=subprocess.DEVNULL, check=True)"
        figures["find"] = {"cpu_seconds": round(measured(code, variables)[0], 2)}
    print(json.dumps(figures, indent=2), flush=True)
    if not asked.dry:
        RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
