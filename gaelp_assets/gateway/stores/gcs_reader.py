"""Reads one generation of an object in ranges, as a seekable file. Listing, moving and errors are in `stores.gcs`."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.gateway.names import shown
from gaelp_assets.gateway.store import ObjectChanged, StoredObject

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from google.api_core.retry import Retry
    from google.cloud.storage import Blob

CHUNK_BYTES: Final = 8 * 1024 * 1024


class RangeReader(io.RawIOBase):
    """The object's stored bytes (never decompressed on the way), seekable.

    Bytes that were read in one go from the first to the last are checked against the object's CRC-32C.
    """

    def __init__(
        self,
        blob: Blob,
        stored: StoredObject,
        retry: Retry,
        timeout: float,
        storage_errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__()
        self._blob = blob
        self._stored = stored
        self._retry = retry
        self._timeout = timeout
        self._reporting = storage_errors
        self._position = 0
        self._checked = 0
        self._crc32c = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a position without a request."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._stored.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fetches the next range.

        Raises:
            ObjectChanged: the object is gone or replaced.
            TransientError: it could not be fetched, or came damaged.
        """
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._stored.size - self._position)
        if length <= 0:
            return 0
        view[:length] = self._fetch(length)
        return length

    def readall(self) -> bytes:
        """Fetches the rest in one request."""
        length = self._stored.size - self._position
        return self._fetch(length) if length > 0 else b""

    def _fetch(self, length: int) -> bytes:
        from google.api_core.exceptions import NotFound, PreconditionFailed, RequestRangeNotSatisfiable

        with self._reporting():
            try:
                content = self._blob.download_as_bytes(
                    start=self._position,
                    end=self._position + length - 1,
                    raw_download=True,
                    if_generation_match=int(self._stored.version),
                    checksum=None,  # the client cannot check a range
                    retry=self._retry,
                    timeout=self._timeout,
                )
            except (NotFound, PreconditionFailed, RequestRangeNotSatisfiable):
                raise ObjectChanged(shown(self._stored.name)) from None
        if len(content) != length:
            raise self._damaged(f"{len(content)} bytes came instead of {length}")
        self._check(content)
        self._position += length
        return bytes(content)

    def _check(self, content: bytes) -> None:
        import google_crc32c

        if self._position == 0:
            self._checked = self._crc32c = 0
        if self._checked != self._position or google_crc32c.implementation == "python":  # far too slow
            return
        self._crc32c = google_crc32c.extend(self._crc32c, content)
        self._checked += len(content)
        expected = self._blob.crc32c
        if self._checked == self._stored.size and expected:
            found = base64.b64encode(self._crc32c.to_bytes(4, "big")).decode()
            if found != expected:
                raise self._damaged("its CRC-32C is another one than that of the object")

    def _damaged(self, how: str) -> TransientError:
        return TransientError(
            Problem(
                f"came damaged: {how}",
                shown(self._stored.name),
                "the bytes as stored",
                "It is read again later.",
            )
        )
