"""The platform's relations as data frames, for notebooks and scripts: the same calls on every warehouse.

Queries are GoogleSQL, with values as `@parameters`. The environment variables say which warehouse is read (see the README). A program that
works with the warehouse or the gateway themselves opens a `Platform` instead.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from gaelp_assets.platform_reader import PlatformReader, open_platform_reader
from gaelp_assets.settings import Settings, load_settings
from gaelp_assets.warehouse.parameters import Parameters

if TYPE_CHECKING:
    import pandas as pd


def read(sql: str, parameters: Parameters | None = None) -> pl.DataFrame:
    """The result of one SELECT as a Polars frame, exactly: no digit and no NULL is lost.

    On BigQuery, results of 100,000 rows and more come through the Storage Read API.

    >>> read("SELECT @steps * 2 AS steps", {"steps": 21}).to_dicts()
    [{'steps': 42}]
    >>> read("SELECT environment_id FROM training.environments WHERE environment_id = @id", {"id": "CartPole-v1"}).columns
    ['environment_id']

    Args:
        sql: one GoogleSQL SELECT over relations of the catalogue, as `dataset.name`.
        parameters: the values of the query's `@names`.

    Raises:
        GaelpError: the query is wrong, or reads what the catalogue does not know.
        TransientError: the warehouse cannot be reached at the moment.
    """
    return _platform(load_settings()).query(sql, parameters)


def read_pandas(sql: str, parameters: Parameters | None = None) -> pd.DataFrame:
    """As `read`, as a pandas frame with the types of `pandas-gbq`: `Int64`, `boolean`, `dbdate`, ...; a FLOAT's NULL is NaN.

    >>> read_pandas("SELECT @steps AS steps", {"steps": 21}).dtypes.to_dict()
    {'steps': Int64Dtype()}
    """
    return _platform(load_settings()).query_pandas(sql, parameters)


@cache
def _platform(settings: Settings) -> PlatformReader:
    return open_platform_reader(settings)
