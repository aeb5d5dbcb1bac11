"""What still fits into a day of BigQuery's limits, and what is said of that which does not."""

from __future__ import annotations

import datetime as dt

import pytest

from gaelp_assets.catalog import WHOLE, Slice
from gaelp_assets.warehouse.quotas import (
    Cadence,
    Limits,
    QuotaLeft,
    cadence,
    day_began,
    fitting,
    load_jobs,
    next_day,
    refusal,
    worth_asking,
)

LIMITS = Limits(load_jobs=100_000, writers_per_table=22)
NOON = dt.datetime(2026, 11, 20, 20, tzinfo=dt.UTC)
LAST = dt.date(2026, 11, 20)


def _room(left: int, limits: Limits = LIMITS) -> QuotaLeft:
    return QuotaLeft(limits, NOON, limits.load_jobs - left)


def _rectangle(dates: int, environments: int) -> list[Slice]:
    return [
        Slice(LAST - dt.timedelta(days=day), f"env-{number}")
        for day in range(dates)
        for number in range(environments)
    ]


def test_a_backfill_that_cannot_fit_is_refused_and_told_what_would() -> None:
    problem = refusal("training.episodes", _rectangle(37, 8), _room(400))
    assert str(problem) == (
        "training.episodes: 37 dates x 8 environments = 296 slices need up to 592 load jobs, and 400 of 100,000 are left today; "
        "expected at most 200 slices: the newest 25 dates (2026-10-27 to 2026-11-20). "
        "Run the rest after 2026-11-21 08:00 UTC, midnight Pacific time."
    )


def test_what_was_said_to_fit_fits_and_one_date_more_does_not() -> None:
    slices = _rectangle(37, 8)
    room = _room(399)
    fits = fitting(slices, room)
    assert refusal("t", fits, room) is None
    assert len(fits) == 24 * 8
    assert min(s.date for s in fits if s.date) == LAST - dt.timedelta(days=23)
    assert refusal("t", _rectangle(25, 8), room) is not None


def test_a_backfill_of_more_than_a_day_says_how_many_days_it_takes() -> None:
    problem = refusal("t", _rectangle(100, 20), _room(500, Limits(1000, 22)))
    assert problem is not None
    assert (
        problem.remedy
        == "Run the rest on the 4 days that begin after 2026-11-21 08:00 UTC, midnight Pacific time."
    )


@pytest.mark.parametrize(
    ("slices", "left", "words", "fits"),
    [
        (_rectangle(1, 8), 10, "1 date x 8 environments = 8 slices", "at most 5 slices: part of one date's environments"),
        (_rectangle(2, 3)[:5], 6, "5 slices of 2 dates", "at most 3 slices: the newest date (2026-11-20)"),
        ([Slice(LAST), Slice(LAST - dt.timedelta(days=1))], 2, "2 slices", "at most 1 slice: the newest date (2026-11-20)"),
        ([WHOLE], 1, "1 slice", "nothing fits today"),
    ],
)  # fmt: skip
def test_a_refusal_speaks_of_what_there_is(slices: list[Slice], left: int, words: str, fits: str) -> None:
    problem = refusal("t", slices, _room(left))
    assert problem is not None
    assert problem.what.startswith(f"{words} need up to {load_jobs(len(slices))} load jobs")
    assert fits in problem.expected


def test_where_nobody_can_tell_what_is_used_only_more_than_a_whole_day_is_refused() -> None:
    room = QuotaLeft(Limits(100, 22), NOON, None, "not allowed to look")
    assert refusal("t", _rectangle(1, 50), room) is None
    assert refusal("t", _rectangle(1, 51), room) is not None


def test_days_end_at_midnight_pacific_time_in_summer_and_in_winter() -> None:
    assert day_began(dt.datetime(2026, 7, 1, 6, 59, tzinfo=dt.UTC)) == dt.datetime(
        2026, 6, 30, 7, tzinfo=dt.UTC
    )
    assert day_began(NOON) == dt.datetime(2026, 11, 20, 8, tzinfo=dt.UTC)
    assert next_day(NOON) == dt.datetime(2026, 11, 21, 8, tzinfo=dt.UTC)
    changing = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
    assert next_day(changing) - day_began(changing) == dt.timedelta(hours=25)


def test_only_runs_that_matter_ask_for_what_is_left() -> None:
    assert not worth_asking(LIMITS, _rectangle(1, 49), rebuild=False)
    assert worth_asking(LIMITS, _rectangle(1, 50), rebuild=False)
    assert worth_asking(LIMITS, [WHOLE], rebuild=True)


def test_loads_are_spread_over_the_day_once_half_of_it_is_spent() -> None:
    seconds_left = 12 * 3600
    assert cadence(_room(50_001), 1000, NOON) == Cadence(22, 25_000)
    assert cadence(_room(50_000), 1000, NOON) == Cadence(
        22, 25_000, dt.timedelta(seconds=seconds_left * 2000 / 50_000)
    )
    assert cadence(_room(21), 1000, NOON) == Cadence(10, 10, dt.timedelta(seconds=seconds_left))
    assert cadence(_room(0), 1, NOON) == Cadence(0, 0, dt.timedelta(seconds=seconds_left))
    assert cadence(QuotaLeft(LIMITS, NOON, None), 1000, NOON) == Cadence(22, 50_000)
    assert cadence(_room(0), 1000, NOON + dt.timedelta(hours=12)) == Cadence(22, 50_000)
