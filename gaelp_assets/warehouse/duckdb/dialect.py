"""What the catalogue's field types are called in DuckDB's SQL, and how names and constants are written in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from gaelp_assets.catalog import Field

# A NUMERIC has 38 digits, 9 of them after the point: BigQuery's definition.
DUCKDB: Final[Mapping[str, str]] = {
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "INTEGER": "BIGINT",
    "FLOAT": "DOUBLE",
    "NUMERIC": "DECIMAL(38,9)",
    "BOOLEAN": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
    "DATE": "DATE",
    "DATETIME": "TIMESTAMP",
    "TIME": "TIME",
    "JSON": "JSON",
}


def duckdb_type(field: Field) -> str:
    """The DuckDB type of a field: `BIGINT`, `DOUBLE[]`, `STRUCT("field" VARCHAR, ...)[]`."""
    if field.type == "RECORD":
        inner = ", ".join(f"{quote(part.name)} {duckdb_type(part)}" for part in field.fields)
        base = f"STRUCT({inner})"
    else:
        base = DUCKDB[field.type]
    return f"{base}[]" if field.repeated else base


def quote(name: str) -> str:
    """A name as a DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | dt.date | dt.datetime) -> str:
    """A constant in DuckDB's SQL: text, a date, or a moment (which must have a time zone)."""
    if isinstance(value, dt.datetime):
        return f"TIMESTAMPTZ '{value.astimezone(dt.UTC).isoformat(sep=' ')}'"
    if isinstance(value, dt.date):
        return f"DATE '{value.isoformat()}'"
    return "'" + value.replace("'", "''") + "'"
