"""Pub/Sub: messages are pulled by subscriptions, gathered, and acknowledged once their batch is durable.

What is delivered again, with the same messages or among others, ends as duplicates of its rows. So exactly-once delivery and ordering keys
need nothing of this module, and change nothing: lines are in the order in which messages were published, and which row of a key stays is
up to the table.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.model import Stream
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.gateway.names import LIVE
from gaelp_assets.operations.receivers import StreamLag
from gaelp_assets.settings import BigQueryAddress, Settings
from gaelp_assets.stream.batch import Batch
from gaelp_assets.stream.receiver import CrowdedError, Receiver
from gaelp_assets.stream.sources.messages import lines_of
from gaelp_assets.stream.sources.source import BATCH_BYTES, GATHERED_BYTES, Wait

if TYPE_CHECKING:
    from google.cloud.pubsub_v1 import SubscriberClient
    from google.cloud.pubsub_v1.subscriber.message import Message

_log: Final = logging.getLogger("gaelp_assets.stream")
_TURN_SECONDS: Final = 0.05
_END_SECONDS: Final = 10.0
_NAME_LENGTH: Final = 40
_IDS: Final = 32
_DIGEST: Final = 12


def project_of(settings: Settings) -> str:
    """The project that subscriptions are of.

    Raises:
        GaelpError: the settings name none.
    """
    if settings.pubsub is not None:
        return settings.pubsub
    if isinstance(settings.warehouse, BigQueryAddress):
        return settings.warehouse.project
    raise GaelpError(
        Problem(
            "no project is named, and tables have streams of Pub/Sub",
            "GAELP_PUBSUB",
            "the Google Cloud project of the subscriptions",
        )
    )


@dataclass(frozen=True)
class _Sealed:
    """A batch, and the messages that are acknowledged for it."""

    batch: Batch
    messages: Sequence[Message]


@dataclass
class _Subscription:
    """A subscription, and what has been pulled by it and is not handed in yet. Its methods may be called by several threads."""

    relation: Relation
    stream: Stream
    sealed: deque[_Sealed] = field(default_factory=deque)
    handed: int = 0
    pull: Any = None
    """The client's future; None where nothing is pulled."""
    wait: Wait = field(default_factory=Wait)
    pull_wait: Wait = field(default_factory=Wait)
    told: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: list[Message] = field(default_factory=list)
    _bytes: int = 0
    _since: float = 0.0

    @property
    def name(self) -> str:
        """The subscription's, without its project."""
        return self.stream.subscription or ""

    def add(self, message: Message) -> None:
        """Takes a message; called by threads of the client."""
        with self._lock:
            if not self._open:
                self._since = time.monotonic()
            self._open.append(message)
            self._bytes += len(message.data)
            if len(self._open) >= self.stream.max_batch_rows or self._bytes >= BATCH_BYTES:
                self._seal()

    def seal(self, now: float | None) -> None:
        """Ends the batch that is gathered if it has waited long enough at that moment; without one, in any case."""
        with self._lock:
            if self._open and (now is None or now - self._since >= self.stream.max_latency_s):
                self._seal()

    def _seal(self) -> None:
        messages, self._open, self._bytes = self._open, [], 0
        # The order of publishing, whatever the threads' was; of a message that came twice, both are acknowledged.
        ordered = {
            each.message_id: each for each in sorted(messages, key=lambda m: (m.publish_time, m.message_id))
        }
        content = b"".join(
            line for each in ordered.values() for line in lines_of(self.stream.format, each.data)
        )
        ids = hashlib.sha256("\n".join(sorted(ordered)).encode()).hexdigest()[:_IDS]
        # The digest: another release could make other lines of the same messages.
        digest = hashlib.sha256(content).hexdigest()[:_DIGEST]
        stem = f"{LIVE}pubsub-{_in_names(self.name)}-{ids}-{digest}"
        self.sealed.append(_Sealed(Batch(self.relation, stem, content), messages))

    def done_with_first(self) -> None:
        """The batch that was sealed first is handed in."""
        with self._lock:
            self.handed += len(self.sealed.popleft().messages)

    @property
    def oldest(self) -> float | None:
        """When the oldest message that is held was published, in seconds since 1970."""
        with self._lock:
            held = [*self._open[:1], *(each.messages[0] for each in list(self.sealed)[:1])]
            return min((each.publish_time.timestamp() for each in held), default=None)

    @property
    def waiting(self) -> int:
        """How many messages are held."""
        with self._lock:
            return len(self._open) + sum(len(each.messages) for each in self.sealed)


def _in_names(name: str) -> str:
    """A subscription's name as a part of a file's."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)
    if plain == name and len(name) <= _NAME_LENGTH:
        return name
    return f"{plain[:20]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


class PubSubSource:
    """Hands the messages of all tables whose stream is Pub/Sub's to a receiver.

    Args:
        receiver: takes the batches.
        relations: the tables.

    Raises:
        GaelpError: no project is named.
    """

    def __init__(self, receiver: Receiver, relations: Sequence[Relation]) -> None:
        self._receiver: Final = receiver
        self._project: Final = project_of(receiver.platform.settings)
        self._subscriptions: Final = [
            _Subscription(each, each.stream) for each in relations if each.stream is not None
        ]

    def run(self, stop: threading.Event) -> None:
        """Receives until it is told to stop. Raises as `Source.run` does."""
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.pubsub_v1 import SubscriberClient

        try:
            client = SubscriberClient()
        except GoogleAuthError:
            what = "Google's credentials are not there, or cannot be used"
            raise TransientError(Problem(what, "Pub/Sub", "those that BigQuery is used with")) from None
        with client:
            while not stop.wait(_TURN_SECONDS):
                now = time.monotonic()
                for each in self._subscriptions:
                    self._pull(client, each)
                    each.seal(now)
                    self._hand_in(each)
            for each in self._subscriptions:
                self._end(each)

    def lag(self) -> list[StreamLag]:
        """What has been pulled and is not handed in; how many messages Pub/Sub holds, only its metrics tell."""
        now = time.time()
        return [
            StreamLag(
                "pubsub",
                each.name,
                0,
                each.handed,
                each.handed + each.waiting,
                0.0 if (oldest := each.oldest) is None else max(0.0, now - oldest),
            )
            for each in self._subscriptions
        ]

    def _pull(self, client: SubscriberClient, each: _Subscription) -> None:
        """Begins to pull, or begins again where that has ended; what is wrong is told once."""
        from google.api_core.exceptions import GoogleAPIError
        from google.cloud.pubsub_v1.types import FlowControl

        if each.pull is not None:
            if not each.pull.done():
                return
            error = each.pull.exception()
            each.pull = None
            each.pull_wait.lengthen()
            code = getattr(error, "grpc_status_code", None)
            self._tell(each, f"{code.name if code is not None else type(error).__name__}")
        if not each.pull_wait.over:
            return
        # So much is held at most: under pressure, nothing is handed in, and the client pulls no more.
        limits = FlowControl(
            max_messages=2 * each.stream.max_batch_rows, max_bytes=GATHERED_BYTES // len(self._subscriptions)
        )
        with suppress(GoogleAPIError):
            path = client.subscription_path(self._project, each.name)
            each.pull = client.subscribe(path, each.add, flow_control=limits)

    def _hand_in(self, each: _Subscription) -> None:
        """Hands in what is sealed, in order, and acknowledges it."""
        while each.sealed and each.wait.over:
            first = each.sealed[0]
            try:
                self._receiver.accept(first.batch)
            except TransientError as error:
                if not isinstance(error, CrowdedError):
                    self._tell(each, str(error))
                each.wait.lengthen()
            else:
                each.done_with_first()
                each.wait.end()
                each.pull_wait.end()
                self._tell(each, "")
                for message in first.messages:
                    # One that is lost is delivered again, and ends as a duplicate.
                    message.ack()

    def _end(self, each: _Subscription) -> None:
        """Pulls no more, and hands in what is gathered; what cannot be handed in is delivered again."""
        pull, each.pull = each.pull, None
        each.seal(None)
        each.wait.end()
        self._hand_in(each)
        if pull is not None:
            # Only now, since the client sends acknowledgements as long as it pulls.
            pull.cancel()
            with suppress(Exception):
                pull.result(_END_SECONDS)

    def _tell(self, each: _Subscription, text: str) -> None:
        """Says what is wrong once, and once that it is over."""
        if text and text != each.told:
            _log.warning("subscription %s: %s; it is tried again", each.name, text)
        elif each.told and not text:
            _log.warning("subscription %s: well again", each.name)
        each.told = text
