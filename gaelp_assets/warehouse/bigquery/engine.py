"""What reader, loader and migrator of BigQuery share: one project, its jobs, and how its tables are looked at."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from gaelp_assets.catalog import Catalog
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery.dialect import Names
from gaelp_assets.warehouse.bigquery.jobs import ClientFactory, Jobs, client_factory
from gaelp_assets.warehouse.bigquery.materialized_views import NativeViews
from gaelp_assets.warehouse.bigquery.read import ReaderFactory, frame_of, parameter
from gaelp_assets.warehouse.bigquery.tables import Tables
from gaelp_assets.warehouse.parameters import Parameters

if TYPE_CHECKING:
    from google.cloud import bigquery


class BigQueryEngine:
    """The datasets of one project and location, whose names start with a prefix. Nothing is opened before it is needed.

    Args:
        address: The project, its location and the prefix.
        catalog: The relations.
        factory: Makes Google's client (default: `jobs.client_factory`).
        reader: Makes a client of the Storage Read API (default: see `read.frame_of`).
    """

    def __init__(
        self,
        address: BigQueryAddress,
        catalog: Catalog,
        *,
        factory: ClientFactory | None = None,
        reader: ReaderFactory | None = None,
    ) -> None:
        self._address = address
        self._catalog = catalog
        self._reader = reader
        self._names = Names(address.project, address.dataset_prefix)
        self._dataset_names = frozenset(relation.dataset for relation in catalog)
        self._jobs = Jobs(
            factory or client_factory(address), self.location, storage_api=address.emulator is None
        )
        self._views = NativeViews(self._names, catalog)
        self._tables = Tables(self._jobs, self._names, address.location, self._dataset_names, self._views)

    @property
    def location(self) -> str:
        """The address, as in `GAELP_WAREHOUSE`."""
        address = self._address
        return f"bigquery://{address.project}?location={address.location}&dataset_prefix={address.dataset_prefix}"

    def _run(
        self,
        text: str,
        action: str,
        parameters: Parameters,
        labels: Mapping[str, str],
        *,
        destination: str | None = None,
        time_limit: float | None = None,
    ) -> bigquery.QueryJob:
        return self._jobs.query(
            text,
            f"gaelp_{uuid.uuid4().hex}",
            action,
            parameters=[parameter(name, value) for name, value in parameters.items()],
            labels=labels,
            destination=destination,
            time_limit=time_limit,
        )

    def _frame(self, text: str, labels: Mapping[str, str], action: str = "read") -> pl.DataFrame:
        return frame_of(self._jobs, self._run(text, action, {}, labels), self._reader)

    def _rows(self, text: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        return self._frame(text, labels).to_dicts()
