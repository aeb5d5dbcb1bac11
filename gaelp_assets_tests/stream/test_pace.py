"""A receiver on a warehouse that counts loads by the day."""

from __future__ import annotations

import datetime as dt

from gaelp_assets.stream.pace import LONGEST_REST, SHARE, Pace
from gaelp_assets.warehouse.quotas import Limits, QuotaLeft

NOON = dt.datetime(2026, 11, 1, 20, tzinfo=dt.UTC)
"""In the Pacific zone, 12 hours before the day is over."""


def test_a_stream_used_up_the_load_jobs_of_the_day() -> None:
    limits = Limits(load_jobs=100_000, writers_per_table=20)
    pace = Pace(lambda: QuotaLeft(limits, NOON, used=0))
    now, writes = NOON, 0
    while now < NOON + dt.timedelta(hours=12):
        rest = pace.rest(6, now)
        assert 0 < rest <= LONGEST_REST
        now += dt.timedelta(seconds=rest)
        writes += 6
        if now - NOON > dt.timedelta(minutes=4):
            break
    assert writes * 2 / limits.load_jobs <= SHARE * 4.2 / (12 * 60)
    assert Pace(lambda: QuotaLeft(limits, NOON, used=100_000)).rest(1, NOON) == LONGEST_REST


def test_an_engine_without_limits_is_not_asked_again() -> None:
    asked: list[None] = []
    pace = Pace(lambda: asked.append(None))
    assert [pace.rest(5, NOON + dt.timedelta(hours=hour)) for hour in range(3)] == [0.0, 0.0, 0.0]
    assert len(asked) == 1
