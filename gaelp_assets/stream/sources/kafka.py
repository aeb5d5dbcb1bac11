"""Kafka: consecutive messages of a partition become a batch, and a partition goes on where the ledger and the gateway say.

What the broker has been told (its committed offsets) is for people who watch lag there: it is told after a batch is durable, and is never
asked. So a redelivery, a rebalance, a receiver that was thought dead or a broker that has forgotten costs a few duplicates, which the keys
of the rows settle, and never a row.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import TransientError
from gaelp_assets.operations.receivers import StreamLag
from gaelp_assets.stream.positions import newest
from gaelp_assets.stream.receiver import CrowdedError, Receiver
from gaelp_assets.stream.sources.gathering import Gathering, partition_prefix, place_of
from gaelp_assets.stream.sources.kafka_client import SECONDS, Topics, client_settings, make_consumer, trouble
from gaelp_assets.stream.sources.source import GATHERED_BYTES, Wait

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

_log: Final = logging.getLogger("gaelp_assets.stream")
_AT_ONCE: Final = 500
"""Messages that are taken from the client at once."""
_POLL_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 30.0
"""How often the topics' ids are looked at."""
_Key = tuple[str, int]


@dataclass
class _Partition:
    """A partition that is this receiver's."""

    topic_id: str
    gathering: Gathering
    handed: int
    """The offset after the last message that is durable."""
    paused: bool = False
    wait: Wait = field(default_factory=Wait)
    newest: int | None = None
    """The offset that the next message will get, as the last answer of the broker had it."""
    arrived: float | None = None
    """When the last message was written, by the broker's clock."""


class KafkaSource:
    """Hands the messages of all tables whose stream is Kafka's to a receiver, as one member of a consumer group.

    Args:
        receiver: takes the batches.
        relations: the tables.
    """

    def __init__(self, receiver: Receiver, relations: Sequence[Relation]) -> None:
        self._receiver: Final = receiver
        self._tables: Final = {each.stream.topic: each for each in relations if each.stream is not None}
        self._config: Final = client_settings(receiver.platform.settings)
        self._topics: Final = Topics(self._config)
        self._partitions: dict[_Key, _Partition] = {}
        self._lock: Final = threading.Lock()
        self._stop = threading.Event()
        self._told: dict[str, str] = {}
        """What is wrong now, by what is wrong: each change is told once."""

    def run(self, stop: threading.Event) -> None:
        """Receives until it is told to stop. Raises as `Source.run` does."""
        from confluent_kafka import KafkaException

        self._stop = stop
        consumer = make_consumer(self._config, self._on_error)
        try:
            consumer.subscribe(
                sorted(self._tables),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            looked = time.monotonic()
            while not stop.is_set():
                self._receive(consumer)
                if time.monotonic() - looked > _LOOK_SECONDS:
                    self._look(consumer)
                    looked = time.monotonic()
        except KafkaException as error:
            raise TransientError(trouble(error.args[0])) from None
        finally:
            # Leaves the group, which hands in what is gathered.
            consumer.close()

    def lag(self) -> list[StreamLag]:
        """How far behind each partition of this receiver is."""
        with self._lock:
            partitions = dict(self._partitions)
        return [self._lag(key, partition) for key, partition in sorted(partitions.items())]

    def _lag(self, key: _Key, partition: _Partition) -> StreamLag:
        topic, number = key
        end = partition.newest
        behind = end is not None and end > partition.handed and partition.arrived is not None
        seconds = max(0.0, time.time() - partition.arrived) if behind and partition.arrived else 0.0
        return StreamLag("kafka", topic, number, partition.handed, end, seconds)

    def _receive(self, consumer: Consumer) -> None:
        """One round: takes what has come, and hands in what is due."""
        well = set()
        for message in consumer.consume(_AT_ONCE, self._patience()):
            error = message.error()
            if error is None:
                self._gather(message)
                well.add(message.topic())
            else:
                self._on_partition_error(consumer, message, error)
        for topic in well:
            self._tell("brokers", "")
            self._tell(f"topic {topic}", "")
        now = time.monotonic()
        crowded = sum(each.gathering.size for each in self._partitions.values()) > GATHERED_BYTES
        for key, partition in list(self._partitions.items()):
            if crowded or partition.gathering.due(now):
                partition.gathering.seal()
            self._hand_in(consumer, key, partition)

    def _patience(self) -> float:
        streams = [each.stream.max_latency_s for each in self._tables.values() if each.stream is not None]
        return min(_POLL_SECONDS, *streams)

    def _gather(self, message: Message) -> None:
        topic, number, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert number is not None
        assert offset is not None
        partition = self._partitions.get((topic, number))
        if partition is None:
            return  # it was revoked while it came
        partition.gathering.add(offset, message.value(), time.monotonic())
        kind, milliseconds = message.timestamp()
        partition.arrived = milliseconds / 1000 if kind else None

    def _hand_in(self, consumer: Consumer, key: _Key, partition: _Partition) -> None:
        """Hands in what is sealed, in order; under pressure it is kept, and nothing more of the partition is received."""
        from confluent_kafka import KafkaException, TopicPartition

        sealed = partition.gathering.sealed
        while sealed and partition.wait.over:
            try:
                self._receiver.accept(sealed[0].batch)
            except TransientError as error:
                if not isinstance(error, CrowdedError):
                    self._tell("gateway", str(error))
                partition.wait.lengthen()
            else:
                partition.handed = sealed.popleft().last + 1
                partition.wait.end()
                self._tell("gateway", "")
                with suppress(KafkaException):
                    consumer.commit(offsets=[TopicPartition(*key, partition.handed)], asynchronous=True)
        if bool(sealed) != partition.paused:
            change = consumer.pause if sealed else consumer.resume
            change([TopicPartition(*key)])
            partition.paused = bool(sealed)
        with suppress(KafkaException):
            _, end = consumer.get_watermark_offsets(TopicPartition(*key), cached=True)
            partition.newest = end if end >= 0 else None

    # What follows is called by the client, from within `consume` and `close`.

    def _on_assign(self, consumer: Consumer, assigned: Sequence[TopicPartition]) -> None:
        consumer.incremental_assign(
            self._begun(consumer, [(each.topic, each.partition) for each in assigned])
        )

    def _on_revoke(self, consumer: Consumer, revoked: Sequence[TopicPartition]) -> None:
        for each in revoked:
            key = (each.topic, each.partition)
            partition = self._partitions.get(key)
            if partition is not None:
                partition.gathering.seal()
                partition.wait.end()
                self._hand_in(consumer, key, partition)
        self._forget(revoked)

    def _on_lost(self, _consumer: Consumer, lost: Sequence[TopicPartition]) -> None:
        # Somebody else reads them by now, from the last position that is durable.
        self._forget(lost)

    def _forget(self, gone: Sequence[TopicPartition]) -> None:
        with self._lock:
            for each in gone:
                self._partitions.pop((each.topic, each.partition), None)

    def _on_error(self, error: KafkaError) -> None:
        """Called where no partition is to blame."""
        from confluent_kafka import KafkaError

        if error.fatal() or error.code() in {
            KafkaError._ALL_BROKERS_DOWN,
            KafkaError._AUTHENTICATION,
            KafkaError._RESOLVE,
        }:
            self._tell("brokers", str(trouble(error)))

    def _on_partition_error(self, consumer: Consumer, message: Message, error: KafkaError) -> None:
        from confluent_kafka import KafkaError

        key = (message.topic(), message.partition())
        if error.code() == KafkaError._AUTO_OFFSET_RESET and key in self._partitions:
            self._begin_again(consumer, [key], out_of_range=True)
        else:
            self._tell(f"topic {message.topic()}", str(trouble(error)))

    def _look(self, consumer: Consumer) -> None:
        """Finds topics that were deleted and made again under their names, with offsets from 0."""
        if not self._partitions:
            return
        try:
            ids = self._topics.ids({topic for topic, _ in self._partitions})
        except TransientError as error:
            self._tell("brokers", str(error))
            return
        self._tell("brokers", "")
        others = [
            key for key, each in self._partitions.items() if ids.get(key[0], each.topic_id) != each.topic_id
        ]
        self._begin_again(consumer, others)

    def _begin_again(self, consumer: Consumer, keys: Sequence[_Key], *, out_of_range: bool = False) -> None:
        """Goes on with partitions whose offsets are not those that were expected."""
        from confluent_kafka import TopicPartition

        if not keys:
            return
        before = {key: self._partitions[key].gathering for key in keys}
        for key, gathering in before.items():
            gathering.seal()
            self._hand_in(consumer, key, self._partitions[key])
        consumer.incremental_unassign([TopicPartition(*key) for key in keys])
        places = self._begun(consumer, keys, out_of_range=out_of_range)
        for key, gathering in before.items():
            # The broker may not have them any more.
            if key in self._partitions:
                self._partitions[key].gathering.sealed.extendleft(reversed(gathering.sealed))
        consumer.incremental_assign(places)

    def _begun(
        self, consumer: Consumer, keys: Sequence[_Key], *, out_of_range: bool = False
    ) -> list[TopicPartition]:
        """Finds out where partitions go on; waits for brokers, ledger and gateway as long as it takes, or until the end."""
        wait, found = Wait(), dict[_Key, _Partition]()
        while not self._stop.is_set():
            try:
                ids = self._topics.ids({topic for topic, _ in keys})
                names = self._newest(keys, ids)
                for key in keys:
                    if key not in found:
                        found[key] = self._resumed(
                            consumer, key, ids.get(key[0], ""), names, out_of_range=out_of_range
                        )
            except TransientError as error:
                self._tell("positions", str(error))
                wait.lengthen()
                self._stop.wait(wait.seconds)
            else:
                self._tell("positions", "")
                break
        return self._assigned(found)

    def _assigned(self, found: Mapping[_Key, _Partition]) -> list[TopicPartition]:
        from confluent_kafka import TopicPartition

        with self._lock:
            self._partitions.update(found)
        return [TopicPartition(*key, each.gathering.position) for key, each in found.items()]

    def _newest(self, keys: Sequence[_Key], ids: Mapping[str, str]) -> dict[str, str]:
        """The last file of each partition, by the prefix of its files."""
        found: dict[str, str] = {}
        for topic in sorted({topic for topic, _ in keys}):
            prefixes = [
                partition_prefix(topic, ids.get(topic, ""), key[1]) for key in keys if key[0] == topic
            ]
            found |= newest(self._receiver.platform, self._tables[topic], prefixes)
        return found

    def _resumed(
        self, consumer: Consumer, key: _Key, topic_id: str, names: Mapping[str, str], *, out_of_range: bool
    ) -> _Partition:
        """A partition as the ledger and the gateway know it: after the last message that is durable, or from the beginning."""
        from confluent_kafka import KafkaException, TopicPartition

        relation = self._tables[key[0]]
        assert relation.stream is not None
        prefix = partition_prefix(key[0], topic_id, key[1])
        place = place_of(names[prefix], prefix) if prefix in names else None
        generation, position = (place.generation, place.last + 1) if place else (0, 0)
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(*key), timeout=SECONDS)
        except KafkaException as error:
            raise TransientError(trouble(error.args[0])) from None
        if out_of_range and position > high:
            _log.warning(
                "%s [%d] ends at offset %d, and offset %d was read of it: its offsets have begun again, and it is read from %d",
                *key, high, position - 1, low,
            )  # fmt: skip
            generation, position = generation + 1, low
        elif low > position:
            if place is not None:
                _log.error(
                    "%s [%d]: the broker has deleted %d messages before they were read, offsets %d to %d; "
                    "if they were sent to nothing else, they are lost. Keep messages longer than receivers may stand still",
                    *key, low - position, position, low - 1,
                )  # fmt: skip
            position = low
        _log.info("%s [%d] goes on at offset %d", *key, position)
        gathering = Gathering(relation, relation.stream, prefix, generation, position)
        return _Partition(topic_id, gathering, position)

    def _tell(self, what: str, text: str) -> None:
        """Says what is wrong once, and once that it is over."""
        before = self._told.get(what, "")
        if text and text != before:
            _log.warning("%s: %s", what, text)
        elif before and not text:
            _log.warning("%s: well again", what)
        self._told[what] = text
