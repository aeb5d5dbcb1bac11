"""From settings to a gateway: one registry line for each kind of store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from gaelp_assets.catalog import Catalog
from gaelp_assets.gateway.gateway import Gateway
from gaelp_assets.gateway.store import Store
from gaelp_assets.settings import GcsGateway, LocalGateway

if TYPE_CHECKING:
    from google.cloud import storage


def open_gateway(
    where: LocalGateway | GcsGateway, catalog: Catalog, storage: Callable[[], storage.Client] | None = None
) -> Gateway:
    """The gateway that the settings name. The caller calls its `require()` (or, to make one, `prepare()`) once, before it is used.

    Args:
        where: the folder or the bucket.
        catalog: the relations that files can belong to.
        storage: makes Google's client for a bucket; by default one with the application default credentials.

    Raises:
        GaelpError: there are no credentials for Google Cloud Storage.
    """
    return Gateway(_STORES[type(where)](where, storage), catalog)


def _local(where: LocalGateway, _: Callable[[], storage.Client] | None) -> Store:
    from gaelp_assets.gateway.stores.local import LocalStore

    return LocalStore(where.folder)


def _gcs(where: GcsGateway, storage: Callable[[], storage.Client] | None) -> Store:
    from gaelp_assets.gateway.stores.gcs import GcsStore, make_client

    return GcsStore(make_client(storage), where.bucket, where.prefix)


_STORES: Final[Mapping[type, Callable[[Any, Callable[[], storage.Client] | None], Store]]] = {
    LocalGateway: _local,
    GcsGateway: _gcs,
}
