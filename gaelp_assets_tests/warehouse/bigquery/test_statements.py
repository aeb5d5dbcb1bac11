"""Every statement that the BigQuery engine emits, by Google's own analyzer, and the pure parts that they are made of."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gaelp_assets.catalog import WHOLE, Catalog, Relation, Slice
from gaelp_assets.catalog.keys import spans_slices
from gaelp_assets.catalog.load import load_catalog
from gaelp_assets.catalog.model import Field, stored_fields
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.bigquery import ledger as ledger_sql
from gaelp_assets.warehouse.bigquery import transaction
from gaelp_assets.warehouse.bigquery.dialect import Names, literal, selected
from gaelp_assets.warehouse.bigquery.losses import held_query
from gaelp_assets.warehouse.bigquery.resources import (
    clean_labels,
    table_resource,
)
from gaelp_assets.warehouse.bigquery.schema import altered_query, renaming_statements, widening_statements
from gaelp_assets.warehouse.bigquery.staging import dead_letter_schema, row_schema
from gaelp_assets.warehouse.protocol import DEAD_LETTER, LEDGER, REFRESHES, SliceWrite, WriteMode
from gaelp_assets.warehouse.refreshes import WRITERS_QUERY, forget_statement, stale_query
from gaelp_assets.warehouse.schema.model import Action, Change, ColumnSchema
from gaelp_assets_tests.contract.warehouses import (
    BEST,
    CARTPOLE,
    CATALOG,
    DAY,
    EPISODES,
    EVENTS,
    EVERY_TYPE,
    GOOD,
    NOW,
    VERSIONS,
    relation,
)
from gaelp_assets_tests.zetasql_gate import Gate

NAMES = Names("project", "pre_")
PARAMETERS = {
    **dict.fromkeys(
        (
            "batches",
            "seen",
            "holder",
            "run_id",
            "ledger",
            "replaced",
            "known",
            "seen_table",
            "displaced",
            "batch_id",
            "lines",
            "dataset",
            "table_name",
        ),
        "STRING",
    ),
    "moment": "TIMESTAMP",
    "since": "TIMESTAMP",
}
CONTROL = ("BEGIN TRANSACTION", "COMMIT TRANSACTION")
DATASETS = frozenset(r.dataset for r in CATALOG)


def _fields(resources: Sequence[Any]) -> list[Field]:
    return [Field.model_validate(resource) for resource in resources]


def _gate(*relations: Relation) -> Gate:
    """The analyzer, knowing these relations and what a write stages of the first, under the names that the engine uses."""
    tables = {r.id: [f.model_dump(exclude_defaults=True) for f in stored_fields(r)] for r in relations}
    tables["staging.rows_1"] = row_schema(relations[0])
    tables["staging.dead_letters_1"] = dead_letter_schema()
    tables["staging.counts_1"] = [
        *({"name": name, "type": "STRING"} for name in ("_batch_id", "_key", "_fate")),
        *({"name": name, "type": "INTEGER"} for name in ("_line_number", "_byte_offset")),
        {"name": "_held", "type": "BOOLEAN"},
        {"name": "_slice_date", "type": "DATE"},
        {"name": "_slice_environment", "type": "STRING"},
    ]
    tables["staging.settled_1"] = [
        {"name": "batch_id", "type": "STRING"},
        {"name": "line_number", "type": "INTEGER"},
        {"name": "replayed_at", "type": "TIMESTAMP"},
        {"name": "acknowledged_at", "type": "TIMESTAMP"},
    ]
    tables["locks.one"] = [{"name": "holder", "type": "STRING"}]
    known = [
        relation(name.split(".")[0], name.split(".")[1], fields, kind="ledger")
        for name, fields in tables.items()
    ]
    return Gate(Catalog(known))


def _write_gate(relation_: Relation) -> Gate:
    return _gate(relation_, CATALOG[LEDGER], CATALOG[DEAD_LETTER])


def _script(relation_: Relation, slice_: Slice, mode: WriteMode, **more: Any) -> transaction.WriteScript:
    write = SliceWrite(relation_, slice_, mode, [], NOW, "run")
    tables = more or {name: NAMES.staged_id(f"{name}_1") for name in ("rows", "dead_letters", "counts")}
    return transaction.WriteScript(
        NAMES,
        write,
        CATALOG[LEDGER],
        CATALOG[DEAD_LETTER],
        f"{NAMES.dataset_id('locks')}.one",
        replaces=not more,
        **tables,
    )


def _analyze(gate: Gate, statement: str) -> None:
    # Names are quoted whole, as `project.dataset.table`; the analyzer's catalogue has them by parts.
    parts = re.sub(r"`project\.pre_(\w+)\.(\w+)`", r"`\1`.`\2`", statement).replace("`project.pre_", "`")
    gate.accept(parts, PARAMETERS)


SLICES = [(EPISODES, CARTPOLE), (VERSIONS, WHOLE), (EVENTS, Slice(DAY)), (EVERY_TYPE, WHOLE)]


@pytest.mark.parametrize(
    ("relation_", "slice_", "across"),
    [(*each, across) for each in SLICES for across in (False, True) if spans_slices(each[0]) or not across],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("mode", [WriteMode.APPEND, WriteMode.REBUILD])
def test_google_accepts_every_statement_of_a_write(
    relation_: Relation, slice_: Slice, across: bool, mode: WriteMode
) -> None:
    gate = _write_gate(relation_)
    full = replace(_script(relation_, slice_, mode), across=across, displaces=across)
    for statement in (full.merge_query(), full.count_fates(), full.refused(), *full.statements()):
        if statement not in CONTROL:
            _analyze(gate, statement.replace("JOIN _settled", "JOIN `project.pre_staging.settled_1`"))
    assert full.statements()[0] == CONTROL[0]
    assert full.statements()[-1] == CONTROL[1]


def test_every_statement_on_a_sliced_table_names_its_slice_by_constants() -> None:
    for statement in _script(EPISODES, CARTPOLE, WriteMode.REBUILD).statements():
        if statement.startswith("DELETE FROM `project.pre_lab.episodes`"):
            assert "`date` = DATE '2026-11-20' AND `environment_id` = 'CartPole-v1'" in statement
    assert (
        "WHERE _t.`date` = DATE '2026-11-20'" in _script(EPISODES, CARTPOLE, WriteMode.APPEND).merge_query()
    )


def test_rows_of_other_slices_are_read_with_a_constant_filter_of_partitions() -> None:
    dated = EPISODES.model_copy(update={"primary_key": (*EPISODES.primary_key, "date")})
    outside = "NOT (`date` = DATE '2026-11-20' AND `environment_id` = 'CartPole-v1')"
    for relation_, filtered in (
        (EPISODES, "`date` >= DATE '0001-01-01'"),
        (dated, "`date` >= DATE '0001-01-01' AND `date` = DATE '2026-11-20'"),
    ):
        plain = _script(relation_, CARTPOLE, WriteMode.APPEND)
        across = replace(plain, across=True, displaces=True)
        [guard] = [text for text in plain.statements() if text.startswith("ASSERT (SELECT COUNT(*)")]
        [delete] = [text for text in across.statements() if text.startswith("DELETE") and "NOT (" in text]
        for text in (guard, delete, across.merge_query()):
            assert f"WHERE {filtered} AND {outside}" in text.replace("_t.", "")


def test_a_write_takes_the_lock_and_asserts_the_ledger_before_it_changes_anything() -> None:
    for mode in (WriteMode.APPEND, WriteMode.REBUILD):
        begin, lock, guard, *_ = _script(EPISODES, CARTPOLE, mode).statements()
        assert begin == "BEGIN TRANSACTION"
        assert lock.startswith("UPDATE `project.pre_locks.one`")
        assert guard.startswith("ASSERT (")


def test_google_accepts_the_other_statements() -> None:
    gate = _write_gate(EPISODES)
    ledger, dead_letter = CATALOG[LEDGER], CATALOG[DEAD_LETTER]
    for statement in (
        ledger_sql.loads_query(NAMES, ledger, EPISODES),
        *ledger_sql.forget_statements(NAMES, ledger, dead_letter, EPISODES),
        ledger_sql.marking_statement(NAMES, dead_letter, "replayed_at"),
        ledger_sql.marking_statement(NAMES, dead_letter, "acknowledged_at"),
        ledger_sql.ledger_query(NAMES, ledger, EPISODES, CARTPOLE),
        ledger_sql.ledger_query(NAMES, ledger, EPISODES, WHOLE, sorts=True),
        *_script(
            EPISODES, CARTPOLE, WriteMode.SORT, dead_letters=NAMES.staged_id("dead_letters_1")
        ).statements(),
    ):
        if statement not in CONTROL:
            _analyze(gate, statement)


def test_google_accepts_refreshes_and_views_of_the_catalogue() -> None:
    catalog = load_catalog()
    gate = Gate(Catalog([*catalog, relation("locks", "one", [{"name": "holder", "type": "STRING"}])]))
    datasets = frozenset(r.dataset for r in catalog)
    in_sql = [(derived, derived.sql) for derived in catalog.derived if derived.sql is not None]
    assert in_sql
    for derived, sql in in_sql:
        query = NAMES.qualify(selected(sql), datasets)
        assert "project.pre_" in query
        _analyze(gate, query)
        if derived.is_stored:
            part = derived.partitioning
            names = ("it's-v0", "Taxi-v4") if part and part.environment else (None,)
            days = (DAY, DAY + dt.timedelta(days=1)) if part else (None,)
            slices = [Slice(day, name) for day in days for name in names]
            for some in (slices[:1], slices):
                entries = transaction.refresh_entries_statement(NAMES, catalog, derived, some)
                for statement in transaction.refresh_statements(
                    NAMES, derived, some, f"{NAMES.dataset_id('locks')}.one", query, entries
                ):
                    if statement not in CONTROL:
                        _analyze(gate, statement)
            _analyze(gate, forget_statement(derived, NAMES.table(catalog[REFRESHES])))
    for question in (stale_query(catalog, 9, DAY), WRITERS_QUERY):
        assert question is not None
        _analyze(gate, NAMES.qualify(question, datasets))


def test_google_accepts_the_widening_of_columns() -> None:
    changed = [("step", "NUMERIC"), ("table.order", "FLOAT")]
    live = table_resource(NAMES, EPISODES, DATASETS)
    changes = [Change(Action.WIDEN, path, column=ColumnSchema(path, type_)) for path, type_ in changed]
    statements = widening_statements(NAMES.table_id(EPISODES), live, changes)
    assert len(statements) == 2
    for statement in statements:
        _analyze(_write_gate(EPISODES), statement)
    with pytest.raises(Exception, match="INT64"):
        _analyze(_write_gate(EPISODES), statements[0].replace("NUMERIC", "DATE"))


def test_google_accepts_what_counts_lost_rows_and_altered_values() -> None:
    for relation_, slice_ in ((EPISODES, CARTPOLE), (VERSIONS, WHOLE)):
        whole = _script(relation_, slice_, WriteMode.REBUILD)
        for script in (whole, replace(whole, counts=None), replace(whole, counts=None, rows=None)):
            _analyze(_write_gate(relation_), held_query(script))
    for relation_, path in ((EPISODES, "step"), (EPISODES, "table.order"), (EVERY_TYPE, "numeric_value")):
        _analyze(_write_gate(relation_), altered_query(NAMES.table(relation_), relation_, path))


def test_google_accepts_the_renaming_of_a_column() -> None:
    change = Change(Action.RENAME, "points", "score", "points")
    (statement,) = renaming_statements("project.pre_lab.episodes", [change])
    _analyze(_write_gate(EPISODES), statement)


def test_a_wrong_statement_does_not_pass_the_gate() -> None:
    with pytest.raises(Exception, match="Unrecognized name"):
        _analyze(_write_gate(EPISODES), "SELECT no_such FROM `project.pre_lab.episodes`")


# Names


def test_a_query_is_qualified_where_it_names_tables_and_nowhere_else() -> None:
    sql = (
        "SELECT lab.x, 'lab.episodes' AS é FROM lab.episodes AS e -- lab.episodes\n"
        "JOIN `lab.versions` USING (x) WHERE x IN (SELECT y FROM `lab`.`events`) AND EXISTS (SELECT 1 FROM other.episodes)"
    )
    assert NAMES.qualify(sql, {"lab"}) == (
        "SELECT lab.x, 'lab.episodes' AS é FROM `project.pre_lab`.episodes AS e -- lab.episodes\n"
        "JOIN `project.pre_lab.versions` USING (x) WHERE x IN (SELECT y FROM `project.pre_lab`.`events`) "
        "AND EXISTS (SELECT 1 FROM other.episodes)"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM a.b",
        "SELECT 1; SELECT 2",
        "CALL p()",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELEC 1",
    ],
)
def test_only_one_select_is_a_query(sql: str) -> None:
    with pytest.raises(GaelpError):
        selected(sql)


@pytest.mark.parametrize("text", ["it's", "back\\slash", 'a"b', "two\nlines", "☃"])
def test_a_text_constant_is_that_text(text: str) -> None:
    assert Gate().evaluate(f"SELECT {literal(text)} AS x")[1] == [(text,)]


def test_a_moment_is_written_in_utc() -> None:
    moment = dt.datetime(2026, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert literal(moment) == "TIMESTAMP '2025-12-31 23:00:00+00:00'"


# Tables


def test_a_table_says_all_that_the_catalogue_says() -> None:
    content = EPISODES.model_dump()
    fact = Relation.model_validate(
        {
            **content,
            "dataset": "lab",
            "name": "facts",
            "clustering": ["environment_id"],
            "retention_days": 3,
            "require_partition_filter": True,
            "tags": {"layer": "fact", "Domain": "Größe"},
            "fields": [
                {**content["fields"][0], "policyTags": {"names": ("projects/p/taxonomies/1/policyTags/2",)}},
                *content["fields"][1:],
            ],
        }
    )
    found = table_resource(NAMES, fact, DATASETS)
    assert found["timePartitioning"] == {"type": "DAY", "field": "date", "expirationMs": str(3 * 86_400_000)}
    assert found["requirePartitionFilter"]
    assert found["clustering"] == {"fields": ["environment_id"]}
    assert found["labels"] == {"layer": "fact", "domain": "gr__e", "owner": "team_tests", "kind": "table"}
    assert found["schema"]["fields"][0]["policyTags"] == {"names": ["projects/p/taxonomies/1/policyTags/2"]}
    assert [f["name"] for f in found["schema"]["fields"]][-3:] == ["_batch_id", "_loaded_at", "_row_hash"]
    assert table_resource(NAMES, GOOD, DATASETS)["view"]["query"].startswith("SELECT b.date")
    tagged = EPISODES.model_copy(update={"tags": {"layer": "fact"}})
    assert not table_resource(NAMES, tagged, DATASETS)["requirePartitionFilter"], "a tag changes nothing"


def test_labels_keep_to_googles_alphabet() -> None:
    assert (
        clean_labels({"run": "Run/7", "slice": "2026-11-20|" + "x" * 99})["slice"]
        == ("2026-11-20_" + "x" * 99)[:63]
    )


def test_upstream_of_the_test_catalogue_is_known() -> None:
    assert upstream_of([BEST, GOOD, EPISODES])[BEST.id] == frozenset({EPISODES.id})
