"""Windows of time as a catalogue file declares them: which there are, which of them a moment is in, and what is asked of their rows.

Plain values and whole numbers of microseconds, so that every execution of a declaration can use them. What a declaration must agree on
with its source, and its SQL, are in `catalog.window_sql`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pydantic import Field as Described
from pydantic import StrictBool, StrictInt, StrictStr

from gaelp_assets.catalog.base import CatalogModel, FieldName, Identifier

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
MAX_SIZE: Final = 7 * DAY
MAX_LATENESS: Final = 365 * DAY
MAX_OVERLAP: Final = 1_440
"""In how many windows a row may be: a day's, one each minute."""
_UNITS: Final = {"s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND, "d": DAY}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])")
DURATION_WORDS: Final = "a whole number and s, m, h or d, such as 90s, 15m, 1h or 7d"
_CALL: Final = re.compile(r"\s*([A-Za-z_]+)\s*\(\s*(\*|[A-Za-z_][A-Za-z0-9_]*)\s*\)\s*")
START: Final = "window_start"
END: Final = "window_end"
FINAL: Final = "final_at"
AGGREGATES: Final[Mapping[str, frozenset[str]]] = {
    "COUNT": frozenset(),
    "COUNTIF": frozenset({"BOOLEAN"}),
    "SUM": frozenset({"INTEGER", "FLOAT"}),
    "AVG": frozenset({"INTEGER", "FLOAT"}),
    "MIN": frozenset({"INTEGER", "FLOAT", "STRING", "DATE", "TIMESTAMP"}),
    "MAX": frozenset({"INTEGER", "FLOAT", "STRING", "DATE", "TIMESTAMP"}),
}
"""The functions of a window's rows, and the types of fields that each takes; empty: any."""

Value = StrictBool | StrictInt | StrictStr | None


class Window(CatalogModel):
    """Windows of event time, in UTC and counted from 1970-01-01: a derived table with a row for each window and group that has rows."""

    source: str = Described(description="the relation whose rows are in the windows, as DATASET.NAME")
    time_field: FieldName = Described(
        description="a REQUIRED TIMESTAMP field of it: when a row happened, whenever it came"
    )
    size: str = Described(description=f"how long a window is, up to 7d: {DURATION_WORDS}")
    slide: str | None = Described(
        default=None,
        description="how long after one window the next begins, as `size`: a part of it; as long as a window if left out",
    )
    allowed_lateness: str | None = Described(
        default=None,
        description="how long after its end a window is expected to change: gives the column final_at. The table counts later rows too",
    )
    where: Mapping[FieldName, tuple[Value, ...]] = Described(
        default_factory=dict,
        description="which rows count: by field, the values that it may have, with null for NULL",
    )
    group_by: tuple[FieldName, ...] = Described(
        default=(), description="fields of the source: a row for each of their values in a window"
    )
    aggregates: Mapping[Identifier, str] = Described(
        min_length=1,
        description="the other columns: by name, COUNT(*), COUNT(field), COUNTIF(field), SUM(field), AVG(field), MIN(field) or MAX(field)",
    )

    @property
    def every(self) -> str:
        """How long after one window the next begins."""
        return self.slide if self.slide is not None else self.size

    @property
    def words(self) -> str:
        """Which windows there are, for people."""
        slide = f", one each {self.slide}" if self.slide is not None else ""
        late = f", final {self.allowed_lateness} after its end" if self.allowed_lateness is not None else ""
        return f"windows of {self.size}{slide}{late}, by `{self.time_field}` of {self.source}"


class Aggregate(NamedTuple):
    """A function of the rows of a window."""

    function: str
    field: str | None
    """None in `COUNT(*)`."""


def microseconds(duration: str) -> int | None:
    """A duration in microseconds; None if it is none.

    >>> microseconds("15m"), microseconds("an hour")
    (900000000, None)
    """
    found = _DURATION.fullmatch(duration)
    return int(found[1]) * _UNITS[found[2]] if found else None


def aggregate(text: str) -> Aggregate | None:
    """A function of one field, or of rows; None if the text is of another form. Which functions there are is not asked here.

    >>> aggregate("avg(episode_return)")
    Aggregate(function='AVG', field='episode_return')
    """
    found = _CALL.fullmatch(text)
    return Aggregate(found[1].upper(), None if found[2] == "*" else found[2]) if found else None


def starts(moment: int, size: int, every: int) -> Iterator[int]:
    """The starts of the windows that a moment is in, the last first: start inclusive, end exclusive, all in microseconds since 1970.

    >>> list(starts(125, size=60, every=20))
    [120, 100, 80]
    """
    last = moment - moment % every
    return iter(range(last, moment - size, -every))


def days_after(size: int, every: int) -> int:
    """How many days after the day that a window begins on it can reach, at most.

    >>> days_after(_UNITS["h"], _UNITS["h"]), days_after(_UNITS["h"], 15 * _UNITS["m"]), days_after(7 * DAY, DAY)
    (0, 1, 6)
    """
    from math import gcd

    # Of all days, some window begins so late on one: starts are all multiples of `every`.
    latest = DAY - gcd(every, DAY)
    return (latest + size - 1) // DAY
