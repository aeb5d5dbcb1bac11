"""Runs local-bigquery on plain DuckDB files. Started by `emulators.bigquery`, with the Python of the emulator's own environment.

local-bigquery keeps its tables in DuckLake and sets DuckDB's time zone while it connects. Both, and GEOGRAPHY, need extensions that
DuckDB fetches from the network. Here a database file stands for each project, the time zone is set once connected (the wheels
have ICU built in), and GEOGRAPHY is left out. What is lost by that: GEOGRAPHY and time travel.

It also looks whether a job's id is taken before it notes the job, and writes its notes of tables and jobs side by side: of two clients
with one id both may be served, or one gets an error of DuckDB in place of 409. Here they take turns.

It keeps the result of every query, and asks DuckDB for all tables, or for the columns of all, to learn of one: the more was asked, the
slower is the next answer. Here old results go, and one table is looked up alone. What it notes of datasets, tables and jobs, several times
in each request, it writes to a file of DuckDB: here that is kept in memory, as nobody opens the files again.

The process ends with the one that started it.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
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
TEMPORARY_TABLES = "SELECT table_name FROM duckdb_tables() WHERE temporary"
Key = tuple[str, ...]


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


class NewCursor:
    """A cursor that no session keeps: it has no temporary tables yet, and DuckDB looks through all tables to say so."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def sql(self, statement: str, **options: Any) -> Any:
        wanted = "SELECT '' WHERE FALSE" if statement == TEMPORARY_TABLES else statement
        return self._cursor.sql(wanted, **options)


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

    def objects(*key: str) -> list[tuple[Any, ...]]:
        # A plain file has no estimate of the size of some tables, and the answer must be a number.
        return [(name, kind, size or 0) for name, kind, size in listed(*key)]

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


def note_in_memory(database: Any) -> Callable[..., bool]:
    """Has what is noted of datasets, tables and the like kept in memory; whether something is noted under a key of a model."""
    metadata: Any = importlib.import_module("local_bigquery.catalog.metadata")
    policies: Any = importlib.import_module("local_bigquery.catalog.row_access")
    rights: Any = importlib.import_module("local_bigquery.catalog.iam")
    notes: dict[type, dict[Key, str]] = {model: {} for model in metadata.KINDS}
    write_right, delete_with_rights = rights.execute, metadata.delete
    given: list[Any] = []

    def found(model: type, key: Key) -> list[Key]:
        if len(key) == len(database.RESOURCES[metadata.KINDS[model]]):
            return [key] if key in notes[model] else []
        return [other for other in list(notes[model]) if other[: len(key)] == key]

    def listed(model: Any, *key: str) -> list[Any]:
        resources = [notes[model].get(other) for other in found(model, key)]
        return [model.model_validate_json(resource) for resource in resources if resource is not None]

    def save(resource: Any, *key: str) -> Any:
        body = {name: value for name, value in resource.dump().items() if name != "etag"}
        etag = hashlib.md5(json.dumps(body, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
        notes[type(resource)][key] = json.dumps(body | {"etag": etag})
        return resource.replace(etag=etag)

    def delete(model: type, *key: str) -> None:
        for other in found(model, key):
            notes[model].pop(other, None)
        if given:
            delete_with_rights(model, *key)

    def give_right(*arguments: Any) -> None:
        given.append(arguments)
        write_right(*arguments)

    def secured() -> frozenset[Key]:
        return frozenset(key[:3] for key in list(notes[policies.RowAccessPolicy]))

    metadata.list_, metadata.save, metadata.delete = listed, save, delete
    policies.secured, rights.execute = secured, give_right
    return lambda model, *key: key in notes[model]


def look_up_one(database: Any, noted: Callable[..., bool]) -> None:
    """Has one table, and one dataset, looked up without a look at all of them."""
    datasets: Any = importlib.import_module("local_bigquery.catalog.datasets")
    tables: Any = importlib.import_module("local_bigquery.catalog.tables")
    objects, exists = database.objects, datasets.exists
    kinds = {"table": "TABLE", "view": "VIEW"}

    def objects_of(*key: str) -> list[tuple[Any, ...]]:
        if len(key) < 3 or None in key:
            return list(objects(*key))
        with database.cursor() as cursor:
            kind = kinds.get(cursor._table_kind(key))
            if kind is None:
                return []
            # DuckDB finds a name in whichever case: of what is not noted in this one, the list of all tells.
            if key[1] != tables.RESULTS and not noted(tables.Table, *key):
                return list(objects(*key))
            name = database.quote(*key)
            rows = 0 if kind == "VIEW" else cursor.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            return [(key[2], kind, rows)]

    database.objects = objects_of
    datasets.exists = lambda *key: noted(datasets.Dataset, *key) or exists(*key)


def note_jobs_in_memory(database: Any) -> None:
    """Has jobs noted in memory, and written to where queries find them once a query asks for jobs."""
    store: Any = importlib.import_module("local_bigquery.jobs.store")
    query: Any = importlib.import_module("local_bigquery.jobs.query")
    jobs: dict[Key, str] = {}
    unwritten: dict[Key, Any] = {}
    write, delete, listed, execute = store.save, store.delete, store.list_, query.execute

    def write_all() -> None:
        for key in list(unwritten):
            write(unwritten.pop(key))

    def save(job: Any) -> Any:
        key = (job.jobReference.projectId, job.jobReference.jobId)
        jobs[key] = json.dumps(job.dump())
        unwritten[key] = job
        return job

    def load(*key: str) -> Any:
        job = jobs.get(key)
        return None if job is None else store.Job.model_validate_json(job)

    def list_all(*arguments: Any) -> Any:
        write_all()
        return listed(*arguments)

    def forget(project: str, job: str) -> None:
        write_all()
        jobs.pop((project, job), None)
        delete(project, job)

    def execute_query(cursor: Any, project: str, job: str | None, config: Any, **options: Any) -> Any:
        if "JOBS" in (config.query or "").upper():
            write_all()
        own = cursor if options.get("session") else NewCursor(cursor)
        return execute(own, project, job, config, **options)

    store.save, store.load, store.list_, store.delete = save, load, list_all, forget
    query.execute = execute_query


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


class Identified:
    """The application, which knows who asks: in the place of a middleware that hands each answer on through a task of its own."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.access: Any = importlib.import_module("local_bigquery.catalog.row_access")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        caller = self.access.caller.set(self.access.identify(headers.get(b"authorization", b"").decode()))
        try:
            await self.app(scope, receive, send)
        finally:
            self.access.caller.reset(caller)


def answer_at_once() -> None:
    """Leaves out of an answer what only costs: a line in the log, tasks and threads, and looks for garbage among what stays."""
    own: Any = importlib.import_module("local_bigquery.app")
    for middleware in own.app.user_middleware:
        if middleware.kwargs.get("dispatch") is own.identify_caller:
            middleware.cls, middleware.kwargs = Identified, {}

    async def valid_project(request: Any) -> None:
        own.valid_project(request)

    valid_project.__annotations__["request"] = own.Request
    own.app.dependency_overrides[own.valid_project] = valid_project
    config: Any = importlib.import_module("uvicorn.config")
    config.LOGGING_CONFIG["loggers"]["uvicorn.access"]["level"] = "WARNING"
    gc.freeze()
    gc.set_threshold(20_000)


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
    take_turns()
    look_up_one(database, note_in_memory(database))
    note_jobs_in_memory(database)
    forget_results(database)
    answer_at_once()
    importlib.import_module("local_bigquery.cli").main()


if __name__ == "__main__":
    main()
