"""The production warehouse: what reads, loads and migrates the datasets of one project, in one."""

from __future__ import annotations

from gaelp_assets.warehouse.bigquery.loader import BigQueryLoader
from gaelp_assets.warehouse.bigquery.migrator import BigQueryMigrator
from gaelp_assets.warehouse.bigquery.reader import BigQueryReader


class BigQueryWarehouse(BigQueryReader, BigQueryLoader, BigQueryMigrator):
    """Keeps `protocol.Warehouse` in the datasets of one project and location, whose names start with a prefix (see `BigQueryEngine`)."""
