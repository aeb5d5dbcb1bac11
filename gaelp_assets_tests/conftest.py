"""Marks the tests that need the BigQuery emulator, which has an environment of its own and takes its time; options of the chaos tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Final

import pytest

from gaelp_assets_tests.emulators.bigquery import forget_datasets

LONG_ON_THE_EMULATOR: Final = frozenset(
    {
        "test_bigquery_faults.py",
        "test_changed_tables.py",
        "test_keys_across_slices.py",
        "test_lost_answers.py",
        "test_slice_convergence.py",
    }
)
"""Modules that ask much of the emulator, of what changes seldom: `make test-emulator` runs them there, and not each `make test`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=48, help="chaos tests: how many processes each test kills")
    parser.addoption("--seed", type=int, default=1, help="chaos tests: what their randomness starts from")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if "bigquery" in parameters.values() or "emulator" in item.path.parts:
            item.add_marker(pytest.mark.emulator)
            if item.path.name in LONG_ON_THE_EMULATOR:
                item.add_marker(pytest.mark.thorough)
    # The longest modules first: workers take modules in their order, and one that begins a long one at the end works on alone.
    slow, served = (
        {item.path for item in items if item.get_closest_marker(marker)} for marker in ("slow", "emulator")
    )
    items.sort(key=lambda item: (item.path not in slow, item.path not in served))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: no search for reference cycles walks it again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """What libraries complain of at the end of a process is theirs, and not that it was frozen."""
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def emulator_that_stays_small() -> Iterator[None]:
    """What a module's tests left in BigQuery's emulator goes with the module."""
    yield
    forget_datasets()


@pytest.fixture(params=["python", "native"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provers that the test makes decode in Python alone, then natively."""
    from gaelp_assets.ingest.decode import native

    if request.param == "python":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("the native decoder has not been built")
