"""`gaelp deploy` of 254 made-up relations: into an empty warehouse, again with nothing to do, and with a new field in each table.

BigQuery's emulator stands in for BigQuery, and new tables keep to BigQuery's 10 a second, so that 254 of them take 25 s at the least.
Figures go to `results/deploy.json`.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import catalogs
from gaelp_assets.catalog import Catalog, load_catalog

if TYPE_CHECKING:
    from gaelp_assets.warehouse.protocol import Warehouse

RESULTS: Final = Path(__file__).with_name("results") / "deploy.json"
RELATIONS: Final = 254
JOBS: Final = 8


def _warehouse(engine: str, folder: Path, catalog: Catalog) -> Warehouse:
    if engine == "duckdb":
        from gaelp_assets.warehouse.duckdb.warehouse import DuckDBWarehouse

        return DuckDBWarehouse(folder / "warehouse.duckdb", catalog)
    from gaelp_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
    from gaelp_assets_tests.emulators.bigquery import address

    return BigQueryWarehouse(address("bench_"), catalog)


def measure(engine: str) -> dict[str, dict[str, float]]:
    """Seconds of wall and (of this process) CPU time for each deployment."""
    from gaelp_assets.operations.deploy import apply, plan

    result: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for step, extra in (
            ("everything new", False),
            ("nothing to do", False),
            ("a field in each table", True),
        ):
            catalogs.write(Path(folder) / "catalog", RELATIONS, extra=extra)
            catalog = load_catalog(Path(folder) / "catalog")
            warehouse = _warehouse(engine, Path(folder), catalog)
            wall, cpu = time.monotonic(), time.process_time()
            outcomes = apply(warehouse, plan(warehouse, catalog, jobs=JOBS), jobs=JOBS)
            result[step] = {
                "seconds": round(time.monotonic() - wall, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
                **Counter(outcome.outcome.value for outcome in outcomes),
            }
            print(engine, step, result[step], flush=True)
    return result


def main() -> None:
    from gaelp_assets_tests.emulators.bigquery import HOST_VARIABLE, running

    results = {"duckdb": measure("duckdb")}
    with running() as emulator:
        os.environ[HOST_VARIABLE] = emulator.address
        results["bigquery emulator"] = measure("bigquery")
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
