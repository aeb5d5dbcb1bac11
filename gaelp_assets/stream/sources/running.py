"""The sources of a catalogue's streams, each in a thread: begun with a receiver, and ended before it."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem, origin
from gaelp_assets.operations.receivers import StreamLag
from gaelp_assets.stream.receiver import Receiver
from gaelp_assets.stream.sources.source import Source, Wait

_log: Final = logging.getLogger("gaelp_assets.stream")


def _kafka(receiver: Receiver, relations: Sequence[Relation]) -> Source:
    from gaelp_assets.stream.sources.kafka import KafkaSource

    return KafkaSource(receiver, relations)


def _pubsub(receiver: Receiver, relations: Sequence[Relation]) -> Source:
    from gaelp_assets.stream.sources.pubsub import PubSubSource

    return PubSubSource(receiver, relations)


class _Kind(NamedTuple):
    library: str
    """What PyPI calls the client."""
    module: str
    make: Callable[[Receiver, Sequence[Relation]], Source]


_KINDS: Final[Mapping[str, _Kind]] = {
    "kafka": _Kind("confluent-kafka", "confluent_kafka", _kafka),
    "pubsub": _Kind("google-cloud-pubsub", "google.cloud.pubsub_v1", _pubsub),
}


def _source(name: str, receiver: Receiver, relations: Sequence[Relation]) -> Source:
    kind = _KINDS[name]
    if importlib.util.find_spec(kind.module) is None:
        raise GaelpError(
            Problem(
                f"{kind.library} is not installed, which streams of {name} are received with",
                relations[0].where(),
                remedy="Run: pip install 'gaelp-assets[stream]'",
            )
        )
    return kind.make(receiver, relations)


class Sources:
    """Runs what the catalogue's tables name as their streams.

    Args:
        receiver: takes the batches; it is running, and is closed after the sources.

    Raises:
        GaelpError: a stream is declared, and the settings do not say where it is; all problems at once.
    """

    def __init__(self, receiver: Receiver) -> None:
        tables: dict[str, list[Relation]] = {}
        for relation in receiver.platform.catalog.loaded:
            if relation.stream is not None:
                tables.setdefault(relation.stream.source, []).append(relation)
        self._sources: dict[str, Source] = {}
        problems: list[Problem] = []
        for name, relations in sorted(tables.items()):
            try:
                self._sources[name] = _source(name, receiver, relations)
            except GaelpError as error:
                problems += error.problems
        if problems:
            raise GaelpError(*problems)
        self._stop: Final = threading.Event()
        self._threads: Final = [
            threading.Thread(target=self._run, args=item, name=f"gaelp-{item[0]}", daemon=True)
            for item in self._sources.items()
        ]

    def start(self) -> None:
        """Begins to receive; what cannot be reached yet is waited for."""
        for thread in self._threads:
            thread.start()

    def close(self, seconds: float) -> bool:
        """Hands in what is gathered, and ends; whether all sources have ended after so many seconds."""
        self._stop.set()
        for thread in self._threads:
            thread.join(seconds)
        return not any(thread.is_alive() for thread in self._threads)

    def lag(self) -> list[StreamLag]:
        """How far behind the sources are."""
        return [lag for source in self._sources.values() for lag in source.lag()]

    def _run(self, name: str, source: Source) -> None:
        wait, told = Wait(), ""
        while not self._stop.is_set():
            try:
                source.run(self._stop)
            except Exception as error:  # noqa: BLE001, RUF100 - one source must not end the others
                text = str(error) if isinstance(error, GaelpError) else origin(error)
                if text != told:
                    _log.error("%s is received no more, and is tried again: %s", name, text)
                told = text
                wait.lengthen()
                self._stop.wait(wait.seconds)
