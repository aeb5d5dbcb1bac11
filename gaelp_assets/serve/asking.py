"""What a request asks for: which rows and columns of one relation, and in what form. Pure.

Nothing of a request is text of a query: names are those of the catalogue, values are parameters (see `statement`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gaelp_assets.catalog import Field, Relation
from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.operations.query_parameters import value_of
from gaelp_assets.serve.forms import FORMS, Form, accepted
from gaelp_assets.serve.pages import Page, read_token
from gaelp_assets.warehouse.parameters import ParameterScalar
from gaelp_assets.warehouse.ranges import PartitionRange

WHERE: Final = "where."
"""What the name of a filter starts with; a column's name follows."""
NAMES: Final = ("first", "last", "environment", "columns", "limit", "page", "format")
DEFAULT_ROWS: Final = 1_000
GOOGLESQL: Final = {
    "STRING": "STRING", "INTEGER": "INT64", "FLOAT": "FLOAT64", "NUMERIC": "NUMERIC", "BOOLEAN": "BOOL", "TIMESTAMP": "TIMESTAMP",
    "DATE": "DATE", "DATETIME": "DATETIME", "TIME": "TIME",
}  # fmt: skip
"""The types whose values can be compared, by the catalogue's word."""


@dataclass(frozen=True)
class Asked:
    """A page of rows of a relation."""

    relation: Relation
    columns: tuple[str, ...]
    scope: PartitionRange | None
    """The dates and environments of a relation that has slices."""
    equal: Mapping[str, tuple[ParameterScalar, ...]]
    """By column, the values of which a row has one."""
    rows: int
    """How many rows the page has at most."""
    page: Page
    form: Form

    @property
    def shape(self) -> str:
        """A digest of which rows in which order these are, whatever the page, its columns and its form."""
        return shape_of(self.relation, self.scope, self.equal)


def shape_of(
    relation: Relation, scope: PartitionRange | None, equal: Mapping[str, Sequence[ParameterScalar]]
) -> str:
    """See `Asked.shape`."""
    told = [
        relation.id,
        repr(scope),
        sorted((name, list(map(repr, values))) for name, values in equal.items()),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def asked(
    relation: Relation,
    withheld: frozenset[str],
    parameters: Sequence[tuple[str, str]],
    *,
    accept: str = "",
    most_rows: int,
    version: str | None = None,
) -> Asked:
    """What these parameters of a URL ask of a relation.

    Args:
        relation: the relation.
        withheld: its columns that the asker does not get.
        parameters: names and values, as they came.
        accept: the header of that name, which counts where no `format` is given.
        most_rows: of a page.
        version: of what the warehouse holds, if it tells.

    Raises:
        GaelpError: with all that is wrong.
    """
    problems: list[Problem] = []
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        given.setdefault(name, []).append(value)
    served = [name for name in relation.field_names if name not in withheld]
    filters = [f"{WHERE}{field.name}" for field in relation.fields if _comparable(field)]
    for name in given:
        column = name.removeprefix(WHERE)
        if column in withheld and name != column:
            problems.append(_withheld(column, name))
        elif name not in NAMES and name not in filters:
            problems.append(unknown("parameter", name, [*NAMES, *(f for f in filters if f[6:] in served)]))
    problems += [
        Problem("comes more than once", name, "one value")
        for name in NAMES
        if name != "environment" and len(given.get(name, ())) > 1
    ]

    scope = _scope(relation, given, problems)
    columns = _columns(given.get("columns"), served, withheld, problems)
    equal = {
        field.name: tuple(_values(field, given[f"{WHERE}{field.name}"], problems))
        for field in relation.fields
        if f"{WHERE}{field.name}" in given and field.name in served and _comparable(field)
    }
    rows = _rows(given.get("limit"), most_rows, problems)
    page, form = Page(), FORMS["json"]
    try:
        form = accepted(given.get("format"), accept)
    except GaelpError as error:
        problems += error.problems
    try:
        if "page" in given:
            page = read_token(given["page"][0], shape_of(relation, scope, equal), version)
    except GaelpError as error:
        problems += error.problems
    if problems:
        raise GaelpError(*problems)
    return Asked(relation, columns, scope, equal, rows, page, form)


def _comparable(field: Field) -> bool:
    return field.type in GOOGLESQL and not field.repeated


def _withheld(column: str, where: str) -> Problem:
    return Problem(
        f"the column {column!r} is withheld: it is sensitive, or made from what is",
        where,
        "a column that this key may read",
        "Ask the operator for a key with `--sensitive`.",
    )


def _scope(
    relation: Relation, given: Mapping[str, Sequence[str]], problems: list[Problem]
) -> PartitionRange | None:
    partitioning = relation.partitioning
    environments = tuple(given.get("environment", ()))
    if environments and (partitioning is None or partitioning.environment is None):
        problems.append(
            Problem(
                "the relation has no slices of environments",
                "environment",
                remedy="Filter by a column: where.COLUMN=...",
            )
        )
    if partitioning is None:
        problems += [
            Problem("the relation has no slices of dates", name, "no such parameter")
            for name in ("first", "last")
            if name in given
        ]
        return None
    if "first" not in given:
        problems.append(
            Problem(
                "names no days",
                "first",
                "the first day, as in first=2026-11-20",
                "The last day is the same, unless `last` says another.",
            )
        )
        return None
    first = _day("first", given["first"][0], problems)
    last = _day("last", given["last"][0], problems) if "last" in given else first
    if first is None or last is None:
        return None
    if last < first:
        problems.append(Problem("is before `first`", "last", f"{first} or a later day"))
    if last == dt.date.max:
        problems.append(Problem("is the last day that there is", "last", "an earlier one"))
        return None
    return PartitionRange(
        first,
        last,
        environment=environments[0] if len(environments) == 1 else None,
        environments=environments if len(environments) > 1 else (),
    )


def _day(name: str, text: str, problems: list[Problem]) -> dt.date | None:
    found = value_of("DATE", text, name)
    if isinstance(found, Problem):
        problems.append(found)
        return None
    assert isinstance(found, dt.date)
    return found


def _columns(
    given: Sequence[str] | None, served: Sequence[str], withheld: frozenset[str], problems: list[Problem]
) -> tuple[str, ...]:
    if given is None:
        if not served:
            problems.append(_withheld("*", "columns"))
        return tuple(served)
    names = given[0].split(",")
    for name in names:
        if name in withheld:
            problems.append(_withheld(name, "columns"))
        elif name not in served:
            problems.append(unknown("column", name, served, where="columns"))
    problems += [
        Problem(f"{name!r} comes more than once", "columns", "each column once")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    return tuple(names)


def _values(field: Field, texts: Sequence[str], problems: list[Problem]) -> list[ParameterScalar]:
    values: list[ParameterScalar] = []
    for text in texts:
        value = value_of(GOOGLESQL[field.type], text, f"{WHERE}{field.name}")
        if isinstance(value, Problem):
            problems.append(value)
        else:
            values.append(value)
    return values


def _rows(given: Sequence[str] | None, most: int, problems: list[Problem]) -> int:
    if given is None:
        return min(DEFAULT_ROWS, most)
    value = value_of("INT64", given[0], "limit")
    if not isinstance(value, int) or not 1 <= value <= most:
        problems.append(
            Problem(
                "is not a number of rows of a page",
                "limit",
                f"a whole number from 1 to {most}",
                "Take the next rows with the page that an answer names.",
            )
        )
        return 1
    return value
