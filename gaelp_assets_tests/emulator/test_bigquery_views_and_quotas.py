"""Materialized views that BigQuery keeps, and the day's load jobs: as far as an emulator has them.

It answers a materialized view from its tables at once, whatever was refreshed, forgets the options of refreshing, counts no quota, and
lets `lastModifiedTime` stand still. What a write costs, and what is asked and stated, is the same as in production.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gaelp_assets.warehouse.protocol import SliceWrite, WriteMode
from gaelp_assets.warehouse.quotas import LOAD_JOBS_PER_WRITE
from gaelp_assets.warehouse.schema.model import Action, Status
from gaelp_assets_tests.contract.warehouses import (
    BEST,
    CARTPOLE,
    EPISODES,
    NOW,
    RELATIONS,
    Stager,
    counts,
    encode,
    episode,
    episodes,
    write,
)
from gaelp_assets_tests.emulators.bigquery import PROJECT, NoPython, emulator
from gaelp_assets_tests.emulators.bigquery import address as address_of

PROGRESS = BEST.model_copy(update={"name": "progress", "kind": type(BEST.kind)("materialized_view")})
LAGGING = PROGRESS.model_copy(update={"name": "lagging", "sql": f"{BEST.sql} HAVING SUM(step) >= 0"})
ABOVE = BEST.model_copy(
    update={
        "name": "above",
        "sql": "SELECT environment_id, date, best, steps FROM lab_views.progress WHERE steps > 0",
    }
)


@pytest.fixture
def address(tmp_path: Path) -> BigQueryAddress:
    try:
        return address_of(f"v{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}_")
    except NoPython as reason:
        pytest.skip(str(reason))


def _open(address: BigQueryAddress, *more: Relation) -> BigQueryWarehouse:
    relations = (*RELATIONS, *more)
    return BigQueryWarehouse(address, Catalog(relations, upstream_of(relations)))


@pytest.fixture
def stage(tmp_path: Path) -> Stager:
    (tmp_path / "staged").mkdir()
    return Stager(tmp_path / "staged")


def _steps(warehouse: BigQueryWarehouse) -> list[int]:
    return list(warehouse.query("SELECT steps FROM lab_views.progress ORDER BY steps").frame["steps"])


def _live(warehouse: BigQueryWarehouse, relation: Relation) -> dict[str, Any]:
    table = warehouse._tables.find(relation)
    assert table is not None
    resource: dict[str, Any] = table.to_api_repr()
    return resource


def test_a_materialized_view_is_bigquerys_own_and_shows_what_was_loaded(
    address: BigQueryAddress, stage: Stager
) -> None:
    warehouse = _open(address, PROGRESS, ABOVE)
    warehouse.ensure([*RELATIONS, ABOVE])
    live = _live(warehouse, PROGRESS)
    assert live["type"] == "MATERIALIZED_VIEW"
    assert live["timePartitioning"]["field"] == "date"
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(4))))], CARTPOLE)
    assert warehouse.refresh(PROGRESS, CARTPOLE) == 1
    assert _steps(warehouse) == [6]
    assert warehouse.refresh(ABOVE, CARTPOLE) == 1
    state = warehouse.describe(PROGRESS)
    assert state is not None
    assert (set(state.columns), state.rows) == (set(PROGRESS.field_names), 1)
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([9])))], CARTPOLE)
    assert _steps(warehouse) == [15]


def test_a_view_that_is_as_wanted_is_left_alone_and_another_definition_replaces_it(
    address: BigQueryAddress,
) -> None:
    warehouse = _open(address, PROGRESS)
    warehouse.ensure([PROGRESS])
    made = _live(warehouse, PROGRESS)
    warehouse.ensure([PROGRESS])
    assert _live(warehouse, PROGRESS)["creationTime"] == made["creationTime"]
    changed = PROGRESS.model_copy(update={"sql": f"{BEST.sql}".replace("SUM(step)", "MAX(step)")})
    other = _open(address, changed)
    other.ensure([changed])
    assert "MAX(step)" in _live(other, changed)["materializedView"]["query"]


def test_a_view_whose_table_was_dropped_and_made_again_is_made_again(
    address: BigQueryAddress, stage: Stager
) -> None:
    warehouse = _open(address, PROGRESS)
    warehouse.ensure([PROGRESS])
    made = _live(warehouse, PROGRESS)
    warehouse.drop(EPISODES)
    warehouse.ensure([*RELATIONS, PROGRESS])
    assert int(_live(warehouse, PROGRESS)["creationTime"]) > int(made["creationTime"])
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(2))))], CARTPOLE)
    assert warehouse.refresh(PROGRESS, CARTPOLE) == 1


def test_a_derived_table_becomes_a_view_and_a_table_again(address: BigQueryAddress) -> None:
    table = PROGRESS.model_copy(update={"kind": BEST.kind})
    for wanted, type_ in ((table, "TABLE"), (PROGRESS, "MATERIALIZED_VIEW"), (table, "TABLE")):
        warehouse = _open(address, wanted)
        warehouse.ensure([wanted])
        assert _live(warehouse, wanted)["type"] == type_


def test_a_view_that_may_lag_behind_is_refreshed_by_its_asset(
    address: BigQueryAddress, stage: Stager
) -> None:
    warehouse = _open(address, LAGGING)
    warehouse.ensure([*RELATIONS, LAGGING])
    assert "lastRefreshTime" not in _live(warehouse, LAGGING)["materializedView"]
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(4))))], CARTPOLE)
    assert warehouse.refresh(LAGGING, CARTPOLE) == 1
    refreshed = _live(warehouse, LAGGING)["materializedView"]["lastRefreshTime"]
    assert warehouse.refresh(LAGGING, CARTPOLE) == 1
    assert _live(warehouse, LAGGING)["materializedView"]["lastRefreshTime"] == refreshed, (
        "one refresh for each change"
    )


@pytest.mark.parametrize("mode", [WriteMode.APPEND, WriteMode.REBUILD])
def test_a_write_costs_the_load_jobs_that_are_planned_for_it(
    address: BigQueryAddress, stage: Stager, mode: WriteMode
) -> None:
    """Two of clean rows and rejected lines, however many files: seen in BigQuery's own list of jobs."""
    warehouse = _open(address)
    warehouse.ensure(RELATIONS)
    before = _open(address).quota_left()
    batches = [stage(EPISODES, encode(episodes([number])), rejects=[b"{"]) for number in range(3)]
    written = write(warehouse, EPISODES, batches, CARTPOLE, mode, NOW)
    assert [counts(item) for item in written] == [(1, 0, 1)] * 3
    after = _open(address).quota_left()
    assert before.used is not None
    assert after.used is not None
    assert after.used - before.used == LOAD_JOBS_PER_WRITE
    assert after.left == after.limits.load_jobs - after.used


def test_slices_that_are_appended_together_cost_one_load_job_of_rows(
    address: BigQueryAddress, stage: Stager
) -> None:
    """It was one for each slice, of which a day has 100,000."""
    warehouse = _open(address)
    warehouse.ensure(RELATIONS)
    before = _open(address).quota_left()
    slices = [Slice(CARTPOLE.date, name) for name in ("CartPole-v1", "Taxi-v3", "Acrobot-v1")]
    writes = [
        SliceWrite(
            EPISODES,
            slice_,
            WriteMode.APPEND,
            [stage(EPISODES, encode([episode(number, environment_id=slice_.environment)]))],
            NOW,
        )
        for number, slice_ in enumerate(slices)
    ]
    assert [counts(item) for found in warehouse.write_all(writes) for item in found] == [(1, 0, 0)] * 3
    after = _open(address).quota_left()
    assert before.used is not None
    assert after.used == before.used + 1


def test_what_is_used_is_asked_once_in_a_while(address: BigQueryAddress, stage: Stager) -> None:
    warehouse = _open(address)
    warehouse.ensure(RELATIONS)
    room = warehouse.quota_left()
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    assert warehouse.quota_left() is room


def test_who_may_not_look_is_told_so_and_goes_on(address: BigQueryAddress) -> None:
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    from gaelp_assets_tests.emulators.faults import Fault, proxying

    with proxying(emulator()) as proxy:
        proxy.faults.append(
            Fault(r"^POST .*/(jobs|queries)(\?|$)", 1, 403, "accessDenied", "no bigquery.jobs.listAll")
        )

        def make() -> Any:
            credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
            options = ClientOptions(api_endpoint=proxy.address)
            return bigquery.Client(PROJECT, credentials=credentials, client_options=options, location="US")

        room = BigQueryWarehouse(
            address, Catalog(RELATIONS, upstream_of(RELATIONS)), factory=make
        ).quota_left()
    assert (room.used, room.left) == (None, 100_000)
    assert "count the day's load jobs" in room.unknown_because


def test_a_deployed_view_has_nothing_left_to_change_and_takes_other_words_without_being_made_again(
    address: BigQueryAddress,
) -> None:
    warehouse = _open(address, PROGRESS)
    warehouse.ensure([PROGRESS])
    assert [plan.status for plan in warehouse.diff([PROGRESS])] == [Status.UNCHANGED]
    made = _live(warehouse, PROGRESS)
    other = PROGRESS.model_copy(update={"description": "other words", "tags": {"domain": "tests"}})
    warehouse = _open(address, other)
    (plan,) = warehouse.diff([other])
    assert [change.action for change in plan.changes] == [Action.DESCRIBE, Action.LABEL]
    with warehouse.changing() as apply:
        apply(plan)
    assert [plan.status for plan in warehouse.diff([other])] == [Status.UNCHANGED]
    live = _live(warehouse, other)
    assert (live["creationTime"], live["description"]) == (made["creationTime"], "other words")
