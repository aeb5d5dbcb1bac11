"""A gateway behind `gaelp stream`: a spool on this machine, whose files of rows are posted to the receiver by a thread.

For a training loop on a machine that reaches neither the folders nor the bucket. What is no row, such as a checkpoint, stays in the spool.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import logging
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, BinaryIO, Final

from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.gateway.names import RECORDINGS
from gaelp_assets.gateway.store import ObjectChanged, Store, StoredObject

TIMEOUT_SECONDS: Final = 60.0
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
OTHERS_AFTER: Final = dt.timedelta(seconds=5)
"""A file of another recorder is delivered if it is older: that one is gone, or the receiver was."""
_LOG: Final = logging.getLogger("gaelp_assets.record")
_ROWS: Final = ("cloud_ready", "raw")
_IDENTITY: Final = f"{RECORDINGS}/spool-id"
_KEY_LENGTH: Final = 255
_FAILED: Final = "failed"
_NEVER: Final = frozenset({400, 413, 415, 422})
"""What a receiver answers that will never take these rows."""
_OF_THE_FILE: Final = frozenset({404, 500})
"""What it answers of one file, or of one table, alone: others can be delivered."""
_ANSWER_BYTES: Final = 1 << 20


class _NotYetTaken(TransientError):
    """A file is not taken as yet, which says nothing of the others."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows nowhere: a receiver sends nobody elsewhere, and what does so gets neither the rows nor the key."""

    def redirect_request(self, *_: Any) -> None:
        """None: the answer is told as it is."""
        return


class PushStore:
    """Keeps `Store`, in the spool, from which files of rows are delivered in the background.

    Args:
        receiver: its address: `http://host:8600`.
        key: what it lets this machine in with; None where it asks for none.
        spool: where everything lies that is no row, or not delivered yet.
    """

    def __init__(self, receiver: str, key: str | None, spool: Store) -> None:
        self._receiver: Final = receiver.rstrip("/")
        self._key: Final = key
        self._spool: Final = spool
        self._identity: str | None = None
        self._changed: Final = threading.Condition()
        self._news = True
        self._idle = False
        self._own: Final[set[str]] = set()
        """What this store has handed in, and is not delivered."""
        self._told = ""
        self._opener: Final = urllib.request.build_opener(_NoRedirects())
        self._thread: Final = threading.Thread(target=self._run, name="gaelp-spool", daemon=True)

    def start(self) -> None:
        """Begins to deliver, with what earlier recorders have left."""
        self._thread.start()

    def drain(self, seconds: float) -> int:
        """Waits until everything is delivered, for so many seconds at most; how many files are left in the spool."""
        until = time.monotonic() + seconds
        with self._changed:
            while not (self._idle and not self._news) and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
        return sum(1 for _ in self._waiting())

    @property
    def url(self) -> str:
        """Where files lie that are no rows, such as checkpoints: the spool."""
        return self._spool.url

    def prepare(self, folders: Iterable[str]) -> None:
        """Prepares the spool; the receiver need not be there yet."""
        self._spool.prepare(folders)

    def require(self, folders: Iterable[str]) -> None:
        """As `prepare`: a spool is made where there is none."""
        self._spool.prepare(folders)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[StoredObject]:
        """What is in the spool."""
        return self._spool.list(prefix, start_after=start_after)

    def specials(self, folder: str) -> Iterator[tuple[str, str]]:
        """Of the spool."""
        return self._spool.specials(folder)

    def find(self, name: str) -> StoredObject | None:
        """An object of the spool."""
        return self._spool.find(name)

    def open(self, stored: StoredObject) -> BinaryIO:
        """The bytes of an object of the spool."""
        return self._spool.open(stored)

    def create(self, name: str, chunks: Iterable[bytes]) -> StoredObject | None:
        """Writes into the spool."""
        return self._with_news(self._spool.create(name, chunks))

    def move(self, stored: StoredObject, name: str) -> StoredObject:
        """Moves within the spool."""
        moved = self._spool.move(stored, name)
        self._with_news(moved)
        return moved

    def delete(self, stored: StoredObject) -> None:
        """Removes an object of the spool."""
        self._spool.delete(stored)

    def _with_news(self, stored: StoredObject | None) -> StoredObject | None:
        if stored is not None and stored.name.startswith(_ROWS):
            with self._changed:
                self._own.add(stored.name)
                self._news = True
                self._changed.notify_all()
        return stored

    def _waiting(self) -> Iterator[StoredObject]:
        """What this store has to deliver: its own files, and what lies there because nobody delivers it."""
        old = dt.datetime.now(dt.UTC) - OTHERS_AFTER
        with self._changed:
            own = frozenset(self._own)
        for folder in _ROWS:
            for stored in self._spool.list(f"{folder}/"):
                if stored.name in own or stored.modified < old:
                    yield stored

    def _run(self) -> None:
        wait = FIRST_WAIT
        while True:
            with self._changed:
                while not self._news:
                    self._idle = True
                    self._changed.notify_all()
                    self._changed.wait()
                self._news, self._idle = False, False
            try:
                self._deliver_all()
            except Exception as error:  # noqa: BLE001, RUF100 - whatever it is, training goes on, and the files stay
                self._tell(error)
                with self._changed:
                    self._news = True
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if self._told:
                    self._told = ""
                    _LOG.warning("rows are delivered again to %s", self._receiver)
                wait = FIRST_WAIT

    def _tell(self, error: Exception) -> None:
        text = str(error) if isinstance(error, GaelpError) else f"{type(error).__name__} of the spool"
        if text != self._told:
            self._told = text
            _LOG.warning("rows wait in %s, and training goes on: %s", self._spool.url, text)

    def _deliver_all(self) -> None:
        """Delivers what waits, in order; what is not taken as yet keeps back no other file."""
        trouble: _NotYetTaken | None = None
        for stored in self._waiting():
            try:
                self._deliver(stored)
            except _NotYetTaken as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def _deliver(self, stored: StoredObject) -> None:
        """Posts a file, and removes it; one that the receiver will never take goes to the spool's `failed/`."""
        try:
            with self._spool.open(stored) as file:
                content = file.read()
            problem = self._post(stored.name, content)
            self._done_with(stored)
            if problem is None:
                self._spool.delete(stored)
                return
            rest = stored.name.partition("/")[2]
            kept = self._spool.move(stored, f"{_FAILED}/{rest}")
        except ObjectChanged:
            self._done_with(stored)  # another process of this machine has delivered it
            return
        _LOG.warning("rows were not taken, and lie in %s of %s: %s", kept.name, self._spool.url, problem)

    def _done_with(self, stored: StoredObject) -> None:
        with self._changed:
            self._own.discard(stored.name)

    def _post(self, name: str, content: bytes) -> Problem | None:
        """Posts a file; why it will never be taken, if so.

        Raises:
            TransientError: the receiver is out of reach, busy, or does not let this machine in.
        """
        _, dataset, table, *_ = name.split("/")
        where = f"{self._receiver}/v1/rows/{dataset}/{table}"
        key = f"{self._identified()}/{name}"[-_KEY_LENGTH:]
        # An answer that waited for the warehouse would hold up the next file: it is enough that the rows are safe.
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key, "Prefer": "wait=0"}
        if name.endswith(".gz"):
            headers["Content-Encoding"] = "gzip"
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(where, data=content, headers=headers, method="POST")  # noqa: S310 - http, by `places`
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                told = answer.read(_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                problem = _refused(where, error.code)
            if error.code in _NEVER:
                return problem
            if error.code in _OF_THE_FILE:
                raise _NotYetTaken(problem) from None
            raise TransientError(problem) from None
        except (OSError, http.client.HTTPException) as error:  # among them the errors of connections
            words = f"the receiver is out of reach: {getattr(error, 'reason', error)}"
            raise TransientError(Problem(words, where, "gaelp stream, running there")) from None
        if not _is_receipt(told, f"{dataset}.{table}"):
            # Whatever it is, such as the page of a proxy: rows that it has not taken must not be removed.
            what = "what answers there is no receiver"
            raise TransientError(Problem(what, where, "gaelp stream, and nothing in between that answers"))
        return None

    def _identified(self) -> str:
        """This spool's own name: the same file of two machines is two batches."""
        if self._identity is None:
            self._spool.create(_IDENTITY, [uuid.uuid4().hex.encode()])
            stored = self._spool.find(_IDENTITY)
            if stored is None:
                raise ObjectChanged(_IDENTITY)
            with self._spool.open(stored) as file:
                self._identity = file.read().decode()
        return self._identity


def _is_receipt(told: bytes, table: str) -> bool:
    """Whether a receiver says that it has taken rows of the table."""
    try:
        answer = json.loads(told)
    except ValueError:
        return False
    return (
        isinstance(answer, dict)
        and answer.get("table") == table
        and answer.get("state") in {"loaded", "waiting"}
    )


def _refused(where: str, status: int) -> Problem:
    known = {found.value: f" {found.phrase}" for found in HTTPStatus}
    if status in range(300, 400):
        what = f"what answers there sends elsewhere ({status}), which no receiver does"
        return Problem(what, where, "gaelp stream, by its own address")
    remedy = {
        401: "Make a key there with `gaelp stream keys add NAME`, and set GAELP_STREAM_KEY to it here.",
        404: "The receiver's catalogue has no such table.",
        413: "Have smaller files written: flush_rows.",
    }.get(status, "The receiver's log says more.")
    return Problem(
        f"the receiver answered {status}{known.get(status, '')}", where, "rows that are taken", remedy
    )
