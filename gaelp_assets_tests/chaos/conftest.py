"""Marks these tests, and gives them their seed and their number of kills, which are options of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.chaos)


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How many processes a test of kills has to kill."""
    return int(pytestconfig.getoption("kills"))


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of all that is random in a test; shown when it fails."""
    seed = int(pytestconfig.getoption("seed"))
    print(f"repeat with: --seed {seed}")
    return seed
