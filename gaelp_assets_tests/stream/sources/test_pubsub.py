"""Pub/Sub's messages arrive once, by Google's unchanged client: acknowledged when they are durable, and never before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.platform import Platform
from gaelp_assets.stream.batch import Batch
from gaelp_assets.stream.receiver import CrowdedError, Receiver, Waiting
from gaelp_assets.stream.sources import source as sources
from gaelp_assets.stream.sources.pubsub import PubSubSource
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
from gaelp_assets_tests.stream.sources.pubsub_server import Server, serving

SUBSCRIPTION = "projects/my-project/subscriptions/readings"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as started:
        started.create(SUBSCRIPTION)
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", started.address)
        monkeypatch.setattr(sources, "LONGEST_WAIT", 0.1)
        yield started


def platform_in(home: Path, subscription: str = "readings", rows: int = 1_000) -> Platform:
    stream = {"source": "pubsub", "topic": "readings", "subscription": subscription}
    return platform_with(
        home, {**stream, "max_latency_s": 0.1, "max_batch_rows": rows}, GAELP_PUBSUB="my-project"
    )


def source_of(platform: Platform, receiver: Receiver | None = None) -> PubSubSource:
    return PubSubSource(receiver or receiver_of(platform), [platform.catalog[TABLE]])


def test_acknowledged_when_durable_and_duplicates_when_the_acknowledgement_is_lost(
    tmp_path: Path, server: Server
) -> None:
    platform = platform_in(tmp_path, rows=40)
    receiver = receiver_of(platform)
    accept, failing = receiver.accept, [True]

    def unsteady(batch: Batch) -> Waiting:
        if failing[0]:
            raise CrowdedError
        return accept(batch)

    receiver.accept = unsteady  # type: ignore[method-assign]
    server.publish(SUBSCRIPTION, [reading(number) for number in range(100)] + [b"", b"no row"])
    server.lost_acknowledgements = 1
    source = source_of(platform, receiver)
    with running(source):
        # Twice as many rows as a batch has are held, and the rest is left at the server.
        wait_for(lambda: (source.lag()[0].messages or 0) >= 80)
        assert server.acknowledged == []
        assert raw_lines(platform) == []
        failing[0] = False
        wait_for(lambda: sum(len(lines) for _, lines in raw_lines(platform)) >= 102)
        server.redeliver()
        wait_for(lambda: server.left(SUBSCRIPTION) == 0)
    assert server.deliveries > 102
    assert loaded(platform) == {f"r{number}": f"{number}.100000001" for number in range(100)}


def test_a_killed_receiver_and_redelivery_in_other_batches(tmp_path: Path, server: Server) -> None:
    platform = platform_in(tmp_path)
    receiver = receiver_of(platform)
    accept = receiver.accept

    def killed(batch: Batch) -> Waiting:
        accept(batch)
        raise ZeroDivisionError

    receiver.accept = killed  # type: ignore[method-assign]
    server.publish(SUBSCRIPTION, [reading(number) for number in range(50)])
    with pytest.raises(ZeroDivisionError), running(source_of(platform, receiver)):
        wait_for(lambda: raw_lines(platform))
    before = len(raw_lines(platform))
    assert server.acknowledged == []
    server.publish(SUBSCRIPTION, [reading(number) for number in range(50, 60)])
    server.redeliver()
    with running(source_of(platform)):
        wait_for(lambda: server.left(SUBSCRIPTION) == 0)
    assert len(raw_lines(platform)) > before
    assert loaded(platform) == {f"r{number}": f"{number}.100000001" for number in range(60)}


def test_what_is_gathered_is_handed_in_and_acknowledged_at_the_end(tmp_path: Path, server: Server) -> None:
    stream = {"source": "pubsub", "topic": "t-1", "subscription": "readings", "max_latency_s": 60}
    platform = platform_with(tmp_path, stream, GAELP_PUBSUB="my-project")
    server.publish(SUBSCRIPTION, [reading(1), reading(2)])
    source = source_of(platform)
    with running(source):
        wait_for(lambda: source.lag()[0].messages == 2)
    [(name, lines)] = raw_lines(platform)
    assert name.startswith("live-pubsub-readings-")
    assert lines == [reading(1), reading(2)]
    assert server.left(SUBSCRIPTION) == 0


def test_a_subscription_that_is_not_there_yet_is_told_once_and_waited_for(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    platform = platform_in(tmp_path, "later")
    later = "projects/my-project/subscriptions/later"
    with caplog.at_level(logging.WARNING, "gaelp_assets.stream"), running(source_of(platform)):
        wait_for(lambda: "NOT_FOUND" in caplog.text)
        server.create(later)
        server.publish(later, [reading(1)])
        wait_for(lambda: "well again" in caplog.text)
    assert caplog.text.count("NOT_FOUND") == 1


def test_a_full_disk_is_told_once_and_nothing_is_acknowledged(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    platform = platform_in(tmp_path)
    receiver = receiver_of(platform)
    tries: list[Batch] = []

    def full(batch: Batch) -> Waiting:
        tries.append(batch)
        raise TransientError(Problem("the disk is full"))

    receiver.accept = full  # type: ignore[method-assign]
    server.publish(SUBSCRIPTION, [reading(1)])
    with running(source_of(platform, receiver)):
        wait_for(lambda: len(tries) > 2)
    assert caplog.text.count("the disk is full") == 1
    assert server.left(SUBSCRIPTION) == 1


def test_no_project_is_named(tmp_path: Path) -> None:
    stream: dict[str, object] = {"source": "pubsub", "topic": "readings", "subscription": "readings"}
    platform = platform_with(tmp_path, stream)
    with pytest.raises(GaelpError, match="GAELP_PUBSUB: no project is named"):
        source_of(platform)
