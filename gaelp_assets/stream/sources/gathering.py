"""Messages of one partition become batches: consecutive offsets, as many as a table's `stream` allows, under a name that says which. Pure.

Line N of a batch's file is the message with the offset FIRST + N - 1, by which a rejected line is found again at the broker; the rows of an
Arrow message are a file of their own, whose name has its offset twice.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.model import Stream
from gaelp_assets.gateway.names import LIVE
from gaelp_assets.stream.batch import Batch
from gaelp_assets.stream.sources.messages import lines_of
from gaelp_assets.stream.sources.source import BATCH_BYTES

_TOPIC_LENGTH: Final = 40
_DIGITS: Final = 19
"""As many as the greatest offset has: names are in the order of their offsets."""
_RANGE: Final = re.compile(rf"([0-9]{{2,}})-([0-9]{{{_DIGITS}}})-([0-9]{{{_DIGITS}}})-")
_DIGEST: Final = 12


class Place(NamedTuple):
    """What a file's name says of where its messages come from, after the partition's prefix."""

    generation: int
    first: int
    last: int


def partition_prefix(topic: str, topic_id: str, partition: int) -> str:
    """What the names of all files of one partition start with.

    Args:
        topic: its name; one that is long or no part of a file's name stands there by its digest.
        topic_id: the broker's own for the topic, which another topic of that name does not have; empty if the broker tells none.
        partition: its number.

    >>> partition_prefix("metrics", "", 3)
    'live-kafka-metrics-0-p00003-g'
    """
    told = topic
    if len(topic) > _TOPIC_LENGTH or ".." in topic:
        told = f"{topic[:20].replace('.', '_')}-{hashlib.sha256(topic.encode()).hexdigest()[:16]}"
    return f"{LIVE}kafka-{told}-{topic_id or '0'}-p{partition:05d}-g"


def place_of(name: str, prefix: str) -> Place | None:
    """What a file's name says; None if it is not of that partition.

    >>> place_of("live-kafka-m-0-p00003-g00-0000000000000000005-0000000000000000009-0123456789ab.ndjson", "live-kafka-m-0-p00003-g")
    Place(generation=0, first=5, last=9)
    """
    found = _RANGE.match(name.removeprefix(prefix)) if name.startswith(prefix) else None
    return Place(*map(int, found.groups())) if found else None


class Sealed(NamedTuple):
    """A batch that nothing is added to any more."""

    batch: Batch
    last: int
    """The offset of its last message."""


@dataclass
class Gathering:
    """What has been received of a partition and is not handed in yet.

    Args:
        relation: the table that the messages are of.
        stream: what its catalogue file says of them.
        prefix: what `partition_prefix` says.
        generation: of the offsets: another one, where a broker that has no ids for topics has begun again.
        position: the offset that is received next.
    """

    relation: Relation
    stream: Stream
    prefix: str
    generation: int
    position: int
    sealed: deque[Sealed] = field(default_factory=deque)
    _lines: list[bytes] = field(default_factory=list)
    _first: int = 0
    _bytes: int = 0
    _since: float = 0.0

    def add(self, offset: int, value: bytes | None, now: float) -> None:
        """Takes a message; one that was taken before is left out.

        Args:
            offset: its place in the partition.
            value: what it holds.
            now: a moment of a clock, in seconds.
        """
        if offset < self.position:
            return
        lines = lines_of(self.stream.format, value)
        if offset > self.position or len(lines) != 1:
            self.seal()
        if not self._lines:
            self._first, self._since = offset, now
        self._lines += lines
        self._bytes += sum(map(len, lines))
        self.position = offset + 1
        if len(lines) != 1 or len(self._lines) >= self.stream.max_batch_rows or self._bytes >= BATCH_BYTES:
            self.seal()

    def due(self, now: float) -> bool:
        """Whether what is gathered has waited long enough."""
        return bool(self._lines) and now - self._since >= self.stream.max_latency_s

    def seal(self) -> None:
        """Ends the batch that is gathered, if there is one."""
        if not self._lines:
            return
        content, last = b"".join(self._lines), self.position - 1
        # The digest: should a broker give the same offsets to other messages, these have another name.
        digest = hashlib.sha256(content).hexdigest()[:_DIGEST]
        stem = f"{self.prefix}{self.generation:02d}-{self._first:0{_DIGITS}}-{last:0{_DIGITS}}-{digest}"
        self.sealed.append(Sealed(Batch(self.relation, stem, content), last))
        self._lines, self._bytes = [], 0

    @property
    def size(self) -> int:
        """How many bytes are held."""
        return self._bytes + sum(len(sealed.batch.lines) for sealed in self.sealed)
