"""How much one asker, and all of them together, get: requests in a minute, and queries at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from gaelp_assets.errors import GaelpError, Problem

_WHO: Final = 10_000
"""Of how many askers is remembered what they have left."""


@dataclass(frozen=True)
class Limits:
    """What a server allows.

    Args:
        rows: of a page.
        megabytes: of a page.
        seconds: of a query.
        queries: at a time; others wait for `wait` seconds.
        requests: of each key in a minute.
    """

    rows: int = 100_000
    megabytes: int = 64
    seconds: float = 30.0
    queries: int = 4
    wait: float = 5.0
    requests: int = 600


class BusyError(GaelpError):
    """There is no room at the moment; after `seconds` there may be. `status` is HTTP's word for it."""

    permanent = False

    def __init__(self, problem: Problem, seconds: float, status: int) -> None:
        super().__init__(problem)
        self.seconds: Final = seconds
        self.status: Final = status


class Gate:
    """Lets through what the limits allow."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits: Final = limits
        self._clock: Final = clock
        self._queries: Final = threading.BoundedSemaphore(limits.queries)
        self._lock: Final = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}
        """By asker: how many requests are left, and when that was so."""

    def request(self, who: str) -> None:
        """Counts a request.

        Raises:
            BusyError: that asker has had all of the minute's.
        """
        most, now = float(self._limits.requests), self._clock()
        with self._lock:
            left, since = self._left.pop(who, (most, now))
            left = min(most, left + (now - since) * most / 60)
            allowed = left >= 1
            self._left[who] = (left - 1 if allowed else left, now)
            if len(self._left) > _WHO:
                self._left.pop(next(iter(self._left)))
        if not allowed:
            problem = Problem(
                "too many requests", expected=f"at most {self._limits.requests} in a minute from one key"
            )
            raise BusyError(problem, (1 - left) * 60 / most, 429)

    @contextmanager
    def query(self) -> Iterator[None]:
        """Room for one query.

        Raises:
            BusyError: there was none for as long as the limits let one wait.
        """
        if not self._queries.acquire(timeout=self._limits.wait):
            problem = Problem(
                f"{self._limits.queries} queries run already", remedy="Ask again in a few seconds."
            )
            raise BusyError(problem, self._limits.wait, 503)
        try:
            yield
        finally:
            self._queries.release()
