"""What all sources have in common: how they are run, how far behind they are, and how long they wait when nothing goes on."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final, Protocol

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 15.0
BATCH_BYTES: Final = 8 << 20
"""A batch has so much text at most, and one message more."""
GATHERED_BYTES: Final = 64 << 20
"""What is gathered at once over all batches."""


@dataclass(frozen=True)
class Lag:
    """How far behind the newest message a source is."""

    source: str
    """`kafka` or `pubsub`."""
    topic: str
    """Or the subscription."""
    partition: int
    position: int
    """The offset that is handed in next; of Pub/Sub, how many messages have been handed in."""
    newest: int | None
    """The offset that the next message will get; None where it is not known."""
    seconds: float
    """How old the message is that waits the longest; 0 where none is known to wait."""

    @property
    def messages(self) -> int | None:
        """How many messages wait, as far as it is known."""
        return None if self.newest is None else max(0, self.newest - self.position)


class Source(Protocol):
    """What hands messages of some tables to a receiver."""

    def run(self, stop: threading.Event) -> None:
        """Receives until it is told to stop, and hands in what it has gathered.

        Raises:
            GaelpError: something stays wrong until somebody acts.
        """
        ...

    def lag(self) -> list[Lag]:
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
