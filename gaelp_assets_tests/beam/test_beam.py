"""One declaration, three executions: the catalogue's SQL, Apache Beam and a count by hand give the same windows.

Beam's streams are `TestStream`s, whose watermarks are data. Each pipeline has many orders, each in an environment of its own. What comes
within the allowed lateness is in all three; what comes later Beam alone drops, by its rule, which the count by hand follows.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import dagster as dg
import duckdb
import pytest

from gaelp_assets.assets.beam import beam_assets
from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.window import microseconds
from gaelp_assets.settings import CHECKOUT
from gaelp_assets.sql.transpile import to_duckdb
from gaelp_assets.stream.beam.work import Work
from gaelp_assets.warehouse.duckdb.dialect import duckdb_type, quote
from gaelp_assets_tests.platforms import drop, load, ndjson, platform_in
from gaelp_assets_tests.property.test_windows import (
    EPOCH,
    EVENTS,
    MIDNIGHT,
    Row,
    by_hand,
    catalog_of,
    happenings,
    windows_of,
)
from resources.platform import platform_resource

pytestmark = [pytest.mark.beam, pytest.mark.slow]

PYTHON: Final = Path(os.environ.get("GAELP_BEAM") or CHECKOUT / ".venv-beam" / "bin" / "python")
FIRST: Final = dt.date(2026, 1, 1)
LAST: Final = dt.date(2026, 12, 31)
ORDERS: Final = 125
"""Of each pipeline."""
Step = tuple[int, list[dict[str, Any]]]
"""A watermark, and the rows that come after it."""


def run(*arguments: str) -> str:
    """A module in Beam's environment."""
    if not PYTHON.exists():
        pytest.skip("make setup-beam makes Beam's environment")
    done = subprocess.run(
        [PYTHON, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def line(row: Mapping[str, Any]) -> str:
    return json.dumps({**row, "date": str(row["date"]), "at": row["at"].isoformat()})


def moment(row: Row) -> int:
    return int((row["at"] - EPOCH) // dt.timedelta(microseconds=1))


def orders(chance: random.Random, first: int, number: int, steps: int = 6) -> list[Step]:
    """Rows of that many environments, each at random steps of one stream, whose watermarks are between any two edges of windows."""
    ids = itertools.count(first * 10_000)
    marks = sorted(chance.sample(range(-9 * 86_400, 9 * 86_400), steps))
    start = MIDNIGHT - EPOCH
    found: list[Step] = [
        (int((start + dt.timedelta(seconds=mark + 0.5)) / dt.timedelta(microseconds=1)), []) for mark in marks
    ]
    for order in range(number):
        for row in happenings(chance, f"Order-v{first + order}", ids, n=chance.randint(5, 20)):
            found[chance.randrange(steps)][1].append(row)
    for _, rows in found:
        chance.shuffle(rows)
    return found


def streamed(
    folder: Path, relation: Relation, steps: Sequence[Step], more: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """What a stream tells, in order; `more` lines come with the first step."""
    work = Work(relation, EVENTS, FIRST, LAST).to_json()
    told = [{"watermark": mark, "lines": [(moment(row), line(row)) for row in rows]} for mark, rows in steps]
    told[0]["lines"] = [*((told[0]["watermark"], text) for text in more), *told[0]["lines"]]  # type: ignore[misc]
    given, out = folder / "given.json", folder / "told.ndjson"
    given.write_text(json.dumps({"work": work, "steps": told}), encoding="utf-8")
    run("gaelp_assets_tests.beam.streamed", str(given), str(out))
    return [json.loads(each) for each in out.read_text(encoding="utf-8").splitlines()]


def final(told: Sequence[Mapping[str, Any]], relation: Relation) -> list[tuple[Any, ...]]:
    """The last telling of each window and group."""
    found: dict[str, tuple[int, tuple[Any, ...]]] = {}
    for each in told:
        if each["kind"] == "window":
            rows, row = each["found"]
            values = tuple(_value(row[field.name], field.type) for field in relation.fields)
            key = repr([row[name] for name in ("window_start", *relation.window.group_by)])  # type: ignore[union-attr]
            found[key] = max(found.get(key, (0, ())), (rows, values), key=lambda pair: pair[0])
    return in_order([values for _, values in found.values()])


def _value(value: Any, type_: str) -> Any:
    if value is None:
        return None
    if type_ == "TIMESTAMP":
        return dt.datetime.fromisoformat(value)
    return dt.date.fromisoformat(value) if type_ == "DATE" else value


def by_sql(catalog: Catalog, relation: Relation, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """What the catalogue's SQL says of these rows."""
    sql = catalog[relation.id].sql
    assert sql is not None
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA lab")
        columns = ", ".join(f"{quote(field.name)} {duckdb_type(field)}" for field in EVENTS.fields)
        connection.execute(f"CREATE TABLE lab.happened ({columns})")
        places = ", ".join("?" for _ in EVENTS.fields)
        for row in rows:
            connection.execute(
                f"INSERT INTO lab.happened VALUES ({places})", [row[n] for n in EVENTS.field_names]
            )
        names = ", ".join(relation.field_names)
        tables = {each.id: each.fields for each in catalog}
        return in_order(connection.execute(f"SELECT {names} FROM ({to_duckdb(sql, tables)})").fetchall())


def in_order(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in an order of their own, moments in UTC."""
    return sorted(
        (tuple(v.astimezone(dt.UTC) if isinstance(v, dt.datetime) else v for v in row) for row in rows),
        key=repr,
    )


def assert_same(found: Sequence[tuple[Any, ...]], wanted: Sequence[tuple[Any, ...]]) -> None:
    assert len(found) == len(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        assert all(
            a == b or (isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=1e-12))
            for a, b in zip(mine, theirs, strict=True)
        ), (mine, theirs)


def in_time(relation: Relation, steps: Sequence[Step]) -> list[tuple[Any, ...]]:
    """A count by hand without what Beam drops: a row, from each window whose end and lateness the watermark had passed when it came."""
    window = relation.window
    assert window is not None
    late = microseconds(window.allowed_lateness or "0s") or 0
    everything = [row for _, rows in steps for row in rows]
    kept: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    # Each window by itself: by hand over the rows that it takes.
    arrived = {row["id"]: mark for mark, rows in steps for row in rows}
    ends = {values[2] for values in by_hand(relation, everything)}
    place = {name: number for number, name in enumerate(relation.field_names)}
    for end in ends:
        limit = int((end - EPOCH) // dt.timedelta(microseconds=1)) + late
        rows = [row for row in everything if arrived[row["id"]] < limit]
        size = microseconds(window.size) or 0
        near = [row for row in rows if limit - late - size <= moment(row) < limit - late]
        for values in by_hand(relation, near) if near else []:
            if values[place["window_end"]] == end:
                kept[values[:4] + tuple(values[place[name]] for name in window.group_by)] = values
    return in_order(list(kept.values()))


CASES: Final = [
    (sizes, seed)
    for seed, sizes in enumerate(("1h", "1h/15m", "7h", "36h/12h", "1d", "7d/1d", "5d", "2h/1h"))
]


@pytest.mark.parametrize(("sizes", "seed"), CASES)
def test_orders_within_the_lateness_give_the_same_windows_in_all_three(
    sizes: str, seed: int, tmp_path: Path
) -> None:
    """With the cases, a thousand orders."""
    relation = windows_of("w", sizes, allowed_lateness="30d")
    steps = orders(random.Random(seed), seed * ORDERS, ORDERS)
    rows = [row for _, found in steps for row in found]
    told = final(streamed(tmp_path, relation, steps), relation)
    assert_same(told, in_order(by_hand(relation, rows)))
    assert_same(told, by_sql(catalog_of(relation), relation, rows))


@pytest.mark.parametrize(
    ("sizes", "lateness"), [("1h", "2h"), ("1d", "12h"), ("36h/12h", "0s"), ("7h", "90m")]
)
def test_what_comes_beyond_the_lateness_is_dropped_by_the_stream_alone(
    sizes: str, lateness: str, tmp_path: Path
) -> None:
    relation = windows_of("w", sizes, allowed_lateness=lateness)
    steps = orders(random.Random(sizes), 0, 30)
    rows = [row for _, found in steps for row in found]
    told = final(streamed(tmp_path, relation, steps), relation)
    wanted = in_time(relation, steps)
    assert_same(told, wanted)
    everything = by_sql(catalog_of(relation), relation, rows)
    assert_same(everything, in_order(by_hand(relation, rows)))
    assert told != everything


def test_a_message_that_comes_twice_counts_once_and_one_that_is_no_row_not_at_all(tmp_path: Path) -> None:
    relation = windows_of("w", "1h", allowed_lateness="30d")
    steps = orders(random.Random(3), 0, 3)
    twice = [(mark, [*rows, *rows[:2]]) for mark, rows in steps]
    told = streamed(tmp_path, relation, twice, more=['{"id": "qq7"}', "no JSON"])
    rows = [row for _, found in steps for row in found]
    assert_same(final(told, relation), in_order(by_hand(relation, rows)))
    rejected = [each["found"] for each in told if each["kind"] == "rejected"]
    rules = {reason["rule"] for each in rejected for reason in each["reasons"]}
    assert {"wrong_type", "missing_field"} < rules
    assert len(rejected) == 2
    assert "qq7" not in json.dumps(rejected)


def test_files_give_the_windows_of_all_their_rows(tmp_path: Path) -> None:
    """Nothing of a file is late, whatever order files are read in."""
    relation = windows_of("w", "36h/12h", allowed_lateness="0s", where={"won": [True, None]})
    chance = random.Random(9)
    rows = happenings(chance, "Mine-v0", itertools.count(), n=200)
    files = []
    for number in range(4):
        files.append(tmp_path / f"{number}.ndjson")
        lines = [line(row) for row in rows[number::4]]
        files[-1].write_text("\n".join([*lines, "no JSON", lines[0]]) + "\n", encoding="utf-8")
    work = Work(relation, EVENTS, FIRST, LAST, tuple(map(str, files)), str(tmp_path / "out"))
    (tmp_path / "work.json").write_text(work.to_json(), encoding="utf-8")
    (tmp_path / "out").mkdir()
    counts = json.loads(run("gaelp_assets.stream.beam", str(tmp_path / "work.json")))
    written = [
        {"kind": "window", "found": (1, json.loads(each))}
        for path in sorted((tmp_path / "out").glob("windows*"))
        for each in path.read_text(encoding="utf-8").splitlines()
    ]
    wanted = in_order(by_hand(relation, rows))
    assert_same(final(written, relation), wanted)
    assert counts["windows"] == len(wanted)
    assert counts["rejected"] == 4
    assert_same(wanted, by_sql(catalog_of(relation), relation, rows))


def test_a_run_of_dagster_tells_the_windows_of_its_partitions_as_the_table_has_them(tmp_path: Path) -> None:
    run("json.tool", "--help")
    platform = platform_in(tmp_path)
    relation = platform.catalog["analytics.hourly_learning"]
    for day in (1, 2):
        slice_ = Slice(dt.date(2026, 11, day), "CartPole-v1")
        content = ndjson(_episode(day * 100 + n, f"2026-11-0{day}T{n % 24:02}:30:00Z") for n in range(40))
        drop(platform, f"cloud_ready/training/episodes/{slice_.path}/{day}.ndjson.gz", content)
        load(platform, "training.episodes", slice_)
    platform.ensure(relation)
    platform.warehouse.refresh(relation, Slice(dt.date(2026, 11, 2), "CartPole-v1"))
    [asset] = beam_assets(platform.catalog, PYTHON, platform.settings.first_date)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("environments", ["CartPole-v1"])
        result = dg.materialize(
            [asset],
            instance=instance,
            partition_key=dg.MultiPartitionKey({"date": "2026-11-02", "environment": "CartPole-v1"}),
            resources={"platform": platform_resource(platform.settings, platform.catalog)},
        )
    metadata = result.asset_materializations_for_node(asset.op.name)[0].metadata
    assert {name: metadata[name].value for name in ("files", "rows", "rejected", "windows")} == {
        "files": 1, "rows": 40, "rejected": 0, "windows": 24,
    }  # fmt: skip
    written = [
        {"kind": "window", "found": (1, json.loads(text))}
        for path in Path(str(metadata["folder"].value)).glob("windows*")
        for text in path.read_text(encoding="utf-8").splitlines()
    ]
    names = ", ".join(relation.field_names)
    held = platform.warehouse.query(f"SELECT {names} FROM {relation.id}").frame.rows()
    assert_same(final(written, relation), in_order(held))


def test_a_run_in_an_environment_without_beam_says_which_one_is_wanted(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    [asset] = beam_assets(platform.catalog, Path(sys.executable), platform.settings.first_date)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("environments", ["CartPole-v1"])
        result = dg.materialize(
            [asset],
            instance=instance,
            partition_key=dg.MultiPartitionKey({"date": "2026-11-02", "environment": "CartPole-v1"}),
            resources={"platform": platform_resource(platform.settings, platform.catalog)},
            raise_on_error=False,
        )
    [failed] = result.get_step_failure_events()
    assert "as `make setup-beam` makes it" in str(failed.event_specific_data)


def _episode(number: int, at: str) -> dict[str, Any]:
    return {
        "episode_id": f"e{number}", "date": at[:10], "environment_id": "CartPole-v1", "agent_id": "q", "training_run_id": "r",
        "purpose": "training", "episode_index": number, "global_step": number, "episode_return": number / 4,
        "episode_length": 10, "terminated": True, "truncated": False, "transitions_recorded": False, "ended_at": at,
    }  # fmt: skip
