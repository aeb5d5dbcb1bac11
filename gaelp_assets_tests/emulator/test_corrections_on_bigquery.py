"""A day exported again ends the same on BigQuery as on DuckDB: corrected, enriched by a new field, shortened, withdrawn, rebuilt."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from gaelp_assets.catalog import Catalog, Field
from gaelp_assets.operations.correct import revise, withdraw_batch, withdraw_key
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.ledger import Note
from gaelp_assets_tests.contract.warehouses import ENGINES
from gaelp_assets_tests.ingest.killed_loader import load_everything
from gaelp_assets_tests.ingest.test_corrections import RAW, fates, held, unbalanced
from gaelp_assets_tests.platforms import TABLE, checkpoint, drop, load, ndjson, platform_in, rows

NOTE = Note("ada", "the collector counted twice")


def test_corrections_end_alike_on_both_engines(tmp_path: Path) -> None:
    told = []
    for engine in ENGINES:
        platform = on_engine(engine, platform_in(tmp_path / engine))
        told.append(list(_story(engine, platform, tmp_path)))
    assert told[0] == told[1]


def _story(engine: str, platform: Platform, folder: Path) -> list[Any]:
    """What the table and the ledger hold after each correction."""
    told: list[Any] = []

    def tell() -> None:
        told.append((held(platform), fates(platform), unbalanced(platform)))

    drop(platform, f"{RAW}/day.ndjson", ndjson(checkpoint(n) for n in range(4)))
    load_everything(platform)
    tell()
    grown = _grown(engine, platform)
    again = [checkpoint(0), checkpoint(1, bytes=7), checkpoint(2, note="replayed from its seed")]
    drop(grown, f"{RAW}/day.rev-2.ndjson", ndjson(again))
    load_everything(grown)
    tell()
    assert rows(grown, f"SELECT note FROM {TABLE} WHERE date > '2000-01-01' AND note IS NOT NULL") == [
        {"note": "replayed from its seed"}
    ]
    assert withdraw_key(grown, grown.catalog[TABLE], {"checkpoint_id": "checkpoint-0"}, NOTE).changed
    tell()
    drop(grown, f"{RAW}/resent.ndjson", ndjson([checkpoint(0), checkpoint(5)]))
    load_everything(grown)
    tell()
    load(grown, rebuild=True)
    tell()
    file = folder / "day.ndjson"
    file.write_bytes(ndjson([checkpoint(0, bytes=9)]))
    assert revise(grown, grown.catalog[TABLE], file, NOTE).changed
    assert not revise(grown, grown.catalog[TABLE], file, NOTE).changed
    tell()
    assert withdraw_batch(grown, grown.catalog[TABLE], "day", NOTE).changed
    load(grown, rebuild=True)
    tell()
    told.append(rows(grown, "SELECT revision, corrected_by, reason FROM ops.import_logs ORDER BY 1, 2, 3"))
    assert [held for held, *_ in told[:7]] == [
        {"0": 1024, "1": 1025, "2": 1026, "3": 1027},
        {"0": 1024, "1": 7, "2": 1026},
        {"1": 7, "2": 1026},
        {"1": 7, "2": 1026, "5": 1029},
        {"1": 7, "2": 1026, "5": 1029},
        {"0": 9, "5": 1029},
        {"5": 1029},
    ]
    assert not any(unbalanced for *_, unbalanced in told[:7])
    return json.loads(json.dumps(told, default=str))  # type: ignore[no-any-return]


def on_engine(engine: str, platform: Platform) -> Platform:
    warehouse = ENGINES[engine](platform.settings.home, platform.catalog, 60)
    return dataclasses.replace(platform, warehouse=warehouse)


def _grown(engine: str, platform: Platform) -> Platform:
    """The same platform, whose table has a field more."""
    relations = dict(platform.catalog.relations)
    table = relations[TABLE]
    fields = (*table.fields, Field(name="note", type="STRING", description="a remark"))
    relations[TABLE] = table.model_copy(update={"fields": fields})
    catalog = Catalog(list(relations.values()), platform.catalog.upstream)
    gateway = type(platform.gateway)(platform.gateway.store, catalog)
    return on_engine(engine, dataclasses.replace(platform, catalog=catalog, gateway=gateway))
