"""The rules by which a relation follows the catalogue: one row each that a rule allows, and one that it refuses."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.bigquery.rate_limit import RateLimiter
from gaelp_assets.warehouse.bigquery.schema import patch, shape_of, widening_statements
from gaelp_assets.warehouse.duckdb.ddl import found_column, statements, wanted_shape
from gaelp_assets.warehouse.schema.diff import diff
from gaelp_assets.warehouse.schema.model import (
    Action,
    Change,
    ColumnSchema,
    ObjectType,
    RelationPlan,
    SchemaScope,
    Status,
    TableSchema,
    plan_create,
    recheck,
    with_dependents,
)
from gaelp_assets_tests.contract.warehouses import BEST, EPISODES, EVERY_TYPE, GOOD, VERSIONS


def column(text: str, *fields: ColumnSchema, **more: Any) -> ColumnSchema:
    """`name TYPE MODE`."""
    name, type_, mode = (text + " NULLABLE").split()[:3]
    return ColumnSchema(name, type_, mode, fields=fields, **more)


def table(*columns: ColumnSchema, **more: Any) -> TableSchema:
    return TableSchema(ObjectType.TABLE, columns, **more)


def compared(
    found: TableSchema, wanted: TableSchema, *, empty: bool = False, scope: SchemaScope = SchemaScope.ALL
) -> RelationPlan:
    return diff(VERSIONS, found, wanted, lambda: empty, scope)


A = column("a INTEGER")


@pytest.mark.parametrize(
    ("found", "wanted", "changes"),
    [
        ([A], [A], []),
        ([A], [A, column("b STRING")], [(Action.ADD_FIELD, "b")]),
        ([A], [A, column("b STRING REPEATED")], [(Action.ADD_FIELD, "b")]),
        ([A], [column("b STRING"), A], [(Action.ADD_FIELD, "b")]),
        ([column("A INTEGER")], [A], []),
        ([column("a INTEGER REQUIRED")], [A], [(Action.RELAX, "a")]),
        ([A], [column("a NUMERIC")], [(Action.WIDEN, "a")]),
        ([A], [column("a FLOAT")], [(Action.WIDEN, "a")]),
        ([column("a NUMERIC")], [column("a FLOAT")], [(Action.WIDEN, "a")]),
        ([column("a STRING(10)")], [column("a STRING")], [(Action.WIDEN, "a")]),
        ([column("a INTEGER REQUIRED")], [column("a FLOAT")], [(Action.WIDEN, "a"), (Action.RELAX, "a")]),
        ([A], [column("a INTEGER", description="one")], [(Action.DESCRIBE, "a")]),
        ([A], [column("a INTEGER", policy_tags=("t",))], [(Action.POLICY_TAGS, "a")]),
        ([column("a INTEGER", policy_tags=("by hand",))], [A], []),
        ([column("r RECORD", A)], [column("r RECORD", A, column("b DATE"))], [(Action.ADD_FIELD, "r.b")]),
        ([column("r RECORD", A)], [column("r RECORD", column("a FLOAT"))], [(Action.WIDEN, "r.a")]),
        (
            [column("r RECORD REPEATED", A)],
            [column("r RECORD REPEATED", A, column("b DATE"))],
            [(Action.ADD_FIELD, "r.b")],
        ),
    ],
    ids=str,
)
def test_what_is_legal_is_a_change(
    found: list[ColumnSchema], wanted: list[ColumnSchema], changes: list[Any]
) -> None:
    planned = compared(table(*found), table(*wanted))
    assert [(change.action, change.field) for change in planned.changes] == changes
    assert planned.refusals == ()
    assert planned.status is (Status.CHANGE if changes else Status.UNCHANGED)


@pytest.mark.parametrize(
    ("found", "wanted", "field", "stops_loads"),
    [
        ([A], [column("a STRING")], "a", True),
        ([column("a FLOAT")], [A], "a", True),
        ([column("a NUMERIC")], [A], "a", True),
        ([column("a STRING")], [column("a JSON")], "a", True),
        ([A], [column("a INTEGER REPEATED")], "a", True),
        ([column("a INTEGER REPEATED")], [column("a FLOAT REPEATED")], "a", True),
        ([A], [A, column("b STRING REQUIRED")], "b", True),
        ([A], [column("a INTEGER REQUIRED")], "a", False),
        ([A, column("b STRING")], [A], "b", False),
        ([A, column("b STRING REQUIRED")], [A], "b", False),
        ([column("r RECORD", A, column("b DATE"))], [column("r RECORD", A)], "r.b", True),
        ([column("r RECORD", A)], [column("r RECORD", A, column("b DATE REQUIRED"))], "r.b", True),
        ([column("r RECORD", A)], [column("r RECORD", column("b DATE"), A)], "r", True),
        ([column("r RECORD REPEATED", A)], [column("r RECORD REPEATED", column("a FLOAT"))], "r.a", True),
    ],
    ids=str,
)
def test_what_is_not_is_refused_with_a_remedy_unless_the_table_is_empty(
    found: list[ColumnSchema], wanted: list[ColumnSchema], field: str, stops_loads: bool
) -> None:
    planned = compared(table(*found), table(*wanted))
    (refusal,) = planned.refusals
    assert (refusal.field, refusal.stops_loads, planned.status) == (field, stops_loads, Status.REFUSED)
    assert refusal.found
    assert refusal.wanted
    assert refusal.remedy.endswith(".")
    assert f"field {field}" in str(refusal.problem)
    assert compared(table(*found), table(*wanted), empty=True).status is Status.REPLACE
    for_rows = compared(table(*found), table(*wanted), scope=SchemaScope.ROWS)
    assert (for_rows.status is Status.REFUSED) == stops_loads


def test_a_required_field_that_the_catalogue_dropped_is_relaxed_for_loads() -> None:
    found, wanted = table(A, column("b STRING REQUIRED")), table(A)
    (change,) = compared(found, wanted, scope=SchemaScope.ROWS).changes
    assert (change.action, change.field) == (Action.RELAX, "b")


def test_properties_are_changes_and_a_partitioning_is_not() -> None:
    found = table(A, labels={"a": "1", "theirs": "2"}, partitioning="DAY(d)", expiration_days=3.0)
    wanted = table(
        A,
        description="new",
        labels={"a": "3"},
        partitioning="DAY(d)",
        partition_filter=True,
        clustering=("a",),
    )
    assert {(c.action, c.found, c.wanted) for c in compared(found, wanted).changes} == {
        (Action.DESCRIBE, "", "new"),
        (Action.LABEL, "a=1", "a=3"),
        (Action.EXPIRE, "after 3 days", "never"),
        (Action.PARTITION_FILTER, "not required", "required"),
        (Action.CLUSTER, "", "a"),
    }
    assert compared(found, wanted, scope=SchemaScope.ROWS).status is Status.UNCHANGED
    (refusal,) = compared(table(A, partitioning="MONTH(d)"), table(A)).refusals
    assert (refusal.found, refusal.wanted, refusal.stops_loads) == ("MONTH(d)", "no partitioning", False)


def test_the_ledger_cannot_be_filled_again_and_nobody_is_told_so() -> None:
    from gaelp_assets_tests.contract.warehouses import CATALOG

    planned = diff(CATALOG["ops.import_logs"], table(A), table(column("a STRING")), lambda: False)
    assert "--replace" not in planned.refusals[0].remedy
    derived = diff(BEST, table(A), table(column("a STRING")), lambda: False)
    assert "materialize" in derived.refusals[0].remedy


def test_another_form_gives_way_unless_it_holds_loaded_rows_or_is_not_ours() -> None:
    view, loaded = TableSchema(ObjectType.VIEW, query="q"), table(column("_batch_id STRING"))
    assert compared(table(A), view).status is Status.REPLACE
    assert compared(view, table(A)).status is Status.REPLACE
    reads_loaded = TableSchema(ObjectType.VIEW, loaded.columns, "q")
    assert compared(reads_loaded, table(A)).status is Status.REPLACE, "a view holds no rows of its own"
    assert compared(loaded, view, empty=True).status is Status.REPLACE
    assert compared(loaded, view).status is Status.REFUSED
    assert compared(TableSchema(ObjectType.OTHER), table(A), empty=True).status is Status.REFUSED


def test_a_materialized_view_is_made_again_for_another_query_and_with_what_it_reads() -> None:
    first, second = (TableSchema(ObjectType.MATERIALIZED_VIEW, query=query) for query in ("1", "2"))
    assert compared(first, second).status is Status.REPLACE
    plans = [
        diff(EPISODES, table(column("a DATE")), table(A), lambda: True),
        diff(BEST, first, first, lambda: False),
        diff(
            GOOD,
            TableSchema(ObjectType.VIEW, query="q"),
            TableSchema(ObjectType.VIEW, query="q"),
            lambda: False,
        ),
    ]
    upstream = {BEST.id: frozenset({EPISODES.id}), GOOD.id: frozenset({BEST.id})}
    found = with_dependents(plans, upstream)
    assert [planned.status for planned in found] == [Status.REPLACE, Status.REPLACE, Status.UNCHANGED]
    unchanged = diff(BEST, first, first, lambda: False)
    assert recheck(found[1], unchanged).status is Status.REPLACE, "it looks unchanged, and is broken"
    with pytest.raises(GaelpError, match="no widening"):
        recheck(plans[0], diff(EPISODES, table(column("a DATE")), table(A), lambda: False))


# DuckDB


def test_duckdb_tells_every_type_of_the_catalogue_as_it_was_made() -> None:
    import duckdb

    con = duckdb.connect()
    for statement in statements(plan_create(EVERY_TYPE, ObjectType.TABLE)):
        con.execute(statement)
    found = [
        found_column(name, type_, nullable=nullable, comment=comment)
        for name, type_, nullable, comment in con.execute(
            "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() WHERE schema_name = 'lab'"
        ).fetchall()
    ]
    assert tuple(found) == wanted_shape(EVERY_TYPE).columns
    assert found_column("a", "INTEGER", nullable=True, comment=None).type == "DuckDB's INTEGER"
    assert found_column("a", "DOUBLE[][]", nullable=True, comment=None).type == "DuckDB's DOUBLE[]"


def test_several_changes_inside_of_one_record_are_one_statement() -> None:
    changes = (Change(Action.ADD_FIELD, "table.note"), Change(Action.WIDEN, "table.order"))
    (statement,) = statements(RelationPlan(EPISODES, ObjectType.TABLE, ObjectType.TABLE, changes))
    assert statement.startswith('ALTER TABLE "lab"."episodes" ALTER COLUMN "table" SET DATA TYPE STRUCT(')


# BigQuery

LIVE: dict[str, Any] = {
    "type": "TABLE",
    "labels": {"theirs": "1"},
    "schema": {
        "fields": [
            {"name": "a", "type": "INT64", "mode": "REQUIRED"},
            {"name": "s", "type": "STRING", "maxLength": "10", "defaultValueExpression": "'x'"},
            {
                "name": "r",
                "type": "STRUCT",
                "fields": [
                    {"name": "X", "type": "NUMERIC", "precision": "20", "scale": "4"},
                    {"name": "l", "type": "DATE", "mode": "REPEATED"},
                ],
            },
        ]
    },
    "timePartitioning": {"type": "DAY", "field": "d", "expirationMs": "86400000"},
}  # fmt: skip


def test_a_live_table_is_told_in_the_catalogues_words() -> None:
    shape = shape_of(LIVE)
    assert [str(c) for c in shape.columns] == ["REQUIRED INTEGER", "NULLABLE STRING(10)", "NULLABLE RECORD"]
    assert shape.columns[2].fields[0].type == "NUMERIC(20, 4)"
    assert (shape.partitioning, shape.expiration_days, shape.object_type) == ("DAY(d)", 1.0, ObjectType.TABLE)
    assert shape_of({"type": "EXTERNAL"}).object_type is ObjectType.OTHER
    assert shape_of({"materializedView": {"query": "q"}}).object_type is ObjectType.MATERIALIZED_VIEW
    assert shape_of({"view": {"query": "q"}}) == TableSchema(ObjectType.VIEW, query="q")
    assert shape_of({"rangePartitioning": {"field": "n"}}).partitioning == "RANGE(n)"


def test_a_patch_says_what_changes_and_keeps_what_is_nobody_elses_business() -> None:
    wanted = {
        "labels": {"ours": "2"},
        "schema": {"fields": [{"name": "R", "fields": [{"name": "new", "type": "DATE"}]}, {"name": "fresh", "type": "JSON"}]},
        "timePartitioning": {"type": "DAY", "field": "d"},
    }  # fmt: skip
    changes = [
        Change(Action.RELAX, "a"),
        Change(Action.ADD_FIELD, "r.new"),
        Change(Action.ADD_FIELD, "fresh"),
        Change(Action.LABEL),
        Change(Action.EXPIRE),
        Change(Action.WIDEN, "s"),
    ]
    found = patch(LIVE, wanted, changes)
    assert found.keys() == {"schema", "labels", "timePartitioning"}
    assert found["labels"] == {"theirs": "1", "ours": "2"}
    assert found["timePartitioning"]["expirationMs"] is None
    a, s, r, fresh = found["schema"]["fields"]
    assert (a["mode"], fresh["type"], r["fields"][-1]["name"]) == ("NULLABLE", "JSON", "new")
    assert s == LIVE["schema"]["fields"][1]
    assert LIVE["schema"]["fields"][0]["mode"] == "REQUIRED", "what was read is not changed"


def test_columns_are_widened_by_a_statement_each_with_all_that_they_hold() -> None:
    changes = [
        Change(Action.WIDEN, "a", column=column("a FLOAT")),
        Change(Action.WIDEN, "s", column=column("s STRING")),
        Change(Action.WIDEN, "r.x", column=column("x FLOAT")),
        Change(Action.RELAX, "a"),
    ]
    assert widening_statements("p.lab.t", LIVE, changes) == [
        "ALTER TABLE `p.lab.t` ALTER COLUMN `a` SET DATA TYPE FLOAT64",
        "ALTER TABLE `p.lab.t` ALTER COLUMN `s` SET DATA TYPE STRING",
        "ALTER TABLE `p.lab.t` ALTER COLUMN `r` SET DATA TYPE STRUCT<`X` FLOAT64, `l` ARRAY<DATE>>",
    ]


def test_no_more_calls_than_allowed_begin_in_any_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    begun: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: begun.append(now[0] + seconds))
    pace = RateLimiter(10)
    for number in range(254):
        now[0] = 100.0 + number / 1000
        pace.wait()
    assert max(begun) - min(begun) == pytest.approx(25, abs=0.1)
    for first, last in zip(begun, begun[10:], strict=False):
        assert last - first >= 1 - 1e-9
