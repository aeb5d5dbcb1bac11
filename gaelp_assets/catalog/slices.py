"""Slices: the part of a table that holds one date and one RL environment, as path, partition key and words."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# No "/", "|" or space: the id stands in file names, in Dagster's partition keys (joined by "|") and in URLs. A dot stands alone and
# between two others: Dagster reads "..." as a range, also where a range's own dots follow an id's, and no path may hold "..".
ENVIRONMENT_ID: Final = r"[A-Za-z0-9](?:\.?[A-Za-z0-9_-])*"
ENVIRONMENT_ID_LENGTH: Final = 100
ENVIRONMENT_ID_WORDS: Final = (
    f"an environment id of 1 to {ENVIRONMENT_ID_LENGTH} letters, digits, '.', '_' and '-', starting with a letter or digit, "
    "each dot between two others"
)
ENVIRONMENT_ID_ADVICE: Final = "write '/', ':', '|' and spaces as '.', so that 'ALE/Pong-v5' is 'ALE.Pong-v5'"
"""One spelling for all producers: two would be two environments of one game."""
_SEGMENT = re.compile(r"(?P<dimension>date|environment)=(?P<value>[^/]*)")


@dataclass(frozen=True)
class Slice:
    """One date and one environment of a table; a table sliced by date alone, or not at all, leaves the rest None."""

    date: dt.date | None = None
    environment: str | None = None

    @property
    def path(self) -> str:
        """`date=2026-11-20/environment=CartPole-v1`, as in the gateway; empty for a whole table."""
        parts = []
        if self.date is not None:
            parts.append(f"date={self.date.isoformat()}")
        if self.environment is not None:
            parts.append(f"environment={self.environment}")
        return "/".join(parts)

    @property
    def partition_key(self) -> str | None:
        """`2026-11-20|CartPole-v1`, as in Dagster (dimensions in order of name); None for a whole table."""
        parts = [part for part in (self.date and self.date.isoformat(), self.environment) if part]
        return "|".join(parts) or None

    def __str__(self) -> str:
        return self.partition_key or "whole table"

    @property
    def sort_key(self) -> tuple[str, str]:
        """Orders slices by date, then environment."""
        return (self.date.isoformat() if self.date else "", self.environment or "")


WHOLE: Final = Slice()


def words(slices: Sequence[Slice]) -> str:
    """Slices in order, for people.

    >>> words([parse_partition_key("2026-11-20"), parse_partition_key("2026-11-21")])
    '2026-11-20 ... 2026-11-21 (2 slices)'
    """
    if len(slices) < 2:
        return str(slices[0] if slices else WHOLE)
    return f"{slices[0]} ... {slices[-1]} ({len(slices)} slices)"


def parse_partition_key(key: str | None) -> Slice:
    """The slice of a Dagster partition key.

    Raises:
        ValueError: the key is not a date, nor a date and an environment id joined by "|".

    >>> parse_partition_key("2026-11-20|CartPole-v1").path
    'date=2026-11-20/environment=CartPole-v1'
    >>> str(parse_partition_key(None))
    'whole table'
    """
    if key is None:
        return WHOLE
    date, _, environment = key.partition("|")
    return Slice(parse_date(date), parse_environment(environment) if environment else None)


def parse_slice_path(segments: list[str]) -> Slice:
    """The slice of the `date=` and `environment=` folders of a path.

    Raises:
        ValueError: a folder is not `date=YYYY-MM-DD` or `environment=ID`, or they stand in another order.
    """
    found: dict[str, str] = {}
    for segment in segments:
        match = _SEGMENT.fullmatch(segment)
        if not match or match["dimension"] in found or "environment" in found:
            raise ValueError(f"folder {segment!r} is neither date=YYYY-MM-DD nor, after it, environment=ID")
        found[match["dimension"]] = match["value"]
    return Slice(
        parse_date(found["date"]) if "date" in found else None,
        parse_environment(found["environment"]) if "environment" in found else None,
    )


def parse_date(text: str) -> dt.date:
    """The date written as YYYY-MM-DD.

    Raises:
        ValueError: it is written otherwise, or does not exist.
    """
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(f"{text!r} is not a date written as YYYY-MM-DD")
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is a date that does not exist") from None


def parse_environment(text: str) -> str:
    """The environment id, if it is one.

    Raises:
        ValueError: it is not of the form `ENVIRONMENT_ID`, or longer than `ENVIRONMENT_ID_LENGTH`.
    """
    if len(text) > ENVIRONMENT_ID_LENGTH or not re.fullmatch(ENVIRONMENT_ID, text):
        raise ValueError(f"{text!r} is not {ENVIRONMENT_ID_WORDS}")
    return text
