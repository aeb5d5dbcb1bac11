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
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.validate import upstream_of

if TYPE_CHECKING:
    from gaelp_assets.warehouse.protocol import Warehouse

RESULTS: Final = Path(__file__).with_name("results") / "deploy.json"
TABLES: Final = 180
DERIVED: Final = 44
VIEWS: Final = 30
JOBS: Final = 8


def relations(*, extra: bool = False) -> list[Relation]:
    """Loaded tables of 19 fields in nine datasets, sliced in each of the three ways, derived tables, and views that read those."""
    found = [_table(number, extra) for number in range(TABLES)]
    for number in range(DERIVED + VIEWS):
        source = found[number] if number < DERIVED else found[TABLES + number - DERIVED]
        kind = "derived_table" if number < DERIVED else "view"
        content = {"kind": kind, "sql": f"SELECT id FROM {source.id}", "fields": [_field("id", "STRING")]}
        found.append(_relation("marts", f"{kind}_{number}", content))
    return found


def _table(number: int, extra: bool) -> Relation:
    fields = [
        *(_field(name, kind, "REQUIRED") for name, kind in (("id", "STRING"), ("date", "DATE"), ("environment", "STRING"))),
        *(_field(f"column_{n}", "FLOAT") for n in range(16)),
        *([_field("extra", "JSON")] if extra else []),
    ]  # fmt: skip
    partitioning = [{"date": "date", "environment": "environment"}, {"date": "date"}, None][number % 3]
    content = {
        "fields": fields,
        "primary_key": ["id"],
        "partitioning": partitioning,
        "clustering": ["environment"],
    }
    return _relation(f"source{number % 9}", f"table_{number}", content)


def _field(name: str, type_: str, mode: str = "NULLABLE") -> dict[str, str]:
    return {"name": name, "type": type_, "mode": mode, "description": f"what {name} is"}


def _relation(dataset: str, name: str, content: Mapping[str, object]) -> Relation:
    common = {"dataset": dataset, "name": name, "description": "made up", "owner": "team:research"}
    return Relation.model_validate({**common, **content})


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
            found = relations(extra=extra)
            catalog = Catalog(found, upstream_of(found))
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
