"""Which engine answers for the settings' warehouse: one registry line each. Nothing here can change a warehouse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from gaelp_assets.catalog import Catalog
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.settings import BigQueryAddress, DuckDBAddress
from gaelp_assets.warehouse.reader import Reader

if TYPE_CHECKING:
    from google.cloud import bigquery

T = TypeVar("T")
Opener: TypeAlias = "Callable[[Any, Catalog, Callable[[], bigquery.Client] | None], T]"
"""Takes an address, the catalogue, and what makes Google's client (None: the engine's own way)."""


def _duckdb(address: DuckDBAddress, catalog: Catalog, _: Callable[[], bigquery.Client] | None) -> Reader:
    from gaelp_assets.warehouse.duckdb.reader import DuckDBReader

    return DuckDBReader(address.file, catalog)


def _bigquery(
    address: BigQueryAddress, catalog: Catalog, bigquery: Callable[[], bigquery.Client] | None
) -> Reader:
    from gaelp_assets.warehouse.bigquery.reader import BigQueryReader

    return BigQueryReader(address, catalog, factory=bigquery)


READERS: Final[Mapping[type, Opener[Reader]]] = {DuckDBAddress: _duckdb, BigQueryAddress: _bigquery}


def open_reader(
    address: object, catalog: Catalog, bigquery: Callable[[], bigquery.Client] | None = None
) -> Reader:
    """The reader of the warehouse at an address of the settings. Nothing is opened yet.

    `bigquery` makes Google's client (default: with the application default credentials, or none for an emulator).

    Raises:
        GaelpError: there is no engine for such an address.
    """
    return opener(READERS, address)(address, catalog, bigquery)


def opener(engines: Mapping[type, Opener[T]], address: object) -> Opener[T]:
    """What opens an address of that type.

    Raises:
        GaelpError: nothing does.
    """
    engine = engines.get(type(address))
    if engine is None:
        raise GaelpError(
            Problem(
                f"no engine for a {type(address).__name__}",
                "GAELP_WAREHOUSE",
                "one of " + ", ".join(sorted(known.__name__ for known in engines)),
            )
        )
    return engine
