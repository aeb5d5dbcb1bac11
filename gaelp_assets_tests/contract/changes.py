"""A table whose catalogue file changes while it holds rows: what it holds afterwards beside a fresh load of all its files.

A change is judged by one law: what is stored is equal to a fresh load of all files, or the load is refused with a `GaelpError` and
nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.model import stored_fields
from gaelp_assets.catalog.slices import WHOLE, parse_date
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.errors import GaelpError
from gaelp_assets.gateway import open_gateway
from gaelp_assets.ingest.load import load_slice
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
        gateway = open_gateway(settings.gateway, catalog, None)
        self.home.mkdir(exist_ok=True)
        return Platform(settings, catalog, gateway, ENGINES[self.engine](self.home, catalog, 60))

    def send(self, platform: Platform, name: str, lines: Lines) -> None:
        """Puts a file into the load queue for each slice that the lines are of."""
        relation_ = platform.catalog[TABLE]
        for slice_, group in by_slice(relation_, lines).items():
            content = "".join(json.dumps(line) + "\n" for line in group)
            assert platform.gateway.publish(relation_, slice_, name, [content.encode()]) is not None

    def load(
        self, platform: Platform, lines: Lines, *, rebuild: bool = False, accept_loss: bool = False
    ) -> None:
        """Loads what is pending of each slice that the lines are of, or rebuilds it.

        Raises:
            GaelpError: a slice is refused, or a file is set aside whole.
        """
        relation_ = platform.catalog[TABLE]
        for slice_ in by_slice(relation_, lines):
            report = load_slice(
                platform, relation_, slice_, run_id="run", rebuild=rebuild, accept_loss=accept_loss
            )
            for file in report.set_aside:
                raise GaelpError(*file.problems)


def by_slice(relation_: Relation, lines: Lines) -> dict[Slice, list[Mapping[str, Any]]]:
    """The lines of each slice of the table."""
    by = relation_.partitioning
    found: dict[Slice, list[Mapping[str, Any]]] = {}
    for line in lines:
        slice_ = (
            WHOLE
            if by is None
            else Slice(parse_date(line[by.date]), line[by.environment] if by.environment else None)
        )
        found.setdefault(slice_, []).append(line)
    return found


def rows_of(platform: Platform) -> list[tuple[Any, ...]]:
    """The rows, with the table's own fields alone, in an order of their own."""
    names = ", ".join(f"`{name}`" for name in platform.catalog[TABLE].field_names)
    return sorted(platform.warehouse.query(f"SELECT {names} FROM {TABLE}").frame.rows(), key=repr)


def everything(platform: Platform) -> list[pl.DataFrame]:
    """All that is stored of the table: its rows, its dead letters, its ledger."""
    where = "WHERE `table` = 'changing'"
    columns = ", ".join(f"`{field.name}`" for field in stored_fields(platform.catalog[TABLE]))
    frames = [
        platform.warehouse.query(sql).frame
        for sql in (
            f"SELECT {columns} FROM {TABLE}",
            f"SELECT * FROM ops.dead_letter {where}",
            f"SELECT * FROM ops.import_logs {where}",
        )
    ]
    return [frame.sort(pl.all().map_elements(repr, pl.String)) if frame.height else frame for frame in frames]
