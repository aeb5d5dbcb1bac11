"""Declared windows as a query in GoogleSQL. What keeps a declaration from being one is in `catalog.window_problems`.

A window is a row of the slice of the day that it begins on. Which other days of its source such a slice reads follows from the sizes, so
`reads_slices` is set here. Pure; how a query is computed is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from gaelp_assets.catalog.model import ReadsSlices, Relation
from gaelp_assets.catalog.window import (
    END,
    FINAL,
    START,
    Aggregate,
    Window,
    aggregate,
    days_after,
    microseconds,
)
from gaelp_assets.catalog.window_problems import window_problems
from gaelp_assets.errors import Problem

_BOUND: Final = "1e290"
"""What a FLOAT counts as at most in SUM and AVG, either way: a sum of greater ones is an error, which one row could bring about."""


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


def query_of_windows(relation: Relation, source: Relation, days: str = "") -> str:
    """The query of a relation with windows.

    Args:
        relation: one whose declaration has no problems.
        source: what its windows are of.
        days: a condition on the slices of the source, as `s`: which rows are read. All are if left out, which the query then says by a
            constant, since a table can insist on that.
    """
    window = relation.window
    assert window is not None
    size, every = _sizes(window)
    called = {name: aggregate(text) for name, text in window.aggregates.items()}
    calls = {name: found for name, found in called.items() if found is not None}
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
    conditions = [*([days] if days else _all_days(source)), *_counted(window)]
    begins = f"TIMESTAMP_MICROS(w.`{start}`)"
    outer = [f"{begins} AS {START}", f"TIMESTAMP_MICROS(w.`{start}` + {size}) AS {END}"]
    by = relation.partitioning
    if by is not None and by.date != START:
        outer.insert(0, f"DATE({begins}) AS `{by.date}`")
    if window.allowed_lateness is not None:
        late = microseconds(window.allowed_lateness) or 0
        outer.append(f"TIMESTAMP_MICROS(w.`{start}` + {size + late}) AS {FINAL}")
    outer += [f"w.`{name}`" for name in window.group_by]
    outer += [f"{_call(found, source)} AS `{name}`" for name, found in calls.items()]
    keys = ", ".join(f"w.`{name}`" for name in (start, *window.group_by))
    where = f"\n  WHERE {' AND '.join(conditions)}" if conditions else ""
    return (
        f"SELECT\n  {_lines(outer, '  ')}\nFROM (\n  SELECT\n    {_lines(inner, '    ')}\n"
        f"  FROM {' '.join(tables)}{where}\n) AS w\nGROUP BY {keys}\n"
    )


def text_literal(value: str) -> str:
    """A STRING constant of GoogleSQL."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def _compiled(relation: Relation, source: Relation) -> Relation:
    window = relation.window
    assert window is not None
    after = days_after(*_sizes(window)) if relation.partitioning is not None else 0
    reads = ReadsSlices(after=after) if after else None
    return relation.model_copy(update={"sql": query_of_windows(relation, source), "reads_slices": reads})


def _sizes(window: Window) -> tuple[int, int]:
    size, every = microseconds(window.size), microseconds(window.every)
    assert size is not None
    assert every is not None
    return size, every


def _lines(items: Iterable[str], indent: str) -> str:
    return f",\n{indent}".join(items)


def _call(found: Aggregate, source: Relation) -> str:
    if found.field is None:
        return f"{found.function}(*)"
    value = f"w.`{found.field}`"
    if found.function in {"SUM", "AVG"} and source.field(found.field).type == "FLOAT":
        value = f"LEAST(GREATEST({value}, -{_BOUND}), {_BOUND})"
    return f"{found.function}({value})"


def _all_days(source: Relation) -> Iterator[str]:
    by = source.partitioning
    if by is not None:
        first = "DATE '0001-01-01'"
        if source.field(by.date).type == "TIMESTAMP":
            first = "TIMESTAMP '0001-01-01 00:00:00+00'"
        yield f"s.`{by.date}` >= {first}"


def _counted(window: Window) -> Iterator[str]:
    for name, values in window.where.items():
        literals = [_literal(value) for value in values if value is not None]
        either = [f"s.`{name}` IN ({', '.join(literals)})"] if literals else []
        either += [f"s.`{name}` IS NULL"] if None in values else []
        yield f"({' OR '.join(either)})" if len(either) > 1 else either[0]


def _literal(value: str | int | bool) -> str:
    return text_literal(value) if isinstance(value, str) else json.dumps(value).upper()
