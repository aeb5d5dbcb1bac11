"""Polars frames as pandas frames with the types that `pandas-gbq` chooses, so that a notebook sees the same from every engine."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, cast

import polars as pl

if TYPE_CHECKING:
    import pandas as pd

# What pandas counts in nanoseconds; `pandas-gbq` leaves columns with dates beyond as Python's own objects.
FIRST: Final = dt.date(1677, 9, 22)
LAST: Final = dt.date(2262, 4, 10)


def pandas_frame(frame: pl.DataFrame) -> pd.DataFrame:
    """INT64 is `Int64`, BOOL `boolean`, DATE `dbdate`, TIME `dbtime`, TIMESTAMP `datetime64[us, UTC]`; a FLOAT's NULL is NaN."""
    import pandas as pd

    columns = {series.name: _column(series) for series in frame}
    return pd.DataFrame(columns, index=pd.RangeIndex(frame.height))


def _column(series: pl.Series) -> pd.Series:
    import db_dtypes
    import pandas as pd
    import pyarrow as pa

    dtype = series.dtype
    if dtype.is_integer() or dtype == pl.Boolean:
        mapped = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        wide = series if dtype == pl.Boolean else series.cast(pl.Int64)
        return wide.to_arrow().to_pandas(types_mapper=mapped.get)
    if dtype == pl.Time:
        return cast("pd.Series", pd.Series(series.to_list(), dtype=db_dtypes.TimeDtype()))
    if dtype.is_temporal() and not series.drop_nulls().cast(pl.Date).is_between(FIRST, LAST).all():
        return pd.Series(series.to_list(), dtype=object)
    if dtype == pl.Date:
        return cast("pd.Series", pd.Series(series.to_list(), dtype=db_dtypes.DateDtype()))
    return series.to_arrow().to_pandas()
