"""What a window says of its rows, in plain Python, as the catalogue's SQL says it. A row that comes twice counts once, by its key.

Which window a row is in, and when a window is done, is not known here.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.window import END, FINAL, START, aggregate, microseconds

Kept = dict[str, tuple[Any, ...]]
"""Of a window's rows, by their keys: the values that its figures are computed from, moments as microseconds, dates as texts. Of such
plain values each step costs a third of what others cost."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MOST: Final = 1e290
_INT64: Final = 1 << 63


class Figures:
    """The columns of a relation with windows.

    Args:
        relation: one whose declaration has no problems.
        source: what its windows are of.
    """

    def __init__(self, relation: Relation, source: Relation) -> None:
        window = relation.window
        assert window is not None
        self._window: Final = window
        self._key: Final = source.primary_key
        self._by: Final = relation.partitioning
        calls = {name: aggregate(text) for name, text in window.aggregates.items()}
        self._calls: Final = {name: found for name, found in calls.items() if found is not None}
        fields = (found.field for found in self._calls.values() if found.field is not None)
        self._read: Final = tuple(dict.fromkeys(fields))
        self._moments: Final = frozenset(f.name for f in source.fields if f.type == "TIMESTAMP")
        self._floats: Final = frozenset(f.name for f in source.fields if f.type == "FLOAT")

    def counts(self, row: Mapping[str, Any]) -> bool:
        """Whether a row counts, by the declaration's `where`."""
        return all(row[name] in values for name, values in self._window.where.items())

    def moment(self, row: Mapping[str, Any]) -> int:
        """When the row happened, in microseconds since 1970."""
        return _micros(row[self._window.time_field])

    def group(self, row: Mapping[str, Any]) -> str:
        """The group that the row is of, as a text that sorts and travels."""
        return _text([row[name] for name in self._window.group_by])

    def kept(self, row: Mapping[str, Any]) -> Kept:
        """What is kept of the row."""
        return {_text([row[name] for name in self._key]): tuple(_plain(row[name]) for name in self._read)}

    def told(self, group: str, start: int, kept: Kept) -> dict[str, Any]:
        """The row of a window and group.

        Raises:
            OverflowError: a sum of whole numbers is beyond INT64, as in SQL.
        """
        begins = _EPOCH + dt.timedelta(microseconds=start)
        ends = begins + dt.timedelta(microseconds=microseconds(self._window.size) or 0)
        found: dict[str, Any] = {START: begins, END: ends}
        if self._by is not None and self._by.date != START:
            found[self._by.date] = begins.date()
        if self._window.allowed_lateness is not None:
            found[FINAL] = ends + dt.timedelta(microseconds=microseconds(self._window.allowed_lateness) or 0)
        found |= dict(zip(self._window.group_by, msgspec.json.decode(group), strict=True))
        columns = dict(zip(self._read, zip(*kept.values(), strict=True), strict=True)) if self._read else {}
        for name, call in self._calls.items():
            if call.field is None:
                found[name] = len(kept)
                continue
            values = [value for value in columns[call.field] if value is not None]
            if call.field in self._floats and call.function in {"SUM", "AVG"}:
                values = [max(min(value, _MOST), -_MOST) for value in values]
            figure = _FUNCTIONS[call.function](values)
            if call.field in self._moments and call.function in {"MIN", "MAX"} and figure is not None:
                figure = _EPOCH + dt.timedelta(microseconds=figure)
            found[name] = figure
        return found


def _text(values: Sequence[Any]) -> str:
    return msgspec.json.encode(values).decode()


def _micros(moment: dt.datetime) -> int:
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return _micros(value)
    return value.isoformat() if isinstance(value, dt.date) else value


def _sum(values: Sequence[Any]) -> Any:
    if not values:
        return None
    if isinstance(values[0], float):
        return math.fsum(values)
    total = sum(values)
    if not -_INT64 <= total < _INT64:
        raise OverflowError("a SUM of whole numbers is beyond INT64")
    return total


def _mean(values: Sequence[Any]) -> float | None:
    return math.fsum(values) / len(values) if values else None


_FUNCTIONS: Final[Mapping[str, Callable[[Sequence[Any]], Any]]] = {
    "COUNT": len,
    "COUNTIF": sum,
    "SUM": _sum,
    "AVG": _mean,
    "MIN": lambda values: min(values, default=None),
    "MAX": lambda values: max(values, default=None),
}
