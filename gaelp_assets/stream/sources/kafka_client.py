"""How Kafka is reached: librdkafka's settings, and what a broker says of its topics. What is read there is up to `kafka`."""

from __future__ import annotations

import hashlib
import logging
import socket
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.settings import LocalGateway, Settings

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError

SECONDS: Final = 10.0
"""So long is a broker waited for at once."""
_log: Final = logging.getLogger("gaelp_assets.stream.librdkafka")
# What exactly once rests on: the ledger alone says what has been read.
_OWN: Final[Mapping[str, object]] = {
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": False,
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
}
_DEFAULTS: Final[Mapping[str, object]] = {
    "client.id": "gaelp",
    # What cannot be reached is told once, by the client's error callback, and not at each try.
    "log_level": 2,
    "queued.max.messages.kbytes": 16_384,
    "fetch.max.bytes": 16 << 20,
    "topic.metadata.refresh.interval.ms": 30_000,
    "reconnect.backoff.max.ms": 10_000,
    # A receiver that was killed keeps its partitions for so long; the client's own 45 s are long for rows that are awaited in seconds.
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 2_000,
}


def client_settings(settings: Settings) -> dict[str, object]:
    """What librdkafka is told, its group left out: the platform's settings over those of the file that `GAELP_KAFKA_CONFIG` names.

    Raises:
        GaelpError: no brokers are named, or the file cannot be used; all problems at once. No value of the file is told.
    """
    given, problems = _file(settings)
    if settings.kafka is None and "bootstrap.servers" not in given:
        problems.append(
            Problem(
                "no brokers are named, and tables have streams of Kafka",
                "GAELP_KAFKA",
                "host:port of Kafka brokers, with ',' between them",
            )
        )
    if problems:
        raise GaelpError(*problems)
    own = {} if settings.kafka is None else {"bootstrap.servers": settings.kafka}
    return {**_DEFAULTS, "group.id": group_of(settings), **given, **own, **_OWN}


def group_of(settings: Settings) -> str:
    """The consumer group of all receivers that fill one warehouse by one gateway.

    Another warehouse has another group: in one group, each would get some of the partitions, and neither all rows.
    """
    # A folder of the same name is another gateway on another machine.
    host = socket.gethostname() if isinstance(settings.gateway, LocalGateway) else ""
    told = "\n".join((settings.gateway.url, settings.warehouse.url, host))
    return f"gaelp-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _file(settings: Settings) -> tuple[dict[str, object], list[Problem]]:
    """What the file says, and what is wrong with it."""
    path = settings.kafka_config
    if path is None:
        return {}, []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        return {}, [Problem(f"{path} cannot be read: {error.strerror}", "GAELP_KAFKA_CONFIG", "a file")]
    except UnicodeDecodeError:
        return {}, [Problem("is not UTF-8", str(path), "text: name=value in each line")]
    given: dict[str, object] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        where = f"{path}, line {number}"
        if not equals or not name:
            problems.append(Problem("is no setting", where, "name=value"))
        elif name in _OWN:
            what = f"{name} is set by the platform"
            problems.append(Problem(what, where, "no such line: what has been read is told by the ledger"))
        elif name in given:
            problems.append(Problem(f"{name} stands twice", where, "each name once"))
        else:
            given[name] = value
    return given, problems


def make_consumer(config: Mapping[str, object], on_error: Any) -> Consumer:
    """A consumer that has joined no group yet.

    Args:
        config: what `client_settings` says.
        on_error: called with a `KafkaError` where no partition is to blame.

    Raises:
        GaelpError: the settings are not those of librdkafka; the one that is wrong is named, its value is not.
    """
    from confluent_kafka import Consumer, KafkaException

    try:
        return Consumer({**config, "error_cb": on_error}, logger=_log)
    except (KafkaException, ValueError, TypeError) as error:
        text = str(error)
        names = [name for name in config if f'"{name}"' in text] or ["a setting"]
        raise GaelpError(
            Problem(
                f"librdkafka does not take {', '.join(names)}",
                "GAELP_KAFKA_CONFIG",
                "its settings (https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md)",
            )
        ) from None


class Topics:
    """What the brokers say of topics: their ids, by which a topic is told from another one that had its name before.

    Args:
        config: what `client_settings` says.
    """

    def __init__(self, config: Mapping[str, object]) -> None:
        self._config = {name: value for name, value in config.items() if name not in {*_OWN, *_CONSUMERS}}
        self._admin: Any = None

    def ids(self, topics: Collection[str]) -> dict[str, str]:
        """The id of each topic, as a part of a file's name; empty where the broker tells none. A topic that is not there has none.

        Raises:
            TransientError: no broker answers.
        """
        from confluent_kafka import KafkaError, KafkaException, TopicCollection
        from confluent_kafka.admin import AdminClient

        if self._admin is None:
            self._admin = AdminClient(cast("Any", self._config), logger=_log)
        found = {}
        asked = self._admin.describe_topics(TopicCollection(sorted(topics)), request_timeout=SECONDS)
        for topic, answer in asked.items():
            try:
                found[topic] = _in_names(str(answer.result().topic_id))
            except KafkaException as error:
                told: KafkaError = error.args[0]
                if told.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                if told.code() not in {KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION}:
                    raise TransientError(trouble(told)) from None
                found[topic] = ""
        return found


def _in_names(topic_id: str) -> str:
    """Kafka's id of a topic, which is base64, as a part of a file's name; empty for the id of none."""
    named = topic_id.rstrip("=").replace("+", "-").replace("/", "_")
    return "" if not named.strip("A") or not named.isprintable() else named


def trouble(error: KafkaError) -> Problem:
    """What an error of Kafka says; its own words can name brokers and topics, and no rows."""
    return Problem(f"Kafka: {error.str()} ({error.name()})", "GAELP_KAFKA")


_CONSUMERS: Final = frozenset(
    {
        "group.id",
        "queued.max.messages.kbytes",
        "fetch.max.bytes",
        "session.timeout.ms",
        "heartbeat.interval.ms",
    }
)
"""Settings of consumers, of which an administrator's client would complain."""
