"""Ends what a DuckDB connection does: when its time is over, or when others have waited for long enough."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import duckdb

from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.reader import TooSlowError

PATIENCE_SECONDS: Final = 0.2
"""How long others wait before they come first: most questions are answered by then."""
_POLL_SECONDS: Final = 0.05


class GaveWayError(Exception):
    """The work was ended, because others have waited for it."""


@contextmanager
def ended_after(
    con: duckdb.DuckDBPyConnection, seconds: float | None, waited_for: Callable[[], bool] | None = None
) -> Iterator[None]:
    """Ends what the connection does once that time has passed (None sets no limit), or once somebody waits for it.

    Raises:
        GaelpError: it took longer.
        GaveWayError: somebody has waited for `PATIENCE_SECONDS`, as `waited_for` has told all the while.
    """
    if seconds is None and waited_for is None:
        yield
        return
    clock = _Clock(con, seconds, waited_for)
    clock.start()
    try:
        yield
    except GaelpError:
        raise
    except Exception:
        # What fetches the rows may have an error of its own for a query that was interrupted.
        if clock.ended_with is None:
            raise
        raise clock.ended_with from None
    finally:
        clock.done.set()
        clock.join()


class _Clock(threading.Thread):
    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        seconds: float | None,
        waited_for: Callable[[], bool] | None,
    ) -> None:
        super().__init__(daemon=True)
        self._con: Final = con
        self._seconds: Final = seconds
        self._waited_for: Final = waited_for
        self.done: Final = threading.Event()
        self.ended_with: Exception | None = None

    def run(self) -> None:
        began = since = time.monotonic()
        while not self.done.wait(_POLL_SECONDS):
            now = time.monotonic()
            if self.ended_with is None:
                if self._waited_for is not None and not self._waited_for():
                    since = now
                if self._seconds is not None and now - began >= self._seconds:
                    self.ended_with = TooSlowError(self._seconds)
                elif self._waited_for is not None and now - since >= PATIENCE_SECONDS:
                    self.ended_with = GaveWayError()
            if self.ended_with is not None:
                # Again and again: between two statements it ends neither.
                self._con.interrupt()
