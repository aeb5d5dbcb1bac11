"""Data frames for notebooks: the same call gives the same frame, whatever the warehouse, and large results come another way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

from gaelp_assets import frames
from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery import read
from gaelp_assets.warehouse.bigquery.jobs import client_factory
from gaelp_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gaelp_assets_tests.contract.warehouses import CATALOG
from gaelp_assets_tests.emulators.bigquery import (
    PROJECT,
    Emulator,
    NoPython,
    emulator,
    running,
)

# What a column of each type looks like: with a NULL in it, and where pandas' moments end.
TYPES = (
    "SELECT 1 AS i, 2.5 AS f, TRUE AS b, 'ü' AS s, DATE '2024-02-29' AS d, DATE '1583-01-01' AS old, "
    "TIMESTAMP '2024-02-29 01:02:03.000004+00' AS ts, [1, 2] AS a UNION ALL "
    "SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, [] ORDER BY i"
)
DTYPES = ["Int64", "float64", "boolean", "object", "dbdate", "object", "datetime64[us, UTC]", "object"]
MANY = 2_000


@pytest.fixture(params=["duckdb", "bigquery"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of a notebook's user."""
    monkeypatch.setenv("GAELP_HOME", str(tmp_path))
    if request.param == "bigquery":
        try:
            emulator()
        except NoPython as reason:
            pytest.skip(str(reason))
        monkeypatch.setenv(
            "GAELP_WAREHOUSE", f"bigquery://{PROJECT}?dataset_prefix=f{abs(hash(str(tmp_path)))}_"
        )
    return str(request.param)


@pytest.mark.usefixtures("engine")
def test_pandas_frames_have_the_same_types_on_every_engine() -> None:
    frame = frames.read_pandas(TYPES)
    assert [str(dtype) for dtype in frame.dtypes] == DTYPES
    assert frame["i"].tolist() == [pd.NA, 1]
    assert frame["d"].tolist()[1] == dt.date(2024, 2, 29)
    assert frame["old"].tolist() == [None, dt.date(1583, 1, 1)]
    assert [list(values) for values in frame["a"]] == [[], [1, 2]]


@pytest.mark.usefixtures("engine")
def test_relations_are_read_with_parameters_and_are_there_before_the_first_load() -> None:
    sql = "SELECT agent_id, COUNT(*) AS n FROM analytics.learning_curves WHERE environment_id = @environment GROUP BY agent_id"
    frame = frames.read(sql, {"environment": "CartPole-v1"})
    assert (frame.columns, frame.height) == (["agent_id", "n"], 0)
    assert frames.read_pandas(sql, {"environment": "CartPole-v1"}).columns.tolist() == ["agent_id", "n"]


@pytest.mark.usefixtures("engine")
def test_a_relation_that_nobody_knows_is_named() -> None:
    with pytest.raises(GaelpError, match="learning_curve"):
        frames.read("SELECT * FROM analytics.learning_curve")
    with pytest.raises(GaelpError, match="learning_curve"):
        frames.read_pandas("SELECT * FROM analytics.learning_curve")


@pytest.fixture(scope="module")
def own() -> Iterator[Emulator]:
    """An emulator whose Storage Read API is known too."""
    try:
        with running() as found:
            yield found
    except NoPython as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("rows", [MANY, 10])
def test_large_results_come_through_the_storage_read_api_and_small_ones_do_not(
    own: Emulator, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    import grpc
    from google.cloud.bigquery_storage import BigQueryReadClient
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    monkeypatch.setattr(read, "STORAGE_API_ROWS", MANY)
    made: list[Any] = []

    def reader() -> Any:
        channel = grpc.insecure_channel(own.storage_read)
        client = cast("Any", BigQueryReadClient)
        made.append(client(transport=BigQueryReadGrpcTransport(channel=channel)))
        return made[-1]

    address = BigQueryAddress(PROJECT, "US", "frames_", emulator=own.address)
    warehouse = BigQueryWarehouse(address, CATALOG, factory=client_factory(address), reader=reader)
    sql = f"SELECT n, CONCAT('ü', CAST(n AS STRING)) AS s, JSON '{{\"a\": 1}}' AS j FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n"
    frame = warehouse.query(sql).frame.sort("n")
    assert frame["n"].to_list() == list(range(1, rows + 1))
    assert frame["s"].to_list()[-1] == f"ü{rows}"
    assert str(frame.schema["j"]) == "String"
    assert len(made) == (rows >= MANY)
    for client in made:
        client.transport.close()
