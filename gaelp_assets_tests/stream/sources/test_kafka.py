"""Kafka's messages arrive once, wherever a receiver ends: against a real broker, librdkafka's mock cluster, and random faults."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.platform import Platform
from gaelp_assets.stream.batch import Batch
from gaelp_assets.stream.positions import newest
from gaelp_assets.stream.receiver import Receiver, Waiting
from gaelp_assets.stream.sources import kafka
from gaelp_assets.stream.sources import source as sources
from gaelp_assets.stream.sources.gathering import partition_prefix, place_of
from gaelp_assets.stream.sources.kafka import KafkaSource
from gaelp_assets.stream.sources.kafka_client import Topics, client_settings
from gaelp_assets_tests.stream.sources.brokers import Broker, free_address, tansu
from gaelp_assets_tests.stream.sources.platforms import (
    TABLE,
    loaded,
    platform_with,
    raw_lines,
    reading,
    receiver_of,
    running,
    wait_for,
)


def platform_of(home: Path, topic: str, address: str) -> Platform:
    """A platform whose table reads that topic."""
    home.mkdir(parents=True, exist_ok=True)
    config = home / "client.properties"
    # The broker lets a group wait for as long as its members may be silent.
    config.write_text(
        "# how long a member may be silent\nsession.timeout.ms = 6000\nheartbeat.interval.ms=500\n"
    )
    stream = {"source": "kafka", "topic": topic, "max_latency_s": 0.1}
    return platform_with(home, stream, GAELP_KAFKA=address, GAELP_KAFKA_CONFIG=str(config))


def source_of(platform: Platform, receiver: Receiver | None = None) -> KafkaSource:
    return KafkaSource(receiver or receiver_of(platform), [platform.catalog[TABLE]])


def arrived(platform: Platform) -> list[bytes]:
    return [line for _, lines in raw_lines(platform) for line in lines]


def places(platform: Platform) -> set[tuple[str, int, int]]:
    """Partition and offsets of each file that waits."""
    found = set()
    for name, _ in raw_lines(platform):
        start = name.index("-p0")
        place = place_of(name, name[: name.index("-g", start) + 2])
        assert place is not None
        found.add((name[start + 1 : start + 7], place.first, place.last))
    return found


def rows(numbers: Sequence[int]) -> dict[str, str]:
    return {f"r{number}": f"{number}.100000001" for number in numbers}


def test_a_partition_goes_on_where_its_files_end_and_a_topic_made_again_begins_again(
    tmp_path: Path, broker: Broker
) -> None:
    platform = platform_of(tmp_path, "again", broker.address)
    broker.create("again", 2)
    broker.produce("again", [reading(number) for number in range(50)], 0)
    broker.produce("again", [reading(50), None, b"", b"no row"], 1)
    source = source_of(platform)
    with running(source):
        wait_for(lambda: len(arrived(platform)) == 54)
        assert {(lag.partition, lag.position, lag.messages) for lag in source.lag()} == {
            (0, 50, 0),
            (1, 4, 0),
        }
    assert source.lag() == []
    assert {last for _, _, last in places(platform)} >= {49, 3}

    # What the broker was told is no matter: the files say where to go on.
    broker.produce("again", [reading(number) for number in range(51, 60)], 0)
    before = places(platform)
    with running(source_of(platform)):
        wait_for(lambda: len(arrived(platform)) == 63)
    assert min(first for _, first, _ in places(platform) - before) == 50
    assert loaded(platform) == rows(range(60))
    told = platform.query("SELECT raw FROM ops.dead_letter ORDER BY line_number")["raw"].to_list()
    assert told == [b'["a message without a value"]', b'["an empty message"]', b'["no JSON object","no row"]']

    broker.delete("again")
    broker.create("again", 2)
    broker.renew()
    broker.produce("again", [reading(number) for number in range(58, 70)], 0)
    with running(source_of(platform)):
        wait_for(lambda: len(arrived(platform)) == 12)
    assert loaded(platform) == rows(range(70))


def test_receivers_of_one_group_share_partitions_and_take_over(tmp_path: Path, broker: Broker) -> None:
    platform = platform_of(tmp_path, "shared", broker.address)
    broker.create("shared", 2)
    first, second = source_of(platform), source_of(platform)
    with running(first):
        with running(second):
            wait_for(lambda: len(first.lag()) == len(second.lag()) == 1)
            for partition in (0, 1):
                broker.produce(
                    "shared", [reading(10 * partition + number) for number in range(10)], partition
                )
            wait_for(lambda: len(arrived(platform)) == 20)
        wait_for(lambda: len(first.lag()) == 2)
        broker.produce("shared", [reading(20)], 0)
        broker.produce("shared", [reading(21)], 1)
        wait_for(lambda: len(arrived(platform)) == 22)
    assert sorted(arrived(platform)) == sorted(map(reading, range(22)))


def test_brokers_that_cannot_be_reached_are_told_once_and_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = free_address()
    platform = platform_of(tmp_path, "late", address)
    with running(source_of(platform)):
        wait_for(lambda: "brokers: " in caplog.text)
        with tansu(address) as late:
            late.create("late")
            late.produce("late", [reading(1)])
            wait_for(lambda: arrived(platform))
            wait_for(lambda: "brokers: well again" in caplog.text)
            assert caplog.text.count("brokers: ") == 2


def test_messages_that_a_broker_deleted_unread_are_told_and_offsets_that_begin_again_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The mock cluster knows no ids of topics, as brokers before Kafka 3.1.
    monkeypatch.setattr(Topics, "ids", lambda _, topics: dict.fromkeys(topics, ""))
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "replaced:1", "log_level": 2})
    [node] = producer.list_topics(timeout=10).brokers.values()
    platform = platform_of(tmp_path, "mock", f"{node.host}:{node.port}")

    def produce(values: Sequence[bytes]) -> None:
        for value in values:
            producer.produce("mock", value, partition=0)
            producer.flush()

    produce([reading(0), reading(1)])
    prefix = partition_prefix("mock", "", 0)
    left = Batch(platform.catalog[TABLE], f"{prefix}00-{7:019}-{9:019}-0123456789ab", reading(2) + b"\n")
    receiver_of(platform).accept(left)
    with running(source_of(platform)):
        wait_for(lambda: len(arrived(platform)) == 3)
    assert "ends at offset 2, and offset 9 was read of it" in caplog.text
    # The mock cluster keeps 5 MB of a partition.
    produce([b"x" * 900_000] * 9)
    with running(source_of(platform)):
        wait_for(lambda: any(last == 10 for _, _, last in places(platform)))
    [missed] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the broker has deleted 4 messages before they were read, offsets 2 to 5" in missed.getMessage()


def test_a_batch_whose_bytes_came_before_held_the_position_back(tmp_path: Path) -> None:
    """The ledger knows bytes by the first name that they came under; messages that all say the same were read again, and again."""
    platform = platform_with(tmp_path, {"source": "kafka", "topic": "t"}, GAELP_KAFKA="b:1")
    relation = platform.catalog[TABLE]
    prefixes = [partition_prefix("t", "id", number) for number in range(3)]
    for prefix, places in zip(prefixes, ([0, 9], [4], []), strict=True):
        receiver = receiver_of(platform)
        for first in places:
            stem = f"{prefix}00-{first:019}-{first:019}-0123456789ab"
            receiver.accept(Batch(relation, stem, reading(1) + b"\n"))
    before = newest(platform, relation, prefixes)
    assert [place_of(before[prefix], prefix) for prefix in prefixes[:2]] == [(0, 9, 9), (0, 4, 4)]
    assert loaded(platform) == rows([1])
    after = newest(platform, relation, prefixes)
    assert [place_of(after[prefix], prefix) for prefix in prefixes[:2]] == [(0, 9, 9), (0, 4, 4)]
    assert prefixes[2] not in after


class Killed(BaseException):
    """The process ends here."""


class Message:
    def __init__(self, partition: int, offset: int, value: bytes) -> None:
        self._told = (partition, offset, value)

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return self._told[0]

    def offset(self) -> int:
        return self._told[1]

    def value(self) -> bytes:
        return self._told[2]

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_795_826_096_000


class Consumer:
    """A consumer of logs in memory, which delivers some messages again, and can be killed at any message."""

    def __init__(self, logs: list[list[Message]], chance: random.Random, test: Faults) -> None:
        self._logs, self._chance, self._test = logs, chance, test
        self._at: dict[int, int] = {}
        self._paused: set[int] = set()

    def subscribe(self, _topics: Sequence[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self._revoke = on_revoke
        on_assign(self, [TopicPartition("t", number) for number in range(len(self._logs))])

    def incremental_assign(self, assigned: Sequence[TopicPartition]) -> None:
        self._at |= {each.partition: each.offset for each in assigned}

    def incremental_unassign(self, assigned: Sequence[TopicPartition]) -> None:
        for each in assigned:
            del self._at[each.partition]

    def get_watermark_offsets(self, where: TopicPartition, **_: object) -> tuple[int, int]:
        return 0, self._logs[where.partition][-1].offset() + 1

    def consume(self, _count: int, _seconds: float) -> Iterator[Message]:
        self._test.perhaps_killed()
        found: list[Message] = []
        for partition, log in enumerate(self._logs):
            if partition not in self._paused:
                back = self._chance.choice((0, 0, 3))
                waiting = [each for each in log if each.offset() >= self._at[partition] - back]
                found += waiting[: self._chance.randrange(1, 12)]
                if found and found[-1].partition() == partition:
                    self._at[partition] = max(self._at[partition], found[-1].offset() + 1)
        if all(at > log[-1].offset() for at, log in zip(self._at.values(), self._logs, strict=True)):
            self._test.stop.set()
        for message in found:
            self._test.perhaps_killed()
            yield message

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused |= {each.partition for each in partitions}

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused -= {each.partition for each in partitions}

    def commit(self, **_: object) -> None:
        self._test.perhaps_killed()

    def close(self) -> None:
        if not self._test.killed:
            self._revoke(self, [TopicPartition("t", number) for number in range(len(self._logs))])


class Clock:
    """A clock that goes on by being looked at, so that the same seed is the same run."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 0.1
        return self._now


class Faults:
    """Sessions of receivers on the same logs, of which most are killed, and some go on while another one reads too."""

    def __init__(self, platform: Platform, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._platform = platform
        self.chance = random.Random(seed)
        self.logs: list[list[Message]] = [[], []]
        self.stop = threading.Event()
        self.killed = False
        self._rate = 0.0
        self.kills = self.zombies = 0
        monkeypatch.setattr(Topics, "ids", lambda _, topics: dict.fromkeys(topics, "id"))
        monkeypatch.setattr(kafka, "make_consumer", lambda *_: Consumer(self.logs, self.chance, self))

    def perhaps_killed(self) -> None:
        if self.chance.random() < self._rate:
            self.killed = True
            self.kills += 1
            raise Killed

    def session(self, rate: float, *, nested: bool = False) -> None:
        """One receiver, until it has read all or is killed."""
        outer, stop = (self.stop, self._rate), threading.Event()
        self.stop, self._rate, self.killed = stop, rate, False
        receiver = receiver_of(self._platform)
        accept = receiver.accept

        def unsteady(batch: Batch) -> Waiting:
            if rate and self.chance.random() < 0.25:
                raise TransientError(Problem("the disk is full"))
            self.perhaps_killed()
            if rate and not nested and self.chance.random() < 0.3:
                # Another receiver was given the partitions, and this one does not know it yet.
                self.zombies += 1
                self.session(rate, nested=True)
            waiting = accept(batch)
            self.perhaps_killed()
            return waiting

        receiver.accept = unsteady  # type: ignore[method-assign]
        try:
            source_of(self._platform, receiver).run(stop)
        except Killed:
            pass
        finally:
            self.stop, self._rate = outer
            self.killed = False


def test_random_kills_redeliveries_and_overlaps_lose_double_and_alter_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(kafka, "time", clock)
    monkeypatch.setattr(sources, "time", clock)
    stream = {"source": "kafka", "topic": "t", "max_latency_s": 0.5, "max_batch_rows": 9}
    platform = platform_with(tmp_path, stream, GAELP_KAFKA="nowhere:1")
    faults = Faults(platform, 12, monkeypatch)
    oracle: dict[str, str] = {}
    offsets = [0, 0]
    for session in range(24):
        for _ in range(faults.chance.randrange(4, 16)):
            number, partition = len(oracle), faults.chance.randrange(2)
            oracle |= rows([number])
            # Transactions and compaction leave gaps.
            offsets[partition] += faults.chance.choice((1, 1, 1, 2))
            faults.logs[partition].append(Message(partition, offsets[partition], reading(number)))
        if all(faults.logs):
            faults.session(0.05 if session % 6 else 0.0)
    faults.session(0.0)
    assert faults.kills > 10
    assert faults.zombies > 5
    for name, lines in raw_lines(platform):
        place = place_of(name, name[: name.index("-g") + 2])
        assert place is not None
        assert len(lines) == place.last - place.first + 1, "a line is not found by its offset"
    assert loaded(platform) == oracle


def test_a_topic_that_is_made_again_while_it_is_read_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = {"source": "kafka", "topic": "t", "max_latency_s": 60}
    platform = platform_with(tmp_path, stream, GAELP_KAFKA="nowhere:1")
    faults, ids = Faults(platform, 1, monkeypatch), {"t": "one"}
    faults.logs = [[Message(0, number, reading(number)) for number in range(20)]]

    class MadeAgain(Consumer):
        def consume(self, count: int, seconds: float) -> Iterator[Message]:
            yield from list(super().consume(count, seconds))
            if faults.stop.is_set() and ids["t"] == "one":
                ids["t"] = "two"
                faults.logs[0][:] = [Message(0, number, reading(100 + number)) for number in range(30)]
                faults.stop.clear()

    monkeypatch.setattr(kafka, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(Topics, "ids", lambda *_: dict(ids))
    monkeypatch.setattr(kafka, "make_consumer", lambda *_: MadeAgain(faults.logs, faults.chance, faults))
    source_of(platform).run(faults.stop)
    assert sorted(arrived(platform)) == sorted(map(reading, [*range(20), *range(100, 130)]))
    assert {name.split("-")[3] for name, _ in raw_lines(platform)} == {"one", "two"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("group.id", ["client.properties, line 1: is no setting; expected name=value"]),
        (
            "a=1\na=2\nauto.offset.reset=latest",
            ["line 2: a stands twice", "line 3: auto.offset.reset is set by"],
        ),
        ("sasl.pasword=hunter2", ["librdkafka does not take sasl.pasword"]),
    ],
)
def test_wrong_settings_of_librdkafka_are_named_without_their_values(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    platform = platform_of(tmp_path, "t", "nowhere:1")
    (tmp_path / "client.properties").write_text(text)
    with pytest.raises(GaelpError) as caught:
        source_of(platform).run(threading.Event())
    for part in expected:
        assert part in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_another_warehouse_was_in_the_same_group_and_took_half_of_the_messages(tmp_path: Path) -> None:
    one, other = (client_settings(platform_of(tmp_path / name, "t", "b:1").settings) for name in "ab")
    assert one["group.id"] != other["group.id"]
    assert one["enable.auto.commit"] is False


def test_no_brokers_are_named(tmp_path: Path) -> None:
    relation: Relation = platform_of(tmp_path, "t", "b:1").catalog[TABLE]
    platform = platform_with(tmp_path, {"source": "kafka", "topic": "t"})
    with pytest.raises(GaelpError, match="GAELP_KAFKA: no brokers are named"):
        KafkaSource(receiver_of(platform), [relation])
