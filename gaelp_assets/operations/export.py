"""Writes a query's result to a file whose ending says how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from gaelp_assets.errors import GaelpError, unknown


def writer_for(path: Path) -> Callable[[pl.DataFrame], None]:
    """What writes a frame to that path as CSV, Parquet or JSON.

    Raises:
        GaelpError: the ending is none of `.csv`, `.parquet`, `.json`.
    """
    writers: dict[str, Callable[[pl.DataFrame], None]] = {
        ".csv": lambda frame: _flat(frame).write_csv(path),
        ".json": lambda frame: frame.write_json(path),
        ".parquet": lambda frame: frame.write_parquet(path),
    }
    if path.suffix not in writers:
        raise GaelpError(unknown("ending", path.suffix, writers, where=str(path)))
    return writers[path.suffix]


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """CSV has no lists and records: they become JSON text."""
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
    return frame.with_columns(
        pl.struct(pl.col(name).alias("value")).struct.json_encode().str.slice(9).str.head(-1).alias(name)
        for name in nested
    )
