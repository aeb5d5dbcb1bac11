"""What is particular to a gateway in a bucket: lost answers, refusals, storms, and what travels over the wire."""

from __future__ import annotations

import datetime as dt
import gzip
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from google.api_core.retry import retry_unary
from google.cloud.storage import Client

from gaelp_assets.catalog import Catalog
from gaelp_assets.errors import GaelpError, TransientError
from gaelp_assets.gateway import ObjectChanged, StoredObject, open_gateway
from gaelp_assets.gateway.stores.gcs import GcsStore, make_client
from gaelp_assets.gateway.stores.gcs_errors import account_of
from gaelp_assets.gateway.stores.gcs_reader import CHUNK_BYTES
from gaelp_assets.settings import GcsGateway, LocalGateway
from gaelp_assets_tests.contract.gcs_server import Fault, GcsServer, collected_connections

SMALL = b"small\n"
# 17 MiB: a resumable upload of three chunks, read in three ranges.
LARGE = bytes(range(256)) * (17 * 1024 * 4)

# Google's client leaves the connection of a refused download to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Delays between tries are cut short, and the client does not ask for the bucket's metadata in the background."""
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    slept = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.01)), monotonic=time.monotonic)
    monkeypatch.setattr(retry_unary, "time", slept)
    with collected_connections():
        yield


@pytest.fixture
def server() -> Iterator[GcsServer]:
    with GcsServer().running() as server:
        yield server


def connect(server_url: str) -> Client:
    return Client(project=None, client_options={"api_endpoint": server_url}, use_auth_w_custom_endpoint=False)


@pytest.fixture
def store(server: GcsServer) -> Iterator[GcsStore]:
    with connect(server.url) as client:
        yield GcsStore(client, server.bucket, retry_seconds=10)


def put(store: GcsStore, name: str, content: bytes = SMALL) -> StoredObject:
    stored = store.create(name, [content])
    assert stored is not None
    return stored


def read(store: GcsStore, stored: StoredObject) -> bytes:
    with store.open(stored) as file:
        return file.read()


def names(store: GcsStore) -> list[str]:
    return [stored.name for stored in store.list("")]


def test_three_thousand_objects_come_in_pages_of_a_thousand_as_they_are_needed(
    server: GcsServer, store: GcsStore
) -> None:
    for number in range(3000):
        server.put(f"raw/{number:05}.ndjson", b"")
    listed = store.list("raw/")
    assert next(listed).name == "raw/00000.ndjson"
    assert len(server.requests) == 1
    assert len(list(listed)) == 2999
    assert len(server.requests) == 3
    assert all("maxResults=1000" in request for request in server.requests)
    assert [stored.name for stored in store.list("raw/", start_after="raw/02997.ndjson")] == [
        "raw/02998.ndjson",
        "raw/02999.ndjson",
    ]
    assert len(server.requests) == 4


def test_folder_markers_of_the_console_are_no_files(server: GcsServer, store: GcsStore) -> None:
    server.put("raw/training/", b"")
    put(store, "raw/training/a.ndjson")
    assert names(store) == ["raw/training/a.ndjson"]


def test_names_that_only_a_bucket_allows_can_be_listed_and_moved_away(
    server: GcsServer, store: GcsStore
) -> None:
    for number, name in enumerate(["raw/../../a", "raw//b", "raw/c\\d"]):
        server.put(name, SMALL)
        (stored,) = store.list("raw/")
        assert stored.name == name
        assert read(store, store.move(stored, f"failed/{number}")) == SMALL
    assert names(store) == ["failed/0", "failed/1", "failed/2"]


# Storms and refusals

OPERATIONS: dict[str, Callable[[GcsStore, StoredObject], object]] = {
    "list": lambda store, stored: list(store.list("raw/")),
    "find": lambda store, stored: store.find("raw/a.ndjson"),
    "open": lambda store, stored: read(store, stored),
    "create": lambda store, stored: store.create("raw/new.ndjson", [SMALL]),
    "create large": lambda store, stored: store.create("raw/new.ndjson", [LARGE[: 9 * 1024 * 1024]]),
    "move": lambda store, stored: store.move(stored, "sent/a.ndjson"),
    "delete": lambda store, stored: store.delete(stored),
}


@pytest.mark.parametrize("outcome", [408, 429, 500, 503, "cut before", "cut after"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_passes_is_tried_again(server: GcsServer, store: GcsStore, operation: str, outcome: int) -> None:
    stored = put(store, "raw/a.ndjson")
    server.inject(Fault(".", outcome, times=3))
    result = OPERATIONS[operation](store, stored)
    assert result is not None or operation == "delete"
    expected = {"move": ["sent/a.ndjson"], "delete": []}
    made = ["raw/new.ndjson"] if operation.startswith("create") else []
    assert names(store) == expected.get(operation, ["raw/a.ndjson", *made])


@pytest.mark.parametrize("outcome", [429, 503, "cut before"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_storm_that_does_not_pass_is_a_transient_error_in_bounded_time(
    server: GcsServer, operation: str, outcome: int
) -> None:
    with connect(server.url) as client:
        store = GcsStore(client, server.bucket, retry_seconds=0.2)
        stored = put(store, "raw/a.ndjson")
        server.inject(Fault(".", outcome, times=1_000_000))
        with pytest.raises(TransientError) as caught:
            OPERATIONS[operation](store, stored)
    assert "gs://gaelp-tests" in str(caught.value)
    assert list(server.objects) == ["raw/a.ndjson"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_missing_permission_names_role_and_account_and_is_not_tried_again(
    server: GcsServer, store: GcsStore, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = put(store, "raw/a.ndjson")
    monkeypatch.setattr(
        store._client._credentials,
        "service_account_email",
        "loader@project.iam.gserviceaccount.com",
        raising=False,
    )
    server.requests.clear()
    server.inject(Fault(".", 403, times=1_000, reason="forbidden"))
    with pytest.raises(GaelpError) as caught:
        OPERATIONS[operation](store, stored)
    assert not isinstance(caught.value, TransientError)
    assert "roles/storage.objectUser" in str(caught.value)
    assert "loader@project.iam.gserviceaccount.com" in str(caught.value)
    assert len(server.requests) == 1


def test_a_move_that_may_not_remove_says_so_and_is_completed_once_it_may(
    server: GcsServer, store: GcsStore
) -> None:
    stored = put(store, "raw/a.ndjson")
    server.inject(Fault("^DELETE", 403, reason="forbidden"))
    with pytest.raises(GaelpError, match=r"roles/storage\.objectUser"):
        store.move(stored, "sent/a.ndjson")
    assert read(store, store.move(stored, "sent/a.ndjson")) == SMALL
    assert names(store) == ["sent/a.ndjson"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_rate_limit_that_calls_itself_forbidden_is_transient(
    server: GcsServer, store: GcsStore, operation: str
) -> None:
    stored = put(store, "raw/a.ndjson")
    server.inject(Fault(".", 403, times=1_000, reason="rateLimitExceeded"))
    with pytest.raises(TransientError):
        OPERATIONS[operation](store, stored)


def test_a_retention_policy_is_told_apart_from_a_missing_role(server: GcsServer, store: GcsStore) -> None:
    stored = put(store, "raw/a.ndjson")
    server.inject(Fault("^DELETE", 403, reason="retentionPolicyNotMet"))
    with pytest.raises(GaelpError, match="retention policy"):
        store.delete(stored)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_credentials_that_are_not_taken_say_how_to_sign_in(
    server: GcsServer, store: GcsStore, operation: str
) -> None:
    stored = put(store, "raw/a.ndjson")
    server.inject(Fault(".", 401, times=1_000, reason="required"))
    with pytest.raises(GaelpError, match="gcloud auth application-default login") as caught:
        OPERATIONS[operation](store, stored)
    assert not isinstance(caught.value, TransientError)


@pytest.mark.parametrize("operation", [*OPERATIONS, "prepare"])
def test_a_missing_bucket_is_not_an_empty_queue(server: GcsServer, operation: str) -> None:
    stored = StoredObject("raw/a.ndjson", 6, dt.datetime.now(dt.UTC), "1")
    with connect(server.url) as client:
        store = GcsStore(client, "no-such-bucket", retry_seconds=1)
        with pytest.raises(GaelpError, match="no bucket 'no-such-bucket'") as caught:
            store.prepare(()) if operation == "prepare" else OPERATIONS[operation](store, stored)
    assert not isinstance(caught.value, TransientError)
    assert "GAELP_GATEWAY" in str(caught.value)


def test_an_unreachable_service_is_a_transient_error() -> None:
    with GcsServer().running() as server:
        url = server.url
    with connect(url) as client, pytest.raises(TransientError, match="cannot list"):
        list(GcsStore(client, "bucket", retry_seconds=0.2).list("raw/"))


def test_no_credentials_at_all_say_how_to_sign_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    with pytest.raises(GaelpError, match="gcloud auth application-default login"):
        make_client()


def test_an_account_is_named_as_far_as_its_credentials_tell() -> None:
    assert account_of(SimpleNamespace(service_account_email="a@b.c")) == "a@b.c"
    assert (
        account_of(SimpleNamespace(service_account_email="default", account="me@example.org"))
        == "me@example.org"
    )
    assert "gcloud auth list" in account_of(SimpleNamespace())


# Answers that get lost


@pytest.mark.parametrize("content", [SMALL, LARGE])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("^POST /upload", "cut after"),
        Fault("^POST /upload", "cut midway"),
        Fault("^PUT", "cut midway"),
        Fault("^PUT", "cut after"),
        Fault("^PUT", "cut after", skip=2),
        Fault("^PUT", "keep less"),
        Fault("^PUT", "keep less", skip=1, times=2),
        Fault("^PUT", 410),
        Fault("^PUT", 404),
        Fault("^PUT", 503, skip=1, times=2),
    ],
    ids=lambda fault: (
        f"{fault.pattern[1:5]} {fault.outcome} after {fault.skip}" if isinstance(fault, Fault) else None
    ),
)
def test_a_connection_cut_during_upload_or_commit_ends_with_one_object_that_is_known_as_ours(
    server: GcsServer, store: GcsStore, fault: Fault, content: bytes
) -> None:
    server.inject(fault)
    stored = store.create("raw/a.ndjson", [content])
    assert stored is not None, "the answer got lost, and our own object was taken for somebody else's"
    assert store.find("raw/a.ndjson") == stored
    assert server.objects["raw/a.ndjson"].content == content


def test_an_answer_lost_for_good_is_found_out_before_it_counts_as_failed(server: GcsServer) -> None:
    with connect(server.url) as client:
        store = GcsStore(client, server.bucket, retry_seconds=0.3)
        server.inject(Fault("^POST /upload", "cut after"), Fault("^POST /upload", 503, times=1_000_000))
        assert store.create("raw/a.ndjson", [SMALL]) is not None


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_lost_answer_does_not_claim_what_another_writer_made_even_of_the_same_bytes(
    server: GcsServer, store: GcsStore, content: bytes
) -> None:

    def come_first(line: str) -> None:
        if "upload" in line and not server.objects:
            server.put("raw/a.ndjson", content)

    server.before = come_first
    server.inject(Fault("upload", "cut before"))
    assert store.create("raw/a.ndjson", [content]) is None


def test_a_writer_that_comes_between_start_and_end_of_an_upload_wins(
    server: GcsServer, store: GcsStore
) -> None:
    def come_between(line: str) -> None:
        if line.startswith("PUT") and not server.objects:
            server.put("raw/a.ndjson", b"theirs")

    server.before = come_between
    assert store.create("raw/a.ndjson", [LARGE]) is None
    assert server.objects["raw/a.ndjson"].content == b"theirs"


@pytest.mark.parametrize("pattern", ["rewriteTo", "^DELETE"])
def test_a_crash_in_the_middle_of_a_move_is_healed_by_moving_again(
    server: GcsServer, store: GcsStore, pattern: str
) -> None:
    stored = put(store, "raw/a.ndjson")
    killed = GcsStore(store._client, server.bucket, retry_seconds=0.1)
    server.inject(Fault(pattern, "cut after" if pattern == "rewriteTo" else "cut before", times=30))
    try:
        killed.move(stored, "sent/a.ndjson")
    except TransientError:
        server.clear_faults()
        assert read(store, store.move(stored, "sent/a.ndjson")) == SMALL
    assert names(store) == ["sent/a.ndjson"]


def test_a_large_move_takes_as_many_steps_as_the_service_likes(server: GcsServer, store: GcsStore) -> None:
    stored = put(store, "raw/a.ndjson", LARGE)
    server.rewrite_step = 8 * 1024 * 1024
    assert read(store, store.move(stored, "sent/a.ndjson")) == LARGE
    assert len([line for line in server.requests if "rewriteTo" in line]) == 3


def test_every_change_carries_a_generation_precondition(server: GcsServer, store: GcsStore) -> None:
    store.move(put(store, "raw/a.ndjson", LARGE), "sent/a.ndjson")
    store.delete(put(store, "raw/b.ndjson"))
    changes = [line for line in server.requests if re.match("POST|DELETE", line)]
    assert len(changes) == 5
    assert all("ifGenerationMatch=" in line for line in changes)
    assert all("ifSourceGenerationMatch=" in line for line in changes if "rewriteTo" in line)


# Reading


def test_an_object_replaced_while_it_is_read_is_noticed(server: GcsServer, store: GcsStore) -> None:
    stored = put(store, "raw/a.ndjson", LARGE)
    with store.open(stored) as file:
        assert file.read(1000) == LARGE[:1000]
        server.put("raw/a.ndjson", LARGE)
        with pytest.raises(ObjectChanged):
            file.read()


@pytest.mark.parametrize("outcome", ["cut midway", "cut after", 503])
def test_a_download_that_breaks_off_goes_on_where_it_was(
    server: GcsServer, store: GcsStore, outcome: int
) -> None:
    stored = put(store, "raw/a.ndjson", LARGE)
    server.inject(Fault("alt=media", outcome), Fault("alt=media", outcome, skip=2))
    with store.open(stored) as file:
        assert b"".join(iter(lambda: file.read(999_983), b"")) == LARGE


def test_bytes_that_come_damaged_are_noticed(server: GcsServer, store: GcsStore) -> None:
    stored = put(store, "raw/a.ndjson", LARGE)
    with store.open(stored) as file:
        file.read(1)
        server.objects["raw/a.ndjson"].content = LARGE[:-1] + b"?"
        with pytest.raises(TransientError, match="CRC-32C"):
            list(iter(lambda: file.read(CHUNK_BYTES), b""))


def test_compressed_objects_come_as_they_are_stored(server: GcsServer, store: GcsStore) -> None:
    content = gzip.compress(b"{}\n")
    server.put("raw/a.ndjson.gz", content, contentEncoding="gzip", contentType="application/x-ndjson")
    (stored,) = store.list("raw/")
    assert read(store, stored) == content


# Settings


def test_settings_open_the_store_that_they_name(
    server: GcsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    bucket = open_gateway(GcsGateway(server.bucket, "a/b"), Catalog([]))
    bucket.prepare()
    assert bucket.url == "gs://gaelp-tests/a/b"
    assert isinstance(bucket.store, GcsStore)
    bucket.store._client.close()
    folder = open_gateway(LocalGateway(tmp_path / "gateway"), Catalog([]))
    folder.prepare()
    assert folder.url == f"file://{tmp_path}/gateway"
    assert folder.pending().files == []
