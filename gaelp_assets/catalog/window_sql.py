"""Declared windows as a query in GoogleSQL. What keeps a declaration from being one is in `catalog.window_problems`.

A window is a row of the slice of the day that it begins on. Which other days of its source such a slice reads follows from the sizes, so
`reads_slices` is set here, and what is refreshed reads these days alone. Pure; how a query is computed is not known here.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from gaelp_assets.catalog.model import ReadsSlices, Relation
from gaelp_assets.catalog.window import END, FINAL, START, Window, aggregate, days_after, microseconds
from gaelp_assets.catalog.window_problems import window_problems
from gaelp_assets.errors import Problem

_BOUND: Final = "1e290"
"""What a FLOAT counts as at most in SUM and AVG, either way: a sum of greater ones is an error, which one row could bring about."""
_ALL_DAYS: Final = (dt.date(1, 1, 1), dt.date(9999, 12, 31))


def with_windows(relations: Sequence[Relation]) -> tuple[list[Relation], list[Problem]]:
    """The relations, those with windows with their SQL and the days that they read, and what is wrong with declarations of windows.

    One with problems is left without SQL, and so is one whose source is not there, which `catalog.validate` tells.
    """
    by_id = {relation.id: relation for relation in relations}
    found, problems = [], []
    for relation in relations:
        if relation.window is None:
            found.append(relation)
            continue
        source = by_id.get(relation.window.source)
        own = list(window_problems(relation, relation.window, source))
        problems += own
        sound = source is not None and not own and not relation.unread and not source.unread
        found.append(_compiled(relation, source) if sound and source is not None else relation)
    return found, problems


def query_of_days(relation: Relation, source: Relation, first: dt.date, last: dt.date) -> str:
    """The query of windows that begin on the days from `first` to `last`, of the rows that are in them.

    Args:
        relation: one with windows, without problems.
        source: what they are of.
        first: the first day.
        last: the last day.
    """
    after = relation.reads_slices.after if relation.reads_slices is not None else 0
    assert isinstance(after, int)
    room = dt.date.max - last
    return _query(relation, source, (first, last + min(dt.timedelta(days=after), room)))


def text_literal(value: str) -> str:
    """A STRING constant of GoogleSQL."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def _compiled(relation: Relation, source: Relation) -> Relation:
    window = relation.window
    assert window is not None
    size, every = _sizes(window)
    after = days_after(size, every) if relation.partitioning is not None else 0
    reads = ReadsSlices(after=after) if after else None
    return relation.model_copy(
        update={"sql": _query(relation, source, _ALL_DAYS), "reads_slices": reads}
    )


def _sizes(window: Window) -> tuple[int, int]:
    size, every = microseconds(window.size), microseconds(window.every)
    assert size is not None
    assert every is not None
    return size, every


def _query(relation: Relation, source: Relation, days: tuple[dt.date, dt.date]) -> str:
    """Rows with the start of each of their windows in the inner query, windows in the outer."""
    window = relation.window
    assert window is not None
    size, every = _sizes(window)
    aggregates = {name: aggregate(text) for name, text in window.aggregates.items()}
    calls = {name: found for name, found in aggregates.items() if found is not None}
    read = [*window.group_by, *(found.field for found in calls.values() if found.field is not None)]
    start = "_window"
    while start in read:
        start = f"_{start}"
    moment = f"UNIX_MICROS(s.`{window.time_field}`)"
    # MOD of a moment before 1970 is negative.
    floor = f"{moment} - MOD(MOD({moment}, {every}) + {every}, {every})"
    inner = [f"s.`{name}`" for name in dict.fromkeys(read)]
    tables = [f"{source.quoted_id} AS s"]
    if size > every:
        floor += f" - {every} * step"
        tables.append(f"CROSS JOIN UNNEST(GENERATE_ARRAY(0, {size // every - 1})) AS step")
    inner.append(f"{floor} AS `{start}`")
    conditions = [*_days_read(source, days), *_counted(window, source)]
    begins = f"TIMESTAMP_MICROS(w.`{start}`)"
    outer = [f"{begins} AS {START}", f"TIMESTAMP_MICROS(w.`{start}` + {size}) AS {END}"]
    by = relation.partitioning
    if by is not None and by.date != START:
        outer.insert(0, f"DATE({begins}) AS `{by.date}`")
    if window.allowed_lateness is not None:
        late = microseconds(window.allowed_lateness) or 0
        outer.append(f"TIMESTAMP_MICROS(w.`{start}` + {size + late}) AS {FINAL}")
    outer += [f"w.`{name}`" for name in window.group_by]
    for name, found in calls.items():
        outer.append(f"{_call(found.function, found.field, source)} AS `{name}`")
    keys = ", ".join(f"w.`{name}`" for name in (start, *window.group_by))
    where = f"\n  WHERE {' AND '.join(conditions)}" if conditions else ""
    return (
        f"SELECT\n  {_lines(outer, '  ')}\nFROM (\n  SELECT\n    {_lines(inner, '    ')}\n"
        f"  FROM {' '.join(tables)}{where}\n) AS w\nGROUP BY {keys}\n"
    )


def _lines(items: Iterable[str], indent: str) -> str:
    return f",\n{indent}".join(items)


def _call(function: str, field: str | None, source: Relation) -> str:
    if field is None:
        return f"{function}(*)"
    value = f"w.`{field}`"
    if function in {"SUM", "AVG"} and source.field(field).type == "FLOAT":
        value = f"LEAST(GREATEST({value}, -{_BOUND}), {_BOUND})"
    return f"{function}({value})"


def _days_read(source: Relation, days: tuple[dt.date, dt.date]) -> Iterator[str]:
    """Constants, by which an engine passes over the other days; of all days too, since a table can insist on them."""
    by = source.partitioning
    if by is None:
        return
    column, (first, last) = f"s.`{by.date}`", days
    if source.field(by.date).type == "DATE":
        yield f"{column} BETWEEN DATE '{first.isoformat()}' AND DATE '{last.isoformat()}'"
        return
    yield f"{column} >= TIMESTAMP '{first.isoformat()} 00:00:00+00'"
    if last < dt.date.max:
        yield f"{column} < TIMESTAMP '{(last + dt.timedelta(days=1)).isoformat()} 00:00:00+00'"


def _counted(window: Window, source: Relation) -> Iterator[str]:
    for name, values in window.where.items():
        literals = [_literal(value) for value in values if value is not None]
        either = [f"s.`{name}` IN ({', '.join(literals)})"] if literals else []
        either += [f"s.`{name}` IS NULL"] if None in values else []
        yield f"({' OR '.join(either)})" if len(either) > 1 else either[0]


def _literal(value: str | int | bool) -> str:
    return text_literal(value) if isinstance(value, str) else json.dumps(value).upper()
