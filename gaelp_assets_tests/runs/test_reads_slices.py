"""Derived relations that read other days than their own stay what their SQL says over all rows, whenever rows come."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gaelp_assets_tests.assets.test_asset_runs import FIELDS, Lab, rows

pytestmark = pytest.mark.slow

DAY, ENVIRONMENT = FIELDS[:2]
COUNT = {"name": "n", "type": "INTEGER"}
BY_DATE = {"partitioning": {"date": "date"}}
LAGGED = (
    "SELECT date, COUNT(*) AS n, LAG(COUNT(*)) OVER (ORDER BY date) AS prev FROM lab.scores GROUP BY date"
)
SHIFTED = "SELECT DATE_ADD(date, INTERVAL 1 DAY) AS date, COUNT(*) AS n FROM lab.scores GROUP BY 1"
RUNNING = "SELECT date, step, COUNT(*) OVER (ORDER BY date, environment, step) AS n FROM lab.scores"
AHEAD = (
    "SELECT date, COUNT(*) AS n, LEAD(COUNT(*)) OVER (ORDER BY date) AS next FROM lab.scores GROUP BY date"
)
LAST_THREE = (
    "SELECT date, environment, SUM(COUNT(*)) OVER (PARTITION BY environment ORDER BY UNIX_DATE(date) "
    "RANGE BETWEEN 2 PRECEDING AND CURRENT ROW) AS n FROM lab.scores GROUP BY date, environment"
)
OF_SHIFTED = "SELECT date, LAG(n) OVER (ORDER BY date) AS n FROM lab.shifted"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with dg.DagsterInstance.ephemeral() as instance:
        lab = Lab(tmp_path, instance)
        add(lab, "lagged", LAGGED, [DAY, COUNT, {"name": "prev", "type": "INTEGER"}], before="all")
        add(lab, "shifted", SHIFTED, [DAY, COUNT], before=1)
        add(lab, "running", RUNNING, [DAY, {"name": "step", "type": "INTEGER"}, COUNT], before="all")
        add(lab, "ahead", AHEAD, [DAY, COUNT, {"name": "next", "type": "INTEGER"}], after="all")
        both: dict[str, Any] = {"partitioning": {"date": "date", "environment": "environment"}}
        add(lab, "last_three", LAST_THREE, [DAY, ENVIRONMENT, COUNT], before=2, **both)
        add(lab, "of_shifted", OF_SHIFTED, [DAY, COUNT], before="all")
        yield lab


def add(
    lab: Lab, name: str, sql: str, fields: list[Any], before: int | str = 0, after: int | str = 0, **keys: Any
) -> None:
    keys = {**BY_DATE, "kind": "derived_table", **keys}
    lab.change(name, sql, fields=fields, reads_slices={"before": before, "after": after}, **keys)


def assert_as_over_all_rows(lab: Lab) -> None:
    """Each table holds what its SQL says of all rows of what it reads."""
    query = lab.platform.warehouse.query
    for relation in lab.platform.catalog.derived:
        if relation.reads_slices is not None:
            assert relation.sql is not None
            columns = ", ".join(relation.field_names)
            kept = query(f"SELECT {columns} FROM {relation.id}").frame
            fresh = query(f"SELECT {columns} FROM ({relation.sql})").frame
            assert sorted(map(str, kept.rows())) == sorted(map(str, fresh.rows())), relation.id


def column(lab: Lab, sql: str) -> list[tuple[Any, ...]]:
    return lab.platform.warehouse.query(sql).frame.rows()


def test_slices_that_read_other_days_stayed_stale_after_late_rows(lab: Lab) -> None:
    lab.put(18, "CartPole-v1", rows(18, "CartPole-v1", 2))
    lab.put(19, "CartPole-v1", rows(19, "CartPole-v1", 1))
    lab.pending()
    assert_as_over_all_rows(lab)
    lab.put(17, "CartPole-v1", rows(17, "CartPole-v1", 1))
    lab.pending()
    day = dt.date(2026, 11, 17)
    one = dt.timedelta(days=1)
    assert column(lab, "SELECT date, n, prev FROM lab.lagged ORDER BY date") == [
        (day, 1, None), (day + one, 2, 1), (day + 2 * one, 1, 2)
    ]  # fmt: skip
    assert column(lab, "SELECT date, n FROM lab.shifted ORDER BY date") == [
        (day + one, 1), (day + 2 * one, 2), (day + 3 * one, 1)
    ]  # fmt: skip
    assert column(lab, "SELECT n FROM lab.running ORDER BY n") == [(1,), (2,), (3,), (4,)]
    assert_as_over_all_rows(lab)
    assert lab.pending() == []


def test_a_gap_of_days_has_slices_of_what_is_shifted_and_none_in_the_future(lab: Lab) -> None:
    today = dt.datetime.now(dt.UTC).date()
    lab.put(3, "Taxi-v4", rows(3, "Taxi-v4", 1))
    lab.put(9, "CartPole-v1", rows(9, "CartPole-v1", 2))
    lab.pending()
    assert_as_over_all_rows(lab)
    late = f"cloud_ready/lab/scores/date={today}/environment=Taxi-v4/late.ndjson"
    lab.drop(late, [{**row, "date": str(today)} for row in rows(9, "Taxi-v4", 1)])
    lab.pending()
    assert_as_over_all_rows(lab)
    assert lab.pending() == []


@pytest.mark.parametrize("seed", range(1))
def test_whatever_the_order_of_rows_the_tables_are_as_over_all_rows(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    for turn in range(3):
        for number in range(chance.randint(1, 3)):
            day, environment = chance.randint(10, 16), chance.choice(["CartPole-v1", "Taxi-v4"])
            steps = [
                {**row, "step": row["step"] + 100 * turn + 10 * number} for row in rows(day, environment, 2)
            ]
            lab.put(day, environment, steps, name=f"{turn}-{number}")
        lab.pending()
        assert_as_over_all_rows(lab)
