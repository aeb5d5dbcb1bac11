"""A receiver as the work of a process that is killed: rows are pushed to it, and it reads a partition of messages.

Some of its answers are lost: the connection ends, or the process dies, once the rows are safe, and the producer knows nothing.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from gaelp_assets.catalog.model import Stream
from gaelp_assets.errors import TransientError
from gaelp_assets.platform import Platform
from gaelp_assets.serve.keys import Keys
from gaelp_assets.serve.server import run as serve
from gaelp_assets.stream.http import PushLimits, make_app
from gaelp_assets.stream.positions import newest
from gaelp_assets.stream.receiver import Receiver
from gaelp_assets.stream.sources.gathering import Gathering, partition_prefix, place_of
from gaelp_assets_tests.platforms import TABLE

ADDRESS: Final = "address"
"""The file in a home that tells where rows are pushed to."""
PARTITION: Final = "partition"
"""The file in a home with the messages, a line each."""
_Event = MutableMapping[str, Any]


def receive(platform: Platform, seed: int, calm: bool) -> None:
    """Receives until it is killed. If all is `calm`, nothing is lost on the way, and it ends well when it is told to."""
    home, chance = platform.settings.home, random.Random(seed)
    receiver = Receiver(platform)
    receiver.start()
    source = threading.Thread(target=_read, args=(receiver, chance), kwargs={"calm": calm}, daemon=True)
    source.start()

    def ready(url: str, _: bool) -> None:
        (home / "address.tmp").write_text(url)
        (home / "address.tmp").rename(home / ADDRESS)

    def make(local: bool) -> Any:
        pushes = make_app(lambda: receiver, Keys(home, "stream"), PushLimits(), local=local)
        return pushes if calm else _losing(pushes, chance)

    serve(make, Keys(home, "stream"), "127.0.0.1", 0, ready, last_seconds=120)
    source.join(60)
    assert not source.is_alive()
    assert receiver.close(60)


def _losing(app: Any, chance: random.Random) -> Callable[..., Awaitable[None]]:
    """The application, some of whose answers do not arrive."""

    async def losing(scope: _Event, receive: Any, send: Callable[[_Event], Awaitable[None]]) -> None:
        drawn = chance.random()

        async def say(event: _Event) -> None:
            if drawn < 0.05:
                os.kill(os.getpid(), signal.SIGKILL)
            if drawn < 0.2:
                raise ConnectionResetError
            await send(event)

        await app(scope, receive, say)

    return losing


def _read(receiver: Receiver, chance: random.Random, *, calm: bool) -> None:
    """Reads the partition as Kafka's source does: on from the last position that is durable, or from before it, as after a rebalance."""
    relation = receiver.platform.catalog[TABLE]
    prefix = partition_prefix("checkpoints", "", 0)
    names = newest(receiver.platform, relation, [prefix])
    place = place_of(names[prefix], prefix) if names else None
    position = place.last + 1 if place is not None else 0
    if not calm:
        position = max(0, position - chance.choice([0, 0, 1, 5]))
    stream = Stream(source="kafka", topic="checkpoints", max_batch_rows=chance.choice([3, 4, 7]))
    gathering = Gathering(relation, stream, prefix, 0, position)
    values = (receiver.platform.settings.home / PARTITION).read_bytes().splitlines()
    for offset, value in enumerate(values[position:], start=position):
        gathering.add(offset, value, time.monotonic())
        if offset == len(values) - 1 or chance.random() < 0.2:
            gathering.seal()
        while gathering.sealed:
            try:
                receiver.accept(gathering.sealed[0].batch)
            except TransientError:  # there is no room
                time.sleep(0.02)
            else:
                gathering.sealed.popleft()
        if not calm:
            time.sleep(0.01)
