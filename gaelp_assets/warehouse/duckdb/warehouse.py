"""The embedded warehouse: what reads, loads and migrates one DuckDB file, in one."""

from __future__ import annotations

from gaelp_assets.warehouse.duckdb.loader import DuckDBLoader
from gaelp_assets.warehouse.duckdb.migrator import DuckDBMigrator
from gaelp_assets.warehouse.duckdb.reader import DuckDBReader


class DuckDBWarehouse(DuckDBReader, DuckDBLoader, DuckDBMigrator):
    """Keeps `protocol.Warehouse` in one file, which is made when it is first written to (see `DuckDBEngine`)."""
