"""What a refresh enters beside the rows, on each engine: what it has read, and which code has computed it."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import polars as pl
import pytest

from gaelp_assets.catalog import WHOLE, Catalog, Slice
from gaelp_assets.catalog.model import Kind, ReadsSlices
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.errors import GaelpError
from gaelp_assets.validation.schema import polars_schema
from gaelp_assets.warehouse.protocol import Warehouse, WriteMode
from gaelp_assets.warehouse.refreshes import WRITERS_QUERY, refresh_entries, stale_query
from gaelp_assets.warehouse.schema.model import plan_replace
from gaelp_assets_tests.contract.warehouses import (
    BEST,
    CARTPOLE,
    CATALOG,
    DAY,
    ENGINES,
    EPISODES,
    EVERY_TYPE,
    RELATIONS,
    Stager,
    encode,
    episodes,
    write,
)

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def stale(
    warehouse: Warehouse, catalog: Catalog = CATALOG, today: dt.date = DAY
) -> list[tuple[str, str | None, str]]:
    """Relation, environment and reason of each stale slice."""
    query = stale_query(catalog, 100, today)
    assert query is not None
    frame = warehouse.query(query).frame
    return sorted(frame.select("table", "slice_environment", "why").rows())


def test_a_slice_is_stale_from_the_commit_of_what_it_reads_until_it_is_refreshed(
    warehouse: Warehouse, stage: Stager
) -> None:
    batch = stage(EPISODES, encode(episodes(range(5))))
    assert stale(warehouse) == []
    write(warehouse, EPISODES, [batch], CARTPOLE)
    assert stale(warehouse) == [("best", "CartPole-v1", "never computed")]
    warehouse.refresh(BEST, CARTPOLE, run_id="run-1")
    assert stale(warehouse) == []
    # The same batches, the same rows, the same loaded_at: a rebuild is a write all the same.
    write(warehouse, EPISODES, [batch], CARTPOLE, mode=WriteMode.REBUILD)
    assert stale(warehouse) == [("best", "CartPole-v1", "new rows")]
    warehouse.refresh(BEST, CARTPOLE, run_id="run-2")
    assert stale(warehouse) == []
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([50])))], CARTPOLE)
    assert stale(warehouse) == [("best", "CartPole-v1", "new rows")]
    written = warehouse.query(WRITERS_QUERY, {"since": EPOCH}).frame
    assert sorted(written.select("table", "run_id", "row_count").rows()) == [
        ("best", "run-2", None),
        ("episodes", "run", 6),
    ]


def test_a_slice_knows_the_version_of_the_code_that_computed_it(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    warehouse.refresh(BEST, CARTPOLE)
    assert BEST.sql is not None
    changed = BEST.model_copy(update={"sql": BEST.sql.replace("MAX(score)", "MAX(score) * 10")})
    relations = [changed if each.id == BEST.id else each for each in RELATIONS]
    catalog = Catalog(relations, upstream_of(relations))
    assert stale(warehouse, catalog) == [("best", "CartPole-v1", "other code")]
    other = ENGINES[engine](tmp_path, catalog, 60)
    other.refresh(changed, CARTPOLE)
    assert stale(other, catalog) == []
    assert stale(other) == [("best", "CartPole-v1", "other code")]


@pytest.mark.parametrize("window", [{"before": 1}, {"before": 1, "after": "all"}])
def test_a_slice_that_reads_other_days_is_stale_with_each_of_them(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path, window: dict[str, int | str]
) -> None:
    reads = BEST.model_copy(update={"reads_slices": ReadsSlices.model_validate(window)})
    relations = [reads if each.id == BEST.id else each for each in RELATIONS]
    catalog = Catalog(relations, upstream_of(relations))
    other = ENGINES[engine](tmp_path, catalog, 60)
    today = DAY + dt.timedelta(days=5)

    def days(why: str) -> list[dt.date]:
        query = stale_query(catalog, 100, today, DAY)
        assert query is not None
        frame = other.query(query).frame
        assert set(frame["why"]) <= {why}
        return sorted(frame["slice_date"])

    next_day = Slice(DAY + dt.timedelta(days=1), CARTPOLE.environment)
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    assert days("never computed") == [DAY, next_day.date]
    for slice_ in (CARTPOLE, next_day):
        other.refresh(reads, slice_)
    assert days("") == []
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([50])))], CARTPOLE)
    assert days("new rows") == [DAY, next_day.date]
    other.refresh(reads, next_day)
    assert days("new rows") == [DAY]


def test_slices_are_not_computed_again_whose_source_is_kept_no_more(
    warehouse: Warehouse, stage: Stager
) -> None:
    """The table's rows of that day have expired: the derived ones, computed again, would be none."""
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    changed = {
        EPISODES.id: EPISODES.model_copy(update={"retention_days": 30}),
        BEST.id: BEST.model_copy(update={"sql": f"{BEST.sql} HAVING TRUE"}),
    }
    relations = [changed.get(each.id, each) for each in RELATIONS]
    catalog = Catalog(relations, upstream_of(relations))
    kept, gone = DAY + dt.timedelta(days=30), DAY + dt.timedelta(days=31)
    assert stale(warehouse, catalog, kept) == [("best", "CartPole-v1", "never computed")]
    assert stale(warehouse, catalog, gone) == []
    warehouse.refresh(BEST, CARTPOLE)
    assert stale(warehouse, catalog, kept) == [("best", "CartPole-v1", "other code")]
    assert stale(warehouse, catalog, gone) == []


def test_a_refresh_that_fails_enters_nothing(warehouse: Warehouse, stage: Stager) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    failing = BEST.model_copy(
        update={
            "sql": "SELECT date, environment_id, score AS best, DIV(step, step - step) AS steps FROM lab.episodes"
        }
    )
    with pytest.raises(GaelpError):
        warehouse.refresh(failing, CARTPOLE)
    assert stale(warehouse) == [("best", "CartPole-v1", "never computed")]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("AVG(score) AS steps", "field steps: the query gives FLOAT64, the field is declared as INTEGER"),
        ("CAST(SUM(step) AS STRING) AS steps", "field steps: the query gives STRING"),
        ("SUM(step) AS steps, COUNT(*) AS n", "no field declares the column n"),
        ("SUM(step) AS stps", "the query gives no column steps, did you mean 'stps'?"),
    ],
)
def test_a_derived_table_was_stored_otherwise_than_its_query_says(
    column: str, words: str, warehouse: Warehouse, stage: Stager
) -> None:
    """2 stood for 1.85: DuckDB casts what it inserts."""
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    assert BEST.sql is not None
    other = BEST.model_copy(update={"sql": BEST.sql.replace("SUM(step) AS steps", column)})
    with pytest.raises(GaelpError, match=re.escape(words)):
        warehouse.refresh(other, CARTPOLE)
    assert stale(warehouse) == [("best", "CartPole-v1", "never computed")]


@pytest.mark.parametrize("how", ["dropped", "replaced"])
def test_a_derived_table_that_is_made_again_has_yet_to_be_computed(
    how: str, warehouse: Warehouse, stage: Stager
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    warehouse.refresh(BEST, CARTPOLE)
    if how == "dropped":
        warehouse.drop(BEST)
        warehouse.ensure([BEST])
    else:
        (found,) = warehouse.diff([BEST])
        assert found.stored is not None
        with warehouse.changing() as change:
            change(plan_replace(BEST, found.object_type, found.stored, "all of its rows", forced=True))
    assert stale(warehouse) == [("best", "CartPole-v1", "never computed")]


def test_rows_that_were_computed_outside_take_the_place_of_a_slice(
    warehouse: Warehouse, stage: Stager
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    entries = warehouse.query(refresh_entries(CATALOG, BEST, [CARTPOLE]), {"run_id": "run-1"}).frame
    row = {"environment_id": CARTPOLE.environment, "date": CARTPOLE.date, "best": 0.25, "steps": None}
    rows = pl.DataFrame([row], schema=polars_schema(BEST))
    for _ in range(2):
        assert warehouse.replace_rows(BEST, [CARTPOLE], rows, entries, run_id="run-1") == 1
        assert warehouse.query(f"SELECT t.best, t.steps FROM {BEST.quoted_id} AS t").frame.rows() == [
            (0.25, None)
        ]
    assert stale(warehouse) == []
    # What was written after the sources were read makes the slice stale, although its rows were stored later.
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([50])))], CARTPOLE)
    assert warehouse.replace_rows(BEST, [CARTPOLE], rows.clear(), entries, run_id="run-2") == 0
    assert warehouse.query(f"SELECT t.best FROM {BEST.quoted_id} AS t").frame.rows() == []
    assert stale(warehouse) == [("best", "CartPole-v1", "new rows")]


def test_values_of_every_type_are_stored_as_they_were_computed(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path
) -> None:
    row = {
        "id": 1, "string_value": "ä", "bytes_value": "raw", "integer_value": 2**53 + 1, "float_value": 0.1,
        "numeric_value": "12345678901234567890.123456789", "boolean_value": True, "date_value": "2026-11-01",
        "timestamp_value": "2026-11-01T12:00:00.000001Z", "datetime_value": "2026-11-01T12:00:00", "time_value": "23:59:59.999999",
        "json_value": '{"a":[1,null]}', "many": [{"name": "x", "values": [1, 2]}, {"name": None, "values": []}],
    }  # fmt: skip
    write(warehouse, EVERY_TYPE, [stage(EVERY_TYPE, encode([row, {"id": 2, "many": []}]))])
    copy = EVERY_TYPE.model_copy(
        update={"name": "computed", "kind": Kind.DERIVED_TABLE, "python": "f", "inputs": (EVERY_TYPE.id,)}
    )
    relations = [*RELATIONS, copy]
    catalog = Catalog(relations, upstream_of(relations))
    other = ENGINES[engine](tmp_path, catalog, 60)
    other.ensure([copy])
    names = ", ".join(copy.field_names)
    read = other.query(f"SELECT {names} FROM {EVERY_TYPE.quoted_id} ORDER BY id").frame
    entries = other.query(refresh_entries(catalog, copy, [WHOLE]), {"run_id": "run"}).frame
    rows = read.select(pl.col(name).cast(dtype) for name, dtype in polars_schema(copy).items())
    assert other.replace_rows(copy, [WHOLE], rows, entries, run_id="run") == 2
    kept = other.query(f"SELECT {names} FROM {copy.quoted_id} ORDER BY id").frame
    assert repr(kept.rows()) == repr(read.rows())
    with pytest.raises(GaelpError, match="computed by a function"):
        other.refresh(copy, WHOLE)
