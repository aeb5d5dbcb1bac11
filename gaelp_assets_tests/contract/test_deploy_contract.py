"""What `gaelp deploy` promises, on every engine: a true plan, all refusals at once, and nothing to do the second time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.operations.deploy import (
    DeployOutcome,
    DeployPlan,
    DeployStatus,
    Result,
    apply,
    plan,
    verdict,
)
from gaelp_assets.warehouse.protocol import Warehouse, WriteMode
from gaelp_assets.warehouse.schema.model import Action, ObjectType, RelationPlan, SchemaScope, Status
from gaelp_assets_tests.contract.warehouses import (
    BEST,
    CARTPOLE,
    CATALOG,
    ENGINES,
    EPISODES,
    EVENTS,
    GOOD,
    RELATIONS,
    VERSIONS,
    Stager,
    encode,
    episodes,
    open_engine,
    rows_of,
    write,
)

JOBS = 4


@pytest.fixture
def warehouse(engine: str, tmp_path: Path) -> Warehouse:
    """Without a single relation, other than for the rest of the contract."""
    return open_engine(engine, tmp_path)


@pytest.fixture
def reopened(engine: str, tmp_path: Path) -> Callable[[Catalog], Warehouse]:
    """The same warehouse, as a process with that catalogue opens it."""
    return lambda catalog: ENGINES[engine](tmp_path, catalog, 60)


def by_hand(warehouse: Any, statement: str) -> None:
    """Runs DDL past the platform, with the engine's names of datasets and types."""
    if warehouse.capabilities.engine == "duckdb":
        run(warehouse, statement.replace("INT64", "BIGINT"))
    else:
        run(warehouse, re.sub(r"\b(lab|lab_views)\.", rf"{warehouse._address.dataset_prefix}\1.", statement))


def run(warehouse: Any, statement: str) -> None:
    """Runs a statement of the engine's own SQL past the platform."""
    if warehouse.capabilities.engine == "duckdb":
        import duckdb

        with duckdb.connect(warehouse.location) as con:
            con.execute(statement)
    else:
        warehouse._jobs.client.query_and_wait(statement)


def altered(relation: Relation, **fields: Mapping[str, Any] | None) -> Relation:
    """The relation with other fields of these names: changed, added last or (None) left out."""
    found = {field.name: field.model_dump(exclude_defaults=True) for field in relation.fields}
    for name, change in fields.items():
        if change is None:
            del found[name]
        else:
            found[name] = {"name": name, **found.get(name, {}), **change}
    content = relation.model_dump()
    content |= {"dataset": relation.dataset, "name": relation.name, "sql": relation.sql}
    return Relation.model_validate({**content, "fields": list(found.values())})


def catalog_of(*changed: Relation) -> Catalog:
    relations = {**{r.id: r for r in RELATIONS}, **{r.id: r for r in changed}}
    return Catalog(list(relations.values()), upstream_of(relations.values()))


def found_by(plan_: DeployPlan, relation: Relation) -> RelationPlan:
    (planned,) = (p for p in plan_.relations if p.relation.id == relation.id)
    return planned


def outcomes(results: list[Result]) -> dict[str, DeployOutcome]:
    return {result.id: result.outcome for result in results}


def deployed(warehouse: Warehouse, catalog: Catalog = CATALOG, **options: Any) -> list[Result]:
    return apply(warehouse, plan(warehouse, catalog, jobs=JOBS), jobs=JOBS, **options)


def test_everything_is_made_once_in_order_and_the_second_plan_is_empty(warehouse: Warehouse) -> None:
    first = plan(warehouse, CATALOG, jobs=JOBS)
    assert {planned.status for planned in first.relations} == {Status.CREATE}
    assert [dataset.exists for dataset in first.datasets] == [False] * 3
    assert warehouse.describe(EPISODES) is None, "a plan changes nothing"
    assert verdict(first, None) is DeployStatus.CHANGES
    done: list[Result] = []
    results = apply(warehouse, first, jobs=JOBS, on_done=done.append)
    assert {result.outcome for result in results} == {DeployOutcome.MADE}
    assert sorted(r.id for r in done) == sorted(r.id for r in CATALOG)
    assert done[-1].id == GOOD.id, "a view comes after the tables"
    again = plan(warehouse, CATALOG, jobs=JOBS)
    assert not again.has_changes
    assert not again.unknown
    assert verdict(again, None) is DeployStatus.DONE
    assert {result.outcome for result in apply(warehouse, again, jobs=JOBS)} == {DeployOutcome.UNCHANGED}


def test_what_a_load_has_made_is_what_deploy_makes(warehouse: Warehouse) -> None:
    warehouse.ensure(RELATIONS)
    assert not plan(warehouse, CATALOG, jobs=JOBS).has_changes


def test_legal_changes_are_listed_made_and_then_gone(
    warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse], stage: Stager
) -> None:
    deployed(warehouse)
    write(warehouse, VERSIONS, [stage(VERSIONS, encode([{"batch": "a", "version": 7, "rank": "x"}]))])
    wider = altered(
        VERSIONS,
        version={"type": "NUMERIC"},
        rank={"description": "its place"},
        fresh={"type": "RECORD", "mode": "REPEATED", "fields": [{"name": "a", "type": "DATE"}]},
    ).model_copy(update={"description": "said better"})
    relaxed = altered(wider, version={"mode": "NULLABLE"})
    good = GOOD.model_copy(update={"sql": "SELECT date, environment_id, 2.5 AS best FROM lab_views.best"})
    catalog = catalog_of(relaxed, good)
    other = reopened(catalog)
    found = plan(other, catalog, jobs=JOBS)
    assert {
        (change.action, change.field) for change in found_by(found, relaxed).changes
    } == {
        (Action.WIDEN, "version"), (Action.RELAX, "version"), (Action.DESCRIBE, "rank"), (Action.DESCRIBE, ""),
        (Action.ADD_FIELD, "fresh"),
    }  # fmt: skip
    assert [change.action for change in found_by(found, good).changes] == [Action.QUERY]
    results = apply(other, found, jobs=JOBS)
    assert {id_ for id_, outcome in outcomes(results).items() if outcome is DeployOutcome.CHANGED} == {
        VERSIONS.id,
        GOOD.id,
    }
    assert not plan(other, catalog, jobs=JOBS).has_changes
    (row,) = other.query("SELECT batch, version, `rank` FROM lab.versions").frame.rows()
    assert row == ("a", 7, "x")
    state = other.describe(VERSIONS)
    assert state is not None
    assert "fresh" in state.columns


def test_all_refusals_come_at_once_each_with_field_found_wanted_and_a_remedy(
    warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse], stage: Stager
) -> None:
    deployed(warehouse)
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    write(warehouse, VERSIONS, [stage(VERSIONS, encode([{"batch": "a", "version": 7, "rank": "x"}]))])
    bad = altered(
        EPISODES,
        score={"type": "STRING"},
        rewards={"type": "NUMERIC"},
        info=None,
        table={"fields": [{"name": "group", "type": "INTEGER"}, {"name": "order", "type": "INTEGER"}]},
        fresh={"type": "DATE", "mode": "REQUIRED"},
        harmless={"type": "DATE"},
    )
    tightened = altered(VERSIONS, rank={"mode": "REQUIRED"})
    new = EVENTS.model_copy(update={"name": "more_events"})
    catalog = catalog_of(bad, tightened, new)
    other = reopened(catalog)
    found = plan(other, catalog, jobs=JOBS)
    refused = {(refusal.relation, refusal.field): refusal for refusal in found.refusals}
    assert {field for relation, field in refused if relation == bad.id} == {
        "score", "rewards", "info", "table.group", "fresh",
    }  # fmt: skip
    assert {field for relation, field in refused if relation == tightened.id} == {"rank"}
    assert (refused[bad.id, "score"].found, refused[bad.id, "score"].wanted) == (
        "NULLABLE FLOAT",
        "NULLABLE STRING",
    )
    assert all(refusal.remedy for refusal in found.refusals)
    assert "gaelp deploy --replace lab.episodes" in refused[bad.id, "score"].remedy
    assert verdict(found, None) is DeployStatus.PROBLEM

    before = other.describe(EPISODES)
    results = outcomes(apply(other, found, jobs=JOBS))
    assert (results[bad.id], results[tightened.id]) == (DeployOutcome.REFUSED, DeployOutcome.REFUSED)
    assert results[new.id] is DeployOutcome.SKIPPED
    assert other.describe(new) is None, "a plan with refusals is not begun"

    results = outcomes(apply(other, found, jobs=JOBS, partial=True))
    assert (results[bad.id], results[tightened.id], results[new.id]) == (
        DeployOutcome.REFUSED,
        DeployOutcome.REFUSED,
        DeployOutcome.MADE,
    )
    assert other.describe(EPISODES) == before, (
        "nothing of a refused relation is done, not even what is harmless"
    )


def test_a_changed_partitioning_is_refused_once_slices_are_loaded(
    engine: str, warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse], stage: Stager
) -> None:
    deployed(warehouse)
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    changed = EPISODES.model_copy(update={"partitioning": None})
    catalog = catalog_of(changed)
    found = plan(reopened(catalog), catalog, jobs=JOBS)
    refused = [(r.relation, r.found, r.wanted) for r in found.refusals]
    assert refused == [(EPISODES.id, "slices by date and environment", "slices of the whole table")]


def test_what_only_deploy_minds_stops_no_load(
    warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse], stage: Stager
) -> None:
    """A field that left the catalogue, one that became REQUIRED, another description: rows can be written all the same."""
    deployed(warehouse)
    held = encode([{"batch": "a", "version": 7, "rank": "x"}])
    write(warehouse, VERSIONS, [stage(VERSIONS, held)])
    changed = altered(VERSIONS, rank={"mode": "REQUIRED", "description": "its place"})
    other = reopened(catalog_of(changed))
    other.ensure([changed])
    (for_rows,) = other.diff([changed], scope=SchemaScope.ROWS)
    (for_all,) = other.diff([changed])
    assert for_rows.status is Status.UNCHANGED
    assert for_all.status is Status.REFUSED
    batch = stage(changed, encode([{"batch": "b", "version": 1, "rank": "y"}]))
    written = write(other, changed, [stage(changed, held), batch], mode=WriteMode.REBUILD)
    assert [counts.loaded for counts in written] == [1, 1]


def test_an_empty_table_is_made_again_instead_of_refused(
    warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse]
) -> None:
    deployed(warehouse)
    changed = altered(VERSIONS, rank={"type": "BYTES", "mode": "REQUIRED"})
    catalog = catalog_of(changed)
    other = reopened(catalog)
    assert found_by(plan(other, catalog, jobs=JOBS), changed).status is Status.REPLACE
    assert outcomes(deployed(other, catalog))[changed.id] is DeployOutcome.MADE
    assert not plan(other, catalog, jobs=JOBS).has_changes


def test_rows_that_came_after_the_plan_are_not_dropped_with_an_empty_table(
    warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse], stage: Stager
) -> None:
    deployed(warehouse)
    changed = altered(VERSIONS, rank={"type": "BYTES"})
    catalog = catalog_of(changed)
    other = reopened(catalog)
    found = plan(other, catalog, jobs=JOBS)
    write(warehouse, VERSIONS, [stage(VERSIONS, encode([{"batch": "a", "version": 7, "rank": "x"}]))])
    (result,) = (r for r in apply(other, found, jobs=JOBS) if r.id == changed.id)
    assert result.outcome is DeployOutcome.FAILED
    assert "field rank" in str(result.problems[0])
    assert len(rows_of(warehouse, VERSIONS)) == 1


def test_replacing_by_name_drops_the_rows_and_a_rebuild_brings_them_back(
    warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse], stage: Stager
) -> None:
    deployed(warehouse)
    batch = stage(VERSIONS, encode([{"batch": "a", "version": 7, "rank": "x"}]))
    write(warehouse, VERSIONS, [batch])
    narrower = altered(VERSIONS, rank=None)
    catalog = catalog_of(narrower)
    other = reopened(catalog)
    assert found_by(plan(other, catalog, jobs=JOBS), narrower).status is Status.REFUSED
    results = apply(other, plan(other, catalog, jobs=JOBS, replace=[narrower]), jobs=JOBS)
    assert outcomes(results)[narrower.id] is DeployOutcome.MADE
    assert rows_of(other, narrower) == []
    again = stage(narrower, encode([{"batch": "a", "version": 7, "rank": "x"}]))
    assert write(other, narrower, [again], mode=WriteMode.REBUILD)[0].loaded == 1
    assert len(rows_of(other, narrower)) == 1
    assert not plan(other, catalog, jobs=JOBS).has_changes
    with pytest.raises(GaelpError, match="cannot be made again"):
        plan(other, catalog, jobs=JOBS, replace=[CATALOG["ops.import_logs"]])


def test_what_someone_changed_by_hand_is_found(warehouse: Warehouse, stage: Stager) -> None:
    deployed(warehouse)
    write(warehouse, VERSIONS, [stage(VERSIONS, encode([{"batch": "a", "version": 7, "rank": "x"}]))])
    by_hand(warehouse, "ALTER TABLE lab.versions ADD COLUMN surprise INT64")
    by_hand(warehouse, "ALTER TABLE lab.versions ALTER COLUMN version DROP NOT NULL")
    by_hand(warehouse, "CREATE TABLE lab.stray (a INT64)")
    by_hand(warehouse, "CREATE VIEW lab_views.stray_view AS SELECT 1 AS one")
    found = plan(warehouse, CATALOG, jobs=JOBS)
    assert sorted(refusal.field for refusal in found_by(found, VERSIONS).refusals) == ["surprise", "version"]
    assert sorted(found.unknown) == [
        ("lab.stray", ObjectType.TABLE),
        ("lab_views.stray_view", ObjectType.VIEW),
    ]
    assert outcomes(deployed(warehouse))[VERSIONS.id] is DeployOutcome.REFUSED
    again = plan(warehouse, CATALOG, jobs=JOBS)
    assert sorted(again.unknown) == sorted(found.unknown), "never dropped"
    (surprise,) = (r for r in found_by(again, VERSIONS).refusals if r.field == "surprise")
    (statement,) = re.findall(r"ALTER TABLE .* DROP COLUMN [\"`]surprise[\"`]", surprise.remedy)
    run(warehouse, statement)
    (left,) = found_by(plan(warehouse, CATALOG, jobs=JOBS), VERSIONS).refusals
    assert left.field == "version", "the remedy works"


def test_a_table_gives_way_to_a_view_unless_it_holds_loaded_rows(
    warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse], stage: Stager
) -> None:
    deployed(warehouse)
    write(warehouse, VERSIONS, [stage(VERSIONS, encode([{"batch": "a", "version": 7, "rank": "x"}]))])
    sql = "SELECT environment_id AS batch, step AS version, CAST(NULL AS STRING) AS `rank` FROM lab.episodes"
    as_view = {
        "kind": "view",
        "sql": sql,
        "primary_key": (),
        "partitioning": None,
        "on_key_conflict": "reject",
    }
    keys = {"dataset": "lab", "description": "for tests", "owner": "team:tests", **as_view}
    view = Relation.model_validate({**keys, "name": "versions", "fields": VERSIONS.fields})
    best = Relation.model_validate(
        {**keys, "dataset": "lab_views", "name": "best", "fields": BEST.fields, "sql": BEST.sql}
    )
    catalog = catalog_of(view, best)
    other = reopened(catalog)
    found = plan(other, catalog, jobs=JOBS)
    assert "loaded rows" in found_by(found, view).refusals[0].found
    assert found_by(found, best).status is Status.REPLACE
    assert outcomes(apply(other, found, jobs=JOBS, partial=True))[best.id] is DeployOutcome.MADE
    assert found_by(plan(other, catalog, jobs=JOBS), best).status is Status.UNCHANGED
    assert len(rows_of(warehouse, VERSIONS)) == 1


class Failing:
    """A warehouse that cannot make or change some relations."""

    def __init__(self, warehouse: Warehouse, *ids: str, kind: type[GaelpError] = GaelpError) -> None:
        self._warehouse, self._ids, self._kind = warehouse, ids, kind
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._warehouse, name)

    @contextmanager
    def changing(self) -> Iterator[Callable[[RelationPlan], RelationPlan]]:
        with self._warehouse.changing() as change:

            def change_most(planned: RelationPlan) -> RelationPlan:
                self.asked.append(planned.relation.id)
                if planned.relation.id in self._ids:
                    raise self._kind(Problem("is out of order"))
                return change(planned)

            yield change_most


def test_a_failure_stops_only_what_reads_it_and_the_next_run_makes_the_rest(warehouse: Warehouse) -> None:
    failing: Any = Failing(warehouse, BEST.id, EVENTS.id)
    results = deployed(failing)
    assert {id_ for id_, outcome in outcomes(results).items() if outcome is DeployOutcome.FAILED} == {
        BEST.id,
        EVENTS.id,
    }
    assert outcomes(results)[GOOD.id] is DeployOutcome.SKIPPED
    assert outcomes(results)[EPISODES.id] is DeployOutcome.MADE
    assert all(result.id in str(result.problems[0]) for result in results if result.problems)
    assert verdict(plan(warehouse, CATALOG, jobs=JOBS), results) is DeployStatus.PROBLEM
    resumed: Any = Failing(warehouse)
    results = deployed(resumed)
    assert sorted(resumed.asked) == sorted([BEST.id, EVENTS.id, GOOD.id])
    assert {outcome for id_, outcome in outcomes(results).items() if id_ in resumed.asked} == {
        DeployOutcome.MADE
    }
    assert not plan(warehouse, CATALOG, jobs=JOBS).has_changes


def test_a_warehouse_that_answers_nobody_is_not_asked_for_ever(tmp_path: Path) -> None:
    many = [EVENTS.model_copy(update={"name": f"events_{number:02}"}) for number in range(30)]
    catalog = Catalog(many, {})
    failing: Any = Failing(
        ENGINES["duckdb"](tmp_path, catalog, 60), *(r.id for r in many), kind=TransientError
    )
    found = plan(failing, catalog, jobs=JOBS)
    results = apply(failing, found, jobs=JOBS)
    assert len(failing.asked) == 8
    assert {result.outcome for result in results[-20:]} == {DeployOutcome.SKIPPED}
    assert verdict(found, results) is DeployStatus.TRY_AGAIN


def test_what_the_engine_itself_refuses_fails_alone_with_its_reason(
    warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse]
) -> None:
    sql = "SELECT no_such_column AS event_id FROM lab.events"
    keys = {"dataset": "lab_views", "description": "for tests", "owner": "team:tests", "kind": "view"}
    broken, after = (
        Relation.model_validate({**keys, "name": name, "fields": EVENTS.fields[:1], "sql": text})
        for name, text in (("broken", sql), ("on_top", "SELECT event_id FROM lab.events"))
    )
    catalog = catalog_of(broken, after)
    other = reopened(catalog)
    results = {result.id: result for result in deployed(other, catalog)}
    assert {id_ for id_, r in results.items() if r.outcome is not DeployOutcome.MADE} == {broken.id}
    assert "no_such_column" in str(results[broken.id].problems[0])
    assert other.describe(after) is not None
    assert [p.relation.id for p in plan(other, catalog, jobs=JOBS).relations if p.changes] == [broken.id]
