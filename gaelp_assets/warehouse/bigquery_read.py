"""What goes into a query as a parameter, and what comes out of it as a frame, without a digit or a type lost on the way."""

from __future__ import annotations

import datetime as dt
import warnings
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

import polars as pl

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.settings import bigquery_emulator
from gaelp_assets.warehouse import bigquery_errors as errors
from gaelp_assets.warehouse.bigquery_jobs import Jobs

if TYPE_CHECKING:
    import pandas as pd

# Below this many rows one page of the REST API is quicker than a session of the Storage Read API.
STORAGE_API_ROWS: Final = 100_000
_TYPES: Final[dict[type, str]] = {
    bool: "BOOL",
    int: "INT64",
    float: "FLOAT64",
    str: "STRING",
    bytes: "BYTES",
    Decimal: "NUMERIC",
    dt.date: "DATE",
    dt.time: "TIME",
}


def parameter(name: str, value: Any) -> Any:
    """A value as a query parameter of Google's client, typed by its Python type; a list is an array.

    Raises:
        GaelpError: there is no type for such a value.
    """
    from google.cloud import bigquery

    if isinstance(value, list | tuple):
        return bigquery.ArrayQueryParameter(name, type_of(name, value[0]) if value else "STRING", list(value))
    return bigquery.ScalarQueryParameter(name, type_of(name, value), value)


def type_of(name: str, value: Any) -> str:
    """GoogleSQL's type of a Python value; a moment with a time zone is a TIMESTAMP, one without a DATETIME.

    Raises:
        GaelpError: there is no type for such a value.
    """
    if isinstance(value, dt.datetime):
        return "DATETIME" if value.tzinfo is None else "TIMESTAMP"
    if value is None:
        return "STRING"
    found = _TYPES.get(type(value))
    if found is None:
        known = ", ".join(sorted(t.__name__ for t in _TYPES))
        raise GaelpError(
            Problem(f"is a {type(value).__name__}", f"query parameter @{name}", f"one of {known}")
        )
    return found


def frame_of(jobs: Jobs, job: Any) -> pl.DataFrame:
    """The rows of a finished query, through Arrow: pages of the REST API or, where they are many, the Storage Read API.

    Google's client must not open the Storage Read API by itself: it would call Google even where an emulator is meant.
    """
    with errors.reporting("read a result", job.job_id):
        rows = job.result(retry=jobs.retry, job_retry=None)
        table = rows.to_arrow(create_bqstorage_client=_is_large(rows.total_rows))
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def pandas_of(jobs: Jobs, job: Any) -> pd.DataFrame:
    """The rows of a finished query with the types that `pandas-gbq` chooses; it reads the job's result table with the same client."""
    import pandas_gbq

    rows = job.result(retry=jobs.retry, job_retry=None)
    table = job.destination
    with errors.reporting("read a result", job.job_id), warnings.catch_warnings():
        # It announces another user agent for a later release.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        frame = pandas_gbq.read_gbq(
            f"{table.project}.{table.dataset_id}.{table.table_id}",
            project_id=jobs.client.project,
            bigquery_client=jobs.client,
            use_bqstorage_api=_is_large(rows.total_rows),
            progress_bar_type=None,
        )
    return cast("pd.DataFrame", frame)


def _is_large(rows: int | None) -> bool:
    return (rows or 0) >= STORAGE_API_ROWS and bigquery_emulator() is None
