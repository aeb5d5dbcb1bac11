"""Writes a query's result to a file whose ending says how: whole under its name, or not at all.

What JSON has no form for is written as BigQuery writes it: BYTES as base64, NUMERIC as a string, a number that is not finite as `"NaN"`,
`"Infinity"` or `"-Infinity"`. CSV has the same texts, and arrays and records as JSON.
https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#json_encodings
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import polars as pl

from gaelp_assets.errors import GaelpError, Problem, of_the_system, unknown
from gaelp_assets.operations.json_values import json_value

Writer = Callable[[pl.DataFrame, Path], None]


def writer_for(path: Path) -> Callable[[pl.DataFrame], None]:
    """What writes a frame to that path, replacing what is there: as CSV, JSON (one array), NDJSON, Parquet or Arrow's file format.

    Raises:
        GaelpError: the ending is none of `ENDINGS`, there is no such folder, or a folder is where the file should be. So does
            the writer, where the system refuses, or the file format has no form for a column.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise GaelpError(unknown("ending", path.suffix, ENDINGS, where=str(path)))
    if not path.absolute().parent.is_dir():
        raise GaelpError(
            Problem("there is no such folder", str(path.absolute().parent), "a folder", "Make it.")
        )
    if path.is_dir():
        raise GaelpError(Problem("a folder is where the file should be", str(path), "the name of a file"))

    def write(frame: pl.DataFrame) -> None:
        unfinished = path.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            ENDINGS[ending](frame, unfinished)
            unfinished.replace(path)
        except OSError as error:
            raise of_the_system(
                error, Problem(f"cannot write: {error.strerror or type(error).__name__}", str(path))
            ) from error
        except pl.exceptions.PolarsError as error:
            kinds = ", ".join(f"{name} {dtype}" for name, dtype in frame.schema.items())
            raise GaelpError(
                Problem(
                    f"{ending} has no form for one of {kinds}",
                    str(path),
                    remedy="CAST the column, or take .parquet.",
                )
            ) from error
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    return write


def write_csv(frame: pl.DataFrame, to: Path | IO[bytes]) -> None:
    """Writes the frame as CSV, with a line of its columns' names."""
    texts = [
        pl.Series(name, [None if value is None else _text(value) for value in frame[name]], dtype=pl.String)
        for name, dtype in frame.schema.items()
        if dtype.is_nested() or dtype in (pl.Binary, pl.Duration, pl.Float64)
    ]
    frame.with_columns(texts).write_csv(to)


def _write_json(frame: pl.DataFrame, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        separator = "["
        for row in frame.iter_rows(named=True):
            file.write(f"{separator}\n{_json(row)}")
            separator = ","
        file.write("\n]\n" if frame.height else "[]\n")


def _write_ndjson(frame: pl.DataFrame, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{_json(row)}\n" for row in frame.iter_rows(named=True))


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    # With statistics, DuckDB does not find a NaN that the file holds.
    frame.write_parquet(path, statistics=False)


def _write_arrow(frame: pl.DataFrame, path: Path) -> None:
    frame.write_ipc(path)


ENDINGS: Final[Mapping[str, Writer]] = {
    ".arrow": _write_arrow,
    ".csv": write_csv,
    ".json": _write_json,
    ".ndjson": _write_ndjson,
    ".parquet": _write_parquet,
}
"""How a frame is written, by the ending of the file's name."""


def _json(value: object) -> str:
    return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _text(value: object) -> str:
    """A value as CSV has it."""
    if isinstance(value, pl.Series):
        value = value.to_list()
    plain = json_value(value)
    return plain if isinstance(plain, str) else _json(plain)
