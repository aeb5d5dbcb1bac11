"""The Dagster code location: the catalogue becomes assets, checks and sensors. A wrong catalogue fails here, with all its
problems; a wrong view is an asset that shows them, and fails alone.

Each part is made elsewhere (`assets`, `sensors`, `resources`); here they are only put together.
"""

from __future__ import annotations

import gc
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import dagster as dg

from gaelp_assets.assets.beam import beam_assets
from gaelp_assets.assets.checks import checked, warehouse_checks
from gaelp_assets.assets.gateway import gateway_asset, ledger_assets
from gaelp_assets.assets.portal import portal_assets
from gaelp_assets.assets.set_aside import set_aside_asset
from gaelp_assets.assets.tables import table_asset
from gaelp_assets.assets.views import view_asset
from gaelp_assets.catalog import Catalog
from gaelp_assets.garbage import without_collections
from gaelp_assets.settings import DuckDBAddress, LocalGateway, Settings, load_settings
from resources.platform import platform_resource
from sensors.ingest import cloud_ready_sensor
from sensors.portal import portal_schedule
from sensors.raw import raw_sensor
from sensors.refresh import refresh_sensor

if TYPE_CHECKING:
    from dagster import AssetsDefinition, AssetSpec


def build_definitions(settings: Settings, catalog: Catalog | None = None) -> dg.Definitions:
    """The Dagster definitions of a catalogue.

    Args:
        settings: where the gateway and the warehouse are. Neither is touched yet.
        catalog: its relations become assets; the catalogue that the settings name if none is given.

    Raises:
        GaelpError: the catalogue has problems that are not of derived relations alone; all of them at once.

    >>> from gaelp_assets.settings import load_settings
    >>> definitions = build_definitions(load_settings())
    >>> dg.AssetKey(["training", "episodes"]) in definitions.resolve_all_asset_keys()
    True
    """
    with without_collections():
        return _build(settings, catalog if catalog is not None else _catalog(settings))


def _catalog(settings: Settings) -> Catalog:
    from gaelp_assets.catalog.remembered import keep_cache
    from gaelp_assets.platform import read_sound_catalog

    # Every process of Dagster reads the catalogue: what the first one works out is kept for the others.
    with suppress(OSError):
        settings.home.mkdir(parents=True, exist_ok=True)
    keep_cache(settings.home)
    return read_sound_catalog(settings)


def _build(settings: Settings, catalog: Catalog) -> dg.Definitions:
    engine = "duckdb" if isinstance(settings.warehouse, DuckDBAddress) else "bigquery"
    store = "filesystem" if isinstance(settings.gateway, LocalGateway) else "gcs"
    platform = platform_resource(settings, catalog)
    # Backfill policies are what lets a range be one run, and Dagster calls them beta.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets: list[AssetsDefinition | AssetSpec] = [
            gateway_asset(settings.gateway.url, store),
            *ledger_assets(catalog, engine),
        ]
        assets += [table_asset(relation, engine, settings.first_date) for relation in catalog.loaded]
        assets += [view_asset(relation, catalog, engine, settings) for relation in catalog.derived]
        known = {*catalog.relations, *catalog.set_aside}
        portal = portal_assets(catalog, settings.first_date)
        assets += portal
        assets += beam_assets(catalog, settings.beam, settings.first_date)
        assets += [
            set_aside_asset(found, known, engine, settings.first_date) for found in catalog.set_aside.values()
        ]
        return dg.Definitions(
            assets=assets,
            asset_checks=[
                warehouse_checks(relation, catalog, settings.first_date) for relation in checked(catalog)
            ],
            sensors=[
                raw_sensor(platform.open),
                cloud_ready_sensor(platform.open),
                refresh_sensor(platform.open),
            ],
            schedules=[portal_schedule()] if portal else [],
            resources={"platform": platform},
            executor=dg.in_process_executor,
        )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads."""
    found = build_definitions(load_settings())
    # They stay as long as the process: no search for reference cycles need walk them, in this start and after it.
    gc.freeze()
    return found
