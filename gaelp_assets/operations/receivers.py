"""What receivers (`gaelp stream`) tell of themselves in the home: what waits, and how far behind their streams are.

Each writes a file of its own every few seconds; one that is older than `FRESH` is of a receiver that is gone.
"""

from __future__ import annotations

import datetime as dt
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

FOLDER: Final = "receivers"
FRESH: Final = dt.timedelta(seconds=60)


@dataclass(frozen=True)
class StreamLag:
    """How far behind the newest message of a stream a receiver is."""

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


@dataclass(frozen=True)
class ReceiverState:
    """A receiver at one moment (UTC)."""

    at: dt.datetime
    host: str
    pid: int
    address: str
    """Where it takes rows that are pushed; empty where it takes none."""
    batches: int
    """That wait for the warehouse."""
    bytes: int
    loaded_at: dt.datetime | None = None
    """When it brought rows into the warehouse last."""
    streams: list[StreamLag] = field(default_factory=list)


class StateFile:
    """The file of one receiver.

    Args:
        home: of the platform.
    """

    def __init__(self, home: Path) -> None:
        self._path: Final = home / FOLDER / f"{uuid.uuid4()}.json"

    def write(self, state: ReceiverState) -> None:
        """Replaces what it told before; a disk that is full keeps no receiver from working."""
        unfinished = self._path.with_suffix(".tmp")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(msgspec.json.encode(state))
            unfinished.replace(self._path)

    def remove(self) -> None:
        """The receiver has ended. What others have left that were killed goes too."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
            for path in self._path.parent.iterdir():
                if dt.datetime.now(dt.UTC) - dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC) > FRESH:
                    path.unlink(missing_ok=True)


def read_states(home: Path, now: dt.datetime) -> list[ReceiverState]:
    """The receivers of the home that are there now, in order of their addresses."""
    states = []
    with suppress(OSError):
        for path in (home / FOLDER).glob("*.json"):
            with suppress(OSError, msgspec.MsgspecError):
                state = msgspec.json.decode(path.read_bytes(), type=ReceiverState)
                if now - state.at <= FRESH and _is_there(state):
                    states.append(state)
    return sorted(states, key=lambda state: (state.address, state.host, state.pid))


def loaded_at(home: Path, now: dt.datetime) -> dt.datetime | None:
    """When a receiver of the home brought rows into the warehouse last; None where none has."""
    moments = [state.loaded_at for state in read_states(home, now) if state.loaded_at is not None]
    return max(moments, default=None)


def _is_there(state: ReceiverState) -> bool:
    """Whether its process runs, as far as this machine can tell."""
    if state.host != os.uname().nodename:
        return True
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
