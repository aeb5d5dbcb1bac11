"""The same rows in DuckDB and in BigQuery's emulator: every relation, every view and every check then says the same."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlglot
from sqlglot import exp

from gaelp_assets.assets import checks
from gaelp_assets.assets.tables import row_counts
from gaelp_assets.catalog import Catalog, Field, Relation
from gaelp_assets.operations.charts import chart_frame
from gaelp_assets.operations.compute import refresh
from gaelp_assets.operations.rejects import dead_letters
from gaelp_assets.operations.status import read_status
from gaelp_assets.platform import Platform, open_platform, read_catalog
from gaelp_assets.settings import load_settings
from gaelp_assets.warehouse.bigquery.jobs import Jobs
from gaelp_assets.warehouse.bigquery.resources import requires_partition_filter
from gaelp_assets.warehouse.protocol import WriteMode
from gaelp_assets.warehouse.ranges import PartitionRange
from gaelp_assets_tests.contract.warehouses import ENGINES, write
from gaelp_assets_tests.emulator.generated import Rows

CATALOG = read_catalog()
EVERYTHING = PartitionRange(dt.date(2000, 1, 1), dt.date(2030, 1, 1))
MOMENTS = frozenset({"written_at", "refreshed_at", "read_digest"})
"""What the platform notes of its own clock, and a digest in which that is: no two platforms write at the same moment."""


@pytest.fixture(scope="module")
def statements() -> Iterator[list[str]]:
    """Every text that is sent to BigQuery in this module."""
    sent: list[str] = []
    query = Jobs.query

    def note(jobs: Jobs, sql: str, *arguments: Any, **options: Any) -> Any:
        sent.append(sql)
        return query(jobs, sql, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Jobs, "query", note)
        yield sent


@pytest.fixture(scope="module", params=(1,))
def platforms(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, statements: list[str]
) -> tuple[Platform, Platform]:
    """The catalogue on each engine, with the same rows loaded and everything derived from them computed."""
    home = tmp_path_factory.mktemp("home")
    platform = open_platform(
        load_settings({"GAELP_HOME": str(home), "GAELP_FIRST_DATE": "2024-01-01"}), CATALOG
    )
    platform.gateway.prepare()
    both = (platform, dataclasses.replace(platform, warehouse=ENGINES["bigquery"](home, CATALOG, 60)))
    rows = Rows(CATALOG, request.param)
    for relation in CATALOG.loaded:
        for slice_ in rows.slices(relation):
            batch = rows.batch(relation, slice_, home)
            told = []
            for each in both:
                each.ensure(relation)
                told.append(write(each.warehouse, relation, [batch], slice_))
            assert told[0] == told[1]
    for relation in in_order(CATALOG):
        for each in both:
            each.warehouse.ensure([relation])
        if relation.is_stored:
            for each in both:
                refresh(each, relation, *rows.slices(relation), run_id="test")
    return both


def in_order(catalog: Catalog) -> list[Relation]:
    """What is derived, each after what it reads."""
    return catalog.derived


@pytest.mark.parametrize("relation", list(CATALOG), ids=lambda relation: relation.id)
def test_every_relation_holds_the_same(platforms: tuple[Platform, Platform], relation: Relation) -> None:
    fields = [field for field in relation.fields if field.name not in MOMENTS]
    names = ", ".join(f"t.`{field.name}`" for field in fields)
    condition, parameters = EVERYTHING.condition(relation, "t")
    sql = f"SELECT {names} FROM {relation.id} AS t WHERE {condition}"
    duckdb, bigquery = (each.warehouse.query(sql, parameters).frame for each in platforms)
    assert duckdb.height
    assert duckdb.schema == bigquery.schema
    assert_same(duckdb, bigquery, fields)


@pytest.mark.parametrize("relation", CATALOG.loaded, ids=lambda relation: relation.id)
@pytest.mark.parametrize("check", ["schema_conformance", "key_uniqueness", "foreign_keys", "sequences"])
def test_every_check_comes_to_the_same(
    platforms: tuple[Platform, Platform], relation: Relation, check: str
) -> None:
    evaluate = getattr(checks, check)
    catalog = (CATALOG,) if check == "foreign_keys" else ()
    outcomes = [evaluate(each, relation, *catalog, [EVERYTHING]) for each in platforms]
    told = [(passed, {name: _plain(value) for name, value in found.items()}) for passed, found in outcomes]
    assert told[0] == told[1]


def test_what_the_platform_shows_is_the_same(platforms: tuple[Platform, Platform]) -> None:
    told: list[list[Any]] = []
    for each in platforms:
        charts = [chart_frame(each, drawn, None) for drawn in CATALOG if drawn.chart is not None]
        assert charts
        shown: list[Any] = [sorted(map(_order, frame.rows())) for frame in charts]
        shown.append(dead_letters(each, raw=True, limit=1000).drop("rejected_at").rows())
        tables = read_status(each).tables
        shown.append([(row.relation_id, row.rows, row.slices, row.files, row.rejected) for row in tables])
        shown.append(
            [
                row_counts(each, relation, Rows(CATALOG, 1).slices(relation))
                for relation in CATALOG
                if relation.partitioning
            ]
        )
        shown.append([each.warehouse.describe(relation).rows for relation in CATALOG])  # type: ignore[union-attr]
        told.append(shown)
    assert told[0] == told[1]


def test_rebuilding_a_slice_and_replaying_its_lines_come_to_the_same(
    platforms: tuple[Platform, Platform], tmp_path: Path
) -> None:
    rows = Rows(CATALOG, 3)
    for relation in CATALOG.loaded:
        slice_ = rows.slices(relation)[0]
        batch = rows.batch(relation, slice_, tmp_path)
        told = []
        for each in platforms:
            first = each.warehouse.ledger(relation, slice_)["batch_id"].item(0)
            again = dataclasses.replace(batch, batch_id=first)
            # Other rows than before, so that what both engines then hold tells of the rebuild.
            told.append(write(each.warehouse, relation, [again], slice_, WriteMode.REBUILD, accept_loss=True))
            each.warehouse.mark_replayed(relation, first, [41], dt.datetime(2026, 11, 21, tzinfo=dt.UTC))
        assert told[0] == told[1]
        test_every_relation_holds_the_same(platforms, relation)


def test_every_statement_that_was_sent_names_the_dates_of_tables_that_insist_on_it(
    platforms: tuple[Platform, Platform], statements: list[str]
) -> None:
    insisting = {
        r.id: r.partitioning.date for r in CATALOG if requires_partition_filter(r) and r.partitioning
    }
    reads = [found for text in statements for found in scans(text, insisting)]
    assert {relation for relation, _, _ in reads} == insisting.keys()
    assert [(relation, sql) for relation, filtered, sql in reads if not filtered] == []
    for relation in insisting:
        platforms[1].warehouse.drop(CATALOG[relation])


def test_a_statement_without_constant_dates_is_found_out() -> None:
    insisting = {"a.b": "date"}
    for sql, filtered in (
        ("SELECT * FROM `p.x_a.b` AS t WHERE t.date >= DATE '2000-01-01' AND TRUE", True),
        ("DELETE FROM `p.x_a.b` WHERE `date` = DATE '2026-11-20' AND k IN (SELECT k FROM `p.x_s.f`)", True),
        ("SELECT * FROM `p.x_a.b` AS t WHERE t.date >= @first", True),
        ("SELECT * FROM `p.x_a.b` AS t WHERE t.date >= DATE '2000-01-01' OR x", False),
        ("SELECT * FROM `p.x_a.b` AS t WHERE t.date = (SELECT MAX(d) FROM `p.x_c.d`)", False),
        ("SELECT * FROM c, `p.x_a.b` WHERE c.day = date", False),
        ("SELECT 1 FROM (SELECT * FROM `p.x_a.b`) AS t WHERE t.date = DATE '2026-11-20'", False),
        ("UPDATE `p.x_a.b` SET x = 1 WHERE k = 2", False),
        ("ASSERT NOT EXISTS (SELECT 1 FROM `p.x_a.b` AS t WHERE t.k = 1) AS 'changed'", False),
        (
            "ASSERT NOT EXISTS (SELECT 1 FROM `p.x_a.b` AS t WHERE t.date >= DATE '2000-01-01') AS 'changed'",
            True,
        ),
    ):
        assert [found for _, found, _ in scans(sql, insisting)] == [filtered], sql


def scans(text: str, insisting: Mapping[str, str]) -> Iterator[tuple[str, bool, str]]:
    """Each place where a script reads or changes such a table, and whether a constant is compared with its dates right there."""
    for statement in text.split(";\n"):
        if not any(relation.rpartition(".")[2] in statement for relation in insisting):
            continue
        if statement.startswith("ASSERT "):  # which sqlglot does not know
            statement = "SELECT " + statement.removeprefix("ASSERT ").rpartition(" AS '")[0]
        tree = sqlglot.parse_one(statement, dialect="bigquery")
        for table in tree.find_all(exp.Table):
            relation = f"{table.db.rpartition('_')[2]}.{table.name}"
            if relation not in insisting or isinstance(table.parent, exp.Insert | exp.Schema):
                continue
            around = table.find_ancestor(exp.Select, exp.Delete, exp.Update)
            assert around is not None
            where = around.args.get("where")
            conditions = (
                []
                if where is None
                else list(where.this.flatten() if isinstance(where.this, exp.And) else [where.this])
            )
            yield relation, any(_names_dates(each, insisting[relation]) for each in conditions), statement


def _names_dates(condition: exp.Expr, column: str) -> bool:
    if not isinstance(condition, exp.EQ | exp.GTE | exp.GT | exp.LT | exp.LTE):
        return False
    left, right = condition.left, condition.right
    return isinstance(left, exp.Column) and left.name == column and not right.find(exp.Column, exp.Select)


def _plain(value: Any) -> Any:
    return [record.data for record in value.records] if hasattr(value, "records") else value


def assert_same(mine: pl.DataFrame, theirs: pl.DataFrame, fields: Sequence[Field]) -> None:
    """The same rows in whatever order; floats may differ where sums are taken in another order."""
    mine_rows, their_rows = (
        sorted((comparable(r, fields) for r in f.rows()), key=_order) for f in (mine, theirs)
    )
    assert len(mine_rows) == len(their_rows)
    for left, right in zip(mine_rows, their_rows, strict=True):
        assert equal(left, right), (left, right)


def comparable(row: Sequence[Any], fields: Sequence[Field]) -> tuple[Any, ...]:
    return tuple(_value(value, field) for value, field in zip(row, fields, strict=True))


def _value(value: Any, field: Field) -> Any:
    if value is None:
        return None
    if field.repeated:
        single = field.model_copy(update={"mode": "NULLABLE"})
        return [_value(part, single) for part in value]
    if field.type == "RECORD":
        return [_value(value[inner.name], inner) for inner in field.fields]
    if field.type == "JSON":  # BigQuery writes its text again
        return json.dumps(json.loads(value), sort_keys=True)
    return value


def _order(row: Sequence[Any]) -> str:
    return repr([f"{v:.9g}" if isinstance(v, float) else v for v in row])


def equal(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, list | tuple) and isinstance(theirs, list | tuple):
        return len(mine) == len(theirs) and all(map(equal, mine, theirs))
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return mine.keys() == theirs.keys() and all(equal(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, float) and isinstance(theirs, float):
        same_nan = math.isnan(mine) and math.isnan(theirs)
        return same_nan or mine == theirs or math.isclose(mine, theirs, rel_tol=1e-12)
    return type(mine) is type(theirs) and bool(mine == theirs)
