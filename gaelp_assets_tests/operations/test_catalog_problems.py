"""Validation tells everything at once: no broken file hides what is wrong with another, or what else is wrong with itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog.read import read_relation
from gaelp_assets.operations.catalog_problems import validate_catalog
from gaelp_assets_tests.catalog.test_catalog_files import write
from gaelp_assets_tests.zetasql_gate import CACHE

ABOUT: dict[str, Any] = {"description": "A case.", "owner": "team:lab"}
RUNS: dict[str, Any] = {
    **ABOUT,
    "fields": [
        {"name": "run", "type": "STRING", "mode": "REQUIRED"},
        {"name": "day", "type": "DATE", "mode": "REQUIRED"},
        {"name": "score", "type": "FLOAT"},
    ],
    "primary_key": ["run"],
    "partitioning": {"date": "day"},
}


def derived(*fields: str, **keys: object) -> dict[str, Any]:
    declared = [dict(zip(("name", "type", "mode"), field.split(), strict=False)) for field in fields]
    return {**ABOUT, "kind": "derived_table", "fields": declared, **keys}


def told(folder: Path) -> list[str]:
    return [str(problem).removeprefix(f"{folder}/") for problem in validate_catalog([folder]).problems]


def test_problems_of_form_hid_those_of_meaning_and_of_views(tmp_path: Path) -> None:
    """A user mended all of the first, and was then told of as many others."""
    write(tmp_path, "lab.broken", "{")
    write(
        tmp_path,
        "lab.runs",
        {
            **RUNS,
            "colour": "red",
            "retention_days": 0,
            "primary_key": ["rn"],
            "fields": [
                RUNS["fields"][0],
                {"name": "day", "type": "DAT", "mode": "REQUIRED"},
                {"name": "score", "type": "FLOAT", "checks": [{"name": "in_rnge"}, {"nam": "isin"}]},
            ],
        },
    )
    write(
        tmp_path, "marts.sums", derived("run STRING", "s INTEGER"), "SELECT run, score AS s, x FROM lab.runs"
    )
    write(
        tmp_path,
        "marts.days",
        derived("day DATE", "n INTGER", ownr="a", primary_key=["dy"]),
        "SELECT day, nothing AS n, scre AS m FROM lab.runs, lab.broken, lab.rns",
    )
    write(tmp_path, "marts.half", derived("a STRING"), "SELECT a FRM lab.runs WHERE")
    write(tmp_path, "marts.reads", derived("s STRING"), "SELECT s FROM marts.sums")
    problems = told(tmp_path)
    expected = [
        "lab/broken.json: not JSON",
        "lab/runs.json, colour: unknown key",
        "lab/runs.json, retention_days: Input should be",
        "lab/runs.json, fields.1.type: Input should be",
        "lab/runs.json, fields.2.checks.1.nam: unknown key",
        "lab/runs.json, fields.2.checks.1.name: Field required",
        "lab/runs.json, primary_key: unknown field 'rn', did you mean 'run'?",
        "lab/runs.json, field score, check in_rnge: unknown check rule",
        "marts/days.json, ownr: unknown key 'ownr', did you mean 'owner'?",
        "marts/days.json, fields.1.type: Input should be",
        "marts/days.json, primary_key: unknown field 'dy', did you mean 'day'?",
        "marts/days.sql, line 1, column 64: unknown relation 'lab.rns', did you mean 'lab.runs'?",
        "marts/days.sql, line 1, column 27, field m: no field declares the column m",
        "marts/half.sql, line 1",
        "marts/reads.sql, line 1, column 8, field s: the query gives INT64, the field is declared as STRING",
        "marts/sums.sql, line 1, column 13, field s: the query gives FLOAT64, the field is declared as INTEGER",
        "marts/sums.sql, line 1, column 25: unrecognised name x",
        "marts/sums.sql, line 1, column 25, field x: no field declares the column x",
    ]
    assert {
        words: [words in problem for problem in problems].count(True) for words in expected
    } == dict.fromkeys(expected, 1)
    assert len(problems) == len(expected)
    files = [problem.split(",")[0].split(":")[0].rpartition(".")[0] for problem in problems]
    assert files == sorted(files)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "tabel"}, ["kind"]),
        ({"primary_key": "run"}, ["primary_key"]),
        ({"primary_key": [1]}, ["primary_key.0"]),
        (
            {"partitioning": {"dat": "day"}, "require_partition_filter": True},
            ["partitioning.dat", "partitioning.date"],
        ),
        (
            {"fields": [{"nam": "run"}, *RUNS["fields"][1:]]},
            ["fields.0.name", "fields.0.type", "fields.0.nam"],
        ),
        ({"fields": [{"name": "run", "type": "TXT"}, *RUNS["fields"][1:]]}, ["fields.0.type"]),
        (
            {"fields": [{"name": "run", "type": "STRING", "mode": "NEVER"}, *RUNS["fields"][1:]]},
            ["fields.0.mode"],
        ),
        ({"fields": []}, ["fields"]),
        ({"fields": ["run", *RUNS["fields"][1:]]}, ["fields.0"]),
        ({"fields": {"run": "STRING"}}, ["fields"]),
        ({"on_key_conflict": {"lates": "day"}}, ["on_key_conflict"]),
        ({"description": ""}, ["description"]),
        ({"owner": None, "tags": {"a": 1}, "clustering": list("abcde")}, ["owner", "tags.a", "clustering"]),
        ({"foreign_keys": [{"fields": []}], "chart": {"x": "run"}}, ["foreign_keys.0", "chart.y"]),
    ],
)
def test_what_cannot_be_read_is_called_wrong_once(
    tmp_path: Path, changes: dict[str, object], expected: list[str]
) -> None:
    write(tmp_path, "lab.runs", {**RUNS, **changes})
    write(
        tmp_path,
        "marts.counts",
        derived("run STRING", "n INTEGER"),
        "SELECT run, COUNT(*) AS n FROM lab.runs GROUP BY run",
    )
    write(
        tmp_path,
        "lab.steps",
        {**RUNS, "foreign_keys": [{"fields": ["run"], "references": "lab.runs"}]},
    )
    problems = told(tmp_path)
    assert all(problem.startswith("lab/runs.json, ") for problem in problems)
    for key in expected:
        assert any(problem.startswith(f"lab/runs.json, {key}") for problem in problems), problems
    relation = read_relation(tmp_path / "lab" / "runs.json").relation
    assert relation is not None
    assert relation.name == "runs"


def test_a_view_whose_sql_cannot_be_read_is_not_said_to_have_none(tmp_path: Path) -> None:
    write(tmp_path, "marts.v", derived("a STRING"), "")
    (tmp_path / "marts" / "v.sql").write_bytes(b"\xff")
    assert told(tmp_path) == ["marts/v.sql: not UTF-8 at byte 0; expected a text file in UTF-8"]


def test_a_file_that_may_override_is_not_called_a_second_description(tmp_path: Path) -> None:
    write(tmp_path / "a", "lab.runs", RUNS)
    write(tmp_path / "b", "lab.runs", {**RUNS, "overrides": "perhaps"})
    [problem] = validate_catalog([tmp_path / "a", tmp_path / "b"]).problems
    assert problem.where == f"{tmp_path}/b/lab/runs.json, overrides"


def test_a_sound_folder_is_counted_with_the_shipped_relations(tmp_path: Path) -> None:
    shipped = validate_catalog().relations
    write(tmp_path, "lab.runs", RUNS)
    write(tmp_path, "marts.v", derived("n INTEGER"), "SELECT COUNT(*) AS n FROM lab.runs")
    assert validate_catalog([tmp_path]) == (shipped + 2, [])


def test_googles_analyzer_is_asked_where_its_code_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "lab.runs", RUNS)
    write(tmp_path, "marts.v", derived("n INTEGER"), "SELECT COUNT(*) AS n FROM lab.runs")
    assert validate_catalog([tmp_path], analyzer_cache=CACHE).problems == []
