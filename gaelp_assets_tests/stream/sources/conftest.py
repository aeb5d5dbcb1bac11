"""The broker, which is started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gaelp_assets_tests.stream.sources.brokers import Broker, free_address, tansu


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A real broker, in memory."""
    with tansu(free_address()) as started:
        yield started
