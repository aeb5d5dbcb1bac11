"""The receiver: what every source hands its batches to. A batch is durable once it is accepted, and in the warehouse soon after.

A file of the gateway is written for each batch, before its source is told anything; one thread brings files into the warehouse, all
that wait at once. A receiver that is killed leaves files in the gateway: the next one takes them up, and so do Dagster's sensors
after a minute.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Final

import polars as pl

from gaelp_assets.catalog import WHOLE, Relation, Slice
from gaelp_assets.errors import GaelpError, Problem, TransientError, origin
from gaelp_assets.gateway import GatewayFile, ObjectChanged, Stage, StoredObject
from gaelp_assets.gateway.names import is_live
from gaelp_assets.gateway.paths import folder, parse_name, split_name
from gaelp_assets.platform import Platform
from gaelp_assets.stream.batch import Arrived, Batch, Fates, KeyTakenError
from gaelp_assets.stream.loading import DEFECTS, LiveLoader, Outcome
from gaelp_assets.stream.pace import Pace

_log: Final = logging.getLogger("gaelp_assets.stream")
WAITING_BYTES: Final = 64 << 20
WAITING_BATCHES: Final = 1_000
AT_ONCE: Final = 100
"""Batches of one round: what comes during it waits for the next."""
FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 15.0
BLOCK_BYTES: Final = 1 << 20
PATIENCE: Final = 60.0
"""So long it is waited for another process that has taken a file; then it is left to that one."""


class CrowdedError(TransientError):
    """Too much waits for the warehouse; after `seconds` there may be room."""

    seconds: Final = 2.0

    def __init__(self) -> None:
        super().__init__(
            Problem(
                "too many rows wait for the warehouse",
                expected=f"at most {WAITING_BYTES >> 20} MB in {WAITING_BATCHES:,} batches",
                remedy="Send them again in some seconds.",
            )
        )


class Waiting:
    """A batch that was accepted."""

    def __init__(self, arrived: Arrived) -> None:
        self.arrived: Final = arrived
        self.since: Final = time.monotonic()
        self.ended: Final[Future[None]] = Future()
        """Done once nothing more will come of it here."""
        self._outcome = Outcome()

    def tell(self, outcome: Outcome, *, left: bool = False) -> None:
        """Notes what came of it; `left`: nothing more will come of it here."""
        self._outcome = outcome
        if (outcome.settled or left) and not self.ended.done():
            self.ended.set_result(None)

    @property
    def reasons(self) -> pl.DataFrame:
        """Why lines were rejected (`REASON_SCHEMA`), where this receiver has sorted them."""
        return self._outcome.reasons

    @property
    def trouble(self) -> GaelpError | None:
        """What keeps it from being loaded."""
        return self._outcome.error

    def result(self, seconds: float) -> Fates | None:
        """What became of its lines; None if they are not loaded after so many seconds. The file is durable all the same.

        Raises:
            GaelpError: it was not taken, or its file was set aside.
        """
        with suppress(TimeoutError):
            self.ended.result(seconds)
        if self._outcome.settled and self._outcome.error is not None:
            raise self._outcome.error
        return self._outcome.fates


class Receiver:
    """Takes batches from sources, and loads them until it is closed.

    Args:
        platform: what they are loaded into.
    """

    def __init__(self, platform: Platform) -> None:
        self.platform: Final = platform
        self._changed = threading.Condition()
        self._queue: deque[Waiting] = deque()
        self._known: dict[str, Waiting] = {}
        """What waits, by the name of its file in `raw/`."""
        self._bytes = 0
        self._writing = 0
        """How many batches are being written into the gateway: the end waits for them."""
        self._left: dict[str, set[Slice]] = {}
        """By table, slices with live files in the load queue that others have left."""
        self._closing = False
        self._loader = LiveLoader(platform)
        self._told = ""
        self._pace = Pace(platform.warehouse.quota_left)
        self.loaded_at: dt.datetime | None = None
        """When rows came into the warehouse last."""
        self._thread = threading.Thread(target=self._run, name="gaelp-receiver", daemon=True)

    def start(self) -> None:
        """Begins to load, with what an earlier receiver has left in the gateway. Raises as `take_up` does."""
        self.take_up()
        self._thread.start()

    def take_up(self) -> None:
        """Takes up what other receivers have left in the gateway. What one is still about to load is loaded once all the same.

        Raises:
            TransientError: the gateway is out of reach.
        """
        left = [file for file in self.platform.gateway.unsorted_raw().files if is_live(file.name)]
        for file in left:
            try:
                self._enqueue(Waiting(_arrived(file, self._digest(file.stored))))
            except ObjectChanged:
                continue  # somebody else has it
        slices: dict[str, set[Slice]] = {}
        for file in self.platform.gateway.pending().files:
            if is_live(file.name):
                slices.setdefault(file.relation.id, set()).add(file.slice)
        if left or slices:
            _log.info(
                "takes up what an earlier receiver has left: %d files, %d slices", len(left), len(slices)
            )
        with self._changed:
            for relation_id, found in slices.items():
                self._left.setdefault(relation_id, set()).update(found)
            self._changed.notify_all()

    def accept(self, batch: Batch) -> Waiting:
        """Writes a batch into the gateway: once this returns, its rows outlive whatever happens to this process.

        Raises:
            CrowdedError: too much waits.
            TransientError: the gateway is out of reach, its disk is full, or the receiver ends.
            KeyTakenError: the name stands for other rows, which wait still.
        """
        size = len(batch.lines)
        with self._changed:
            if self._closing:
                raise TransientError(Problem("the receiver ends", remedy="Send them again in some seconds."))
            # What is more than all that may wait is taken where nothing waits: else it would be refused each time.
            full = self._bytes and self._bytes + size > WAITING_BYTES
            if full or len(self._queue) >= WAITING_BATCHES:
                raise CrowdedError
            self._bytes += size  # until it is known as a file
            self._writing += 1
        try:
            return self._enqueue(self._written(batch))
        finally:
            with self._changed:
                self._bytes -= size
                self._writing -= 1
                self._changed.notify_all()

    def close(self, seconds: float) -> bool:
        """Takes nothing more, and loads what waits; whether all of it is loaded after so many seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return self.ended

    @property
    def ended(self) -> bool:
        """Whether it loads nothing any more."""
        return not self._thread.is_alive()

    def waits(self) -> tuple[int, int]:
        """How many batches wait for the warehouse, and their bytes."""
        with self._changed:
            return len(self._known), self._bytes

    def _written(self, batch: Batch) -> Waiting:
        name = f"{Stage.RAW}/{folder(batch.relation, WHOLE)}/{batch.name}"
        digest = hashlib.sha256(batch.lines).hexdigest()
        while True:
            with self._changed:
                twin = self._known.get(name)
            if twin is not None:
                if twin.arrived.digest != digest:
                    raise KeyTakenError(batch.relation)
                return twin
            stored = self.platform.gateway.store.create(name, [batch.lines])
            if stored is None:
                stored = self.platform.gateway.store.find(name)
                try:
                    if stored is not None and self._digest(stored) != digest:
                        raise KeyTakenError(batch.relation)
                except ObjectChanged:
                    continue
            if stored is not None:
                found = parse_name(stored, self.platform.catalog)
                assert isinstance(found, GatewayFile), found
                return Waiting(_arrived(found, digest))

    def _digest(self, stored: StoredObject) -> str:
        with self.platform.gateway.store.open(stored) as stream:
            digest = hashlib.sha256()
            for block in iter(partial(stream.read, BLOCK_BYTES), b""):
                digest.update(block)
            return digest.hexdigest()

    def _enqueue(self, waiting: Waiting) -> Waiting:
        """The one that waits: another one, where the same file waits already."""
        name = waiting.arrived.file.stored.name
        with self._changed:
            twin = self._known.setdefault(name, waiting)
            if twin is waiting:
                self._bytes += waiting.arrived.size
                self._queue.append(waiting)
                self._changed.notify_all()
            return twin

    def _run(self) -> None:
        wait = FIRST_WAIT
        while (group := self._next()) is not None:
            before = self._loader.writes
            try:
                again, trouble = self._round(group)
            except DEFECTS as error:  # without this thread nothing would be loaded any more, and nobody told
                _log.error("a round has a defect, and is tried again: %s", origin(error))
                again, trouble = [each for each in group if not each.ended.done()], error
            self._tell(trouble)
            with self._changed:
                self._queue.extendleft(reversed(again))
            if self._closing and (again or trouble is not None):
                self._leave()
                return
            wait = min(2 * wait, LONGEST_WAIT) if trouble is not None else FIRST_WAIT
            self._rest(
                max(
                    self._left_alone(self._loader.writes - before),
                    wait if again or trouble is not None else 0.0,
                )
            )

    def _next(self) -> list[Waiting] | None:
        """What is loaded next, as soon as there is something; None at the end."""
        with self._changed:
            while True:
                self._loader.open(self._left)
                self._left = {}
                if self._queue or self._loader.open_relations:
                    return [self._queue.popleft() for _ in range(min(AT_ONCE, len(self._queue)))]
                if self._closing and not self._writing:
                    return None
                self._changed.wait()

    def _leave(self) -> None:
        """Tells those who wait that nothing more comes of it here. What is left is durable."""
        with self._changed:
            left = list(self._queue)
            self._queue.clear()
        for each in left:
            self._end(each, Outcome(error=each.trouble), left=True)

    def _left_alone(self, writes: int) -> float:
        """For how many seconds the warehouse is left alone after so many writes."""
        try:
            return self._pace.rest(writes, dt.datetime.now(dt.UTC))
        except DEFECTS as error:  # it cannot say what is left
            self._tell(error)
            return FIRST_WAIT

    def _rest(self, seconds: float) -> None:
        """Waits, however much arrives; not when the receiver ends."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._closing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _round(self, group: Sequence[Waiting]) -> tuple[list[Waiting], BaseException | None]:
        """Loads a group; those that are to be tried again, and why loading is in trouble, if it is."""
        of: dict[str, tuple[Relation, list[Waiting]]] = {}
        for relation in self._loader.open_relations:
            of[relation.id] = (relation, [])
        for waiting in group:
            relation = waiting.arrived.relation
            of.setdefault(relation.id, (relation, []))[1].append(waiting)
        again: list[Waiting] = []
        trouble: BaseException | None = None
        for relation, members in of.values():
            for part, outcomes in self._loaded(relation, members):
                if not isinstance(outcomes, BaseException):
                    self.loaded_at = dt.datetime.now(dt.UTC)
                else:
                    trouble = outcomes
                    error = outcomes if isinstance(outcomes, GaelpError) else None
                    outcomes = [Outcome(error=error)] * len(part)
                for member, outcome in zip(part, outcomes, strict=True):
                    if not self._settled(member, outcome, trouble):
                        again.append(member)
        return again, trouble

    def _loaded(
        self, relation: Relation, members: Sequence[Waiting]
    ) -> Iterator[tuple[Sequence[Waiting], list[Outcome] | BaseException]]:
        """What came of batches of one table: of all together or, where a defect keeps that from being known, of each."""
        try:
            yield members, self._loader.load(relation, [member.arrived for member in members])
        except GaelpError as error:
            yield members, error
        except DEFECTS as error:  # whatever it is, other rows must go on
            if len(members) > 1:
                for member in members:
                    yield from self._loaded(relation, [member])
                return
            _log.error("%s cannot be loaded: %s", relation.id, origin(error))
            yield members, error

    def _settled(self, waiting: Waiting, outcome: Outcome, trouble: BaseException | None) -> bool:
        """Notes what came of a batch; whether it is done with here."""
        waits = isinstance(trouble, TransientError) or time.monotonic() - waiting.since < PATIENCE
        permanent = outcome.error is not None and outcome.error.permanent
        left = not outcome.settled and (permanent or not waits)
        if left:
            _log.warning("%s is left in the gateway", waiting.arrived.file.path)
        if outcome.settled or left:
            self._end(waiting, outcome, left=left)
            return True
        waiting.tell(outcome)
        return False

    def _end(self, waiting: Waiting, outcome: Outcome, *, left: bool = False) -> None:
        with self._changed:
            if self._known.pop(waiting.arrived.file.stored.name, None) is not None:
                self._bytes -= waiting.arrived.size
        waiting.tell(outcome, left=left)

    def _tell(self, error: BaseException | None) -> None:
        """Says what is wrong once, not in each round."""
        text = "" if error is None else str(error) if isinstance(error, GaelpError) else type(error).__name__
        if text and text != self._told:
            _log.warning("rows wait in the gateway: %s", text)
        elif self._told and not text:
            _log.warning("rows are loaded again")
        self._told = text


def _arrived(file: GatewayFile, digest: str) -> Arrived:
    stem, _ = split_name(file.name)
    # A file that was claimed before has a suffix in its name.
    return Arrived(file.relation, stem.partition("~")[0], digest, file)
