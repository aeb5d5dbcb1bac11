"""The export gateway: stages of files between producers and the warehouse, in a folder or a bucket.

`paths` says what a name means, `gateway` moves files between stages, `store` is what a place for files must be able to do, and
`stores` holds the places. Names of files belong here; what is in the files does not (`ingest`).

What is named here is imported when it is asked for: a training loop that records takes a store alone, without the catalogue.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaelp_assets.gateway.gateway import FailedFile, Gateway, Listing, PendingSlice, Queue, StageCount
    from gaelp_assets.gateway.open import open_gateway
    from gaelp_assets.gateway.paths import GatewayFile, Stage
    from gaelp_assets.gateway.store import ObjectChanged, Store, StoredObject

__all__ = [
    "FailedFile",
    "Gateway",
    "GatewayFile",
    "Listing",
    "ObjectChanged",
    "PendingSlice",
    "Queue",
    "Stage",
    "StageCount",
    "Store",
    "StoredObject",
    "open_gateway",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gaelp_assets.gateway import gateway, open, paths, store  # noqa: A004 - a module of this package

    return next(vars(module)[name] for module in (store, paths, gateway, open) if name in vars(module))
