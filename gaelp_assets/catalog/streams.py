"""What a table may say of the stream that its rows arrive in. How streams are read belongs to `gaelp_assets.stream`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from gaelp_assets.catalog.model import Relation, Stream
from gaelp_assets.errors import Problem

_KAFKA_TOPIC: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}")
_PUBSUB_NAME: Final = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")


def stream_problems(relation: Relation) -> Iterable[Problem]:
    """What is wrong with the stream of one relation."""
    stream = relation.stream
    if stream is None:
        return
    if not relation.is_loaded:
        yield Problem(f"stream on a {relation.kind}", _at(relation), "a loaded table")
    if stream.source == "kafka":
        if not _KAFKA_TOPIC.fullmatch(stream.topic):
            expected = "a topic of Kafka: 1 to 249 letters, digits, '.', '_' and '-'"
            yield Problem(f"{stream.topic!r} is no topic", _at(relation, "topic"), expected)
        if stream.subscription is not None:
            where = _at(relation, "subscription")
            yield Problem(
                "a subscription of Kafka", where, "none: only Pub/Sub's messages are pulled by subscriptions"
            )
        return
    expected = "a name in Pub/Sub: 3 to 255 of letters, digits and -._~+%, the first a letter; not that of the project"
    if not _PUBSUB_NAME.fullmatch(stream.topic):
        yield Problem(f"{stream.topic!r} is no topic", _at(relation, "topic"), expected)
    if stream.subscription is None:
        yield Problem("no subscription", _at(relation, "subscription"), expected)
    elif not _PUBSUB_NAME.fullmatch(stream.subscription):
        yield Problem(f"{stream.subscription!r} is no subscription", _at(relation, "subscription"), expected)


def shared_streams(relations: Sequence[Relation]) -> Iterable[Problem]:
    """Streams that several tables name: each would get a part of the messages, or all of them with the other's rows."""
    named: dict[tuple[str, str], list[Relation]] = {}
    for relation in relations:
        if relation.stream is not None and relation.is_loaded:
            named.setdefault(_what(relation.stream), []).append(relation)
    for (key, name), found in named.items():
        for other in found[1:]:
            yield Problem(
                f"{key} {name!r} is that of {found[0].id} already",
                _at(other, key),
                "another one: a stream is of one table",
            )


def _what(stream: Stream) -> tuple[str, str]:
    if stream.source == "pubsub":
        return "subscription", stream.subscription or ""
    return "topic", stream.topic


def _at(relation: Relation, key: str = "") -> str:
    return f"{relation.where()}, stream" + (f".{key}" if key else "")
