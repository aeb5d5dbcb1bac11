"""A queue of 100,000 files in a bucket: read page by page, in bounded memory, and counted in one pass."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from collections.abc import Iterator
from itertools import islice

import pytest
from google.cloud.storage import Client

from gaelp_assets.catalog import Slice
from gaelp_assets.gateway import Gateway, Stage
from gaelp_assets.gateway.stores.gcs import PAGE_SIZE, GcsStore
from gaelp_assets.platform import read_catalog
from gaelp_assets_tests.contract.gcs_server import GcsServer

FILES = 100_000
DATES = 20
MIDDLE = 20_000
# Objects of a page, several times over; those of the traced stretch would take five times as much.
MOST_BYTES = 8 * 1024 * 1024

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[GcsServer]:
    with GcsServer().running() as server:
        for number in range(FILES):
            slice_ = f"date=2026-11-{number % DATES + 1:02}/environment=CartPole-v1"
            server.put(f"a/cloud_ready/training/checkpoints/{slice_}/{number:06}.ndjson", b"{}\n")
        yield server


@pytest.fixture
def store(server: GcsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsStore]:
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    options = {"api_endpoint": server.url}
    with Client(project=None, client_options=options, use_auth_w_custom_endpoint=False) as client:
        server.requests.clear()
        yield GcsStore(client, server.bucket, "a")


def test_the_queue_of_100_000_files_is_counted_in_one_pass_of_full_pages(
    server: GcsServer, store: GcsStore
) -> None:
    queue = Gateway(store, read_catalog()).queue()
    assert [pending.files for pending in queue.slices.values()] == [FILES // DATES] * DATES
    assert len(server.requests) <= FILES // PAGE_SIZE + 1


def test_listing_100_000_files_holds_a_page_at_a_time(server: GcsServer, store: GcsStore) -> None:
    listed = store.list("cloud_ready/")
    seen = sum(1 for _ in islice(listed, PAGE_SIZE))
    assert len(server.requests) == 1
    tracemalloc.start()
    try:
        seen += sum(1 for _ in islice(listed, MIDDLE))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES
    assert len(server.requests) == 1 + MIDDLE // PAGE_SIZE
    assert seen + sum(1 for _ in listed) == FILES


def test_the_files_of_one_slice_are_listed_without_the_others(server: GcsServer, store: GcsStore) -> None:
    catalog = read_catalog()
    gateway = Gateway(store, catalog)
    slice_ = Slice(dt.date(2026, 11, DATES), "CartPole-v1")
    files = gateway.slice_files(catalog["training.checkpoints"], slice_, Stage.CLOUD_READY)
    assert len(files) == FILES // DATES
    assert len(server.requests) <= FILES // DATES // PAGE_SIZE + 1
