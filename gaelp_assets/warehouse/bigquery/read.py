"""What goes into a query as a parameter, and what comes out of it as a frame, without a digit or a type lost on the way."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import polars as pl

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.bigquery import errors
from gaelp_assets.warehouse.bigquery.jobs import Jobs, QueryParameter
from gaelp_assets.warehouse.parameters import ParameterValue

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from google.cloud import bigquery
    from google.cloud.bigquery_storage import BigQueryReadClient

# Below this many rows one page of the REST API is quicker than a session of the Storage Read API.
STORAGE_API_ROWS: Final = 100_000
ReaderFactory: TypeAlias = "Callable[[], BigQueryReadClient]"
"""Makes a client of the Storage Read API."""
_ScalarArgument: TypeAlias = str | int | float | Decimal | bool | dt.datetime | dt.date | None
"""What Google's annotations let a parameter be; its code takes BYTES and TIME too."""
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


def parameter(name: str, value: ParameterValue) -> QueryParameter:
    """A value as a query parameter of Google's client, typed by its Python type; a list is an array.

    Raises:
        GaelpError: there is no type for such a value.
    """
    from google.cloud import bigquery

    if isinstance(value, list | tuple):
        return bigquery.ArrayQueryParameter(name, type_of(name, value[0]) if value else "STRING", list(value))
    return bigquery.ScalarQueryParameter(name, type_of(name, value), cast("_ScalarArgument", value))


def type_of(name: str, value: object) -> str:
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


def frame_of(jobs: Jobs, job: bigquery.QueryJob, reader: ReaderFactory | None = None) -> pl.DataFrame:
    """The rows of a finished query, through Arrow: pages of the REST API or, where they are many, the Storage Read API.

    `reader` makes a client of the Storage Read API (default: one of Google's, with the credentials of the job's client; none for an
    emulator, where Google's would call Google all the same). JSON is text, as in DuckDB.
    """
    return counted_frame_of(jobs, job, reader)[0]


def counted_frame_of(
    jobs: Jobs, job: bigquery.QueryJob, reader: ReaderFactory | None = None, *, most: int | None = None
) -> tuple[pl.DataFrame, int]:
    """As `frame_of`, at most the first so many rows; and how many there are in all."""
    with errors.bigquery_errors("read a result", job.job_id), _unasked_for_advice():
        rows = job.result(retry=jobs.retry, job_retry=None, max_results=most)
        total = rows.total_rows or 0
        # The Storage Read API knows no such bound.
        large = most is None and total >= STORAGE_API_ROWS
        table = rows.to_arrow(
            bqstorage_client=reader() if large and reader is not None else None,
            create_bqstorage_client=large and reader is None and jobs.storage_api,
        )
    frame = pl.from_arrow(without_extensions(table))
    assert isinstance(frame, pl.DataFrame)
    return frame, total


def pandas_of(jobs: Jobs, job: bigquery.QueryJob) -> pd.DataFrame:
    """The rows of a finished query with the types that `pandas-gbq` chooses; it reads the job's result table with the same client."""
    import pandas_gbq

    rows = job.result(retry=jobs.retry, job_retry=None)
    table = job.destination
    with errors.bigquery_errors("read a result", job.job_id), _unasked_for_advice():
        frame = pandas_gbq.read_gbq(
            f"{table.project}.{table.dataset_id}.{table.table_id}",
            project_id=jobs.client.project,
            bigquery_client=jobs.client,
            use_bqstorage_api=(rows.total_rows or 0) >= STORAGE_API_ROWS and jobs.storage_api,
            progress_bar_type=None,
        )
    return cast("pd.DataFrame", frame)


@contextmanager
def _unasked_for_advice() -> Iterator[None]:
    """Google's libraries announce to each other what they will do otherwise in later releases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        yield


def without_extensions(table: pa.Table) -> pa.Table:
    """The same Arrow table without BigQuery's marks on JSON and DATETIME, of which Polars would make types of their own."""
    import pyarrow as pa

    return table.cast(pa.schema([_unmarked(field) for field in table.schema]))


def _unmarked(field: pa.Field[Any]) -> pa.Field[Any]:
    import pyarrow as pa

    type_ = field.type
    if pa.types.is_struct(type_):
        type_ = pa.struct([_unmarked(type_.field(index)) for index in range(type_.num_fields)])
    elif pa.types.is_list(type_):
        type_ = pa.list_(_unmarked(type_.value_field))
    return pa.field(field.name, type_, field.nullable)
