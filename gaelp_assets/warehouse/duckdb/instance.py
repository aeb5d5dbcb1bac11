"""DuckDB instances that outlive a session: the warehouse's file is attached for the session alone.

To make an instance takes 20 ms of CPU time (DuckDB 2.0.0: it registers all its functions), to attach a file to one 1.5 ms. While the file
is attached, it is as open to others as if it had been opened by itself.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
from tenacity import Retrying

from gaelp_assets.warehouse.duckdb.dialect import literal, quote

# Four million rows at once were committed as fast with it as with more; what exceeds it spills to disk.
MEMORY_LIMIT: Final = "320MB"
NAME: Final = "warehouse"
"""Of the attached database; what is stored in the file does not mention it."""
# What a writer that was killed can leave beside the file, for the next one that opens it (DuckDB 2.0.0).
BESIDE: Final = ("", ".wal", ".wal.checkpoint", ".wal.recovery")


class _Made:
    """An instance, and how many sessions use the file that is attached to it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection: Final = connection
        self.users = 0


class _Process:
    """What a process has made; one that it was forked from left it no threads to use its own with, and perhaps its lock held."""

    def __init__(self) -> None:
        self.lock: Final = threading.Lock()
        self.made: _Made | None = None


class Instance:
    """One instance for a file in each process, made when it is first needed.

    Args:
        file: the warehouse; None for an empty one that is nowhere.
        read_only: whether the file is attached for reading only, and nothing else may be read or written by SQL.
    """

    def __init__(self, file: Path | None, *, read_only: bool) -> None:
        self._file = file
        self._read_only = read_only
        self._processes: dict[int, _Process] = {}
        # Also at the end of the interpreter, where DuckDB's bindings complain of objects that are still there.
        weakref.finalize(self, self._processes.clear)

    @contextmanager
    def session(self, patiently: Retrying) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own on the attached file; threads of one process share what is attached.

        Raises:
            duckdb.Error: the file cannot be attached, after as many attempts as `patiently` makes.
        """
        process = self._processes.setdefault(os.getpid(), _Process())
        with process.lock:
            made = process.made = process.made or _Made(self._make())
            if not made.users:
                patiently(made.connection.execute, self._attach())
            made.users += 1
        try:
            connection = made.connection.cursor()
            try:
                connection.execute(f"USE {quote(NAME)}; SET TimeZone = 'UTC'")
                yield connection
            finally:
                connection.close()
        except (duckdb.FatalException, duckdb.InternalException):
            # DuckDB refuses all further work of an instance that such an error has ended.
            process.made = None
            raise
        finally:
            with process.lock:
                made.users -= 1
                if not made.users:
                    _detach(process, made)

    def _make(self) -> duckdb.DuckDBPyConnection:
        made = duckdb.connect(":memory:", config=self._config())
        if self._read_only:
            # A query has no business with other files; a write reads the staged ones.
            beside = [f"{self._file}{ending}" for ending in BESIDE] if self._file is not None else []
            made.execute("SET allowed_paths = $paths", {"paths": beside})
            made.execute("SET enable_external_access = false")
        return made

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "memory_limit": MEMORY_LIMIT,
            # As many as the rest of the load uses; DuckDB itself does not heed which processors the process may use.
            "threads": pl.thread_pool_size(),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Rows have no order. To keep one, DuckDB buffers what it could write at once: half the speed, 100 MB more.
            "preserve_insertion_order": self._read_only,
        }
        if self._file is not None:
            # DuckDB makes this folder when it first spills.
            writable = os.access(self._file.parent, os.W_OK)
            elsewhere = Path(tempfile.gettempdir(), f"gaelp-duckdb-{os.getpid()}")
            config["temp_directory"] = f"{self._file}.tmp" if writable else str(elsewhere)
        return config

    def _attach(self) -> str:
        if self._file is None:
            return f"ATTACH ':memory:' AS {quote(NAME)}"
        mode = "READ_ONLY" if self._read_only else "READ_WRITE"
        return f"ATTACH {literal(str(self._file))} AS {quote(NAME)} ({mode})"


def _detach(process: _Process, made: _Made) -> None:
    """Closes the file. What was committed is in it, or in its log, whatever the disk has room for by now."""
    try:
        made.connection.execute(f"DETACH {quote(NAME)}")
    except duckdb.Error:
        process.made = None
        made.connection.close()
