"""Substitutes of relations in a question's text, and which relations need one."""

from __future__ import annotations

import pytest

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.warehouse.bigquery.reader import empty_select, widened_select
from gaelp_assets.warehouse.ledger import DEAD_LETTER
from gaelp_assets.warehouse.substitutes import fields_to_come, lacking, relations_read, substitute
from gaelp_assets_tests.contract.warehouses import BEST, CATALOG, EPISODES, EVERY_TYPE, GOOD, RELATIONS
from gaelp_assets_tests.zetasql_gate import Gate, declared_type

TABLES = {"lab.episodes": "(SELECT 1 AS x)", "lab.versions": "other"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM lab.episodes", "SELECT * FROM (SELECT 1 AS x) AS `episodes`"),
        ("SELECT * FROM lab . episodes e", "SELECT * FROM (SELECT 1 AS x) e"),
        ("SELECT * FROM `lab.episodes` AS `e`", "SELECT * FROM (SELECT 1 AS x) AS `e`"),
        ("SELECT * FROM `lab`.`episodes` -- lab.episodes", "SELECT * FROM (SELECT 1 AS x) AS `episodes` -- lab.episodes"),
        ("SELECT 'ü lab.episodes' FROM lab.versions", "SELECT 'ü lab.episodes' FROM other AS `versions`"),
        ("SELECT * FROM `p.lab.episodes`", "SELECT * FROM `p.lab.episodes`"),
        (
            "SELECT * FROM lab.versions v, lab.episodes, v.xs WHERE 0 < (SELECT COUNT(*) FROM lab.versions)",
            "SELECT * FROM other v, (SELECT 1 AS x) AS `episodes`, v.xs WHERE 0 < (SELECT COUNT(*) FROM other AS `versions`)",
        ),
    ],
)  # fmt: skip
def test_references_are_replaced_and_nothing_else(sql: str, expected: str) -> None:
    assert substitute(sql, TABLES) == expected
    assert substitute(sql, {}) == sql


def test_what_a_question_reads_is_what_it_names() -> None:
    assert [
        r.id for r in relations_read(CATALOG, "SELECT * FROM lab.episodes, lab_views.good, lab.nothing")
    ] == [
        "lab.episodes",
        "lab_views.good",
    ]
    assert relations_read(CATALOG, "DROP TABLE lab.episodes") == []


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({GOOD.id, BEST.id}, []),
        ({BEST.id}, [GOOD.id]),
        ({GOOD.id}, [BEST.id, GOOD.id]),
        (set(), [BEST.id, GOOD.id]),
    ],
)
def test_a_view_is_lacking_with_any_table_that_it_reads_and_comes_after_it(
    there: set[str], expected: list[str]
) -> None:
    asked: list[str] = []

    def is_there(relation: Relation) -> bool:
        asked.append(relation.id)
        return relation.id in there

    found = lacking(CATALOG, [GOOD, BEST, GOOD], is_view=lambda relation: relation is GOOD, is_there=is_there)
    assert [relation.id for relation in found] == expected
    assert len(asked) == len(set(asked)), "each is looked up once"
    assert EPISODES.id not in asked, "what a table was computed from does not matter"


def test_only_fields_that_may_be_null_and_only_of_the_platforms_own_tables_are_still_to_come() -> None:
    letters = CATALOG[DEAD_LETTER]
    stored = [name.upper() for name in letters.field_names if name not in {"acknowledged_at", "batch_id"}]
    assert [field.name for field in fields_to_come(letters, lambda: stored)] == ["acknowledged_at"]
    assert fields_to_come(letters, lambda: letters.field_names) == ()
    assert fields_to_come(EPISODES, list) == ()


def test_a_table_that_is_short_of_fields_needs_a_substitute_and_a_view_of_it_that_is_there_needs_none() -> (
    None
):
    def found(there: set[str]) -> list[str]:
        lacks = lacking(
            CATALOG,
            [GOOD],
            is_view=lambda relation: relation is GOOD,
            is_there=lambda relation: relation.id in there,
            is_short=lambda relation: relation is BEST,
        )
        return [relation.id for relation in lacks]

    assert found({GOOD.id, BEST.id}) == [BEST.id]
    assert found({BEST.id}) == [BEST.id, GOOD.id]


def test_google_gives_the_fields_to_come_their_types() -> None:
    letters = CATALOG[DEAD_LETTER]
    older = letters.model_copy(
        update={"fields": tuple(field for field in letters.fields if field.name != "acknowledged_at")}
    )
    gate = Gate(Catalog([older]))
    added = fields_to_come(letters, lambda: older.field_names)
    columns = dict(gate.output_columns(widened_select(letters, added)))
    assert [*columns] == [*older.field_names, "acknowledged_at"]
    assert columns["acknowledged_at"] == "TIMESTAMP"


@pytest.mark.parametrize("relation", [EPISODES, EVERY_TYPE, *RELATIONS[:2]], ids=lambda relation: relation.id)
def test_google_gives_an_empty_table_the_columns_types(relation: Relation) -> None:
    columns = dict(Gate(CATALOG).output_columns(empty_select(relation)))
    assert {name: columns[name] for name in relation.field_names} == {
        field.name: declared_type(field) for field in relation.fields
    }
