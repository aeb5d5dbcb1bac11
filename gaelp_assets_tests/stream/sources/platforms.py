"""A platform with a table that has a stream, and what it holds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaelp_assets.gateway import Stage
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets.stream.receiver import Receiver
from gaelp_assets.stream.sources.source import Source

TABLE = "live.readings"
_CONTENT: dict[str, Any] = {
    "description": "Readings that arrive as a stream.",
    "owner": "team:live",
    "fields": [
        {"name": "reading_id", "type": "STRING", "mode": "REQUIRED"},
        {"name": "date", "type": "DATE", "mode": "REQUIRED"},
        {"name": "value", "type": "NUMERIC"},
    ],
    "primary_key": ["reading_id"],
    "partitioning": {"date": "date"},
}


def platform_with(home: Path, stream: dict[str, object], **variables: str) -> Platform:
    """A platform below that home, whose table has that stream."""
    path = home / "catalog" / "live" / "readings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**_CONTENT, "stream": stream}))
    platform = open_platform(load_settings({"GAELP_HOME": str(home), **variables}))
    platform.gateway.prepare()
    return platform


def reading(number: int) -> bytes:
    """A row whose digits no float holds."""
    value = f"{number}.100000001"
    return f'{{"reading_id": "r{number}", "date": "2026-11-01", "value": {value}}}'.encode()


def raw_lines(platform: Platform) -> list[tuple[str, list[bytes]]]:
    """The live files that nobody has loaded yet, each with its lines."""
    found = []
    for stored in platform.gateway.store.list(f"{Stage.RAW}/live/readings/"):
        with platform.gateway.store.open(stored) as stream:
            found.append((stored.name.rpartition("/")[2], stream.read().splitlines()))
    return found


def held(platform: Platform) -> dict[str, str]:
    """What the table holds, each value by its key."""
    rows = platform.query(f"SELECT reading_id, CAST(value AS STRING) AS value FROM {TABLE}").to_dicts()
    found = {row["reading_id"]: row["value"] for row in rows}
    assert len(found) == len(rows), "a row stands twice"
    return found


@contextmanager
def running(source: Source) -> Iterator[threading.Event]:
    """Runs a source in a thread until the end of the block; what it raises, the block raises."""
    stop, raised = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            source.run(stop)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def wait_for(condition: Callable[[], object], progress: Callable[[], object] = lambda: None) -> None:
    """Waits until the condition holds, a minute after the last progress at most."""
    before, until = progress(), time.monotonic() + 60
    while not condition():
        now = progress()
        if now != before:
            before, until = now, time.monotonic() + 60
        assert time.monotonic() < until, "nothing goes on"
        time.sleep(0.02)


def loaded(platform: Platform) -> dict[str, str]:
    """What the table holds once all that waits in the gateway is loaded."""
    receiver = receiver_of(platform)
    receiver.start()
    wait_for(lambda: receiver.waits() == (0, 0), receiver.waits)
    assert receiver.close(30)
    return held(platform)


def receiver_of(platform: Platform) -> Receiver:
    """A receiver that takes batches and loads none until it is started."""
    return Receiver(platform)
