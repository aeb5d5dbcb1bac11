"""What is wrong with declared windows: with the declaration by itself, with what it names of its source, and with the relation's fields."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from gaelp_assets.catalog.model import Kind, Relation
from gaelp_assets.catalog.window import (
    AGGREGATES,
    DURATION_WORDS,
    END,
    FINAL,
    MAX_LATENESS,
    MAX_OVERLAP,
    MAX_SIZE,
    START,
    Window,
    aggregate,
    microseconds,
)
from gaelp_assets.errors import Problem, unknown

_GROUPS: Final = frozenset({"STRING", "INTEGER", "BOOLEAN", "DATE"})
_LITERALS: Final[Mapping[str, type]] = {"STRING": str, "INTEGER": int, "BOOLEAN": bool}


class _Column(NamedTuple):
    name: str
    type: str
    nullable: bool
    what: str
    """Where it comes from, for people."""


def window_problems(relation: Relation, window: Window, source: Relation | None) -> Iterator[Problem]:
    """All that is wrong with a declaration, as far as what is unread of the two files lets tell.

    Args:
        relation: the one that declares windows, as its files say.
        window: its windows.
        source: what they are of; None where there is none, which `catalog.validate` tells.
    """
    where = relation.where(sql=True)
    yield from _file_problems(relation)
    yield from _time_problems(window, where)
    if source is None:
        return
    if source.kind is Kind.LEDGER or not source.is_stored:
        yield Problem(
            f"{source.id} is a {source.kind}",
            f"{where}.source",
            "a table, a derived table or a materialized view",
        )
    yield from _field_problems(window, source, where)
    yield from _slice_problems(relation, window, source, where)
    yield from _column_problems(relation, window, source, where)


def _file_problems(relation: Relation) -> Iterator[Problem]:
    where = relation.where()
    if relation.kind is not Kind.DERIVED_TABLE and "kind" not in relation.unread:
        yield Problem(f"a {relation.kind} with windows", f"{where}, kind", "derived_table")
    if relation.sql is not None:
        yield Problem("both SQL and windows", f"{where}, window", "one of them")
    if relation.python is not None:
        yield Problem("both python and windows", f"{where}, window", "one of them")
    if relation.reads_slices is not None:
        yield Problem(
            "reads_slices beside windows",
            f"{where}, reads_slices",
            "windows alone: which days they read follows from their sizes",
        )


def _time_problems(window: Window, where: str) -> Iterator[Problem]:
    declared = {"size": window.size, "slide": window.slide, "allowed_lateness": window.allowed_lateness}
    found = {key: microseconds(text) for key, text in declared.items() if text is not None}
    for key, duration in found.items():
        most = MAX_LATENESS if key == "allowed_lateness" else MAX_SIZE
        if duration is None:
            yield Problem(f"{declared[key]!r} is no duration", f"{where}.{key}", DURATION_WORDS)
        elif duration == 0 and key != "allowed_lateness":
            yield Problem(f"the {key} is 0", f"{where}.{key}", "1s to 7d")
        elif duration > most:
            words = "365d" if key == "allowed_lateness" else "7d"
            yield Problem(f"the {key} is {declared[key]}", f"{where}.{key}", f"{words} at most")
    size, slide = found.get("size"), found.get("slide")
    if not size or not slide:
        return
    if slide > size:
        yield Problem(
            f"the slide {window.slide} is greater than the size {window.size}: rows between two windows would be in none",
            f"{where}.slide",
            "the size at most",
        )
    elif size % slide:
        yield Problem(
            f"the slide {window.slide} does not divide the size {window.size}",
            f"{where}.slide",
            "a part of the size, such as a half or a quarter",
        )
    elif size // slide > MAX_OVERLAP:
        yield Problem(
            f"each row is in {size // slide} windows", f"{where}.slide", f"{MAX_OVERLAP} windows at most"
        )


def _field_problems(window: Window, source: Relation, where: str) -> Iterator[Problem]:
    fields = {field.name: field for field in source.fields if source.is_read(field.name)}
    yield from _typed(window.time_field, source, f"{where}.time_field", frozenset({"TIMESTAMP"}))
    time = fields.get(window.time_field)
    if time is not None and time.type == "TIMESTAMP" and time.mode == "NULLABLE":
        yield Problem(
            f"field {time.name!r} of {source.id} is {time.mode}",
            f"{where}.time_field",
            "a REQUIRED field: a row without a time is in no window",
        )
    for name, times in Counter(window.group_by).items():
        if times > 1:
            yield Problem(f"field {name!r} stands {times} times", f"{where}.group_by", "each field once")
        yield from _typed(name, source, f"{where}.group_by", _GROUPS)
    for name, values in window.where.items():
        at = f"{where}.where.{name}"
        yield from _typed(name, source, at, frozenset(_LITERALS))
        if not values:
            yield Problem("no values: no row would count", at, "at least one")
        field = fields.get(name)
        if field is None or field.type not in _LITERALS:
            continue
        wanted = _LITERALS[field.type]
        wrong = [value for value in values if value is not None and type(value) is not wanted]
        if wrong:
            listed = ", ".join(json.dumps(value) for value in wrong)
            yield Problem(f"{listed}: field {name!r} is {field.type}", at, f"values of {field.type}, or null")
    for name, text in window.aggregates.items():
        at = f"{where}.aggregates.{name}"
        found = aggregate(text)
        if found is None:
            yield Problem(
                f"{text!r} is no function of a field",
                at,
                "COUNT(*), or one field, such as AVG(episode_return)",
            )
        elif found.function not in AGGREGATES:
            yield unknown("function", found.function, AGGREGATES, where=at)
        elif found.field is None:
            if found.function != "COUNT":
                yield Problem(
                    f"{found.function}(*)", at, f"{found.function} of a field; COUNT(*) counts rows"
                )
        else:
            yield from _typed(found.field, source, at, AGGREGATES[found.function])


def _typed(name: str, source: Relation, where: str, types: frozenset[str]) -> Iterator[Problem]:
    """What is wrong with a field of the source that a declaration names; no types: any."""
    if not source.is_read(name):
        return
    if name not in source.field_names:
        yield unknown(f"field of {source.id}", name, source.field_names, where=where)
        return
    field = source.field(name)
    if types and (field.repeated or field.type not in types):
        found = f"{field.type}, REPEATED" if field.repeated else field.type
        yield Problem(f"field {name!r} of {source.id} is {found}", where, " or ".join(sorted(types)))


def _slice_problems(relation: Relation, window: Window, source: Relation, where: str) -> Iterator[Problem]:
    by, theirs = relation.partitioning, source.partitioning
    if by is None or {"partitioning", "checks"} & source.unread:
        return
    at = f"{relation.where()}, partitioning"
    if theirs is None:
        yield Problem(
            f"{source.id} is not kept in slices: no slice of its windows is ever due",
            at,
            "no partitioning: it is computed whole",
            'Leave "partitioning" out.',
        )
        return
    if not _is_day_of(source, window.time_field):
        yield Problem(
            f"{source.id} is sliced by {theirs.date}, and nothing says that it is the UTC day of {window.time_field}",
            at,
            f"the check utc_day of {theirs.date} and {window.time_field} in {source.id}, its slices by {window.time_field}, "
            "or no partitioning",
        )
    if by.environment is None:
        return
    if theirs.environment is None:
        yield Problem(
            f"{source.id} is kept by date alone", f"{at}.environment", 'no "environment" in "partitioning"'
        )
    elif by.environment != theirs.environment:
        yield Problem(
            f"{by.environment!r} does not slice {source.id}", f"{at}.environment", repr(theirs.environment)
        )
    elif by.environment not in window.group_by:
        yield Problem(
            f"{by.environment!r} is not in group_by", f"{at}.environment", f"{where}.group_by with it"
        )


def _is_day_of(source: Relation, time_field: str) -> bool:
    """Whether the slice of each row is that of the UTC day of its time, as windows of windows have it by their nature."""
    by = source.partitioning
    return by is not None and (
        by.date == time_field
        or (source.window is not None and time_field == START)
        or any(
            check.name == "utc_day" and check.arguments == {"date": by.date, "of": time_field}
            for check in source.checks
            if source.is_loaded
        )
    )


def _columns(relation: Relation, window: Window, source: Relation) -> list[_Column]:
    """The columns that the windows give, as far as their fields are known."""
    by = relation.partitioning
    found = [
        _Column(START, "TIMESTAMP", False, "the start of the window"),
        _Column(END, "TIMESTAMP", False, "the end of the window"),
    ]
    if by is not None and by.date != START:
        found.insert(0, _Column(by.date, "DATE", False, "the day that the window begins on"))
    if window.allowed_lateness is not None:
        found.append(_Column(FINAL, "TIMESTAMP", False, "its end and the allowed lateness"))
    known = {field.name: field for field in source.fields}
    for name in dict.fromkeys(window.group_by):
        if name in known:
            field = known[name]
            found.append(_Column(name, field.type, not field.required, f"{source.id}.{name}"))
    for name, text in window.aggregates.items():
        call = aggregate(text)
        if call is None or call.function not in AGGREGATES or (call.field or "") not in {"", *known}:
            continue
        counts = call.function in {"COUNT", "COUNTIF"}
        of = known[call.field] if call.field is not None else None
        kind = "INTEGER" if counts or of is None else "FLOAT" if call.function == "AVG" else of.type
        found.append(_Column(name, kind, not (counts or of is None or of.required), text))
    return found


def _column_problems(relation: Relation, window: Window, source: Relation, where: str) -> Iterator[Problem]:
    if "fields" in source.unread:
        return
    columns = _columns(relation, window, source)
    at = f"{relation.where()}, fields"
    for name, times in Counter(column.name.lower() for column in columns).items():
        if times > 1:
            yield Problem(
                f"{times} columns would be called {name}",
                where,
                "a name for each",
                "Rename an aggregate, or group by other fields.",
            )
    declared = {field.name: field for field in relation.fields}
    for column in {column.name: column for column in columns}.values():
        field = declared.get(column.name)
        mode = "" if column.nullable else ', "mode": "REQUIRED"'
        if field is None:
            if relation.is_read(column.name):
                yield Problem(
                    f"no field declares the column {column.name}: {column.what}",
                    at,
                    f'{{"name": "{column.name}", "type": "{column.type}"{mode}, "description": ...}}',
                )
        elif relation.is_read(column.name):
            if field.type != column.type or field.repeated:
                found = f"{field.type}, REPEATED" if field.repeated else field.type
                yield Problem(
                    f"{column.what} is {column.type}, and the field is declared as {found}",
                    f"{relation.where()}, field {column.name}",
                    column.type,
                )
            elif field.required and column.nullable:
                yield Problem(
                    f"{column.what} can be NULL, and the field is REQUIRED",
                    f"{relation.where()}, field {column.name}",
                    "mode NULLABLE",
                )
    told = {column.name for column in columns} | {*window.group_by, *window.aggregates}
    for name in declared:
        if name not in told:
            yield unknown("column of its windows", name, sorted(told), where=at)
