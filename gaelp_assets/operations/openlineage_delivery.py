"""Sends OpenLineage events to a collector or a file, in the background: whatever becomes of them, a load neither fails nor waits for long.

Events that do not arrive are not kept: the ledger and Dagster's history hold what they tell. Who needs each of them has them written to a
file.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from functools import cache
from typing import Any, Final

from gaelp_assets.openlineage_settings import EventFile, HttpCollector, Target
from gaelp_assets.settings import without_secrets

_log = logging.getLogger(__name__)

SEND_SECONDS: Final = 2.0
"""How long a collector may take for one event."""
FLUSH_SECONDS: Final = 2.0
"""How long a step waits, when it has ended, for its events to be on their way."""
PAUSE_SECONDS: Final = 60.0
"""After an event that did not arrive, none is sent for so long: a collector that is gone costs a run one wait, not one for each step."""
WAITING: Final = 1000
"""Events that wait at most."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key is for the collector that was named, and for no other."""

    def redirect_request(self, *_: Any) -> None:
        """Follows nothing."""


class Delivery:
    """Sends events one after the other, in a thread of its own."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(WAITING)
        self._pause_until = 0.0
        self._warned = False
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def put(self, event: dict[str, Any]) -> None:
        """Takes an event; one that comes during a pause is dropped."""
        if time.monotonic() < self._pause_until:
            return
        with self._lock:
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="openlineage", daemon=True)
                self._worker.start()
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._failed("too many events wait")

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Waits until all events are sent, for so long at most."""
        until = time.monotonic() + seconds
        with self._waiting.all_tasks_done:
            while self._waiting.unfinished_tasks:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._waiting.all_tasks_done.wait(left)
            else:
                return
        self._failed(f"no answer within {seconds:g} s")

    def _work(self) -> None:
        while True:
            event = self._waiting.get()
            try:
                if time.monotonic() >= self._pause_until:
                    self._send(json.dumps(event, allow_nan=False, ensure_ascii=False).encode())
            except urllib.error.HTTPError as error:
                self._failed(f"it answers {error.code}")
            except (OSError, ValueError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                self._failed(str(getattr(reason, "strerror", None) or type(reason).__name__))
            finally:
                self._waiting.task_done()

    def _send(self, body: bytes) -> None:
        if isinstance(self._target, EventFile):
            self._target.path.parent.mkdir(parents=True, exist_ok=True)
            # One write: lines of other processes stay whole.
            file = os.open(self._target.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(file, body + b"\n")
            finally:
                os.close(file)
            return
        headers = {"Content-Type": "application/json"}
        if self._target.api_key is not None:
            headers["Authorization"] = f"Bearer {self._target.api_key}"
        request = urllib.request.Request(self._target.url, body, headers, method="POST")  # noqa: S310 - http(s), as the settings hold
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=SEND_SECONDS) as answer:
            answer.read()

    def _failed(self, why: str) -> None:
        self._pause_until = time.monotonic() + PAUSE_SECONDS
        if not self._warned:
            self._warned = True
            kind = "collector" if isinstance(self._target, HttpCollector) else "file"
            _log.warning(
                "OpenLineage events do not reach the %s %s: %s. Loads go on without them.",
                kind,
                without_secrets(self._target.url),
                why,
            )


@cache
def delivery_to(target: Target) -> Delivery:
    """The delivery to a target: one in each process."""
    return Delivery(target)
