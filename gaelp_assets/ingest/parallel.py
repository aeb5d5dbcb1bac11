"""Work on many things at once, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def ordered_map(
    function: Callable[[In], Out], values: Iterable[In], threads: int
) -> Generator[Out, None, None]:
    """What `map` yields. With several threads, values are taken ahead: at most one more than there are threads.

    Raises:
        Exception: what `function` and `values` raise, in order.
    """
    if threads <= 1:
        yield from map(function, values)
        return
    running: deque[Future[Out]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="validate")
    try:
        for value in values:
            running.append(pool.submit(function, value))
            if len(running) > threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
