"""Keeps calls below a rate that a service allows, for all threads of a process."""

from __future__ import annotations

import threading
import time
from collections import deque


class RateLimiter:
    """At most `count` calls begin in any `seconds`; further ones wait for their turn."""

    def __init__(self, count: int, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._begun: deque[float] = deque(maxlen=count)

    def wait(self) -> None:
        """Returns when the next call may begin."""
        with self._lock:
            now = begins = time.monotonic()
            if len(self._begun) == self._begun.maxlen:
                begins = max(now, self._begun[0] + self._seconds)
            self._begun.append(begins)
        time.sleep(begins - now)
