"""Work on many things at once, in their order: bounded, and stopped by the first error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from gaelp_assets.ingest.parallel import ordered_map


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_values(threads: int) -> None:
    def slow_first(value: int) -> int:
        time.sleep(0.02 if value % 5 == 0 else 0)
        return value * value

    assert list(ordered_map(slow_first, range(40), threads)) == [value * value for value in range(40)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_values_are_taken_no_further_ahead_than_memory_allows(threads: int) -> None:
    taken = 0

    def values() -> Iterator[int]:
        nonlocal taken
        for value in range(100):
            taken = value + 1
            yield value

    for done, _ in enumerate(ordered_map(str, values(), threads)):
        assert taken <= done + threads + 1


@pytest.mark.parametrize("threads", [1, 3])
def test_error_comes_after_the_results_before_it_and_ends_the_work(threads: int) -> None:
    def fails(value: int) -> int:
        if value == 3:
            raise ValueError("three")
        return value

    stream = ordered_map(fails, range(1000), threads)
    assert [next(stream), next(stream), next(stream)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(stream)
    assert next(stream, None) is None


def test_a_consumer_that_stops_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    stream = ordered_map(str, iter(range(1000)), 3)
    assert next(stream) == "0"
    stream.close()
    assert threading.active_count() == before
