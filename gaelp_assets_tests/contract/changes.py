"""A table whose catalogue file changes while it holds rows: what it holds afterwards beside a fresh load of all its files.

A change is judged by one law: what is stored is equal to a fresh load of all files, or the load is refused with a `GaelpError` and
nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.slices import WHOLE
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.gateway import Stage, open_gateway
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.platform import Platform
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.contract.warehouses import ENGINES, RELATIONS, relation

TABLE: Final = "lab.changing"
Lines = Sequence[Mapping[str, Any]]


def table(fields: Sequence[Mapping[str, Any]], **keys: Any) -> Relation:
    """The table that changes, with a key `id` unless `keys` says another."""
    dataset, name = TABLE.split(".")
    return relation(dataset, name, fields, **{"primary_key": ["id"], "max_reject_fraction": 1.0, **keys})


@dataclass(frozen=True)
class Laboratory:
    """A home with a gateway and a warehouse of one engine, opened with whatever catalogue the table has by now."""

    engine: str
    home: Path

    def platform(self, relation_: Relation) -> Platform:
        """The platform as a process with that table in its catalogue opens it."""
        relations = [*RELATIONS, relation_]
        catalog = Catalog(relations, upstream_of(relations))
        settings = load_settings({"GAELP_HOME": str(self.home), "GAELP_FIRST_DATE": "2026-10-01"})
        gateway = open_gateway(settings.gateway, catalog, None)  # type: ignore[arg-type]
        self.home.mkdir(exist_ok=True)
        return Platform(settings, catalog, gateway, ENGINES[self.engine](self.home, catalog, 60))

    def send(self, platform: Platform, name: str, lines: Lines) -> None:
        """Puts a file into raw/, and sorts it."""
        path = self.home / "export_gateway" / "raw" / TABLE.replace(".", "/") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        sort_raw(platform, run_id="sort")

    def load(self, platform: Platform, *, rebuild: bool = False, accept_loss: bool = False) -> None:
        """Loads what is pending of each slice, or rebuilds each slice."""
        relation_ = platform.catalog[TABLE]
        for slice_ in self.slices(platform, rebuild=rebuild):
            load_slice(platform, relation_, slice_, run_id="run", rebuild=rebuild, accept_loss=accept_loss)

    def slices(self, platform: Platform, *, rebuild: bool) -> list[Slice]:
        """The slices that have files."""
        stages = (Stage.SENT, Stage.CLOUD_READY) if rebuild else (Stage.CLOUD_READY,)
        root = self.home / "export_gateway"
        found: dict[Slice, None] = {}
        for stage in stages:
            folder = root / stage.value / TABLE.replace(".", "/")
            for path in sorted(folder.rglob("*.ndjson")):
                parts = path.relative_to(folder).parts[:-1]
                if "_raw" not in parts:
                    values = dict(part.split("=", 1) for part in parts)
                    found[_slice(values)] = None
        by = platform.catalog[TABLE].partitioning
        wanted = (by is not None, by is not None and by.environment is not None)
        return [s for s in found if (s.date is not None, s.environment is not None) == wanted]


def _slice(values: Mapping[str, str]) -> Slice:
    from gaelp_assets.catalog.slices import parse_date

    return Slice(parse_date(values["date"]), values.get("environment")) if values else WHOLE


def rows_of(platform: Platform) -> list[tuple[Any, ...]]:
    """The rows, with the table's own fields alone, in an order of their own."""
    names = ", ".join(f"`{name}`" for name in platform.catalog[TABLE].field_names)
    return sorted(platform.warehouse.query(f"SELECT {names} FROM {TABLE}").frame.rows(), key=repr)


def everything(platform: Platform) -> list[pl.DataFrame]:
    """All that is stored of the table: its rows, its dead letters, its ledger."""
    where = "WHERE `table` = 'changing'"
    frames = [
        platform.warehouse.query(sql).frame
        for sql in (f"SELECT * FROM {TABLE}", f"SELECT * FROM ops.dead_letter {where}", f"SELECT * FROM ops.import_logs {where}")
    ]
    return [frame.sort(pl.all().map_elements(repr, pl.String)) if frame.height else frame for frame in frames]
