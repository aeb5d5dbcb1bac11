"""The version of a derived relation's code, and the relations whose change makes its slices stale."""

from __future__ import annotations

from typing import Any

import pytest

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.derivation import code_version, slice_sources, stored_sources
from gaelp_assets.catalog.validate import upstream_of

FIELDS: list[dict[str, Any]] = [
    {"name": "date", "type": "DATE"},
    {"name": "environment", "type": "STRING"},
    {"name": "score", "type": "FLOAT"},
]
BY_DATE: dict[str, Any] = {"partitioning": {"date": "date"}}
BY_BOTH: dict[str, Any] = {"partitioning": {"date": "date", "environment": "environment"}}
CURVE = "SELECT date, environment, MAX(score) AS score FROM lab.good GROUP BY date, environment"
GOOD = "SELECT date, environment, score FROM lab.scores WHERE score > 0"


def relation(name: str, sql: str | None = None, **keys: Any) -> Relation:
    content = {"description": name, "owner": "team:tests", "fields": FIELDS, **keys}
    return Relation.model_validate({**content, "dataset": "lab", "name": name, "sql": sql})


def catalog(curve: str = CURVE, good: str = GOOD, **keys: Any) -> Catalog:
    relations = [
        relation("scores", **BY_BOTH),
        relation("days", **BY_DATE),
        relation("players"),
        relation("good", good, kind="view"),
        relation("curve", curve, **{"kind": "derived_table", **BY_BOTH, **keys}),
    ]
    return Catalog(relations, upstream_of(relations))


def version(curve: str = CURVE, good: str = GOOD, **keys: Any) -> str:
    made = catalog(curve, good, **keys)
    return code_version(made, made["lab.curve"])


@pytest.mark.parametrize(
    "same",
    [
        "-- why\nSELECT date, environment, /* best */ MAX(score) AS score # points\nFROM lab.good GROUP BY date, environment;\n",
        "select  Date,environment,\n\tmax( score )as score from lab.good\ngroup by date,environment",
    ],
)
def test_comments_white_space_and_case_do_not_change_the_version(same: str) -> None:
    assert version(same) == version()


@pytest.mark.parametrize(
    "other",
    [
        {"curve": CURVE.replace("MAX(score)", "MAX(score) * 1000")},
        {"curve": CURVE.replace("MAX(score)", "MAX(IF(environment = 'a', score, 0))")},
        {"good": GOOD.replace("> 0", "> 1")},
        {"fields": [*FIELDS, {"name": "more", "type": "FLOAT"}]},
        {"fields": [*FIELDS[:2], {"name": "score", "type": "NUMERIC"}]},
        {"fields": [*FIELDS[:2], {"name": "score", "type": "FLOAT", "mode": "REQUIRED"}]},
        {"partitioning": {"date": "date"}},
    ],
)
def test_all_that_changes_the_meaning_changes_the_version(other: dict[str, Any]) -> None:
    assert version(**other) != version()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("'a'", "'A'"),
        ("'a b'", "'a  b'"),
        ("'-- a'", "'-- b'"),
        ("'\\n'", "r'\\n'"),
        ("'score'", "score"),
        ("b'a'", "'a'"),
    ],
)
def test_texts_are_compared_to_the_last_letter(one: str, other: str) -> None:
    assert version(f"SELECT {one} AS x FROM lab.good") != version(f"SELECT {other} AS x FROM lab.good")


def test_descriptions_do_not_change_the_version() -> None:
    described = [{**field, "description": "words"} for field in FIELDS]
    assert version(fields=described, description="other") == version()


def test_what_is_stored_is_found_through_plain_views() -> None:
    made = catalog()
    assert [source.id for source in stored_sources(made, made["lab.curve"])] == ["lab.scores"]


@pytest.mark.parametrize(
    ("keys", "sources"),
    [
        (BY_BOTH, ["lab.scores"]),
        (BY_DATE, ["lab.days", "lab.scores"]),
        ({"partitioning": None}, ["lab.days", "lab.players", "lab.scores"]),
    ],
)
def test_a_slice_depends_on_what_is_sliced_as_finely_at_least(
    keys: dict[str, Any], sources: list[str]
) -> None:
    """A dimension's row would make every slice stale; a relation that is a single slice follows everything."""
    made = catalog("SELECT * FROM lab.good, lab.days, lab.players", **keys)
    assert [source.id for source in slice_sources(made, made["lab.curve"])] == sources
