"""The platform's parts, put together from the settings: what the command line, the assets and the sensors all work with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gaelp_assets.catalog import Catalog, Relation, load_catalog
from gaelp_assets.catalog.folders import FOLDER, catalog_folders
from gaelp_assets.catalog.references import references
from gaelp_assets.clients import bigquery_client, storage_client
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import Gateway, open_gateway
from gaelp_assets.settings import Settings
from gaelp_assets.validation.rules import check_problems
from gaelp_assets.warehouse import Warehouse, open_warehouse
from gaelp_assets.warehouse.protocol import DEAD_LETTER, LEDGER

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Platform:
    """A catalogue, a gateway and a warehouse that belong together."""

    settings: Settings
    catalog: Catalog
    gateway: Gateway
    warehouse: Warehouse

    @property
    def last_date(self) -> dt.date:
        """The last day of which rows are taken: tomorrow in UTC, for producers whose day has begun already."""
        return dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)

    def ensure(self, relation: Relation) -> None:
        """Makes the relation, the ledger and the dead letter in the warehouse where they are missing or have grown."""
        self.warehouse.ensure([relation, self.catalog[LEDGER], self.catalog[DEAD_LETTER]])

    def query(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, row_limit: int | None = None
    ) -> pl.DataFrame:
        """The result of a GoogleSQL query over relations of the catalogue; one that holds nothing yet is empty.

        Raises:
            GaelpError: the query is wrong, or reads what the catalogue does not know; the known relations are listed.
        """
        self._ready(sql)
        return self.warehouse.query(sql, parameters, row_limit=row_limit).frame

    def query_pandas(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """As `ask`, with the types that `pandas-gbq` gives a frame. Raises as `ask` does."""
        self._ready(sql)
        return self.warehouse.to_pandas(sql, parameters)

    def _ready(self, sql: str) -> None:
        try:
            names = references(sql)
        except ValueError as error:
            raise GaelpError(Problem(str(error), "SQL", "one GoogleSQL SELECT statement")) from None
        self.warehouse.ensure([self.catalog.find(name) for name in sorted(names)])


def read_catalog(users: Sequence[Path] = (), *, folder: Path = FOLDER) -> Catalog:
    """The shipped catalogue (or another `folder` in its place) with the users' folders over it, its check rules looked at too.

    Raises:
        GaelpError: with every problem of every file.
    """
    return load_catalog(folder, check_problems, users=users)


def open_platform(
    settings: Settings,
    catalog: Catalog | None = None,
    *,
    storage: Callable[[], Any] | None = None,
    bigquery: Callable[[], Any] | None = None,
) -> Platform:
    """The platform that the settings describe. Touches neither gateway nor warehouse yet.

    `storage` and `bigquery` make Google's clients, where the settings name a bucket or a BigQuery project (default: those of `clients`).
    """
    catalog = catalog if catalog is not None else read_catalog(catalog_folders(settings))
    return Platform(
        settings=settings,
        catalog=catalog,
        gateway=open_gateway(settings.gateway, catalog, storage or storage_client(settings)),
        warehouse=open_warehouse(settings.warehouse, catalog, bigquery or bigquery_client(settings)),
    )
