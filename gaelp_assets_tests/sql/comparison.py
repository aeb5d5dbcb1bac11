"""One query on both sides: Google's reference evaluator, and its translation on DuckDB."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import duckdb

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.transpile import output_columns, parse, to_duckdb
from gaelp_assets_tests.zetasql_gate import Gate

REFUSED: Final = "refused: "
TYPES: Final = {
    "INTEGER": "BIGINT", "FLOAT": "DOUBLE", "STRING": "VARCHAR", "BOOLEAN": "BOOLEAN", "DATE": "DATE", "TIME": "TIME", "BYTES": "BLOB",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE", "DATETIME": "TIMESTAMP", "NUMERIC": "DECIMAL(38,9)", "JSON": "JSON",
}  # fmt: skip


class Answer(NamedTuple):
    """What one side says: rows, or an error."""

    columns: list[tuple[str, str]]
    rows: list[tuple[Any, ...]]
    error: str = ""


@contextmanager
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB as the platform opens it."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def googles(gate: Gate, sql: str) -> Answer:
    """The reference evaluator's answer. An assertion of the test's own code is none."""
    try:
        columns, rows = gate.evaluate(sql)
    except AssertionError:
        raise
    except Exception as error:
        if type(error).__name__ != "ServerError":
            raise
        return Answer([], [], str(error))
    return Answer(columns, rows)


def ours(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    """DuckDB's answer to the translation."""
    try:
        translated = to_duckdb(sql)
    except GaelpError as error:
        return Answer([], [], f"{REFUSED}{error}")
    try:
        cursor = connection.execute(translated)
        columns = [(str(name), str(type_)) for name, type_, *_ in cursor.description or ()]
        return Answer(columns, [tuple(map(_comparable, row)) for row in cursor.fetchall()])
    except duckdb.Error as error:
        return Answer([], [], f"{type(error).__name__}: {error}")


def difference(
    connection: duckdb.DuckDBPyConnection, sql: str, theirs: Answer, mine: Answer, *, layered: bool = False
) -> str:
    """What the translation says otherwise than GoogleSQL; nothing for the same result, an error on both sides, or a refusal.

    What is never looked at need not be computed, and then cannot fail: DuckDB leaves out columns and rows that no later part of a
    query needs, and the other operands of a NULL; the evaluator computes them all. So the error of a single value counts only in
    a query without layers, whose parts are all needed, and where DuckDB has no NULL and no error though it computes all rows.
    """
    # DuckDB's errors quote the statement, and that may hold a refusal which was not what happened.
    if mine.error.startswith(REFUSED) or f"gaelp: {REFUSED}" in mine.error.partition("LINE ")[0]:
        return ""
    if mine.error:
        raw = mine.error.startswith(
            ("BinderException", "ParserException", "CatalogException", "InternalException", "NotImplemented")
        )
        # A constant that cannot be computed fails in DuckDB before there is a row, in the evaluator with the first row.
        if not raw and (theirs.error or not theirs.rows):
            return ""
        later = eager(connection, sql)
        if not raw and not later.error and not differing_rows(sql, theirs, later):
            return ""
        return f"{mine.error}; expected {theirs.error or theirs.rows}"
    if "OUT_OF_RANGE" in theirs.error:
        without_null = all(value is not None for row in mine.rows for value in row)
        if layered or not without_null or eager(connection, sql).error:
            return ""
    if theirs.error:
        return f"{mine.rows} although GoogleSQL says {theirs.error}"
    return differing_columns(sql, theirs, mine) or differing_rows(sql, theirs, mine)


def eager(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    """DuckDB's answer when it computes all that is written."""
    connection.execute("PRAGMA disable_optimizer")
    try:
        return ours(connection, sql)
    finally:
        connection.execute("PRAGMA enable_optimizer")


def differing_columns(sql: str, theirs: Answer, mine: Answer) -> str:
    """Names and types that differ, in DuckDB's result or in what `output_columns` says."""
    wanted = [(name, duckdb_type(kind)) for name, kind in theirs.columns]
    found = [
        ("" if expected.startswith("$") else name, type_)
        for (name, type_), (expected, _) in zip(mine.columns, wanted, strict=False)
    ]
    if len(wanted) != len(mine.columns):
        return f"{len(mine.columns)} columns instead of {len(wanted)}"
    for (name, type_), (expected_name, expected) in zip(found, wanted, strict=True):
        if name != ("" if expected_name.startswith("$") else expected_name):
            return f"column {name} instead of {expected_name}"
        if expected is not None and type_ != expected:
            return f"type {type_} instead of {expected}"
    said = [_said(c.type, c.mode) for c in output_columns(sql)]
    kinds = [kind.partition("<")[0] if kind.startswith("RECORD") else kind for _, kind in theirs.columns]
    kinds = ["ARRAY<RECORD>" if kind.startswith("ARRAY<RECORD") else kind for kind in kinds]
    return "" if said == kinds else f"output_columns says {said} instead of {kinds}"


def _said(type_: str, mode: str) -> str:
    return f"ARRAY<{type_}>" if mode == "REPEATED" else type_


def differing_rows(sql: str, theirs: Answer, mine: Answer) -> str:
    """The first row that differs; in any order, where the query has no ORDER BY."""
    # BigQuery returns a NULL array as an empty one; the evaluator's wrapper returns an empty one as None.
    arrays = [kind.startswith("ARRAY<") for _, kind in theirs.columns]
    found, wanted = (
        [tuple([] if v is None and a else v for v, a in zip(row, arrays, strict=True)) for row in rows]
        for rows in (mine.rows, theirs.rows)
    )
    if len(found) != len(wanted):
        return f"{len(found)} rows instead of {len(wanted)}: {found[:5]} instead of {wanted[:5]}"
    if parse(sql).args.get("order") is None:
        found, wanted = sorted(found, key=_sort_key), sorted(wanted, key=_sort_key)
    for one, other in zip(found, wanted, strict=True):
        if not _equal(one, other):
            return f"{one} instead of {other}"
    return ""


def duckdb_type(kind: str) -> str | None:
    """DuckDB's name of a type that the evaluator names; None of a record."""
    if kind.startswith("ARRAY<"):
        inner = duckdb_type(kind[6:-1])
        return None if inner is None else f"{inner}[]"
    return TYPES.get(kind)


def _comparable(value: Any) -> Any:
    match value:
        case dt.datetime() if value.tzinfo is not None:
            return (value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
        case dt.datetime():
            return _clock(f"{value:%H:%M:%S}", value.microsecond, f"{value.year:04}-{value:%m-%d} ")
        case dt.time():
            return _clock(f"{value:%H:%M:%S}", value.microsecond, "")
        case decimal.Decimal():
            return f"{value.normalize():f}" if value else "0"
        case bytes():
            return value.hex()
        case dict():
            return [_comparable(part) for part in value.values()]
        case list() | tuple():
            return [_comparable(part) for part in value]
    return value


def _clock(text: str, micros: int, day: str) -> str:
    fraction = "" if not micros else f".{micros // 1000:03}" if micros % 1000 == 0 else f".{micros:06}"
    return f"{day}{text}{fraction}"


def _sort_key(row: Sequence[Any]) -> str:
    return repr([f"{v + 0.0:.9e}" if isinstance(v, float) else v for v in row])


def _equal(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, list | tuple) and isinstance(theirs, list | tuple):
        return len(mine) == len(theirs) and all(map(_equal, mine, theirs))
    if isinstance(mine, float) and isinstance(theirs, float):
        return (
            mine == theirs
            or math.isclose(mine, theirs, rel_tol=1e-13)
            or (math.isnan(mine) and math.isnan(theirs))
        )
    return type(mine) is type(theirs) and bool(mine == theirs)
