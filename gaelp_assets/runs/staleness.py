"""Which derived relations are older than what they read, or were computed by other code, slice by slice.

Of what is stored, the warehouse tells: what each slice was computed from stands in `ops.refreshes` (see `warehouse.refreshes`). A plain
view holds nothing; of it, Dagster tells whether it has been looked at with its present code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import dagster as dg

from gaelp_assets.assets.partitions import asset_key
from gaelp_assets.catalog import WHOLE, Catalog
from gaelp_assets.catalog.derivation import code_version, stored_sources
from gaelp_assets.operations.stale import StaleSlice, stale_slices
from gaelp_assets.warehouse.refreshes import Why

if TYPE_CHECKING:
    from gaelp_assets.platform_reader import PlatformReader

CODE_VERSION_TAG: Final = "dagster/code_version"
SLICES_AT_ONCE: Final = 1_000
"""How many stale slices of a relation one look returns at most; what is beyond them is found when these are done."""


def find_stale(
    platform: PlatformReader, instance: dg.DagsterInstance, limit: int = SLICES_AT_ONCE
) -> list[StaleSlice]:
    """The slices of derived relations that want computing: at most `limit` of each stored one, and all plain views.

    Those whose sources have other rows come before those that were computed by other code.

    Raises:
        GaelpError: the warehouse cannot be asked.
    """
    return [*stale_slices(platform, limit), *_views(platform.catalog, instance)]


def _views(catalog: Catalog, instance: dg.DagsterInstance) -> Iterator[StaleSlice]:
    records = {
        record.asset_entry.asset_key: record.asset_entry
        for record in instance.get_asset_records([asset_key(relation) for relation in catalog])
        if record.asset_entry.last_materialization_storage_id is not None
    }
    for relation in catalog.derived:
        sources = [asset_key(source) for source in stored_sources(catalog, relation)]
        if relation.is_stored or not any(source in records for source in sources):
            continue
        entry = records.get(asset_key(relation))
        event = entry.last_materialization if entry is not None else None
        materialization = event.asset_materialization if event is not None else None
        if materialization is None:
            yield StaleSlice(relation, WHOLE, Why.NEVER_COMPUTED)
        elif (materialization.tags or {}).get(CODE_VERSION_TAG) != code_version(catalog, relation):
            yield StaleSlice(relation, WHOLE, Why.OTHER_CODE)
