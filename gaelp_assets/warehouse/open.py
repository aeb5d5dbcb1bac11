"""Which engine the settings mean: one registry line each, for all of a warehouse. What only reads opens it by `open_reader`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from gaelp_assets.catalog import Catalog
from gaelp_assets.settings import BigQueryAddress, DuckDBAddress
from gaelp_assets.warehouse.open_reader import Opener, opener
from gaelp_assets.warehouse.protocol import Warehouse

if TYPE_CHECKING:
    from google.cloud import bigquery


def _duckdb(address: DuckDBAddress, catalog: Catalog, _: Callable[[], bigquery.Client] | None) -> Warehouse:
    from gaelp_assets.warehouse.duckdb.warehouse import DuckDBWarehouse

    return DuckDBWarehouse(address.file, catalog)


def _bigquery(
    address: BigQueryAddress, catalog: Catalog, bigquery: Callable[[], bigquery.Client] | None
) -> Warehouse:
    from gaelp_assets.warehouse.bigquery.warehouse import BigQueryWarehouse

    return BigQueryWarehouse(address, catalog, factory=bigquery)


ENGINES: Final[Mapping[type, Opener[Warehouse]]] = {DuckDBAddress: _duckdb, BigQueryAddress: _bigquery}


def open_warehouse(
    address: object, catalog: Catalog, bigquery: Callable[[], bigquery.Client] | None = None
) -> Warehouse:
    """The warehouse at an address of the settings. Nothing is opened yet.

    `bigquery` makes Google's client (default: with the application default credentials, or none for an emulator).

    Raises:
        GaelpError: there is no engine for such an address.
    """
    return opener(ENGINES, address)(address, catalog, bigquery)
