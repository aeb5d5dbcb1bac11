"""How fast a receiver may load where the warehouse counts loads by the day. Pure but for asking what is left, now and then."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

from gaelp_assets.warehouse.quotas import QuotaLeft

SHARE: Final = 0.5
"""Of what is left of a day that streams may use: the rest is for files, rebuilds and refreshes."""
ASK_EVERY: Final = dt.timedelta(minutes=5)
LONGEST_REST: Final = 300.0


class Pace:
    """Spreads writes over what is left of the day.

    Args:
        quota_left: tells what is left; None of an engine without limits.
    """

    def __init__(self, quota_left: Callable[[], QuotaLeft | None]) -> None:
        self._ask: Final = quota_left
        self._asked: dt.datetime | None = None
        self._left: QuotaLeft | None = None
        self._written = 0

    def rest(self, writes: int, now: dt.datetime) -> float:
        """Seconds to leave the warehouse alone after so many writes; 0 for an engine without limits."""
        if self._asked is None or (self._left is not None and now - self._asked > ASK_EVERY):
            self._left, self._asked, self._written = self._ask(), now, 0
        if self._left is None or not writes:
            return 0.0
        self._written += writes
        room = SHARE * self._left.writes_left - self._written
        day = (self._left.renewed_at - now).total_seconds()
        if room <= 0 or day <= 0:
            return LONGEST_REST
        return min(LONGEST_REST, writes * day / room)
