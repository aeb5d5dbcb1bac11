"""Windows hold what a count by hand says, whatever came when: rows in random orders, file by file, many of them late.

After each file only what is stale is computed again. In the end each table is what its SQL says of all rows, and what plain Python says
of each window by itself, which shares no code with either.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.catalog.window import START, aggregate, microseconds
from gaelp_assets.catalog.window_sql import with_windows
from gaelp_assets.warehouse.protocol import Warehouse, WriteMode
from gaelp_assets.warehouse.refreshes import stale_query
from gaelp_assets_tests.contract.warehouses import ENGINES, RELATIONS, Stager, encode, relation, write

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MIDNIGHT: Final = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
TODAY: Final = MIDNIGHT.date() + dt.timedelta(days=30)
Row = Mapping[str, Any]

EVENTS: Final = relation(
    "lab",
    "happened",
    [
        {"name": "id", "type": "INTEGER", "mode": "REQUIRED"},
        {"name": "date", "type": "DATE", "mode": "REQUIRED"},
        {"name": "environment_id", "type": "STRING", "mode": "REQUIRED"},
        {"name": "at", "type": "TIMESTAMP", "mode": "REQUIRED"},
        {"name": "team", "type": "STRING"},
        {"name": "score", "type": "FLOAT"},
        {"name": "steps", "type": "INTEGER", "mode": "REQUIRED"},
        {"name": "won", "type": "BOOLEAN"},
    ],
    primary_key=["id"],
    partitioning={"date": "date", "environment": "environment_id"},
    require_partition_filter=True,
    checks=[{"name": "utc_day", "arguments": {"date": "date", "of": "at"}}],
)
AGGREGATES: Final = {
    "n": "COUNT(*)", "scored": "COUNT(score)", "won_n": "COUNTIF(won)", "total": "SUM(score)", "all_steps": "SUM(steps)",
    "mean": "AVG(score)", "mean_steps": "AVG(steps)", "least": "MIN(score)", "first_team": "MIN(team)", "last_at": "MAX(at)",
}  # fmt: skip
SIZES: Final = ("90s/30s", "1h", "1h/15m", "90m", "7h/1h", "1d", "36h/12h", "7d", "7d/1d", "5d")
"""Those that divide a day, those that do not, those that reach over days; the slide after the stroke."""
TYPES: Final = {"n": "INTEGER", "scored": "INTEGER", "won_n": "INTEGER", "total": "FLOAT", "all_steps": "INTEGER", "mean": "FLOAT",
                "mean_steps": "FLOAT", "least": "FLOAT", "first_team": "STRING", "last_at": "TIMESTAMP"}  # fmt: skip


def windows_of(
    name: str, sizes: str, source: str = EVENTS.id, time_field: str = "at", **keys: Any
) -> Relation:
    size, _, slide = sizes.partition("/")
    window = {
        "source": source, "time_field": time_field, "size": size, "slide": slide or None, "allowed_lateness": "2h",
        "group_by": ["environment_id", "team"], "aggregates": AGGREGATES, **keys,
    }  # fmt: skip
    moments = [
        {"name": n, "type": "TIMESTAMP", "mode": "REQUIRED"} for n in (START, "window_end", "final_at")
    ]
    return relation(
        "lab_views",
        name,
        [
            {"name": "date", "type": "DATE", "mode": "REQUIRED"},
            *moments,
            {"name": "environment_id", "type": "STRING", "mode": "REQUIRED"},
            {"name": "team", "type": "STRING"},
            *({"name": n, "type": TYPES[n]} for n in window["aggregates"]),
        ],
        kind="derived_table",
        partitioning={"date": "date", "environment": "environment_id"},
        window=window,
    )


def catalog_of(*relations: Relation) -> Catalog:
    found, problems = with_windows([*RELATIONS, EVENTS, *relations])
    assert problems == []
    return Catalog(found, upstream_of(found))


def by_hand(declared: Relation, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """The rows of windows, of every window that there is: no row is asked which it is in."""
    window = declared.window
    assert window is not None
    size, every = microseconds(window.size), microseconds(window.every)
    late = microseconds(window.allowed_lateness or "0s")
    assert size
    assert every
    assert late is not None
    counted = [row for row in rows if all(row[name] in values for name, values in window.where.items())]
    at = [(row[window.time_field] - EPOCH) // dt.timedelta(microseconds=1) for row in counted]
    found = []
    for start in range(min(at) // every * every - size, max(at) + 1, every):
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row, moment in zip(counted, at, strict=True):
            if start <= moment < start + size:
                groups.setdefault(tuple(row[name] for name in window.group_by), []).append(row)
        begins = EPOCH + dt.timedelta(microseconds=start)
        ends = begins + dt.timedelta(microseconds=size)
        for group, members in groups.items():
            told = [_figure(text, members) for text in window.aggregates.values()]
            found.append((begins.date(), begins, ends, ends + dt.timedelta(microseconds=late), *group, *told))
    return sorted(found, key=repr)


def _figure(text: str, rows: Sequence[Row]) -> Any:
    call = aggregate(text)
    assert call is not None
    if call.field is None:
        return len(rows)
    values = [row[call.field] for row in rows if row[call.field] is not None]
    match call.function:
        case "COUNT":
            return len(values)
        case "COUNTIF":
            return sum(values)
        case "SUM":
            return sum(values) if values else None
        case "AVG":
            return sum(values) / len(values) if values else None
        case "MIN":
            return min(values, default=None)
        case _:
            return max(values, default=None)


def happenings(
    chance: random.Random, environment: str, ids: Iterator[int], n: int = 40
) -> list[dict[str, Any]]:
    """Events around a midnight, many of them on the edge of a window. Scores are quarters, whose sums are exact."""
    found = []
    for _ in range(n):
        seconds = chance.choice((0, 30, 60, 900, 3600, 5400, 43_200, 86_400)) * chance.randint(-8, 8)
        edge = dt.timedelta(microseconds=chance.choice((-1, 0, 0, 1, chance.randint(0, 10**9))))
        at = MIDNIGHT + dt.timedelta(seconds=seconds) + edge
        found.append({
            "id": next(ids), "date": at.date(), "environment_id": environment, "at": at, "team": chance.choice(("a", "b", None)),
            "score": chance.choice((None, chance.randint(-40, 40) / 4)), "steps": chance.randint(1, 9),
            "won": chance.choice((True, False, None)),
        })  # fmt: skip
    return found


def append(
    warehouse: Warehouse, stage: Stager, rows: Sequence[Row], mode: WriteMode = WriteMode.APPEND
) -> None:
    """A file for each slice of these rows."""
    slices: dict[Slice, list[Row]] = {}
    for row in rows:
        slices.setdefault(Slice(row["date"], row["environment_id"]), []).append(row)
    for slice_, own in slices.items():
        lines = encode([{**row, "date": str(row["date"]), "at": row["at"].isoformat()} for row in own])
        write(warehouse, EVENTS, [stage(EVENTS, lines)], slice_, mode)


def refresh_stale(
    warehouse: Warehouse, catalog: Catalog, at_once: int | None = None
) -> set[tuple[str, Slice]]:
    """Computes what is stale again, that many slices at once, and what that makes stale; which slices that were."""
    query = stale_query(catalog, 10_000, TODAY)
    assert query is not None
    found: set[tuple[str, Slice]] = set()
    while stale := {
        (row["table"], Slice(row["slice_date"], row["slice_environment"]))
        for row in warehouse.query(query).frame.iter_rows(named=True)
    }:
        found |= stale
        name = next(each.name for each in catalog.derived if each.name in {table for table, _ in stale})
        mine = sorted((own for table, own in stale if table == name), key=lambda each: each.sort_key)
        for first in range(0, len(mine), at_once or len(mine)):
            warehouse.refresh(catalog[f"lab_views.{name}"], *mine[first : first + (at_once or len(mine))])
    return found


def rows_in(
    warehouse: Warehouse, catalog: Catalog, declared: Relation, environment: str, *, scratch: bool
) -> list[tuple[Any, ...]]:
    """What a table of windows holds of an environment, or what its SQL says of all rows."""
    sql = catalog[declared.id].sql
    names = ", ".join(declared.field_names)
    source = f"({sql})" if scratch else declared.id
    query = f"SELECT {names} FROM {source} AS t WHERE environment_id = @environment"
    return sorted(warehouse.query(query, {"environment": environment}).frame.rows(), key=repr)


def follows(seed: int, orders: int, folder: Path, engine: str = "duckdb") -> None:
    """Several orders in one warehouse, each in an environment of its own."""
    chance = random.Random(seed)
    chosen = chance.sample(SIZES, 2)
    tables = [windows_of(f"w{number}", sizes) for number, sizes in enumerate(chosen)]
    tables[0] = windows_of("w0", chosen[0], where={"won": [True, None], "team": ["a", None]})
    catalog = catalog_of(*tables)
    folder.mkdir(exist_ok=True)
    warehouse = ENGINES[engine](folder, catalog, 60)
    warehouse.ensure(list(catalog))
    stage, ids = Stager(folder), itertools.count()
    for order in range(orders):
        environment = f"Order-v{order}"
        rows = happenings(chance, environment, ids, n=chance.randint(8, 40))
        chance.shuffle(rows)
        for part in _parts(chance, rows):
            append(warehouse, stage, part)
            refresh_stale(warehouse, catalog, chance.choice((None, None, 1)))
        for declared in tables:
            held = rows_in(warehouse, catalog, declared, environment, scratch=False)
            assert held == by_hand(declared, rows), (seed, order, declared.window)
            assert held == rows_in(warehouse, catalog, declared, environment, scratch=True)


def _parts(chance: random.Random, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    cuts = sorted(chance.sample(range(1, len(rows)), 2))
    return (rows[first:last] for first, last in itertools.pairwise([0, *cuts, len(rows)]))


def test_late_rows_in_any_order_give_what_a_count_by_hand_gives(tmp_path: Path) -> None:
    follows(0, 2, tmp_path)


def test_windows_of_every_size_are_those_of_a_count_by_hand(tmp_path: Path) -> None:
    tables = [windows_of(f"w{number}", sizes) for number, sizes in enumerate(SIZES)]
    catalog = catalog_of(*tables)
    warehouse, stage = ENGINES["duckdb"](tmp_path, catalog, 60), Stager(tmp_path)
    warehouse.ensure([catalog[EVENTS.id], *RELATIONS[:3]])
    rows = happenings(random.Random(7), "Mine-v0", itertools.count(), n=60)
    append(warehouse, stage, rows)
    for declared in tables:
        assert rows_in(warehouse, catalog, declared, "Mine-v0", scratch=True) == by_hand(declared, rows), (
            declared.window
        )


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(100))
def test_a_thousand_orders(seed: int, tmp_path: Path) -> None:
    follows(1_000 + seed, 10, tmp_path)


@pytest.mark.parametrize("engine", ["duckdb", pytest.param("bigquery", marks=pytest.mark.thorough)])
def test_a_late_row_has_its_own_windows_computed_again_and_no_others(engine: str, tmp_path: Path) -> None:
    """With windows of windows: what stays as it was makes nothing stale."""
    hours = windows_of("hours", "1h")
    weeks = windows_of("weeks", "2d/1d")
    days = windows_of(
        "days", "1d", source=hours.id, time_field=START, aggregates={"n": "SUM(n)", "last_at": "MAX(last_at)"}
    )
    catalog = catalog_of(hours, weeks, days)
    warehouse, stage = ENGINES[engine](tmp_path, catalog, 60), Stager(tmp_path)
    warehouse.ensure(list(catalog))
    rows = happenings(random.Random(1), "Mine-v0", itertools.count(), n=20)
    append(warehouse, stage, rows)
    refresh_stale(warehouse, catalog)
    late = {
        **rows[0],
        "id": 999,
        "at": MIDNIGHT - dt.timedelta(microseconds=1),
        "date": dt.date(2026, 11, 20),
    }
    append(warehouse, stage, [late])
    again = refresh_stale(warehouse, catalog, 1)
    day, before = Slice(late["date"], "Mine-v0"), Slice(dt.date(2026, 11, 19), "Mine-v0")
    assert again == {("hours", day), ("days", day), ("weeks", day), ("weeks", before)}
    assert rows_in(warehouse, catalog, weeks, "Mine-v0", scratch=False) == by_hand(weeks, [*rows, late])
    held = rows_in(warehouse, catalog, days, "Mine-v0", scratch=False)
    inner = [dict(zip(hours.field_names, row, strict=True)) for row in by_hand(hours, [*rows, late])]
    assert held == by_hand(days, inner)
