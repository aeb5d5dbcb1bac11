"""What the tests of faults share: a warehouse on the emulator, behind a proxy that answers with errors or cuts connections."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery import retry
from gaelp_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gaelp_assets_tests.contract.warehouses import CATALOG, RELATIONS, Stager
from gaelp_assets_tests.emulators.bigquery import PROJECT, NoPython, emulator
from gaelp_assets_tests.emulators.faults import Proxy, proxying


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    try:
        address = emulator()
    except NoPython as reason:
        pytest.skip(str(reason))
    with proxying(address) as proxy:
        yield proxy


@pytest.fixture
def address(tmp_path: Path) -> BigQueryAddress:
    return BigQueryAddress(PROJECT, "US", f"f{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}_")


@pytest.fixture
def client(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Makes clients that speak to the proxy; pauses are short."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.05)

    def make() -> Any:
        credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
        options = ClientOptions(api_endpoint=proxy.address)
        return bigquery.Client(PROJECT, credentials=credentials, client_options=options, location="US")

    return make


@pytest.fixture
def warehouse(client: Callable[[], Any], address: BigQueryAddress) -> BigQueryWarehouse:
    warehouse = BigQueryWarehouse(address, CATALOG, factory=client)
    warehouse._jobs._deadline = 5.0  # seconds, for what is sat out before the next thing is tried
    warehouse.ensure(RELATIONS)
    return warehouse


@pytest.fixture
def stage(tmp_path: Path) -> Stager:
    (tmp_path / "staged").mkdir()
    return Stager(tmp_path / "staged")
