"""A key stands once in a table, whichever slices bring it, on each engine; unless the table says that each slice keeps its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.keys import spans_slices
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.warehouse.losses import DefinitionChanged, RowsLost
from gaelp_assets.warehouse.protocol import (
    DEAD_LETTER,
    LEDGER,
    REFRESHES,
    SliceWrite,
    StagedBatch,
    Warehouse,
    WriteMode,
)
from gaelp_assets.warehouse.refreshes import stale_query
from gaelp_assets_tests.contract.warehouses import (
    CATALOG,
    DAY,
    ENGINES,
    LETTERS,
    NOW,
    Stager,
    counts,
    encode,
    on_this_emulator,
    relation,
    rows_of,
    write,
)

pytestmark = pytest.mark.slow

FIELDS = [
    {"name": "id", "type": "STRING", "mode": "REQUIRED"},
    {"name": "date", "type": "DATE", "mode": "REQUIRED"},
    {"name": "environment_id", "type": "STRING", "mode": "REQUIRED"},
    {"name": "version", "type": "INTEGER", "mode": "REQUIRED"},
]
BY = {"date": "date", "environment": "environment_id"}
FACTS = relation("keys", "facts", FIELDS, primary_key=["id"], partitioning=BY)
OWN = relation("keys", "own", FIELDS, primary_key=["id"], partitioning=BY, key_scope="slice")
DATED = relation("keys", "dated", FIELDS, primary_key=["id", "date"], partitioning=BY)
TOLD = relation("keys", "told", FIELDS, primary_key=["id", "date", "environment_id"], partitioning=BY)
LATEST = relation(
    "keys",
    "latest",
    FIELDS,
    primary_key=["id"],
    partitioning={"date": "date"},
    on_key_conflict={"latest": "version"},
)
MOMENTS = relation(
    "keys",
    "moments",
    [
        {"name": "id", "type": "STRING", "mode": "REQUIRED"},
        {"name": "ts", "type": "TIMESTAMP", "mode": "REQUIRED"},
    ],
    primary_key=["id"],
    partitioning={"date": "ts"},
    on_key_conflict={"latest": "ts"},
)
NUMBERS = relation(
    "keys_views",
    "numbers",
    [{"name": "date", "type": "DATE", "mode": "REQUIRED"}, {"name": "n", "type": "INTEGER"}],
    kind="derived_table",
    partitioning={"date": "date"},
    sql="SELECT date, COUNT(*) AS n FROM keys.latest GROUP BY date",
)
TABLES = (FACTS, OWN, DATED, TOLD, LATEST, MOMENTS, NUMBERS)
RELATIONS = (CATALOG[LEDGER], CATALOG[DEAD_LETTER], CATALOG[REFRESHES], *TABLES)
KEYS = Catalog(RELATIONS, upstream_of(RELATIONS))

NEXT_DAY = DAY + dt.timedelta(days=1)
CARTPOLE, TAXI = Slice(DAY, "CartPole-v1"), Slice(DAY, "Taxi-v3")
TOMORROW = Slice(NEXT_DAY, "CartPole-v1")
TODAY_WHOLE, TOMORROW_WHOLE = Slice(DAY), Slice(NEXT_DAY)


@pytest.fixture
def warehouse(engine: str, tmp_path: Path) -> Warehouse:
    warehouse = ENGINES[engine](tmp_path, KEYS, 60)
    warehouse.ensure(RELATIONS)
    return warehouse


def row(key: str, slice_: Slice, version: int = 0) -> dict[str, Any]:
    environment = slice_.environment or "CartPole-v1"
    return {"id": key, "date": str(slice_.date), "environment_id": environment, "version": version}


def batch_of(stage: Stager, table: Relation, slice_: Slice, *rows: tuple[str, int]) -> StagedBatch:
    return stage(table, encode([row(key, slice_, version) for key, version in rows]))


def held(warehouse: Warehouse, table: Relation) -> list[tuple[Any, ...]]:
    """Key, date, environment and version of each row."""
    return [found[:4] for found in rows_of(warehouse, table)]


def fates(warehouse: Warehouse, table: Relation, slice_: Slice) -> list[tuple[int, int, int]]:
    """Loaded, duplicate, rejected of each batch of a slice."""
    return warehouse.ledger(table, slice_).select("loaded", "duplicate", "rejected").rows()


def snapshot(warehouse: Warehouse, table: Relation, *slices: Slice) -> tuple[Any, ...]:
    ledgers = [warehouse.ledger(table, slice_).drop("mode", "written_at").rows() for slice_ in slices]
    return rows_of(warehouse, table), warehouse.query(LETTERS).frame.rows(), ledgers


def test_a_key_resent_for_another_date_or_environment_was_loaded_twice(
    warehouse: Warehouse, stage: Stager
) -> None:
    write(warehouse, FACTS, [batch_of(stage, FACTS, CARTPOLE, ("e0", 0), ("e1", 0))], CARTPOLE)
    for slice_, key in ((TOMORROW, "e0"), (TAXI, "e1")):
        batch = batch_of(stage, FACTS, slice_, (key, 0), (f"new-{key}", 0))
        assert counts(write(warehouse, FACTS, [batch], slice_)[0]) == (1, 0, 1)
        (letter,) = warehouse.query(LETTERS).frame.filter(batch_id=batch.batch_id).to_dicts()
        [reason] = letter["reasons"]
        assert (reason["field"], reason["rule"]) == ("id", "key_conflict")
        assert reason["message"] == (
            "a row of the slice 2026-11-20|CartPole-v1 has this id, which stands once in the table"
        )
        assert letter["raw"] == encode([row(key, slice_)])[0]
    assert [found[0] for found in held(warehouse, FACTS)] == ["e0", "e1", "new-e0", "new-e1"]
    assert fates(warehouse, FACTS, CARTPOLE) == [(2, 0, 0)]


def test_conflicts_within_the_slice_and_with_another_one_are_told_apart(
    warehouse: Warehouse, stage: Stager
) -> None:
    write(warehouse, FACTS, [batch_of(stage, FACTS, CARTPOLE, ("a", 0))], CARTPOLE)
    write(warehouse, FACTS, [batch_of(stage, FACTS, TAXI, ("b", 0))], TAXI)
    batch = batch_of(stage, FACTS, TAXI, ("a", 0), ("b", 1), ("a", 1), ("c", 0), ("b", 0))
    assert counts(write(warehouse, FACTS, [batch], TAXI)[0]) == (1, 1, 3)
    messages = [found["reasons"][0]["message"] for found in warehouse.query(LETTERS).frame.to_dicts()]
    assert ["2026-11-20|CartPole-v1" in message for message in messages] == [True, False, True]
    assert messages[1] == "another row of the slice has this id, with other content"


def test_a_sensitive_slice_is_not_named(warehouse: Warehouse, stage: Stager) -> None:
    hidden = FACTS.model_copy(
        update={"fields": tuple(f.model_copy(update={"sensitive": f.name == "date"}) for f in FACTS.fields)}
    )
    write(warehouse, hidden, [batch_of(stage, FACTS, CARTPOLE, ("a", 0))], CARTPOLE)
    write(warehouse, hidden, [batch_of(stage, FACTS, TAXI, ("a", 0))], TAXI)
    (letter,) = warehouse.query(LETTERS).frame.to_dicts()
    assert letter["reasons"][0]["message"] == (
        "a row of another slice has this id, which stands once in the table"
    )


@pytest.mark.parametrize("order", [(CARTPOLE, TOMORROW), (TOMORROW, CARTPOLE)], ids=["first", "second"])
def test_rebuilds_in_either_order_leave_a_key_with_the_slice_that_has_it(
    warehouse: Warehouse, stage: Stager, order: Sequence[Slice]
) -> None:
    batches = {slice_: batch_of(stage, FACTS, slice_, ("a", 0)) for slice_ in (CARTPOLE, TOMORROW)}
    batches[TOMORROW] = batch_of(stage, FACTS, TOMORROW, ("a", 0), ("b", 0), ("a", 1))
    for slice_ in (CARTPOLE, TOMORROW):
        write(warehouse, FACTS, [batches[slice_]], slice_)
    before = snapshot(warehouse, FACTS, CARTPOLE, TOMORROW)
    for slice_ in order:
        write(warehouse, FACTS, [batches[slice_]], slice_, WriteMode.REBUILD)
        assert snapshot(warehouse, FACTS, CARTPOLE, TOMORROW) == before
    assert held(warehouse, FACTS)[0][:3] == ("a", DAY, "CartPole-v1")


def test_a_rebuild_that_may_lose_rows_sets_right_what_was_loaded_twice_before_keys_reached_over_slices(
    warehouse: Warehouse, stage: Stager
) -> None:
    loose = FACTS.model_copy(update={"key_scope": OWN.key_scope})
    batches = {slice_: batch_of(stage, FACTS, slice_, ("a", 0)) for slice_ in (CARTPOLE, TAXI)}
    for slice_, batch in batches.items():
        write(warehouse, loose, [batch], slice_)
    assert len(held(warehouse, FACTS)) == 2
    resent = batch_of(stage, FACTS, TAXI, ("a", 0), ("b", 0))
    with pytest.raises(DefinitionChanged):
        write(warehouse, FACTS, [resent], TAXI)
    rebuild = SliceWrite(FACTS, TAXI, WriteMode.REBUILD, [batches[TAXI], resent], NOW, "run")
    with pytest.raises(RowsLost):
        warehouse.write(rebuild)
    warehouse.write(replace(rebuild, accept_loss=True))
    assert [found[:3] for found in held(warehouse, FACTS)] == [
        ("a", DAY, "CartPole-v1"),
        ("b", DAY, "Taxi-v3"),
    ]


@pytest.mark.parametrize("newer", [TODAY_WHOLE, TOMORROW_WHOLE], ids=["earlier date", "later date"])
@pytest.mark.parametrize("versions", [(1, 2), (2, 1)], ids=["older first", "newer first"])
def test_the_latest_version_stays_whichever_slice_brings_it_and_whenever(
    warehouse: Warehouse, stage: Stager, newer: Slice, versions: tuple[int, int]
) -> None:
    older = TOMORROW_WHOLE if newer == TODAY_WHOLE else TODAY_WHOLE
    slices = {1: older, 2: newer}
    batches = {
        version: batch_of(stage, LATEST, slices[version], ("a", version), (f"own-{version}", 0))
        for version in versions
    }
    for version in versions:
        write(warehouse, LATEST, [batches[version]], slices[version])
    before = snapshot(warehouse, LATEST, older, newer)
    assert [found for found in held(warehouse, LATEST) if found[0] == "a"] == [
        ("a", newer.date, "CartPole-v1", 2)
    ]
    assert fates(warehouse, LATEST, newer) == [(2, 0, 0)]
    assert fates(warehouse, LATEST, older) == [(1, 1, 0)]
    for version in (*versions, *reversed(versions)):
        write(warehouse, LATEST, [batches[version]], slices[version], WriteMode.REBUILD)
        assert snapshot(warehouse, LATEST, older, newer) == before


def test_an_equal_version_in_another_slice_is_in_conflict(warehouse: Warehouse, stage: Stager) -> None:
    write(warehouse, LATEST, [batch_of(stage, LATEST, TODAY_WHOLE, ("a", 1))], TODAY_WHOLE)
    batch = batch_of(stage, LATEST, TOMORROW_WHOLE, ("a", 1))
    assert counts(write(warehouse, LATEST, [batch], TOMORROW_WHOLE)[0]) == (0, 0, 1)
    assert len(held(warehouse, LATEST)) == 1


def test_one_write_takes_keys_out_of_several_batches_and_slices(warehouse: Warehouse, stage: Stager) -> None:
    third = Slice(NEXT_DAY + dt.timedelta(days=1))
    for slice_, keys in ((TODAY_WHOLE, "ab"), (TODAY_WHOLE, "cd"), (TOMORROW_WHOLE, "ef")):
        batch = batch_of(stage, LATEST, slice_, *((key, 1) for key in keys))
        write(warehouse, LATEST, [batch], slice_)
    batch = batch_of(stage, LATEST, third, *((key, 2) for key in "acde"), ("c", 3))
    assert counts(write(warehouse, LATEST, [batch], third)[0]) == (4, 1, 0)
    assert [(found[0], found[3]) for found in held(warehouse, LATEST)] == [
        ("a", 2), ("b", 1), ("c", 3), ("d", 2), ("e", 2), ("f", 1),
    ]  # fmt: skip
    assert fates(warehouse, LATEST, TODAY_WHOLE) == [(1, 1, 0), (0, 2, 0)]
    assert fates(warehouse, LATEST, TOMORROW_WHOLE) == [(1, 1, 0)]


def test_a_version_that_is_the_slices_own_field_reaches_over_them(
    warehouse: Warehouse, stage: Stager
) -> None:
    for day, moment in ((TODAY_WHOLE, "2026-11-20T23:59:59Z"), (TOMORROW_WHOLE, "2026-11-21T00:00:00Z")):
        write(warehouse, MOMENTS, [stage(MOMENTS, encode([{"id": "1", "ts": moment}]))], day)
    assert [found[1] for found in rows_of(warehouse, MOMENTS)] == [dt.datetime(2026, 11, 21, tzinfo=dt.UTC)]
    assert fates(warehouse, MOMENTS, TODAY_WHOLE) == [(0, 1, 0)]


def test_what_was_computed_from_either_slice_is_stale(warehouse: Warehouse, stage: Stager) -> None:
    def stale() -> list[dt.date]:
        query = stale_query(KEYS, 100, NEXT_DAY)
        assert query is not None
        return sorted(warehouse.query(query).frame["slice_date"])

    write(warehouse, LATEST, [batch_of(stage, LATEST, TODAY_WHOLE, ("a", 1), ("b", 1))], TODAY_WHOLE)
    write(warehouse, LATEST, [batch_of(stage, LATEST, TOMORROW_WHOLE, ("c", 1))], TOMORROW_WHOLE)
    for slice_ in (TODAY_WHOLE, TOMORROW_WHOLE):
        warehouse.refresh(NUMBERS, slice_)
    assert stale() == []
    write(warehouse, LATEST, [batch_of(stage, LATEST, TOMORROW_WHOLE, ("a", 2))], TOMORROW_WHOLE)
    assert stale() == [DAY, NEXT_DAY]
    assert [warehouse.refresh(NUMBERS, slice_) for slice_ in (TODAY_WHOLE, TOMORROW_WHOLE)] == [1, 1]
    assert sorted(warehouse.query("SELECT n FROM keys_views.numbers").frame["n"]) == [1, 2]


def test_each_slice_keeps_its_own_keys_where_the_table_says_so(warehouse: Warehouse, stage: Stager) -> None:
    for slice_ in (CARTPOLE, TAXI, TOMORROW):
        batch = batch_of(stage, OWN, slice_, ("a", 0))
        assert counts(write(warehouse, OWN, [batch], slice_)[0]) == (1, 0, 0)


def test_a_key_with_the_date_meets_only_slices_of_that_date(warehouse: Warehouse, stage: Stager) -> None:
    fates = [
        counts(write(warehouse, DATED, [batch_of(stage, DATED, slice_, ("a", 0))], slice_)[0])
        for slice_ in (CARTPOLE, TOMORROW, TAXI)
    ]
    assert fates == [(1, 0, 0), (1, 0, 0), (0, 0, 1)]


def test_a_key_that_tells_the_slice_needs_no_look_at_others(warehouse: Warehouse, stage: Stager) -> None:
    assert [spans_slices(table) for table in (FACTS, OWN, DATED, TOLD)] == [True, False, True, False]
    for slice_ in (CARTPOLE, TAXI, TOMORROW):
        batch = batch_of(stage, TOLD, slice_, ("a", 0))
        assert counts(write(warehouse, TOLD, [batch], slice_)[0]) == (1, 0, 0)


def _load_slice(engine: str, place: Path, table: Relation, slice_: Slice, batches: list[StagedBatch]) -> None:
    warehouse = ENGINES[engine](place, KEYS, 60)
    for batch in batches:
        write(warehouse, table, [batch], slice_, loaded_at=NOW)


@pytest.mark.parametrize("table", [FACTS, LATEST], ids=lambda table: str(table.name))
def test_slices_that_are_loaded_at_once_share_no_key(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path, table: Relation
) -> None:
    loads = []
    for index, slice_ in enumerate((CARTPOLE, TOMORROW)):
        place = slice_ if table is FACTS else Slice(slice_.date)
        batches = [
            batch_of(stage, table, place, *((f"k{key}", (key + index) % 2) for key in range(part, part + 3)))
            for part in range(0, 12, 3)
        ]
        loads.append((place, batches))
    writers = [
        on_this_emulator(_load_slice, engine, tmp_path, table, place, batches) for place, batches in loads
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(240)
        assert writer.exitcode == 0
    found = held(warehouse, table)
    assert len(found) == len({each[0] for each in found}) == 12
    if table is LATEST:
        assert {each[3] for each in found} == {1}
    ledgers = [warehouse.ledger(table, place) for place, _ in loads]
    assert sum(ledger["loaded"].sum() for ledger in ledgers) == 12
    assert sum(ledger["lines"].sum() for ledger in ledgers) == 24
    before = snapshot(warehouse, table, *(place for place, _ in loads))
    for place, batches in loads:
        write(warehouse, table, batches, place, WriteMode.REBUILD)
    assert snapshot(warehouse, table, *(place for place, _ in loads)) == before


def test_a_write_that_another_slice_overtakes_after_its_plan_is_planned_again(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path
) -> None:
    """The other slice commits while the raw line of a conflict is read: after the plan, before the transaction of BigQuery."""
    if engine == "duckdb":
        pytest.skip("one writer at a time: its plan and its transaction are one")
    write(warehouse, FACTS, [batch_of(stage, FACTS, CARTPOLE, ("a", 0))], CARTPOLE)
    other = ENGINES[engine](tmp_path, KEYS, 60)
    overtaking = batch_of(stage, FACTS, TOMORROW, ("b", 0))
    batch = batch_of(stage, FACTS, TAXI, ("b", 0), ("a", 0))
    raw_line = batch.raw_line

    def overtaken(offset: int) -> bytes:
        write(other, FACTS, [overtaking], TOMORROW)
        return raw_line(offset)

    assert counts(write(warehouse, FACTS, [replace(batch, raw_line=overtaken)], TAXI)[0]) == (0, 0, 2)
    assert [(found[0], found[1]) for found in held(warehouse, FACTS)] == [("a", DAY), ("b", NEXT_DAY)]
