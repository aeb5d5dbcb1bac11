"""What all sources have in common: how they are run, how far behind they are, and how long they wait when nothing goes on."""

from __future__ import annotations

import threading
import time
from typing import Final, Protocol

from gaelp_assets.operations.receivers import StreamLag

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 15.0
BATCH_BYTES: Final = 8 << 20
"""A batch has so much text at most, and one message more."""
GATHERED_BYTES: Final = 64 << 20
"""What is gathered at once over all batches."""


class Source(Protocol):
    """What hands messages of some tables to a receiver."""

    def run(self, stop: threading.Event) -> None:
        """Receives until it is told to stop, and hands in what it has gathered.

        Raises:
            GaelpError: something stays wrong until somebody acts.
        """
        ...

    def lag(self) -> list[StreamLag]:
        """How far behind it is, of what it reads now."""
        ...


class Wait:
    """How long to leave something alone that did not succeed: longer each time."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._until = 0.0

    @property
    def over(self) -> bool:
        """Whether it may be tried."""
        return time.monotonic() >= self._until

    @property
    def seconds(self) -> float:
        """How long it is still to be left alone."""
        return max(0.0, self._until - time.monotonic())

    def lengthen(self) -> None:
        """It has not succeeded."""
        self._seconds = min(LONGEST_WAIT, 2 * self._seconds) or FIRST_WAIT
        self._until = time.monotonic() + self._seconds

    def end(self) -> None:
        """It has succeeded."""
        self._seconds = self._until = 0.0
