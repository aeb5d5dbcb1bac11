"""Reading never changes a warehouse, on any engine: what is not there is empty, what differs is read as it is, and that is said once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.model import LOAD_FIELDS
from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.deploy import plan
from gaelp_assets.warehouse.bigquery.dialect import STAGING
from gaelp_assets.warehouse.protocol import DEAD_LETTER, LEDGER, Reader, Warehouse
from gaelp_assets.warehouse.schema.model import Status
from gaelp_assets_tests.contract.test_deploy_contract import altered, by_hand, catalog_of
from gaelp_assets_tests.contract.warehouses import (
    BEST,
    CARTPOLE,
    CATALOG,
    ENGINES,
    EPISODES,
    EVENTS,
    EVERY_TYPE,
    GOOD,
    RELATIONS,
    VERSIONS,
    Stager,
    encode,
    episodes,
    open_engine,
    write,
)
from gaelp_assets_tests.contract.warehouses import (
    relation as relation_of,
)

READS: Final[dict[str, Callable[[Reader], object]]] = {
    "query": lambda reader: [reader.query(f"SELECT COUNT(*) AS n FROM {each.id}") for each in RELATIONS],
    "to_pandas": lambda reader: reader.to_pandas("SELECT batch FROM lab.versions"),
    "ledger": lambda reader: reader.ledger(EPISODES, CARTPOLE),
    "describe": lambda reader: [reader.describe(each) for each in RELATIONS],
    "survey": lambda reader: reader.survey(["lab", "lab_views", "ops"]),
    "diff": lambda reader: reader.diff(RELATIONS),
    "quota_left": lambda reader: reader.quota_left(),
    "a deployment's plan": lambda reader: plan(reader, reader._catalog, jobs=2),  # type: ignore[attr-defined]
}


_MOMENTS: Final = ("creationTime", "expirationTime", "lastModifiedTime")


@pytest.fixture
def reopened(engine: str, tmp_path: Path) -> Callable[[Catalog], Warehouse]:
    """The same warehouse, as a process with that catalogue opens it."""
    return lambda catalog: ENGINES[engine](tmp_path, catalog, 60)


def everything_in(warehouse: Any) -> object:
    """All that a warehouse is, looked at past the platform: a file's bytes and what lies beside it, or datasets and tables."""
    if warehouse.capabilities.engine == "duckdb":
        file = Path(warehouse.location)
        # Readers take turns with writers at files that the first writer leaves beside it.
        beside = [path.name for path in file.parent.iterdir() if ".lock" not in path.name]
        return sorted(beside), file.read_bytes() if file.exists() else None
    client = warehouse._jobs.client
    prefix = warehouse._address.dataset_prefix
    datasets = [dataset for dataset in client.list_datasets() if dataset.dataset_id.startswith(prefix)]
    tables = [
        client.get_table(table).to_api_repr() for each in datasets for table in client.list_tables(each)
    ]
    for table in tables:
        if table["tableReference"]["datasetId"].endswith(STAGING):
            for moment in _MOMENTS:  # the emulator's own, which move whenever it is asked
                table.pop(moment, None)
    return sorted(each.dataset_id for each in datasets), sorted(tables, key=lambda table: str(table["id"]))


def notices(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("way", READS)
def test_a_question_with_a_newer_catalogue_leaves_the_tables_as_they_are(
    warehouse: Warehouse, reopened: Callable[[Catalog], Warehouse], stage: Stager, way: str
) -> None:
    """One SELECT once added the column that a newer catalogue has, to a warehouse that it was only asked about."""
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(3))))], CARTPOLE)
    newer = reopened(catalog_of(altered(VERSIONS, note={"type": "STRING"}), altered(GOOD, best=None)))
    before = everything_in(warehouse)
    READS[way](newer)
    assert everything_in(warehouse) == before


@pytest.mark.parametrize("way", READS)
def test_looking_at_a_warehouse_that_nobody_has_made_makes_nothing(
    engine: str, tmp_path: Path, way: str
) -> None:
    warehouse = open_engine(engine, tmp_path / "nobody has made this folder")
    READS[way](warehouse)
    if engine == "duckdb":
        assert list(tmp_path.iterdir()) == []
    else:
        assert everything_in(warehouse) == ([], [])


def test_a_table_that_differs_is_read_as_it_is_and_that_is_said_once(
    warehouse: Warehouse,
    reopened: Callable[[Catalog], Warehouse],
    stage: Stager,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(warehouse, VERSIONS, [stage(VERSIONS, encode([{"batch": "a", "version": 7, "rank": "x"}]))])
    newer = reopened(catalog_of(altered(VERSIONS, note={"type": "STRING"})))
    for _ in range(2):
        assert newer.query("SELECT * FROM lab.versions").frame.columns == [
            *VERSIONS.field_names,
            *(field.name for field in LOAD_FIELDS),
        ]
    with pytest.raises(GaelpError, match="note"):
        newer.query("SELECT note FROM lab.versions")
    (said,) = notices(caplog)
    assert said.startswith("lab.versions: differs from the catalogue (add field note), and is read as it is")
    assert "gaelp deploy" in said


def test_the_dead_letter_of_an_earlier_version_is_read_and_its_new_fields_are_null(
    warehouse: Warehouse,
    reopened: Callable[[Catalog], Warehouse],
    stage: Stager,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])), rejects=[b"{"])], CARTPOLE)
    letters = CATALOG[DEAD_LETTER]
    newer = reopened(catalog_of(altered(letters, noted_at={"type": "TIMESTAMP"}, notes={"type": "JSON"})))
    before = everything_in(warehouse)
    sql = (
        "SELECT line_number, d.noted_at, notes FROM ops.dead_letter AS d WHERE replayed_at IS NULL AND noted_at IS NULL "
        "AND EXISTS (SELECT 1 FROM UNNEST(reasons) AS reason WHERE reason.rule IS NOT NULL)"
    )
    assert newer.query(sql).frame.rows() == [(2, None, None)]
    assert newer.query(sql).frame.schema["noted_at"] == pl.Datetime("us", "UTC")
    described = newer.describe(letters)
    assert described is not None
    assert tuple(described.columns) == letters.field_names
    assert everything_in(warehouse) == before
    (said,) = notices(caplog)
    assert "add field noted_at" in said


def test_a_change_that_is_refused_stops_no_question(
    warehouse: Warehouse,
    reopened: Callable[[Catalog], Warehouse],
    stage: Stager,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A field that is an INTEGER in the table and a STRING in the catalogue once made every question of it an error."""
    write(warehouse, VERSIONS, [stage(VERSIONS, encode([{"batch": "a", "version": 7, "rank": "x"}]))])
    changed = altered(VERSIONS, version={"type": "STRING"})
    other = reopened(catalog_of(changed.model_copy(update={"on_key_conflict": "reject"})))
    with pytest.raises(GaelpError, match="no widening of the type"):
        other.ensure([other._catalog[VERSIONS.id]])  # type: ignore[attr-defined]
    assert other.query("SELECT batch, version FROM lab.versions").frame.rows() == [("a", 7)]
    (said,) = notices(caplog)
    assert "version: no widening of the type" in said


def test_what_is_as_the_catalogue_says_or_not_there_is_nothing_to_be_told_of(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    for relation in RELATIONS:
        warehouse.query(f"SELECT COUNT(*) AS n FROM {relation.id}")
    warehouse.drop(EVENTS)
    warehouse.query("SELECT * FROM lab.events")
    assert notices(caplog) == []


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: str(relation.id))
def test_what_is_not_there_reads_as_empty_with_the_columns_of_what_would_be_there(
    engine: str, tmp_path: Path, relation: Relation
) -> None:
    warehouse = open_engine(engine, tmp_path)
    sql = f"SELECT * FROM {relation.id}"
    missing = warehouse.query(sql).frame
    pandas = warehouse.to_pandas(sql)
    assert missing.is_empty()
    warehouse.ensure(RELATIONS)
    assert missing.schema == warehouse.query(sql).frame.schema
    assert pandas.dtypes.equals(warehouse.to_pandas(sql).dtypes)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT e.episode_id, reward FROM lab.episodes AS e, UNNEST(e.rewards) AS reward",
        "SELECT episodes.episode_id, reward FROM lab.episodes, UNNEST(episodes.rewards) AS reward",
        "SELECT episodes.* FROM `lab`.`episodes` JOIN lab.versions AS v ON v.batch = episodes.episode_id",
        "SELECT x.episode_id FROM `lab.episodes` x -- of `lab.episodes`, says a comment\n",
        "WITH e AS (SELECT * FROM lab.episodes), lab AS (SELECT 1 AS one) SELECT step FROM e, lab ORDER BY step",
        "SELECT 'FROM lab.episodes' AS text, episode_id FROM (SELECT * FROM lab.episodes) UNION ALL "
        "SELECT 'x', episode_id FROM lab.episodes WHERE episode_id IN (SELECT batch FROM lab.versions)",
        "SELECT good.best FROM lab_views.good JOIN lab_views.best USING (environment_id)",
    ],
)
def test_a_question_of_any_form_finds_missing_relations_empty(engine: str, tmp_path: Path, sql: str) -> None:
    warehouse = open_engine(engine, tmp_path)
    assert warehouse.query(sql).frame.is_empty()
    assert warehouse.query(sql, row_limit=5).frame.is_empty()


def test_missing_relations_whose_names_run_together_are_told_apart(engine: str, tmp_path: Path) -> None:
    fields = ({"name": "a", "type": "STRING"}, {"name": "b", "type": "INTEGER"})
    relations = [
        relation_of("lab_x", "y", fields[:1], primary_key=["a"]),
        relation_of("lab", "x_y", fields[1:], primary_key=["b"]),
    ]
    warehouse = ENGINES[engine](tmp_path, Catalog(relations), 5)
    assert warehouse.query("SELECT y.a, x_y.b FROM lab_x.y, lab.x_y").frame.is_empty()


def test_missing_relations_are_empty_beside_those_that_are_there(warehouse: Warehouse, stage: Stager) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(3))))], CARTPOLE)
    warehouse.drop(EVENTS)
    frame = warehouse.query(
        "SELECT e.step, COUNT(v.event_id) AS n FROM lab.episodes AS e LEFT JOIN lab.events AS v ON v.event_id = e.step "
        "GROUP BY e.step ORDER BY e.step"
    ).frame
    assert frame.rows() == [(0, 0), (1, 0), (2, 0)]


def test_a_view_that_is_not_there_answers_from_the_tables_that_are(
    warehouse: Warehouse, stage: Stager
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(20))))], CARTPOLE)
    warehouse.refresh(BEST, CARTPOLE)
    sql = "SELECT environment_id, best FROM lab_views.good WHERE best > 1"
    expected = warehouse.query(sql).frame
    assert expected.height == 1
    warehouse.drop(GOOD)
    assert warehouse.query(sql).frame.equals(expected)
    assert warehouse.describe(GOOD) is None


def test_a_view_of_a_table_that_is_gone_is_empty(warehouse: Warehouse) -> None:
    by_hand(warehouse, "DROP TABLE lab_views.best")
    frame = warehouse.query("SELECT * FROM lab_views.good").frame
    assert (frame.columns, frame.height) == ([*GOOD.field_names], 0)
    assert warehouse.describe(BEST) is None


def test_a_view_of_a_table_that_is_gone_is_there_and_has_no_rows(warehouse: Warehouse) -> None:
    by_hand(warehouse, "DROP TABLE lab_views.best")
    state = warehouse.describe(GOOD)
    assert state is not None
    assert (list(state.columns), state.rows) == ([*GOOD.field_names], 0)


def test_what_no_catalogue_knows_is_no_empty_relation(warehouse: Warehouse) -> None:
    with pytest.raises(GaelpError, match="no_such_table"):
        warehouse.query("SELECT * FROM lab.no_such_table")


def test_the_ledger_of_a_slice_is_empty_where_there_is_none(engine: str, tmp_path: Path) -> None:
    frame = open_engine(engine, tmp_path).ledger(EPISODES, CARTPOLE)
    assert (frame.columns, frame.height) == ([*CATALOG[LEDGER].field_names], 0)


def test_a_plan_of_what_is_not_there_creates_it(engine: str, tmp_path: Path) -> None:
    (planned,) = open_engine(engine, tmp_path).diff([EVERY_TYPE])
    assert planned.status is Status.CREATE
