"""The whole platform, put together from the settings: what loads, assets and sensors work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.clients import bigquery_client
from gaelp_assets.platform_reader import PlatformReader, catalog_and_gateway, read_catalog, read_sound_catalog
from gaelp_assets.settings import Settings
from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER
from gaelp_assets.warehouse.open import open_warehouse
from gaelp_assets.warehouse.protocol import Warehouse

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


@dataclass(frozen=True)
class Platform(PlatformReader):
    """A catalogue, a gateway and a warehouse that belong together; the warehouse is loaded and follows the catalogue, too."""

    warehouse: Warehouse

    def ensure(self, relation: Relation) -> None:
        """Makes the relation, the ledger and the dead letter in the warehouse where they are missing or have grown."""
        self.warehouse.ensure([relation, self.catalog[LEDGER], self.catalog[DEAD_LETTER]])


def open_platform(
    settings: Settings,
    catalog: Catalog | None = None,
    *,
    storage: Callable[[], storage.Client] | None = None,
    bigquery: Callable[[], bigquery.Client] | None = None,
) -> Platform:
    """The platform that the settings describe. Touches neither gateway nor warehouse yet.

    `storage` and `bigquery` make Google's clients, where the settings name a bucket or a BigQuery project (default: those of `clients`).

    >>> from gaelp_assets.settings import load_settings
    >>> platform = open_platform(load_settings())
    >>> platform.ensure(platform.catalog["training.episodes"])
    """
    catalog, gateway = catalog_and_gateway(settings, catalog, storage, remember=True)
    return Platform(
        settings=settings,
        catalog=catalog,
        gateway=gateway,
        warehouse=open_warehouse(settings.warehouse, catalog, bigquery or bigquery_client(settings)),
    )


__all__ = ["Platform", "open_platform", "read_catalog", "read_sound_catalog"]
