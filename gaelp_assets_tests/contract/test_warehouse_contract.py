"""What every warehouse promises, asked of each engine: fates, conflicts, rebuilds, schemas, queries."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from gaelp_assets.catalog import WHOLE, Catalog, Slice
from gaelp_assets.errors import GaelpError
from gaelp_assets.stream.positions import newest
from gaelp_assets.warehouse.losses import DefinitionChanged
from gaelp_assets.warehouse.parameters import Parameters
from gaelp_assets.warehouse.protocol import SliceChanged, Warehouse, WriteMode
from gaelp_assets_tests.contract.warehouses import (
    BEST,
    CARTPOLE,
    DAY,
    ENGINES,
    EPISODES,
    EVENTS,
    EVERY_TYPE,
    GOOD,
    LETTERS,
    NOW,
    RELATIONS,
    VERSIONS,
    Stager,
    counts,
    encode,
    episode,
    episodes,
    open_engine,
    rows_of,
    write,
)

pytestmark = pytest.mark.slow


def version_line(version: int, rank: str = "", batch: str = "a") -> bytes:
    return encode([{"batch": batch, "version": version, "rank": rank or str(version)}])[0]


# LineCounts


def test_new_rows_are_loaded_with_batch_moment_and_hash(warehouse: Warehouse, stage: Stager) -> None:
    batch = stage(EPISODES, encode(episodes(range(25))), parts=3)
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (25, 0, 0)
    frame = warehouse.query("SELECT * FROM lab.episodes ORDER BY episode_id, step").frame
    assert frame["_batch_id"].unique().to_list() == [batch.batch_id]
    assert frame["_loaded_at"].unique().to_list() == [NOW]
    assert frame["_row_hash"].n_unique() == 25
    assert frame["score"].to_list() == [number / 10 for number in range(25)]
    assert frame["rewards"].to_list()[7] == [1.0, 1.75]
    assert frame["table"].to_list()[3] == {"group": "a", "order": 3}


def test_a_batch_that_the_ledger_holds_is_not_loaded_again(warehouse: Warehouse, stage: Stager) -> None:
    batch = stage(EPISODES, encode(episodes(range(4))), rejects=[b"{"])
    first = write(warehouse, EPISODES, [batch], CARTPOLE)[0]
    before = rows_of(warehouse, EPISODES)
    again = write(warehouse, EPISODES, [batch], CARTPOLE, loaded_at=NOW + dt.timedelta(days=1))[0]
    assert again == replace(first, already_in_ledger=True)
    assert rows_of(warehouse, EPISODES) == before
    assert warehouse.ledger(EPISODES, CARTPOLE).height == 1
    assert warehouse.query(LETTERS).frame.height == 1


def test_a_batch_named_twice_in_one_write_is_loaded_once(warehouse: Warehouse, stage: Stager) -> None:
    batch = stage(EPISODES, encode(episodes(range(4))))
    first, second = write(warehouse, EPISODES, [batch, batch], CARTPOLE)
    assert (first.loaded, first.already_in_ledger, second.already_in_ledger) == (4, False, True)
    assert warehouse.ledger(EPISODES, CARTPOLE).height == 1


def test_duplicates_inside_a_batch_across_batches_and_across_writes(
    warehouse: Warehouse, stage: Stager
) -> None:
    one = stage(EPISODES, encode(episodes([1, 2, 1])))
    two = stage(EPISODES, encode(episodes([2, 3])))
    assert [counts(f) for f in write(warehouse, EPISODES, [one, two], CARTPOLE)] == [(2, 1, 0), (1, 1, 0)]
    three = stage(EPISODES, encode(episodes([3, 4, 4, 1])))
    assert counts(write(warehouse, EPISODES, [three], CARTPOLE)[0]) == (1, 3, 0)
    assert len(rows_of(warehouse, EPISODES)) == 4


def test_the_same_content_formatted_otherwise_is_a_duplicate(warehouse: Warehouse, stage: Stager) -> None:
    rows = [
        episode(1),
        episode(2, score=None, info=None, rewards=[]),
        episode(3, info={"a": [1, {"b": "x y"}]}),
    ]
    write(warehouse, EPISODES, [stage(EPISODES, encode(rows))], CARTPOLE)
    respaced = [{**row, "info": '{"a" : [1,{"b":"x y"}]}'} if row is rows[2] else row for row in rows]
    again = stage(EPISODES, encode(respaced, indent=True))
    assert counts(write(warehouse, EPISODES, [again], CARTPOLE)[0]) == (0, 3, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"score": 99.5},
        {"score": None},
        {"rewards": [1.0]},
        {"rewards": [1.0, None]},
        {"info": {"lives": 8}},
        {"info": {"lives": "7"}},
        {"table": {"group": "a", "order": 8}},
        {"table": {"group": None, "order": 7}},
    ],
    ids=str,
)
def test_other_content_under_a_key_is_a_dead_letter_and_the_first_row_stays(
    warehouse: Warehouse, stage: Stager, change: dict[str, Any]
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([7])))], CARTPOLE)
    before = rows_of(warehouse, EPISODES)
    lines = encode([episode(8), episode(7, **change)])
    batch = stage(EPISODES, lines)
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (1, 0, 1)
    assert before[0] in rows_of(warehouse, EPISODES)
    (letter,) = warehouse.query(LETTERS).frame.to_dicts()
    assert (letter["batch_id"], letter["line_number"], letter["byte_offset"]) == (
        batch.batch_id,
        2,
        len(lines[0]) + 1,
    )
    assert letter["raw"] == lines[1]
    assert [reason["rule"] for reason in letter["reasons"]] == ["key_conflict"]
    assert "episode-0" not in letter["reasons"][0]["message"]


def test_of_conflicting_rows_in_one_load_the_first_in_batch_order_then_line_stays(
    warehouse: Warehouse, stage: Stager
) -> None:
    late = stage(EPISODES, encode([episode(1, score=3.0), episode(2, score=4.0)]))
    early = stage(EPISODES, encode([episode(1, score=1.0), episode(1, score=2.0), episode(1, score=1.0)]))
    written = write(warehouse, EPISODES, [early, late], CARTPOLE)
    assert [counts(f) for f in written] == [(1, 1, 1), (1, 0, 1)]
    assert sorted(row[4] for row in rows_of(warehouse, EPISODES)) == [1.0, 4.0]


def test_rejected_lines_keep_their_raw_bytes_and_reasons(warehouse: Warehouse, stage: Stager) -> None:
    batch = stage(EPISODES, encode(episodes([1])), rejects=[b'{"score": "\xff\xfe"', b"\x00"])
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE, run_id="run-7")[0]) == (1, 0, 2)
    frame = warehouse.query("SELECT * FROM ops.dead_letter ORDER BY line_number").frame
    assert frame["raw"].to_list() == [b'{"score": "\xff\xfe"', b"\x00"]
    assert frame["line_number"].to_list() == [2, 3]
    assert frame["reasons"].to_list()[0] == [
        {"field": "score", "rule": "type", "message": "expected FLOAT, found a string"}
    ]
    shared = frame.select("dataset", "table", "slice_date", "slice_environment", "rejected_at", "run_id").row(
        0
    )
    assert shared == ("lab", "episodes", DAY, "CartPole-v1", NOW, "run-7")


def test_a_batch_of_nothing_but_rejects_or_blank_lines_is_in_the_ledger(
    warehouse: Warehouse, stage: Stager
) -> None:
    written = write(warehouse, EPISODES, [stage(EPISODES, [], rejects=[b"?"]), stage(EPISODES, [])], CARTPOLE)
    assert [counts(f) for f in written] == [(0, 0, 1), (0, 0, 0)]
    assert warehouse.ledger(EPISODES, CARTPOLE)["lines"].to_list() == [1, 0]


def test_slices_do_not_see_one_another(warehouse: Warehouse, stage: Stager) -> None:
    other = Slice(DAY, "it's-v0")
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    batch = stage(EPISODES, encode([episode(2, environment_id="it's-v0", score=5.0)]))
    assert counts(write(warehouse, EPISODES, [batch], other)[0]) == (1, 0, 0)
    write(warehouse, EPISODES, [batch], other, WriteMode.REBUILD)
    assert len(rows_of(warehouse, EPISODES)) == 2
    assert warehouse.ledger(EPISODES, CARTPOLE).height == warehouse.ledger(EPISODES, other).height == 1


def test_rows_of_another_slice_are_refused_and_nothing_is_written(
    warehouse: Warehouse, stage: Stager
) -> None:
    batch = stage(EPISODES, encode([episode(1), episode(2, date="2026-11-21")]))
    with pytest.raises(GaelpError, match="1 staged rows are not of the slice"):
        write(warehouse, EPISODES, [batch], CARTPOLE)
    with pytest.raises(GaelpError, match="date and environment"):
        write(warehouse, EPISODES, [batch], WHOLE)
    assert rows_of(warehouse, EPISODES) == []
    assert warehouse.ledger(EPISODES, CARTPOLE).is_empty()


@pytest.mark.parametrize(
    "wrong", [{"lines": 9}, {"rejected": 1, "lines": 3}], ids=["a line too many", "a reject too many"]
)
def test_a_batch_whose_lines_do_not_add_up_is_refused_whole(
    warehouse: Warehouse, stage: Stager, wrong: dict[str, int]
) -> None:
    batch = replace(stage(EPISODES, encode(episodes([1, 2]))), **wrong)  # type: ignore[arg-type]
    with pytest.raises(GaelpError):
        write(warehouse, EPISODES, [batch], CARTPOLE)
    assert rows_of(warehouse, EPISODES) == []


def test_the_utc_day_of_a_timestamp_is_its_slice(warehouse: Warehouse, stage: Stager) -> None:
    rows = [
        {"event_id": 1, "at": "2026-11-20T00:00:00+00:00"},
        {"event_id": 2, "at": "2026-11-20T23:59:59.999999+00:00"},
        {"event_id": 3, "at": "2026-11-21T01:30:00+02:00"},
    ]
    batch = stage(EVENTS, encode(rows))
    write(warehouse, EVENTS, [batch], Slice(DAY))
    write(
        warehouse,
        EVENTS,
        [stage(EVENTS, encode([{"event_id": 4, "at": "2026-11-21T00:00:00Z"}]))],
        Slice(DAY + dt.timedelta(1)),
    )
    assert write(warehouse, EVENTS, [batch], Slice(DAY), WriteMode.REBUILD)[0].loaded == 3
    assert len(rows_of(warehouse, EVENTS)) == 4
    ledger = warehouse.ledger(EVENTS, Slice(DAY))
    assert ledger.select("slice_date", "slice_environment").row(0) == (DAY, None)


# The latest version


@pytest.mark.parametrize("order", [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)], ids=str)
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one write"])
def test_the_greatest_version_stays_whatever_the_order(
    warehouse: Warehouse, stage: Stager, order: tuple[int, ...], together: bool
) -> None:
    batches = [
        stage(VERSIONS, [version_line(version), version_line(1, batch=f"own-{version}")]) for version in order
    ]
    for group in [batches] if together else [[batch] for batch in batches]:
        write(warehouse, VERSIONS, group)
    assert [row[1] for row in rows_of(warehouse, VERSIONS) if row[0] == "a"] == [3]
    ledger = {row["batch_id"]: row for row in warehouse.ledger(VERSIONS, WHOLE).to_dicts()}
    for version, batch in zip(order, batches, strict=True):
        row = ledger[batch.batch_id]
        assert (row["loaded"], row["duplicate"], row["rejected"]) == (
            (2, 0, 0) if version == 3 else (1, 1, 0)
        )


def test_versions_inside_one_batch(warehouse: Warehouse, stage: Stager) -> None:
    lines = [version_line(1), version_line(3), version_line(2), version_line(3), version_line(3, "other")]
    lines.append(version_line(1, "smaller versions are not compared"))
    assert counts(write(warehouse, VERSIONS, [stage(VERSIONS, lines)])[0]) == (1, 4, 1)
    assert [row[:3] for row in rows_of(warehouse, VERSIONS)] == [("a", 3, "3")]


def test_an_equal_version_with_other_content_is_rejected(warehouse: Warehouse, stage: Stager) -> None:
    write(warehouse, VERSIONS, [stage(VERSIONS, [version_line(2, "first")])])
    batch = stage(VERSIONS, [version_line(2, "second")])
    assert counts(write(warehouse, VERSIONS, [batch])[0]) == (0, 0, 1)
    assert [row[2] for row in rows_of(warehouse, VERSIONS)] == ["first"]
    assert warehouse.query(LETTERS).frame["raw"].to_list() == [version_line(2, "second")]


# Rebuilding


def test_a_rebuild_equals_the_appends_before_it(warehouse: Warehouse, stage: Stager) -> None:
    batches = [
        stage(EPISODES, encode(episodes([1, 2])), rejects=[b"{"]),
        stage(EPISODES, encode([episode(2, score=77.0), episode(3)])),
        stage(EPISODES, encode(episodes([3, 4]), indent=True)),
    ]
    # The clock of the second process was behind: the order of loading is the order of the commits.
    for batch, hours in zip(batches, (2, 1, 3), strict=True):
        write(warehouse, EPISODES, [batch], CARTPOLE, loaded_at=NOW + dt.timedelta(hours=hours))
    before = (
        rows_of(warehouse, EPISODES),
        warehouse.query(LETTERS).frame,
        warehouse.ledger(EPISODES, CARTPOLE),
    )
    by_id = {batch.batch_id: batch for batch in batches}
    ordered = [by_id[batch_id] for batch_id in before[2]["batch_id"]]
    written = write(warehouse, EPISODES, ordered, CARTPOLE, WriteMode.REBUILD, NOW + dt.timedelta(days=9))
    assert not any(f.already_in_ledger for f in written)
    assert rows_of(warehouse, EPISODES) == before[0]
    assert warehouse.query(LETTERS).frame.equals(before[1])
    after = warehouse.ledger(EPISODES, CARTPOLE)
    assert after.drop("mode", "written_at").equals(before[2].drop("mode", "written_at"))
    assert after["mode"].unique().to_list() == ["rebuild"]


def test_a_rebuild_takes_new_batches_and_keeps_what_was_replayed_or_acknowledged(
    warehouse: Warehouse, stage: Stager
) -> None:
    old = stage(EPISODES, encode(episodes([1])), rejects=[b"{", b"["])
    write(warehouse, EPISODES, [old], CARTPOLE)
    warehouse.mark_acknowledged(EPISODES, old.batch_id, [2], NOW + dt.timedelta(hours=2))
    warehouse.mark_replayed(EPISODES, old.batch_id, [3], NOW + dt.timedelta(hours=1))
    new = stage(EPISODES, encode(episodes([2])), rejects=[b"{"])
    write(warehouse, EPISODES, [old, new], CARTPOLE, WriteMode.REBUILD, NOW + dt.timedelta(days=1))
    assert warehouse.ledger(EPISODES, CARTPOLE)["loaded_at"].to_list() == [NOW, NOW + dt.timedelta(days=1)]
    dead_letters = warehouse.query(LETTERS).frame.filter(pl.col("batch_id") == old.batch_id)
    assert dead_letters["replayed_at"].to_list() == [None, NOW + dt.timedelta(hours=1)]
    assert dead_letters["acknowledged_at"].to_list() == [NOW + dt.timedelta(hours=2), None]
    assert warehouse.query(LETTERS).frame.height == 3


def test_the_same_bytes_rejected_by_another_table_are_not_marked_as_replayed(
    warehouse: Warehouse, stage: Stager
) -> None:
    batch, same = (stage(relation, [], rejects=[b"{"]) for relation in (EPISODES, VERSIONS))
    assert batch.batch_id == same.batch_id
    write(warehouse, EPISODES, [batch], CARTPOLE)
    write(warehouse, VERSIONS, [same])
    warehouse.mark_replayed(EPISODES, batch.batch_id, [1], NOW)
    warehouse.mark_acknowledged(VERSIONS, batch.batch_id, [1], NOW)
    sql = "SELECT `table`, replayed_at, acknowledged_at FROM ops.dead_letter ORDER BY 1"
    assert warehouse.query(sql).frame.rows() == [("episodes", NOW, None), ("versions", None, NOW)]


def test_a_rebuild_that_lacks_a_batch_of_the_ledger_changes_nothing(
    warehouse: Warehouse, stage: Stager
) -> None:
    known, overtaking = (stage(EPISODES, encode(episodes([number]))) for number in (1, 2))
    write(warehouse, EPISODES, [known], CARTPOLE)
    write(warehouse, EPISODES, [overtaking], CARTPOLE)
    before = rows_of(warehouse, EPISODES)
    with pytest.raises(SliceChanged):
        write(warehouse, EPISODES, [known], CARTPOLE, WriteMode.REBUILD)
    assert rows_of(warehouse, EPISODES) == before
    assert warehouse.ledger(EPISODES, CARTPOLE).height == 2


def test_the_last_file_of_each_prefix_is_told_for_all_of_them_at_once(
    warehouse: Warehouse, stage: Stager
) -> None:
    names = ("live-p1-1", "live-p1-3", "live-p2-2", "live-p3-9", "other")
    batches = [
        replace(
            stage(VERSIONS, [version_line(number)], mode=WriteMode.SORT), file=f"lab/versions/{name}.ndjson"
        )
        for number, name in enumerate(names)
    ]
    write(warehouse, VERSIONS, batches, mode=WriteMode.SORT)
    store = SimpleNamespace(list=lambda *_, **__: [])
    platform: Any = SimpleNamespace(warehouse=warehouse, gateway=SimpleNamespace(store=store))
    found = newest(platform, VERSIONS, ["live-p1-", "live-p2-", "live-p4-"])
    assert found == {"live-p1-": "live-p1-3.ndjson", "live-p2-": "live-p2-2.ndjson"}


def test_a_sorted_raw_file_is_accounted_apart_from_loads_of_the_same_bytes(
    warehouse: Warehouse, stage: Stager
) -> None:
    lines = [version_line(1)]
    raw = stage(VERSIONS, lines, mode=WriteMode.SORT)
    assert write(warehouse, VERSIONS, [raw], mode=WriteMode.SORT)[0].sorted == 1
    assert write(warehouse, VERSIONS, [raw], mode=WriteMode.SORT)[0].already_in_ledger
    broken = stage(VERSIONS, [version_line(5)], rejects=[b"{"], mode=WriteMode.SORT)
    write(warehouse, VERSIONS, [broken], mode=WriteMode.SORT)
    assert rows_of(warehouse, VERSIONS) == []
    load = stage(VERSIONS, lines)
    assert load.batch_id == raw.batch_id
    assert write(warehouse, VERSIONS, [load])[0].loaded == 1
    assert write(warehouse, VERSIONS, [load], mode=WriteMode.REBUILD)[0].loaded == 1
    assert warehouse.query("SELECT mode FROM ops.import_logs ORDER BY mode").frame["mode"].to_list() == [
        "rebuild",
        "sort",
        "sort",
    ]
    assert warehouse.query(LETTERS).frame["raw"].to_list() == [b"{"]


# Relations


def test_ensure_is_idempotent_and_every_type_survives(warehouse: Warehouse, stage: Stager) -> None:
    row = {
        "id": -(2**63),
        "string_value": "Zoë ☃ '\"",
        "bytes_value": "raw",
        "integer_value": 2**63 - 1,
        "float_value": 5e-324,
        "numeric_value": "12345678901234567890123456789.123456789",
        "boolean_value": False,
        "timestamp_value": "2024-02-29T23:30:00.000001-03:00",
        "date_value": "2024-02-29",
        "datetime_value": "2024-02-29T23:30:00",
        "time_value": "23:59:59.999999",
        "json_value": '{"b":1.0,"a":"C:\\\\new","big":123456789012345678901234567890}',
        "many": [{"name": "x", "values": [1, None]}, {"name": None, "values": []}],
    }
    write(warehouse, EVERY_TYPE, [stage(EVERY_TYPE, encode([row]))])
    warehouse.ensure(RELATIONS)
    (found,) = warehouse.query("SELECT * FROM lab.every_type").frame.to_dicts()
    assert found["id"] == row["id"]
    assert found["integer_value"] == row["integer_value"]
    assert str(found["numeric_value"]) == row["numeric_value"]
    assert found["timestamp_value"] == dt.datetime(2024, 3, 1, 2, 30, 0, 1, tzinfo=dt.UTC)
    assert found["datetime_value"] == dt.datetime(2024, 2, 29, 23, 30)  # noqa: DTZ001 - a DATETIME has no zone
    assert found["time_value"] == dt.time(23, 59, 59, 999999)
    assert found["json_value"] == row["json_value"]
    assert found["many"] == row["many"]
    assert (found["string_value"], found["bytes_value"], found["float_value"]) == (
        row["string_value"],
        b"raw",
        5e-324,
    )


def test_a_new_nullable_field_is_added_and_old_rows_lack_it(
    engine: str, warehouse: Warehouse, stage: Stager, tmp_path: Path
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    fields = [f.model_dump(exclude_defaults=True) for f in EPISODES.fields]
    fields[-1]["fields"] = [*fields[-1]["fields"], {"name": "note", "type": "STRING"}]
    wider = EPISODES.model_copy(
        update={
            "fields": type(EPISODES)
            .model_validate({**_keys(EPISODES), "fields": [*fields, {"name": "extra", "type": "INTEGER"}]})
            .fields
        }
    )
    warehouse.ensure([wider])
    warehouse.ensure([wider])
    batch = stage(wider, encode([episode(2, extra=5, table={"group": "b", "order": 1, "note": "new"})]))
    with pytest.raises(DefinitionChanged):
        write(warehouse, wider, [batch], CARTPOLE)
    both = [stage(wider, encode(episodes([1]))), batch]
    assert [f.loaded for f in write(warehouse, wider, both, CARTPOLE, WriteMode.REBUILD)] == [1, 1]
    frame = warehouse.query(
        "SELECT extra, `table`.note AS note, `table`.`group` AS g FROM lab.episodes ORDER BY step"
    ).frame
    assert frame.rows() == [(None, None, "a"), (5, "new", "b")]


def _keys(relation: Any) -> dict[str, Any]:
    return {
        "dataset": relation.dataset,
        "name": relation.name,
        "description": relation.description,
        "owner": relation.owner,
        "primary_key": relation.primary_key,
        "partitioning": relation.partitioning.model_dump(),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "score", "type": "STRING"}, "score.*the warehouse holds"),
        ({"name": "fresh", "type": "STRING", "mode": "REQUIRED"}, "fresh.*REQUIRED"),
    ],
    ids=["another type", "a new required field"],
)
def test_what_rows_cannot_follow_is_refused_and_an_empty_table_follows(
    warehouse: Warehouse, stage: Stager, change: dict[str, Any], message: str
) -> None:
    kept = [f.model_dump(exclude_defaults=True) for f in EPISODES.fields if f.name != change["name"]]
    changed = type(EPISODES).model_validate({**_keys(EPISODES), "fields": [*kept, change]})
    warehouse.ensure([changed])
    warehouse.drop(EPISODES)
    warehouse.ensure(RELATIONS)
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    with pytest.raises(GaelpError, match=message):
        warehouse.ensure([changed])
    assert len(rows_of(warehouse, EPISODES)) == 1


def test_a_required_field_that_left_the_catalogue_does_not_stop_loads(
    warehouse: Warehouse, stage: Stager
) -> None:
    write(warehouse, VERSIONS, [stage(VERSIONS, [version_line(1)])])
    fields = [f.model_copy(update={"mode": "NULLABLE"}) for f in VERSIONS.fields if f.name != "version"]
    smaller = VERSIONS.model_copy(update={"fields": tuple(fields), "on_key_conflict": "reject"})
    warehouse.ensure([smaller])
    both = [stage(smaller, [version_line(1)]), stage(smaller, encode([{"batch": "b", "rank": "x"}]))]
    assert [f.loaded for f in write(warehouse, smaller, both, mode=WriteMode.REBUILD)] == [1, 1]


def test_refresh_replaces_one_slice_of_a_derived_table_and_a_view_follows(
    warehouse: Warehouse, stage: Stager
) -> None:
    other = Slice(DAY, "Taxi-v3")
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    write(warehouse, EPISODES, [stage(EPISODES, encode([episode(9, environment_id="Taxi-v3")]))], other)
    assert warehouse.refresh(BEST, CARTPOLE) == warehouse.refresh(BEST, other) == 1
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([50])))], CARTPOLE)
    assert warehouse.refresh(BEST, CARTPOLE) == 1
    query = "SELECT b.environment_id, b.best, b.steps FROM lab_views.best AS b ORDER BY environment_id"
    assert warehouse.query(query).frame.rows() == [("CartPole-v1", 5.0, 10), ("Taxi-v3", 0.9, 9)]
    assert warehouse.query("SELECT best FROM lab_views.good ORDER BY best").frame["best"].to_list() == [
        0.9,
        5.0,
    ]
    with pytest.raises(GaelpError, match="not refreshed"):
        warehouse.refresh(GOOD, CARTPOLE)


def test_a_view_is_made_with_what_it_reads_and_follows_its_sql(engine: str, tmp_path: Path) -> None:
    warehouse = open_engine(engine, tmp_path)
    warehouse.ensure([GOOD])
    assert warehouse.describe(BEST) is not None
    warehouse.ensure(
        [GOOD.model_copy(update={"sql": "SELECT date, environment_id, 1.5 AS best FROM lab_views.best"})]
    )
    assert warehouse.query("SELECT best FROM lab_views.good").frame.is_empty()
    assert warehouse.query("SELECT COUNT(*) AS n FROM lab_views.good WHERE best = 1.5").frame.item() == 0


def test_a_dropped_table_can_be_loaded_again_from_its_files(warehouse: Warehouse, stage: Stager) -> None:
    batch = stage(EPISODES, encode(episodes([1])), rejects=[b"{"])
    write(warehouse, EPISODES, [batch], CARTPOLE)
    warehouse.drop(EPISODES)
    warehouse.drop(EPISODES)
    assert warehouse.describe(EPISODES) is None
    assert warehouse.query(LETTERS).frame.is_empty()
    warehouse.ensure([EPISODES])
    assert write(warehouse, EPISODES, [batch], CARTPOLE)[0].loaded == 1


def test_describe_and_a_warehouse_that_is_not_there_yet(engine: str, tmp_path: Path, stage: Stager) -> None:
    warehouse = open_engine(engine, tmp_path)
    assert warehouse.describe(EPISODES) is None
    warehouse.drop(EPISODES)
    assert warehouse.query("SELECT 1 AS one").frame.item() == 1
    with pytest.raises(GaelpError, match="episodes"):
        write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    warehouse.ensure(RELATIONS)
    state = warehouse.describe(VERSIONS)
    assert state is not None
    assert list(state.columns) == ["batch", "version", "rank", "_batch_id", "_loaded_at", "_row_hash"]
    assert state.rows == 0


# Queries


def test_query_takes_parameters_limits_rows_and_returns_the_types_of_googlesql(
    warehouse: Warehouse, stage: Stager
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(30))))], CARTPOLE)
    sql = "SELECT `date`, SUM(step) AS total, COUNT(*) AS n, @name AS name FROM lab.episodes WHERE `date` = @day GROUP BY `date`"
    frame = warehouse.query(sql, {"day": DAY, "name": "it's"}, labels={"asset": "x"}).frame
    assert frame.rows() == [(DAY, 135, 30, "it's")]
    assert frame.schema["total"] == frame.schema["n"] == pl.Int64
    limited = warehouse.query("SELECT step FROM lab.episodes ORDER BY score DESC", row_limit=3)
    assert limited.frame["step"].to_list() == [9, 8, 7]
    assert limited.cost.seconds > 0
    assert limited.total is None
    for limit, shown in ((3, 3), (30, 30), (31, 30)):
        counted = warehouse.query(
            "SELECT step FROM lab.episodes ORDER BY score DESC", row_limit=limit, counting=30
        )
        assert (counted.frame.height, counted.total) == (shown, 30)
    assert warehouse.query("SELECT step FROM lab.episodes").total == 30


def test_an_integer_parameter_is_an_int64_whatever_width_would_hold_it(warehouse: Warehouse) -> None:
    """DuckDB took a small one for an INT32: `@n + @n` overflowed."""
    parameters: Parameters = {"n": 2**31 - 1, "many": [1, 2**31 - 1]}
    found = warehouse.query(
        "SELECT @n + @n AS twice, (SELECT SUM(x) FROM UNNEST(@many) AS x) AS total", parameters
    )
    assert found.frame.rows() == [(2**32 - 2, 2**31)]


def test_a_whole_decimal_was_an_integer_and_ended_beyond_64_bits(warehouse: Warehouse) -> None:
    greatest = Decimal(10**29 - 1)
    [found] = warehouse.query("SELECT @x AS x, @x * 1 AS product", {"x": greatest}).frame.to_dicts()
    assert (found["x"], found["product"]) == (greatest, greatest)


def test_query_cannot_change_anything_nor_read_other_files(warehouse: Warehouse) -> None:
    for sql in (
        "DELETE FROM ops.import_logs",
        "DROP TABLE lab.episodes",
        "SELECT * FROM read_text('/etc/hostname')",
    ):
        with pytest.raises(GaelpError):
            warehouse.query(sql)
    with pytest.raises(GaelpError, match="no_such_table"):
        warehouse.query("SELECT 1 FROM lab.no_such_table")


def test_capabilities_and_location_are_stated(engine: str, warehouse: Warehouse, tmp_path: Path) -> None:
    assert warehouse.capabilities.engine == engine
    assert warehouse.location


def test_an_empty_catalogue_needs_nothing(engine: str, tmp_path: Path) -> None:
    assert ENGINES[engine](tmp_path, Catalog([]), 5).describe(EPISODES) is None
