"""What reader, loader and migrator of the embedded warehouse share: one DuckDB file and the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gaelp_assets.catalog import Catalog
from gaelp_assets.catalog.model import stored_fields
from gaelp_assets.warehouse.duckdb.connection import DuckDBFile

# A commit of ten million rows takes about ten seconds; a few of them may stand in line.
LOCK_TIMEOUT: Final = 120.0
HOLDER_TIMEOUT: Final = 1800.0
"""A notebook that has the file open is closed sooner or later; a load that fails because of it starts all over again."""


class DuckDBEngine:
    """One file that any number of processes share, one short operation at a time.

    Args:
        file: The warehouse, made by the first operation that writes.
        catalog: The relations.
        lock_timeout: How long, in seconds, an operation waits for others that take turns before it raises `TransientError`.
        holder_timeout: How long a write waits for another program that keeps the file open, and takes no turns.
    """

    def __init__(
        self,
        file: Path,
        catalog: Catalog,
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        holder_timeout: float = HOLDER_TIMEOUT,
    ) -> None:
        self._file = DuckDBFile(file, lock_timeout, holder_timeout=holder_timeout)
        self._catalog = catalog
        self._tables = {relation.id: stored_fields(relation) for relation in catalog}
        """What SQL is translated with: the columns of every relation, the platform's own among them."""
