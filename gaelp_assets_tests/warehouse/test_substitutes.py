"""Substitutes of relations in a question's text, and which relations need one."""

from __future__ import annotations

import pytest

from gaelp_assets.catalog import Relation
from gaelp_assets.warehouse.bigquery.reader import empty_select
from gaelp_assets.warehouse.substitutes import lacking, relations_read, substitute
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


@pytest.mark.parametrize("relation", [EPISODES, EVERY_TYPE, *RELATIONS[:2]], ids=lambda relation: relation.id)
def test_google_gives_an_empty_table_the_columns_types(relation: Relation) -> None:
    columns = dict(Gate(CATALOG).output_columns(empty_select(relation)))
    assert {name: columns[name] for name in relation.field_names} == {
        field.name: declared_type(field) for field in relation.fields
    }
