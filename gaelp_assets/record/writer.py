"""The writer: the thread that makes files of what the loop has gathered, and writes them, however long that takes.

The loop hands a batch over and goes on. Where the gateway cannot be written, the writer tries again, with longer and longer waits;
batches wait for it up to a bound, and what is beyond that is dropped and counted. It never raises into the loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gaelp_assets.gateway.store import Store
from gaelp_assets.record import journal
from gaelp_assets.record.compiling import File, Lost, Ongoing, References, Told, files
from gaelp_assets.record.recovery import settle
from gaelp_assets.record.tracks import Sealed

_LOG: Final = logging.getLogger("gaelp_assets.record")
WAITING: Final = 2
"""Batches with steps that may wait while one is being written."""
WAITING_EPISODES: Final = 100_000
PATIENCE: Final = 10.0
"""Seconds that the loop waits for a writer that is slow, but writes."""
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0


@dataclass
class Batch:
    """What the loop hands over at a flush."""

    sealed: list[Sealed]
    whole: list[File]
    """Files that are ready: rows of runs, agents, environments, metrics, evaluations, checkpoints, and bytes of checkpoints."""
    state: dict[str, Any]
    """The run's counters after this batch."""
    run_row: dict[str, Any] | None
    at: float
    final: bool = False

    @property
    def heavy(self) -> bool:
        """Whether it holds steps."""
        return any(block.columns is not None for block in self.sealed)

    @property
    def episodes(self) -> int:
        """The episodes that ended."""
        return sum(len(block.ended) for block in self.sealed)


class GaveUp(Exception):
    """The recorder closes, and the gateway still cannot be written."""


class Writer:
    """Writes batches in their order.

    Args:
        store: where to.
        refs: what every row says.
        seconds: after how long the loop is asked for a flush.
        bound: bytes of steps of episodes that go on.
        lost: counts what is not recorded.
        due: asks the loop for a flush; False when nobody listens any more.
    """

    def __init__(
        self,
        store: Store,
        refs: References,
        *,
        seconds: float,
        bound: int,
        lost: Lost,
        due: Callable[[], bool],
    ) -> None:
        self._store = store
        self._refs = refs
        self._seconds = seconds
        self._ongoing = Ongoing(bound)
        self._lost = lost
        self._due = due
        self._queue: deque[Batch] = deque()
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._told: set[str] = set()
        self._part = 0
        self._steps: list[int] = []
        self._previous: str | None = None
        self.troubled = False
        self.busy = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="gaelp-recorder", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def submit(self, batch: Batch) -> bool:
        """Takes a batch; False where there is no room for its steps (it is not taken then), after a wait if writing goes on."""
        until = time.monotonic() + PATIENCE
        with self._changed:
            while batch.heavy and sum(waiting.heavy for waiting in self._queue) >= WAITING:
                left = until - time.monotonic()
                if self.troubled or left <= 0 or not self._thread.is_alive():
                    return False
                self._changed.wait(min(left, 0.5))
            if (
                not batch.final
                and sum(waiting.episodes for waiting in self._queue) + batch.episodes > WAITING_EPISODES
            ):
                self._count_ended(batch, "the gateway cannot be written, and no more can wait")
                for block in batch.sealed:
                    block.ended = []
            self._queue.append(batch)
            self._changed.notify_all()
        return True

    def wait(self, seconds: float) -> bool:
        """Waits until everything that was handed over is written; whether it is."""
        until = time.monotonic() + seconds
        with self._changed:
            while (self._queue or self.busy) and self._thread.is_alive():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return not self._queue and not self.busy

    def close(self, seconds: float) -> None:
        """Writes what waits, for so many seconds at most; what is left is lost, and counted."""
        with self._changed:
            self._deadline = time.monotonic() + seconds
            self._changed.notify_all()
        self._thread.join(seconds + PATIENCE)

    def abandon(self) -> None:
        """Stops as a kill does: nothing more is written."""
        with self._changed:
            self._stopped = True
            self._queue.clear()
            self._changed.notify_all()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._queue and not self._stopped:
                    self._changed.wait(self._seconds)
                if self._stopped:
                    return
                batch = self._queue.popleft() if self._queue else None
                self.busy = batch is not None
                self._changed.notify_all()
            if batch is None:
                if not self._due():
                    return
                continue
            try:
                missing = self._write(batch)
            except GaveUp:
                self._count_lost(batch, "the gateway could not be written")
            except Exception as error:  # noqa: BLE001, RUF100 - whatever it is, the loop goes on
                _LOG.warning("a flush could not be made into rows, and is lost: %r", error, exc_info=error)
                self._count_lost(batch, "their flush could not be made into rows")
            else:
                # Only now is it known that the batch is not lost as a whole, and counted as a whole.
                for kind, count, why in missing:
                    self._lost(kind, count, why)
            finally:
                with self._changed:
                    self.busy = False
                    self._changed.notify_all()
            if batch.final:
                return

    def _count_lost(self, batch: Batch, why: str) -> None:
        self._count_ended(batch, why)
        self._lost("files", len(batch.whole), why)

    def _count_ended(self, batch: Batch, why: str) -> None:
        self._lost("episodes", batch.episodes, why)
        ended = [episode for block in batch.sealed for episode in block.ended]
        steps = sum(episode.length for episode in ended if episode.recorded or episode.spoilt)
        self._lost("transitions", steps, why)

    def _write(self, batch: Batch) -> list[tuple[str, int, str]]:
        """Writes the batch; what of it is not recorded: of what, how many, why."""
        missing: list[tuple[str, int, str]] = []

        def lost(kind: str, count: int, why: str) -> None:
            missing.append((kind, count, why))

        self._part += 1
        part = self._part
        folder = f"{self._refs.folder}/a{self._refs.attempt}"
        ended, going = self._ongoing.take(batch.sealed, part, lost)
        written = [*batch.whole, *files(self._refs, f"p{part:06d}", ended, lost)]
        steps = journal.packed_pieces(going)
        if steps is not None:
            self._create(f"{folder}/p{part:06d}.steps", steps)
            self._steps.append(part)
        for number, file in enumerate(written):
            self._create(journal.part_name(folder, part, number), [file.content])
        name = f"{folder}/p{part:06d}.journal"
        self._create(name, self._journal(batch, part, written, going))
        for number, file in enumerate(written):
            source = journal.part_name(folder, part, number)
            self._attempt(partial(journal.publish, self._store, source, file.name))
        if batch.final:
            self._attempt(lambda: settle(self._store, self._refs.folder, self._refs.attempt, batch.state))
            return missing
        needed = {one for parts in self._ongoing.parts.values() for one in parts}
        gone = [f"{folder}/p{one:06d}.steps" for one in self._steps if one not in needed]
        self._steps = [one for one in self._steps if one in needed]
        gone += [self._previous] if self._previous else []
        self._previous = name
        self._attempt(lambda: journal.remove(self._store, gone))
        return missing

    def _journal(
        self, batch: Batch, part: int, written: Sequence[File], going: Sequence[Told]
    ) -> list[bytes]:
        ongoing, finals = [], []
        for one in going:
            final = one.episode.final
            parts = self._ongoing.parts.get((one.episode.purpose, one.episode.number), [])
            shape = None if final is None else journal.array_header(final)
            ongoing.append({**journal.told(one), "parts": list(parts), "final": shape})
            finals.append(b"" if final is None else final.tobytes())
        refs = {name: getattr(self._refs, name) for name in References.__dataclass_fields__}
        header = {
            "part": part,
            "references": refs,
            "state": batch.state,
            "run_row": batch.run_row,
            "at": batch.at,
            "files": [file.name for file in written],
            "ongoing": ongoing,
        }
        return journal.packed(header, finals)

    def _create(self, name: str, chunks: list[bytes]) -> None:
        self._attempt(lambda: self._store.create(name, chunks))

    def _attempt(self, act: Callable[[], object]) -> None:
        """Does it, again and again, until it is done or the recorder closes."""
        wait = FIRST_WAIT
        while True:
            try:
                act()
            except Exception as error:  # noqa: BLE001, RUF100 - a store's errors are many, and none of them ends training
                self._tell(error)
                with self._changed:
                    self.troubled = True
                    self._changed.notify_all()
                    if self._stopped or (self._deadline is not None and time.monotonic() >= self._deadline):
                        raise GaveUp from error
                    left = LONGEST_WAIT if self._deadline is None else self._deadline - time.monotonic()
                    self._changed.wait(max(0.01, min(wait, left)))
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if self.troubled:
                    self.troubled = False
                    self._told.clear()
                    _LOG.warning("the gateway can be written again: %s", self._refs.url)
                return

    def _tell(self, error: Exception) -> None:
        kind = f"{type(error).__name__} {getattr(error, 'errno', '')}"
        if kind not in self._told:
            self._told.add(kind)
            _LOG.warning("run %s cannot be recorded now, and training goes on: %s", self._refs.run, error)
