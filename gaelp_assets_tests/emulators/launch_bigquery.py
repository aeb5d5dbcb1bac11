"""Runs local-bigquery on plain DuckDB files. Started by `emulators.bigquery`, with the Python of the emulator's own environment.

local-bigquery keeps its tables in DuckLake and sets DuckDB's time zone while it connects. Both, and GEOGRAPHY, need extensions that
DuckDB fetches from the network. Here a database file stands for each project, the time zone is set once connected (the wheels
have ICU built in), and GEOGRAPHY is left out. What is lost by that: GEOGRAPHY and time travel.

It also looks whether a job's id is taken before it notes the job, and writes its notes of tables and jobs side by side: of two clients
with one id both may be served, or one gets an error of DuckDB in place of 409. Here they take turns.

It keeps the result of every query, and asks DuckDB for the columns of all tables to learn those of one: the more was asked, the slower
is the next answer. Here old results go, and one table's columns are read alone.

The process ends with the one that started it.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

DUCKLAKE_SETTINGS = "ducklake_"
COLUMNS_OF_ALL = " FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ?"
COLUMNS_OF_ONE = (
    ' FROM (SELECT name AS column_name, NOT "notnull" AS is_nullable FROM pragma_table_info(?)) WHERE TRUE'
)
RESULTS_KEPT = 60


class WithoutDuckLake:
    """A DuckDB connection that skips settings of an extension which is not there."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *arguments: Any) -> Any:
        if statement.startswith("SET") and DUCKLAKE_SETTINGS in statement:
            return self._connection
        return self._connection.execute(statement, *arguments)


def adapt(duckdb: Any, database: Any, settings: Any) -> None:
    """Replaces what local-bigquery's `engine.database` does at start by what needs no extension."""
    connect = duckdb.connect

    def connect_first(*places: Any, config: dict[str, Any] | None = None, **options: Any) -> Any:
        wanted = dict(config or {})
        time_zone = wanted.pop("TimeZone", None)
        connection = connect(*places, config=wanted, **options)
        if time_zone is not None:
            connection.execute(f"SET TimeZone = '{time_zone}'")
        return WithoutDuckLake(connection)

    class Library:
        """DuckDB as `engine.database` sees it."""

        connect = staticmethod(connect_first)

        def __getattr__(self, name: str) -> Any:
            return getattr(duckdb, name)

    def attach(connection: Any, project: str) -> None:
        file = settings.data_dir / f"{project}.duckdb"
        connection.execute(f"ATTACH IF NOT EXISTS '{file}' AS {database.quote(project)}")
        database._attached.add(project)

    listed = database.objects

    def objects(*arguments: Any) -> list[tuple[Any, ...]]:
        # A plain file has no estimate of the size of some tables, and the answer must be a number.
        return [(name, kind, size or 0) for name, kind, size in listed(*arguments)]

    database.duckdb = Library()
    database._attach = attach
    database.objects = objects
    database.projects = lambda: sorted(database._attached)
    database.FUNCTIONS = [file for file in database.FUNCTIONS if file.name != "geography.sql"]


def look_up_columns(duckdb: Any, database: Any) -> None:
    """Has the columns of one table read alone."""
    fetch = database.fetch

    def fetch_columns(sql: str, params: list[Any] | None = None) -> list[tuple[Any, ...]]:
        if COLUMNS_OF_ALL not in sql or params is None:
            return list(fetch(sql, params))
        table = database.quote(*params[:3])
        try:
            return list(fetch(sql.replace(COLUMNS_OF_ALL, COLUMNS_OF_ONE), [table, *params[3:]]))
        except duckdb.CatalogException:
            return []

    database.fetch = fetch_columns


def forget_results(database: Any) -> None:
    """Drops the result of a query after `RESULTS_KEPT` others."""
    query: Any = importlib.import_module("local_bigquery.jobs.query")
    tables: Any = importlib.import_module("local_bigquery.catalog.tables")
    write, kept = query._write, deque[tuple[str, str, str]]()

    def write_result(*arguments: Any) -> Any:
        written = write(*arguments)
        destination = arguments[3]
        if destination.datasetId == tables.RESULTS:
            kept.append((destination.projectId, destination.datasetId, destination.tableId))
            if len(kept) > RESULTS_KEPT:
                database.execute(f"DROP TABLE IF EXISTS {tables.name(*kept.popleft())}")
        return written

    query._write = write_result


def take_turns() -> None:
    """Lets jobs be submitted one at a time, and notes be written one at a time."""
    notes = threading.Lock()
    for keeper in ("catalog.metadata", "catalog.iam", "jobs.store"):
        module: Any = importlib.import_module(f"local_bigquery.{keeper}")
        module.execute = in_turn(module.execute, notes)
    runner: Any = importlib.import_module("local_bigquery.jobs.runner")
    runner.submit = in_turn(runner.submit, threading.Lock())


def in_turn(function: Callable[..., Any], turn: threading.Lock) -> Callable[..., Any]:
    """The function, called by one thread at a time."""

    def call(*arguments: Any, **options: Any) -> Any:
        with turn:
            return function(*arguments, **options)

    return call


def end_with_parent() -> None:
    """Ends this process as soon as the one that started it is gone, however that one ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    end_with_parent()
    duckdb, database = (
        importlib.import_module("duckdb"),
        importlib.import_module("local_bigquery.engine.database"),
    )
    adapt(duckdb, database, importlib.import_module("local_bigquery.settings").settings)
    look_up_columns(duckdb, database)
    forget_results(database)
    take_turns()
    importlib.import_module("local_bigquery.cli").main()


if __name__ == "__main__":
    main()
