"""What an example of the allow-list is."""

from __future__ import annotations

from typing import Any, NamedTuple


class Example(NamedTuple):
    """A query, and the allow-list's key that it shows. Without `rows`, Google's reference evaluator says what is right."""

    key: str
    sql: str
    rows: tuple[tuple[Any, ...], ...] | None = None
    """From BigQuery's documentation, where the evaluator lacks the function; `types` are then the column types."""
    types: tuple[str, ...] = ()
    error: bool = False
    """Whether the query is an error, on both sides."""
