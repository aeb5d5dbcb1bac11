"""The sources of a catalogue are begun and ended together, and one that fails is tried again by itself."""

from __future__ import annotations

import importlib.util
import logging
import threading
from pathlib import Path

import pytest

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.operations.receivers import StreamLag
from gaelp_assets.stream.sources import running
from gaelp_assets.stream.sources import source as sources
from gaelp_assets.stream.sources.running import Sources
from gaelp_assets_tests.stream.sources.platforms import platform_with, receiver_of, wait_for


class Failing:
    """A source that fails twice, and then runs."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, stop: threading.Event) -> None:
        self.runs += 1
        if self.runs <= 2:
            raise GaelpError(Problem("nobody may read it", "topic t"))
        stop.wait()

    def lag(self) -> list[StreamLag]:
        return [StreamLag("kafka", "t", 0, 3, 5, 1.0)]


def test_a_source_that_fails_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = Failing()
    monkeypatch.setattr(sources, "FIRST_WAIT", 0.001)
    monkeypatch.setitem(running._KINDS, "kafka", running._Kind("json", "json", lambda *_: source))
    streams = Sources(receiver_of(platform_with(tmp_path, {"source": "kafka", "topic": "t"})))
    with caplog.at_level(logging.ERROR, "gaelp_assets.stream"):
        streams.start()
        wait_for(lambda: source.runs == 3)
        assert streams.close(60)
    assert caplog.text.count("topic t: nobody may read it") == 1
    assert [lag.messages for lag in streams.lag()] == [2]


def test_a_client_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = platform_with(tmp_path, {"source": "kafka", "topic": "t"}, GAELP_KAFKA="b:1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(GaelpError, match=r"confluent-kafka is not installed.*gaelp-assets\[stream\]"):
        Sources(receiver_of(platform))
