"""Daily limits of an engine as data, what one write of a slice costs of them, and what still fits. Nothing is asked or run here.

BigQuery's limits (https://cloud.google.com/bigquery/quotas), and what `warehouse.bigquery` spends on one write of one slice:

| limit | section | one write |
|---|---|---|
| 100,000 load jobs a day for a project, failed ones too | `#load_jobs` | 1 for rows, 1 for rejected lines |
| 1,500 load jobs a day for a table | `#load_jobs` | 1 for each staged table: its name follows from its bytes |
| 30,000 partition modifications a day for a table | `#partitioned_tables` | 0: rows enter by DML, which does not count |
| 1,500 modifications a day for a table without partitions | `#standard_tables` | 0: likewise |
| 2 mutating statements at a time for a table, 20 wait | `#data-manipulation-language-statements` | 1 on the relation's lock |
| 1,500 INSERT statements a day at once, then 10 at a time, 100 wait | likewise | 1 on table, ledger and dead letter |
| 10 calls of `tables.insert` a second | `#api_request_quotas` | 0: jobs make the tables that they write |

A rebuild also deletes: one mutating statement on the table, one on the ledger and one on the dead letter, whatever its relation.
So load jobs are what a day's writes can run out of, and waiting statements what writes at the same time can. The page counts load jobs
of partitioned tables in two ways; the smaller number is taken. Daily limits are renewed at midnight Pacific time; BigQuery gives some
back earlier, which nobody should count on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from gaelp_assets.catalog import Slice
from gaelp_assets.errors import Problem

PACIFIC: Final = "America/Los_Angeles"
LOAD_JOBS_PER_WRITE: Final = 2
"""At most: the clean rows of all files of the slice, and their rejected lines."""
# Below this share of the day's load jobs nobody looks how many are left: asking costs more than it can spare.
SMALL_SHARE: Final = 1000
# From this share of the day's load jobs on, loads are spread over what is left of the day.
SCARCE_SHARE: Final = 0.5


@dataclass(frozen=True)
class Limits:
    """What an engine allows in a day, and at a time."""

    load_jobs: int
    """A day, for the whole project."""
    writers_per_table: int
    """Transactions on one relation at a time, running and waiting; one more fails."""


@dataclass(frozen=True)
class QuotaLeft:
    """What is left of the day's limits at a moment (UTC)."""

    limits: Limits
    at: dt.datetime
    used: int | None
    """Load jobs of the project since the day began, by any account; None if nobody could tell."""
    unknown_because: str = ""

    @property
    def left(self) -> int:
        """Load jobs that are left; as if none were used where nobody could tell."""
        return max(0, self.limits.load_jobs - (self.used or 0))

    @property
    def writes_left(self) -> int:
        """Writes of slices that these load jobs are enough for."""
        return self.left // LOAD_JOBS_PER_WRITE

    @property
    def renewed_at(self) -> dt.datetime:
        """When the limits are renewed, in UTC."""
        return next_day(self.at)


@dataclass(frozen=True)
class Cadence:
    """How fast loads may be started."""

    runs: int
    """In flight at a time."""
    slices: int
    """That one run may take: one that does not fit into what is left would be refused whole."""
    cooldown: dt.timedelta = dt.timedelta(0)
    """Between two loads of the same slot."""


def day_began(now: dt.datetime) -> dt.datetime:
    """The last midnight Pacific time, in UTC."""
    local = now.astimezone(ZoneInfo(PACIFIC))
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(dt.UTC)


def next_day(now: dt.datetime) -> dt.datetime:
    """The next midnight Pacific time, in UTC: days are 23 to 25 hours long."""
    tomorrow = now.astimezone(ZoneInfo(PACIFIC)).date() + dt.timedelta(days=1)
    return dt.datetime.combine(tomorrow, dt.time(), ZoneInfo(PACIFIC)).astimezone(dt.UTC)


def load_jobs(slices: int) -> int:
    """The load jobs that a write of each of so many slices needs at most."""
    return slices * LOAD_JOBS_PER_WRITE


def worth_asking(limits: Limits, slices: Sequence[Slice], *, rebuild: bool) -> bool:
    """Whether a run is large enough for the day's head-room to matter; a rebuild always is."""
    return rebuild or load_jobs(len(slices)) * SMALL_SHARE >= limits.load_jobs


def refusal(where: str, slices: Sequence[Slice], room: QuotaLeft) -> Problem | None:
    """Why a run over these slices of a relation cannot be carried out today, and what can; None if it fits."""
    if len(slices) <= room.writes_left:
        return None
    need, cooldown = load_jobs(len(slices)), len(slices) - len(fitting(slices, room))
    days = -(-load_jobs(cooldown) // room.limits.load_jobs)
    later = f"after {room.renewed_at:%Y-%m-%d %H:%M} UTC, midnight Pacific time"
    return Problem(
        f"{_words(slices)} need up to {need:,} load jobs, and {room.left:,} of {room.limits.load_jobs:,} are left today",
        where,
        _what_fits(slices, room),
        f"Run the rest {later}." if days == 1 else f"Run the rest on the {days} days that begin {later}.",
    )


def fitting(slices: Sequence[Slice], room: QuotaLeft) -> list[Slice]:
    """The slices of the newest whole dates that fit."""
    by_date: dict[dt.date, list[Slice]] = {}
    for slice_ in slices:
        by_date.setdefault(slice_.date or dt.date.min, []).append(slice_)
    found: list[Slice] = []
    for date in sorted(by_date, reverse=True):
        if len(found) + len(by_date[date]) > room.writes_left:
            break
        found += by_date[date]
    return found


def cadence(room: QuotaLeft, writes: int, now: dt.datetime) -> Cadence:
    """How fast `writes` waiting slices, and as many again whenever they have been loaded, may be loaded.

    There is no rest while most of the day's load jobs are left. Then each round of `w` writes takes at least its share of what is
    left of the day: `w * LOAD_JOBS_PER_WRITE * seconds left / load jobs left`.
    """
    limits = room.limits
    if now >= room.renewed_at:
        return Cadence(limits.writers_per_table, limits.load_jobs // LOAD_JOBS_PER_WRITE)
    if (room.used or 0) < limits.load_jobs * SCARCE_SHARE:
        return Cadence(limits.writers_per_table, room.writes_left)
    seconds = (room.renewed_at - now).total_seconds()
    share = load_jobs(writes) / room.left if room.left else 1.0
    return Cadence(
        min(limits.writers_per_table, room.writes_left),
        room.writes_left,
        dt.timedelta(seconds=seconds * min(share, 1.0)),
    )


def _words(slices: Sequence[Slice]) -> str:
    """`37 dates x 8 environments = 296 slices`, or less where there is less to say."""
    dates = {slice_.date for slice_ in slices if slice_.date is not None}
    environments = {slice_.environment for slice_ in slices if slice_.environment is not None}
    total = _count(len(slices), "slice")
    if len(dates) * len(environments) == len(slices) > 1:
        return f"{_count(len(dates), 'date')} x {_count(len(environments), 'environment')} = {total}"
    return f"{total} of {_count(len(dates), 'date')}" if len(dates) > 1 and environments else total


def _what_fits(slices: Sequence[Slice], room: QuotaLeft) -> str:
    found = fitting(slices, room)
    dates = sorted({slice_.date for slice_ in found if slice_.date is not None})
    if dates:
        span = f"{dates[0]} to {dates[-1]}" if len(dates) > 1 else f"{dates[0]}"
        newest = f"the newest {len(dates)} dates" if len(dates) > 1 else "the newest date"
        return f"at most {_count(room.writes_left, 'slice')}: {newest} ({span})"
    if room.writes_left:
        return f"at most {_count(room.writes_left, 'slice')}: part of one date's environments"
    return "load jobs that are left: nothing fits today"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
