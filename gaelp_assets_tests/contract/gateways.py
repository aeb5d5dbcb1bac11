"""The gateway stores that the contract suite runs on, and what its tests do with each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from gaelp_assets.gateway import Stage, Store, StoredObject
from gaelp_assets.gateway.stores.gcs import GcsStore
from gaelp_assets.gateway.stores.local import LocalStore
from gaelp_assets_tests.contract.gcs_server import GcsServer, collected_connections

STORES: Final = ("local", "gcs")
PREFIX: Final = "some/prefix"


@contextmanager
def open_store(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty, prepared store of that kind."""
    if kind == "local":
        local = LocalStore(folder)
        local.prepare([stage.value for stage in Stage])
        yield local
        return
    from google.cloud.storage import Client

    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    with collected_connections(), GcsServer().running() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        with Client(project=None) as client:
            yield GcsStore(client, server.bucket, PREFIX, retry_seconds=5)


def put(store: Store, name: str, content: bytes = b"{}\n") -> StoredObject:
    stored = store.create(name, [content])
    assert stored is not None, name
    return stored


def read(store: Store, stored: StoredObject) -> bytes:
    with store.open(stored) as file:
        return file.read()


def names(store: Store, prefix: str = "raw/", start_after: str = "") -> list[str]:
    return [stored.name for stored in store.list(prefix, start_after=start_after)]


def at_once(number: int, work: Callable[[int], object]) -> list[object]:
    """What `work` returns, or raises, in that many threads that start together."""
    results: list[object] = [None] * number
    barrier = threading.Barrier(number)

    def run(index: int) -> None:
        barrier.wait()
        try:
            results[index] = work(index)
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def put_from_outside(store: Store, name: str, content: bytes = b"{}\n") -> None:
    """Writes as a program would that knows nothing of stores, over whatever is there."""
    if isinstance(store, LocalStore):
        path = store.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        plan_replace = path.with_name(".outside")
        plan_replace.write_bytes(content)
        plan_replace.replace(path)
    else:
        assert isinstance(store, GcsStore)
        store._bucket.blob(f"{PREFIX}/{name}").upload_from_string(content)


def server_of(store: GcsStore) -> GcsServer:
    return next(server for server in GcsServer.open_servers if server.url == store._client.api_endpoint)
