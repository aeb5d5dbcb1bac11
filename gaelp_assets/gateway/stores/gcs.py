"""The gateway's files under a prefix of a Google Cloud Storage bucket, through Google's own client.

A request that can be sent twice is made so that it may: every change carries a generation precondition, and where an answer
gets lost, the bucket is asked what has become of it. See https://cloud.google.com/storage/docs/retry-strategy.
"""

from __future__ import annotations

import datetime as dt
import io
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.gateway.names import check_new_name, escape_problem, is_unfinished, shown
from gaelp_assets.gateway.store import ObjectChanged, StoredObject
from gaelp_assets.gateway.stores import gcs_errors
from gaelp_assets.gateway.stores.gcs_reader import CHUNK_BYTES, RangeReader

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Blob, Client

PAGE_SIZE: Final = 1000  # the most that the API returns at once
NAME_BYTES: Final = 1024
# New objects up to this size wait in memory for their upload, larger ones in a temporary file.
SPOOL_BYTES: Final = 16 * 1024 * 1024
RETRY_SECONDS: Final = 120.0
REQUEST_SECONDS: Final = 60.0
# After an upload that failed in the end, asking whether it arrived is worth this long.
LOOK_AGAIN_SECONDS: Final = 10.0
ATTEMPTS: Final = 3
# Custom metadata that tells this upload from others of the same name, and even of the same bytes.
UPLOAD_KEY: Final = "gaelp-upload"
_LISTED: Final = "items(name,size,updated,generation),nextPageToken"
_CONTENT_TYPES: Final = {"gz": "application/gzip", "zst": "application/zstd", "json": "application/json"}


def make_client(factory: Callable[[], Client] | None = None) -> Client:
    """The factory's client or, without one, a client with the application default credentials.

    Where `STORAGE_EMULATOR_HOST` is set, Google's client needs no credentials.

    Raises:
        GaelpError: there are no credentials.
    """
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage import Client

    try:
        # Objects are addressed by bucket: no project is needed.
        return factory() if factory is not None else Client(project=None)
    except GoogleAuthError as error:
        raise gcs_errors.no_credentials(error, "GAELP_GATEWAY") from error


class GcsStore:
    """A `Store` in a bucket; `retry_seconds` bounds how long one request is tried again before it is a TransientError."""

    def __init__(
        self, client: Client, bucket: str, prefix: str = "", *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._client = client
        self._bucket = client.bucket(bucket)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._retry_seconds = retry_seconds
        self._bucket_seen = False

    @property
    def url(self) -> str:
        """`gs://bucket/prefix`."""
        return f"gs://{self._bucket.name}/{self._prefix}".rstrip("/")

    def prepare(self, folders: Iterable[str]) -> None:  # noqa: ARG002 - a bucket needs no folders
        """Finds out whether the bucket is there and may be read.

        Raises:
            GaelpError: no credentials, no such bucket, or no permission.
            TransientError: Google Cloud Storage cannot be reached.
        """
        with self._reporting("reach the bucket", ""):
            next(self._pages(self._prefix, "", page_size=1), None)
        self._bucket_seen = True

    def require(self, folders: Iterable[str]) -> None:
        """As `prepare`: nobody makes a bucket by using it."""
        self.prepare(folders)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[StoredObject]:
        """The complete objects under the prefix in order of name; one page of 1,000 is held at a time."""
        pages = self._pages(f"{self._prefix}{prefix}", start_after and f"{self._prefix}{start_after}")
        while True:
            with self._reporting("list", prefix):
                page = next(pages, None)
            if page is None:
                return
            self._bucket_seen = True
            for blob in page:
                stored = self._stored(blob)
                # A name that ends in "/" is how the console and some tools show an empty folder.
                if (
                    stored.name > start_after
                    and not stored.name.endswith("/")
                    and not is_unfinished(stored.name)
                ):
                    yield stored

    def _pages(
        self, prefix: str, start_offset: str, *, page_size: int = PAGE_SIZE
    ) -> Iterator[Iterable[Blob]]:
        listed = self._client.list_blobs(
            self._bucket,
            prefix=prefix,
            start_offset=start_offset or None,
            page_size=page_size,
            fields=_LISTED,
            retry=self._retry(),
            timeout=REQUEST_SECONDS,
        )
        return cast("Iterator[Iterable[Blob]]", listed.pages)

    def specials(self, folder: str) -> Iterator[tuple[str, str]]:  # noqa: ARG002 - it has objects alone
        """Nothing."""
        return iter(())

    def find(self, name: str) -> StoredObject | None:
        """The object of that name, or None."""
        problem = escape_problem(name) or _not_utf8(name)
        if problem:
            raise GaelpError(problem)
        if is_unfinished(name) or len(f"{self._prefix}{name}".encode()) > NAME_BYTES:
            return None
        with self._reporting("look up", name):
            blob = self._get(f"{self._prefix}{name}")
        return None if blob is None else self._stored(blob)

    def open(self, stored: StoredObject) -> BinaryIO:
        """Its bytes, fetched in ranges of 8 MiB as they are read, the first one now.

        Raises:
            ObjectChanged: it is gone or replaced; while reading, too.
        """
        with self._reporting("reach the bucket", ""):
            self._check_bucket()
        reader = RangeReader(
            self._bucket.blob(f"{self._prefix}{stored.name}"),
            stored,
            self._retry(),
            REQUEST_SECONDS,
            lambda: self._reporting("read", stored.name),
        )
        buffered = io.BufferedReader(reader, CHUNK_BYTES)
        if stored.size:
            buffered.peek(1)
        else:
            self._check_version(stored)
        return buffered

    def _check_version(self, stored: StoredObject) -> None:
        with self._reporting("look up", stored.name):
            blob = self._get(f"{self._prefix}{stored.name}")
        if blob is None or str(blob.generation) != stored.version:
            raise ObjectChanged(shown(stored.name))

    def create(self, name: str, chunks: Iterable[bytes]) -> StoredObject | None:
        """Uploads a new object if its name is free. The content waits here until it is whole: an upload can start over.

        Raises:
            TransientError: also if this machine has no room for the content.
        """
        full_name = self._new_name(name)
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            for chunk in chunks:
                try:
                    spool.write(chunk)
                except OSError as error:
                    raise TransientError(
                        Problem(
                            f"no room to prepare an upload: {error.strerror}",
                            tempfile.gettempdir(),
                            "free space",
                        )
                    ) from error
            with self._reporting("write", name):
                blob = self._upload(full_name, cast("BinaryIO", spool), spool.tell())
        self._bucket_seen = True
        return None if blob is None else self._stored(blob)

    def _upload(self, full_name: str, content: BinaryIO, size: int) -> Blob | None:
        from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed, Unauthorized

        upload_id = uuid.uuid4().hex
        for attempt in range(1, ATTEMPTS + 1):
            blob = self._bucket.blob(full_name, chunk_size=CHUNK_BYTES)
            blob.metadata = {UPLOAD_KEY: upload_id}
            try:
                blob.upload_from_file(
                    content,
                    rewind=True,
                    size=size,
                    content_type=_CONTENT_TYPES.get(full_name.rpartition(".")[2], "application/x-ndjson"),
                    if_generation_match=0,
                    retry=self._retry(),
                    timeout=REQUEST_SECONDS,
                )
            except (Unauthorized, Forbidden):
                raise
            except Exception as error:
                # An answer that got lost looks like any other failure, and the second try like a name that is taken.
                arrived = self._arrived(full_name, upload_id)
                if arrived is not None:
                    return arrived
                if isinstance(error, PreconditionFailed):
                    return None
                # A session that is lost (404, 410), or of which the server kept less than the client thinks, starts again.
                lost = isinstance(error, NotFound) and self._bucket_seen
                if attempt == ATTEMPTS or not (lost or isinstance(error, ValueError) or _code(error) == 410):
                    raise
            else:
                return blob
        raise AssertionError("the last attempt returns or raises")

    def _arrived(self, full_name: str, upload_id: str) -> Blob | None:
        """The object, if it is this very upload's."""
        try:
            blob = self._get(full_name, seconds=min(LOOK_AGAIN_SECONDS, self._retry_seconds))
        except Exception as error:
            if gcs_errors.storage_error(error, "", "", "") is None:
                raise
            return None  # the upload's own error says more
        return blob if blob is not None and (blob.metadata or {}).get(UPLOAD_KEY) == upload_id else None

    def move(self, stored: StoredObject, name: str) -> StoredObject:
        """Copies that version within the bucket, then removes it; of several that move it at once, the removal lets one win.

        Done again after a crash between the two, it finds the copy and removes the source.
        """
        source, target = f"{self._prefix}{stored.name}", self._new_name(name)
        if source == target:  # the copy would be the source, and be removed
            self._check_version(stored)
            return stored
        with self._reporting("move", stored.name):
            copied = self._copy(source, stored, target)
            self._remove(stored)
        return self._stored(copied)

    def _copy(self, source: str, stored: StoredObject, target: str) -> Blob:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        expected = 0
        for _ in range(ATTEMPTS):
            try:
                return self._rewrite(source, target, int(stored.version), expected)
            except NotFound:
                self._check_bucket()
                raise ObjectChanged(shown(stored.name)) from None
            except PreconditionFailed:
                # Either the source is another version, or something is there already: an earlier copy, or what is replaced.
                there, found = self._get(source), self._get(target)
                if there is None or str(there.generation) != stored.version:
                    raise ObjectChanged(shown(stored.name)) from None
                if (
                    found is not None
                    and there.crc32c
                    and (found.crc32c, found.size) == (there.crc32c, there.size)
                ):
                    return found
                expected = 0 if found is None else int(found.generation or 0)
        raise TransientError(Problem("the place that it moves to keeps changing", self._where(stored.name)))

    def _rewrite(self, source: str, target: str, generation: int, expected: int) -> Blob:
        blob, token = self._bucket.blob(target), None
        while True:
            token, _, _ = blob.rewrite(
                self._bucket.blob(source),
                token=token,
                if_generation_match=expected,
                if_source_generation_match=generation,
                retry=self._retry(),
                timeout=REQUEST_SECONDS,
            )
            if token is None:
                return blob

    def delete(self, stored: StoredObject) -> None:
        """Removes that version."""
        with self._reporting("delete", stored.name):
            self._remove(stored)

    def _remove(self, stored: StoredObject) -> None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        blob = self._bucket.blob(f"{self._prefix}{stored.name}")
        failures: list[Exception] = []

        def remove() -> None:
            blob.delete(if_generation_match=int(stored.version), retry=None, timeout=REQUEST_SECONDS)

        try:
            self._retry()(remove, on_error=failures.append)()
        except (NotFound, PreconditionFailed):
            if not failures:  # else an earlier try has removed it, and its answer got lost
                self._check_bucket()
                raise ObjectChanged(shown(stored.name)) from None

    def _get(self, full_name: str, *, seconds: float | None = None) -> Blob | None:
        blob = self._bucket.get_blob(full_name, retry=self._retry(seconds), timeout=REQUEST_SECONDS)
        if blob is None:
            self._check_bucket()
        return cast("Blob | None", blob)

    def _check_bucket(self) -> None:
        """Tells a missing object from a missing bucket, for which the API has the same answer."""
        if not self._bucket_seen:
            self.prepare(())

    def _new_name(self, name: str) -> str:
        check_new_name(name)
        problem = _not_utf8(name)
        full_name = f"{self._prefix}{name}"
        if problem is None and len(full_name.encode()) > NAME_BYTES:
            problem = Problem(
                "the object's name is too long",
                self._where(name),
                f"a shorter name ({NAME_BYTES} bytes with its prefix)",
            )
        if problem is None and ("\r" in name or "\n" in name):
            problem = Problem(
                "the object's name has a line break", self._where(name), "a name without line breaks"
            )
        if problem:
            raise GaelpError(problem)
        return full_name

    def _stored(self, blob: Blob) -> StoredObject:
        name = str(blob.name).removeprefix(self._prefix)
        return StoredObject(
            name, int(blob.size or 0), cast("dt.datetime", blob.updated), str(blob.generation)
        )

    def _where(self, name: str) -> str:
        return f"{self.url}/{shown(name)}" if name else self.url

    def _reporting(self, action: str, name: str) -> AbstractContextManager[None]:
        return gcs_errors.storage_errors(
            action, self._where(name), gcs_errors.account_of(getattr(self._client, "_credentials", None))
        )

    def _retry(self, seconds: float | None = None) -> Retry:
        """The client's own idea of what can be tried again, with exponential delays (and jitter) up to a bound."""
        from google.cloud.storage.retry import DEFAULT_RETRY

        timeout = self._retry_seconds if seconds is None else seconds
        return cast(
            "Retry", DEFAULT_RETRY.with_timeout(timeout).with_delay(initial=0.5, maximum=16.0, multiplier=2.0)
        )


def _code(error: Exception) -> int:
    return int(getattr(error, "code", None) or 0)


def _not_utf8(name: str) -> Problem | None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return Problem(f"the name {shown(name)!r} is refused", expected="Unicode characters")
    return None
