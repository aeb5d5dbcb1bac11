"""A receiver for as long as it is asked for: with the catalogue as it is now, and the sources that feed it.

A receiver belongs to one catalogue. When a file of the catalogue changes, another receiver takes the place of the one that runs, so that no
row is loaded under a definition that is gone; a catalogue that cannot be read leaves the last one in force, and is told.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Final

from gaelp_assets.catalog.folders import FOLDER, catalog_folders
from gaelp_assets.errors import GaelpError, TransientError, origin
from gaelp_assets.operations.receivers import ReceiverState, StateFile
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import Settings
from gaelp_assets.stream.loading import DEFECTS
from gaelp_assets.stream.receiver import Receiver
from gaelp_assets.stream.sources.running import Sources

_log: Final = logging.getLogger("gaelp_assets.stream")
LOOK_SECONDS: Final = 2.0
"""How often the catalogue is looked at, and `gaelp status` told."""
DRAIN_SECONDS: Final = 10.0


class ReceiverService:
    """Runs a receiver and the sources of the catalogue's streams, and others when the catalogue has changed.

    Args:
        platform: with which it begins.
        reopen: makes the platform of a changed catalogue.

    Raises:
        GaelpError: a stream is declared, and the settings do not say where it is.
    """

    def __init__(self, platform: Platform, reopen: Callable[[Settings], Platform] = open_platform) -> None:
        self._reopen: Final = reopen
        self._settings: Final = platform.settings
        self._state = catalog_state(platform.settings)
        self._receiver = Receiver(platform)
        self._sources = Sources(self._receiver)
        self._file: Final = StateFile(platform.settings.home)
        self.address = ""
        """Where rows are pushed to, for `gaelp status`."""
        self._ending: list[Receiver] = []
        """Receivers whose place another has taken, and that may still load."""
        self._told = ""
        self._ends: Final = threading.Event()
        self._watch: Final = threading.Thread(target=self._look, name="gaelp-catalogue", daemon=True)

    def start(self) -> None:
        """Begins to load. Raises as `Receiver.start` does."""
        self._receiver.start()
        self._sources.start()
        self._watch.start()

    def receiver(self) -> Receiver:
        """The one that takes batches now."""
        return self._receiver

    def close(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Ends it; whether all that was taken is loaded. The rest is in the gateway."""
        self._ends.set()
        self._watch.join(seconds)
        self._sources.close(seconds)
        self._file.remove()
        return self._receiver.close(seconds)

    def wait(self) -> None:
        """Until SIGINT or SIGTERM, for a service that listens nowhere."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._ends.set())
        self._ends.wait()

    def _look(self) -> None:
        while not self._ends.wait(LOOK_SECONDS):
            text = ""
            try:
                self._turn()
            except GaelpError as error:
                text = str(error)
            except DEFECTS as error:
                # Without this thread, the catalogue would stay as it is, and nobody told.
                text = origin(error)
            if text and text != self._told:
                _log.error("the catalogue and what receivers have left are looked at again: %s", text)
            self._told = text

    def _turn(self) -> None:
        state = catalog_state(self._settings)
        if state != self._state:
            self._change()
            self._state = state
        self._take_over()
        self._tell()

    def _take_over(self) -> None:
        """Takes up what receivers have left that had to end before all was loaded."""
        going = [each for each in self._ending if not each.ended]
        if len(going) < len(self._ending):
            self._receiver.take_up()
            self._ending = going

    def _tell(self) -> None:
        batches, size = self._receiver.waits()
        self._file.write(
            ReceiverState(
                at=dt.datetime.now(dt.UTC),
                host=os.uname().nodename,
                pid=os.getpid(),
                address=self.address,
                batches=batches,
                bytes=size,
                loaded_at=self._receiver.loaded_at,
                streams=self._sources.lag(),
            )
        )

    def _change(self) -> None:
        """Puts another receiver in the place of the one that runs, unless the catalogue cannot be used.

        Raises:
            TransientError: the gateway is out of reach: it is tried again.
        """
        try:
            successor = Receiver(self._reopen(self._settings))
            sources = Sources(successor)
            successor.start()
        except TransientError:
            raise
        except DEFECTS as error:
            _log.warning(
                "the catalogue has changed, and cannot be used; the last one stays in force: %s",
                error if isinstance(error, GaelpError) else origin(error),
            )
            return
        # What the sources have gathered is handed in to the receiver that they know.
        self._sources.close(DRAIN_SECONDS)
        before, self._receiver, self._sources = self._receiver, successor, sources
        sources.start()
        self._ending.append(before)
        before.close(DRAIN_SECONDS)
        _log.warning("the catalogue has changed, and rows are proved by it from now on")


def catalog_state(settings: Settings) -> frozenset[tuple[str, int, int]]:
    """Names, sizes and times of change of the catalogue's files: another set whenever one of them has changed."""
    found = set()
    for folder in (FOLDER, *catalog_folders(settings)):
        for path in folder.rglob("*"):
            if path.suffix in {".json", ".sql", ".py"}:
                try:
                    status = path.stat()
                except OSError:  # it was removed
                    continue
                found.add((str(path), status.st_mtime_ns, status.st_size))
    return frozenset(found)
