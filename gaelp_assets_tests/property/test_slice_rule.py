"""A query that the rule lets through is made of the slices that it is said to be made of: other slices can hold anything.

Random queries are run twice over random rows: the second time, every slice that the result's slice does not read holds other rows. What
the rule accepts must give the same slice both times.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import pytest

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.slicing import slice_problems
from gaelp_assets.sql.transpile import to_duckdb

FIRST: Final = dt.date(2026, 11, 16)
DAYS: Final = 6
FACTS: Final = ("a", "b", "c")
ROUNDS: Final = 4
ACCEPTED: Final = 25
"""How many queries that the rule accepts are computed, of each window; it accepts every fifth or every second."""


def _relation(name: str, **keys: Any) -> Relation:
    fields = [
        {"name": "date", "type": "DATE", "mode": "REQUIRED"},
        {"name": "id", "type": "INTEGER"},
        {"name": "n", "type": "INTEGER"},
    ]
    return Relation.model_validate(
        {"dataset": "lab", "name": name, "description": name, "owner": "team:lab", "fields": fields, **keys}
    )


SOURCES: Final = [
    *(_relation(name, partitioning={"date": "date"}, primary_key=["id"]) for name in FACTS),
    _relation("g", primary_key=["id"], fields=[{"name": "id", "type": "INTEGER"}, {"name": "n", "type": "INTEGER"}]),
    _relation("v", kind="view", sql="SELECT date, id, n FROM lab.a WHERE n > 1"),
]  # fmt: skip


class Writer:
    """Writes queries of a date and two numbers, from parts that keep dates apart, and parts that mix them."""

    def __init__(self, source: random.Random) -> None:
        self._r = source

    def query(self, depth: int = 1) -> str:
        """A query whose columns are `date`, `id` and `n`."""
        if depth and self._r.random() < 0.2:
            how = self._r.choice(("UNION ALL", "UNION DISTINCT", "EXCEPT DISTINCT", "INTERSECT DISTINCT"))
            return f"({self.query(0)}) {how} ({self.query(0)})"
        if depth and self._r.random() < 0.3:
            return f"WITH w AS ({self.query(0)}) {self._select(['w', *FACTS])}"
        return self._select([*FACTS, "v"])

    def _select(self, tables: Sequence[str]) -> str:
        names, text = self._from(tables)
        where = f" WHERE {self._condition(names)}" if self._r.random() < 0.5 else ""
        date, one = self._date(names), self._r.choice(names)
        if self._r.random() < 0.3:
            keys = self._r.choice((f"{date}, {one}.id", date, f"{one}.id", f"{one}.date, {one}.id"))
            shown = date if date in keys else self._r.choice((f"MAX({date})", f"ANY_VALUE({date})"))
            key = f"{one}.id" if f"{one}.id" in keys else f"MAX({one}.id)"
            return f"SELECT {shown} AS date, {key} AS id, COUNT(*) AS n {text}{where} GROUP BY {keys}"
        value = self._value(names)
        tail = ""
        if self._r.random() < 0.15:
            tail = f" QUALIFY ROW_NUMBER() {self._over(names)} = 1"
            where = where or " WHERE TRUE"
        distinct = "DISTINCT " if not tail and self._r.random() < 0.15 else ""
        return f"SELECT {distinct}{date} AS date, {one}.id AS id, {value} AS n {text}{where}{tail}"

    def _from(self, tables: Sequence[str]) -> tuple[list[str], str]:
        names = ["t1"]
        text = f"FROM {self._table(tables)} AS t1"
        for number in range(2, 2 + self._r.choice((0, 0, 1, 1, 2))):
            side = self._r.choice(("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"))
            name = f"t{number}"
            on = [f"{name}.{self._r.choice(('date', 'id'))} = {self._r.choice(names)}.date"]
            on = [on[0].replace(".id", ".date")] if self._r.random() < 0.8 else []
            if self._r.random() < 0.4:
                on.append(f"{name}.id = {self._r.choice(names)}.id")
            if self._r.random() < 0.25 and len(names) > 1:
                on.append(f"{names[0]}.date = {names[1]}.date")
            text += f" {side} {self._table(tables)} AS {name} ON {' AND '.join(on) or name + '.id = t1.id'}"
            names.append(name)
        return names, text

    def _table(self, tables: Sequence[str]) -> str:
        if self._r.random() < 0.12:
            return "(SELECT DATE '2026-11-18' AS date, id, n FROM lab.g)"
        name = self._r.choice(tables)
        return name if name == "w" else f"lab.{name}"

    def _date(self, names: Sequence[str]) -> str:
        chance = self._r.random()
        if chance < 0.08:
            return f"DATE_ADD({names[0]}.date, INTERVAL {self._r.choice((1, 2, -1))} DAY)"
        if chance < 0.25 and len(names) > 1:
            return f"COALESCE({', '.join(f'{n}.date' for n in self._r.sample(names, 2))})"
        return f"{self._r.choice(names)}.date"

    def _condition(self, names: Sequence[str]) -> str:
        one, table = self._r.choice(names), self._r.choice(FACTS)
        return self._r.choice(
            (
                f"{one}.date = {self._r.choice(names)}.date",
                f"{one}.n > 1",
                f"{one}.date {self._r.choice(('IN', 'NOT IN'))} (SELECT date FROM lab.{table})",
                f"{one}.id IN (SELECT id FROM lab.{table})",
                f"EXISTS (SELECT 1 {self._inner(one)})",
                f"NOT EXISTS (SELECT 1 {self._inner(one)})",
            )
        )

    def _inner(self, one: str) -> str:
        table, other = self._r.sample(FACTS, 2)
        side = self._r.choice(("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"))
        link = f"s1.date = {one}.date"
        on = self._r.choice(("s2.date = s1.date", f"s2.date = s1.date AND {link}", "s2.id = s1.id"))
        where = self._r.choice((f" WHERE {link}", f" WHERE {link}", ""))
        if self._r.random() < 0.5:
            return f"FROM lab.{table} AS s1{where}"
        return f"FROM lab.{table} AS s1 {side} lab.{other} AS s2 ON {on}{where}"

    def _value(self, names: Sequence[str]) -> str:
        one = self._r.choice(names)
        chance = self._r.random()
        if chance < 0.35:
            function = self._r.choice(
                (f"SUM({one}.n)", "COUNT(*)", f"LAG({one}.n)", f"LEAD({one}.n)", "RANK()", "ROW_NUMBER()", f"LAST_VALUE({one}.n)")
            )  # fmt: skip
            framed = function.startswith(("SUM", "COUNT", "LAST"))
            return f"{function} {self._over(names, framed=framed)}"
        if chance < 0.55:
            return f"(SELECT {self._r.choice(('MAX(s1.n)', 'COUNT(*)'))} {self._inner(one)})"
        return f"{one}.n"

    def _over(self, names: Sequence[str], *, framed: bool = False) -> str:
        by = self._r.choice((f"PARTITION BY {self._date(names)} ", f"PARTITION BY {names[0]}.id ", ""))
        columns = [f"{name}.{column}" for name in names for column in ("date", "id", "n")]
        if framed and self._r.random() < 0.35:
            frame = self._r.choice(
                ("1 PRECEDING AND CURRENT ROW", "2 PRECEDING AND 1 FOLLOWING", "CURRENT ROW AND 1 FOLLOWING")
            )
            direction = self._r.choice(("", " DESC"))
            return f"OVER ({by}ORDER BY UNIX_DATE({names[0]}.date){direction} RANGE BETWEEN {frame})"
        if framed and self._r.random() < 0.15:
            return "OVER ()" if self._r.random() < 0.5 else f"OVER ({by.strip()})"
        start = self._r.sample(columns, 1)
        if self._r.random() < 0.6:
            start = [f"{names[0]}.date{self._r.choice(('', ' DESC'))}"]
        rest = [column for column in columns if column not in start[0]]
        rows = ""
        if framed and self._r.random() < 0.4:
            frame = self._r.choice(
                (
                    "1 PRECEDING AND CURRENT ROW",
                    "CURRENT ROW AND 1 FOLLOWING",
                    "UNBOUNDED PRECEDING AND CURRENT ROW",
                )
            )
            rows = f" ROWS BETWEEN {frame}"
        return f"OVER ({by}ORDER BY {', '.join([*start, *rest])}{rows})"


@contextmanager
def _engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            "SET TimeZone = 'UTC'; CREATE SCHEMA lab; CREATE TABLE lab.g (id BIGINT, n BIGINT)"
        )
        connection.execute("INSERT INTO lab.g VALUES (1, 1), (2, 5), (9, 2)")
        for name in FACTS:
            connection.execute(f"CREATE TABLE lab.{name} (date DATE, id BIGINT, n BIGINT)")
        connection.execute("CREATE VIEW lab.v AS SELECT date, id, n FROM lab.a WHERE n > 1")
        yield connection


def _fill(
    connection: duckdb.DuckDBPyConnection, source: random.Random, kept: tuple[dt.date, dt.date] | None
) -> None:
    """Random rows in all slices but the kept ones. Each row is of its own, so that no order is left open."""
    for name in FACTS:
        low, high = kept or (FIRST, FIRST - dt.timedelta(days=1))
        connection.execute(f"DELETE FROM lab.{name} WHERE date NOT BETWEEN DATE '{low}' AND DATE '{high}'")
        rows: list[str] = []
        for number in range(DAYS):
            day = FIRST + dt.timedelta(days=number)
            if not low <= day <= high:
                ids = source.sample(range(1, 4), source.choice((0, 1, 1, 2, 3)))
                rows += [f"(DATE '{day}', {id_}, {source.choice((1, 2, 3, 4))})" for id_ in ids]
        if rows:
            connection.execute(f"INSERT INTO lab.{name} VALUES {', '.join(rows)}")


def _mismatch(
    connection: duckdb.DuckDBPyConnection, sql: str, window: dict[str, Any] | None, seed: int
) -> str:
    """A slice that changes with rows of slices that it does not read; nothing if there is none."""
    source = random.Random(seed)
    days = window or {}
    reach = {side: DAYS if days.get(side) == "all" else days.get(side, 0) for side in ("before", "after")}
    for _ in range(ROUNDS):
        day = FIRST + dt.timedelta(days=source.randrange(DAYS))
        kept = (day - dt.timedelta(days=reach["before"]), day + dt.timedelta(days=reach["after"]))
        found = []
        for keep in (None, kept):
            _fill(connection, source, keep)
            rows = connection.execute(f"SELECT * FROM ({sql}) WHERE date = ?", [day]).fetchall()
            found.append(sorted(rows, key=str))
        if found[0] != found[1]:
            return f"slice {day}: {found[0]} and {found[1]}"
    return ""


WINDOWS: Final = (None, {"before": 1}, {"before": 2, "after": 1}, {"before": "all"}, {"after": "all"})  # fmt: skip


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_what_is_accepted_is_made_of_the_slices_that_it_says(window: dict[str, Any] | None) -> None:
    writer = Writer(random.Random(20261127))
    wrong, accepted, numbers = [], 0, itertools.count()
    with _engine() as connection:
        while accepted < ACCEPTED:
            number = next(numbers)
            assert number < 50 * ACCEPTED
            sql = writer.query(0 if window else 1)
            keys = {} if window is None else {"reads_slices": window}
            made = _relation("made", kind="derived_table", partitioning={"date": "date"}, sql=sql, **keys)
            catalog = Catalog([*SOURCES, made], upstream_of([*SOURCES, made]))
            if slice_problems(catalog, made):
                continue
            try:
                translated = to_duckdb(sql, {relation.id: relation.fields for relation in catalog})
            except GaelpError:
                continue
            accepted += 1
            found = _mismatch(connection, translated, window, number)
            if found:
                wrong.append(f"{sql}\n  {found}")
    assert not wrong, "\n".join(wrong[:8])
