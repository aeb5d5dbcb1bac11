"""A small Pub/Sub in memory, which Google's unchanged client speaks with: topics, subscriptions, streaming pull, deadlines, redelivery.

It can forget acknowledgements and deliver messages twice, as the real one may. Ordering keys, filters and dead-letter topics are not there.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types


@dataclass
class Server:
    """What the server holds, by the name of the subscription; messages are published right into it."""

    address: str = ""
    lost_acknowledgements: int = 0
    """So many requests to acknowledge are answered, and forgotten."""
    deadline: float = 10.0
    """After so many seconds without acknowledgement, a message is delivered again."""
    acknowledged: list[str] = field(default_factory=list)
    deliveries: int = 0
    _held: dict[str, dict[str, types.PubsubMessage]] = field(default_factory=dict)
    _leased: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def create(self, subscription: str) -> None:
        with self._lock:
            self._held[subscription] = {}

    def publish(self, subscription: str, values: Sequence[bytes]) -> None:
        with self._lock:
            held = self._held[subscription]
            for value in values:
                number = str(len(held) + len(self.acknowledged) + 1_000_000)
                held[number] = types.PubsubMessage(
                    data=value, message_id=number, publish_time={"seconds": int(time.time())}
                )

    def left(self, subscription: str) -> int:
        """How many messages are not acknowledged."""
        with self._lock:
            return len(self._held[subscription])

    def redeliver(self) -> None:
        """Delivers what is not acknowledged again, now."""
        with self._lock:
            self._leased.clear()

    def streaming_pull(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        subscription = next(requests).subscription
        with self._lock:
            if subscription not in self._held:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such subscription")
        ended: queue.Queue[None] = queue.Queue()
        context.add_callback(lambda: ended.put(None))
        while context.is_active() and ended.empty():
            due = self._due(subscription)
            if due:
                yield types.StreamingPullResponse(received_messages=due)
            else:
                time.sleep(0.01)

    def _due(self, subscription: str) -> list[types.ReceivedMessage]:
        now = time.monotonic()
        with self._lock:
            held = self._held[subscription]
            due = [number for number in held if self._leased.get(number, 0) <= now][:100]
            self._leased |= dict.fromkeys(due, now + self.deadline)
            self.deliveries += len(due)
            return [types.ReceivedMessage(ack_id=number, message=held[number]) for number in due]

    def acknowledge(self, request: Any, _context: grpc.ServicerContext) -> Any:
        with self._lock:
            if self.lost_acknowledgements:
                self.lost_acknowledgements -= 1
                return empty_pb2.Empty()
            for number in request.ack_ids:
                if self._held[request.subscription].pop(number, None) is not None:
                    self.acknowledged.append(number)
        return empty_pb2.Empty()

    def modify_ack_deadline(self, request: Any, _context: grpc.ServicerContext) -> Any:
        with self._lock:
            until = time.monotonic() + min(request.ack_deadline_seconds, self.deadline)
            self._leased |= dict.fromkeys(request.ack_ids, until)
        return empty_pb2.Empty()


@contextmanager
def serving() -> Iterator[Server]:
    """A server, as long as the context lasts."""
    held = Server()
    methods = {
        "StreamingPull": grpc.stream_stream_rpc_method_handler(
            held.streaming_pull,
            types.StreamingPullRequest.deserialize,
            types.StreamingPullResponse.serialize,
        ),
        "Acknowledge": grpc.unary_unary_rpc_method_handler(
            held.acknowledge, types.AcknowledgeRequest.deserialize, empty_pb2.Empty.SerializeToString
        ),
        "ModifyAckDeadline": grpc.unary_unary_rpc_method_handler(
            held.modify_ack_deadline,
            types.ModifyAckDeadlineRequest.deserialize,
            empty_pb2.Empty.SerializeToString,
        ),
    }
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", methods),)
    )
    held.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield held
    finally:
        server.stop(0).wait()
