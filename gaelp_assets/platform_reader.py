"""The platform as it is looked at: catalogue, gateway and a warehouse that answers. What only reads takes a `PlatformReader`.

Import contracts in `pyproject.toml` keep such code from `platform`, which loads and changes a warehouse.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from gaelp_assets.catalog import Catalog, load_catalog, texts
from gaelp_assets.catalog.folders import FOLDER, catalog_folders
from gaelp_assets.catalog.load import read_relations
from gaelp_assets.catalog.texts import references
from gaelp_assets.clients import bigquery_client, storage_client
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import Gateway, open_gateway
from gaelp_assets.settings import Settings
from gaelp_assets.sql.sound import sound_catalog
from gaelp_assets.validation.rules import check_problems
from gaelp_assets.warehouse.open_reader import open_reader
from gaelp_assets.warehouse.parameters import Parameters
from gaelp_assets.warehouse.reader import QueryResult, Reader

if TYPE_CHECKING:
    import pandas as pd
    from google.cloud import bigquery, storage


@dataclass(frozen=True)
class PlatformReader:
    """A catalogue, a gateway and a warehouse that belong together; the warehouse answers, and no more."""

    settings: Settings
    catalog: Catalog
    gateway: Gateway
    warehouse: Reader

    @property
    def last_date(self) -> dt.date:
        """The last day of which rows are taken (see `last_date`)."""
        return last_date()

    def query(
        self, sql: str, parameters: Parameters | None = None, *, row_limit: int | None = None
    ) -> pl.DataFrame:
        """The rows of `answer`.

        >>> from gaelp_assets.settings import load_settings
        >>> open_platform_reader(load_settings()).query("SELECT COUNT(*) AS n FROM training.episodes").to_dicts()
        [{'n': 0}]
        """
        return self.answer(sql, parameters, row_limit=row_limit).frame

    def answer(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        row_limit: int | None = None,
        counting: float | None = None,
    ) -> QueryResult:
        """The result of a GoogleSQL query over relations of the catalogue, and its cost; a relation that is not there is empty.

        With `counting`, rows beyond the `row_limit` are counted, for so many seconds at most.

        Raises:
            GaelpError: the query is wrong, reads what the catalogue does not know (the known relations are listed), or takes longer
                than the settings allow.
        """
        self._check(sql)
        return self.warehouse.query(
            sql, parameters, row_limit=row_limit, time_limit=self.settings.query_seconds, counting=counting
        )

    def query_pandas(self, sql: str, parameters: Parameters | None = None) -> pd.DataFrame:
        """As `query`, with the types that `pandas-gbq` gives a frame. Raises as `answer` does."""
        self._check(sql)
        return self.warehouse.to_pandas(sql, parameters, time_limit=self.settings.query_seconds)

    def _check(self, sql: str) -> None:
        try:
            names = references(sql)
        except ValueError as error:
            raise GaelpError(Problem(str(error), "SQL", "one GoogleSQL SELECT statement")) from None
        for name in sorted(names):
            self.catalog.find(name)


def last_date() -> dt.date:
    """The last day of which rows are taken: tomorrow in UTC, for producers whose day has begun already."""
    return dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)


def read_catalog(users: Sequence[Path] = (), *, folder: Path = FOLDER) -> Catalog:
    """The shipped catalogue (or another `folder` in its place) with the users' folders over it, its check rules looked at too.

    Raises:
        GaelpError: with every problem of every file.
    """
    return load_catalog(folder, check_problems, users=users)


def read_sound_catalog(settings: Settings, *, remember: bool = True) -> Catalog:
    """The catalogue that the settings name, without the derived relations that cannot be used: these are in its `set_aside`.

    Args:
        settings: they name the users' folders, and the home in whose cache it is kept what SQL tells and which views are sound.
        remember: whether to write that cache, if its folder is there.

    Raises:
        GaelpError: something else is wrong with the files; with every problem that reading them found.
    """
    cache = settings.home / "cache"
    texts.recall(cache / "sql_texts.json")
    reading = read_relations(FOLDER, check_problems, users=catalog_folders(settings))
    catalog = sound_catalog(reading, cache / "sound_views.json", remember=remember)
    if remember:
        texts.remember(
            cache / "sql_texts.json", [found.sql for found in reading.relations if found.sql is not None]
        )
    return catalog


def catalog_and_gateway(
    settings: Settings,
    catalog: Catalog | None,
    storage: Callable[[], storage.Client] | None,
    *,
    remember: bool = False,
) -> tuple[Catalog, Gateway]:
    """The catalogue, read where none is given (see `read_sound_catalog`), and the gateway of its tables; touches no gateway yet."""
    catalog = catalog if catalog is not None else read_sound_catalog(settings, remember=remember)
    return catalog, open_gateway(settings.gateway, catalog, storage or storage_client(settings))


def open_platform_reader(
    settings: Settings,
    catalog: Catalog | None = None,
    *,
    storage: Callable[[], storage.Client] | None = None,
    bigquery: Callable[[], bigquery.Client] | None = None,
) -> PlatformReader:
    """The platform that the settings describe, to be looked at. Touches neither gateway nor warehouse yet.

    `storage` and `bigquery` make Google's clients, where the settings name a bucket or a BigQuery project (default: those of `clients`).
    """
    catalog, gateway = catalog_and_gateway(settings, catalog, storage)
    return PlatformReader(
        settings=settings,
        catalog=catalog,
        gateway=gateway,
        warehouse=open_reader(settings.warehouse, catalog, bigquery or bigquery_client(settings)),
    )
