"""Which engine the settings mean: one registry line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gaelp_assets.catalog import Catalog
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.settings import DuckDBWarehouse as DuckDBSettings
from gaelp_assets.settings import Settings
from gaelp_assets.warehouse.protocol import Warehouse


def _duckdb(address: DuckDBSettings, catalog: Catalog, _: Settings) -> Warehouse:
    from gaelp_assets.warehouse.duckdb import DuckDBWarehouse

    return DuckDBWarehouse(address.file, catalog)


ENGINES: Final[Mapping[type, Callable[[Any, Catalog, Settings], Warehouse]]] = {
    DuckDBSettings: _duckdb,
}


def open_warehouse(address: object, catalog: Catalog, settings: Settings) -> Warehouse:
    """The warehouse at an address of the settings. Nothing is opened yet.

    Raises:
        GaelpError: there is no engine for such an address.
    """
    engine = ENGINES.get(type(address))
    if engine is None:
        raise GaelpError(
            Problem(
                f"no engine for a {type(address).__name__}",
                "GAELP_WAREHOUSE",
                "one of " + ", ".join(sorted(known.__name__ for known in ENGINES)),
            )
        )
    return engine(address, catalog, settings)
