"""Google's clients, made by dagster-gcp's resources, so that credentials are configured as everywhere else in Dagster.

The only module below `assets` that may import Dagster's integrations: engines and stores get a function that makes their client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gaelp_assets.settings import BigQueryAddress, GcsGateway, Settings

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


def storage_client(settings: Settings) -> Callable[[], storage.Client] | None:
    """What makes the client of a gateway in a bucket; None for another gateway."""
    if not isinstance(settings.gateway, GcsGateway):
        return None

    def make() -> storage.Client:
        from dagster_gcp import GCSResource

        return GCSResource().get_client()

    return make


def bigquery_client(settings: Settings) -> Callable[[], bigquery.Client] | None:
    """What makes the client of a warehouse on BigQuery; None for another warehouse.

    None for an emulator too: dagster-gcp's resource knows no endpoints and insists on credentials.
    """
    warehouse = settings.warehouse
    if not isinstance(warehouse, BigQueryAddress) or warehouse.emulator is not None:
        return None

    def make() -> bigquery.Client:
        from dagster_gcp import BigQueryResource

        with BigQueryResource(project=warehouse.project, location=warehouse.location).get_client() as client:
            return client

    return make
