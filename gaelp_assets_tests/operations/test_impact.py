"""What depends on a relation or a field, over relations that read one another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import Chart, Field, ForeignKey, Kind, Relation
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.cli.main import app
from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.impact import ROWS, Impact, find_target, impact_of, origin_of


def _relation(name: str, fields: dict[str, str], sql: str | None = None, **more: object) -> Relation:
    kind = Kind.TABLE if sql is None else Kind.DERIVED_TABLE
    declared = tuple(Field.model_validate({"name": name, "type": type_}) for name, type_ in fields.items())
    return Relation.model_validate(
        {"dataset": "lab", "name": name, "sql": sql, "kind": kind, "description": "-", "owner": "team:t", "fields": declared, **more}
    )  # fmt: skip


RELATIONS = [
    _relation("agents", {"agent": "STRING", "family": "STRING"}, primary_key=("agent",)),
    _relation(
        "runs",
        {"run": "STRING", "agent": "STRING", "score": "FLOAT", "day": "DATE"},
        primary_key=("run",),
        foreign_keys=(ForeignKey(fields=("agent",), references="lab.agents"),),
    ),
    _relation(
        "best",
        {"agent": "STRING", "top": "FLOAT"},
        "SELECT agent, MAX(score) AS top FROM lab.runs WHERE day > DATE '2024-01-01' GROUP BY agent",
        primary_key=("agent",),
    ),
    _relation(
        "board",
        {"family": "STRING", "mean_top": "FLOAT"},
        "SELECT a.family, AVG(b.top) AS mean_top FROM lab.best AS b JOIN lab.agents AS a ON a.agent = b.agent GROUP BY a.family",
        chart=Chart(x="family", y="mean_top"),
    ),
]
CATALOG = Catalog(RELATIONS, upstream_of(RELATIONS))


def _ways(found: Impact) -> dict[str, dict[str, set[tuple[str, str, str]]]]:
    return {
        each.relation.name: {
            way.column: {(end.relation, end.column, how) for end in way.ends for how in end.how or ("",)}
            for way in each.ways
        }
        for each in found.reached
    }


def test_a_value_is_followed_through_every_relation_to_the_chart(tmp_path: Path) -> None:
    found = impact_of(CATALOG, find_target(CATALOG, "runs.score"), tmp_path)
    assert _ways(found) == {
        "best": {"top": {("lab.runs", "score", "AGGREGATION")}},
        "board": {"mean_top": {("lab.best", "top", "AGGREGATION")}},
    }
    assert ("chart", "y is mean_top") in found.reached[1].mentions


def test_what_only_decides_rows_reaches_the_rows_of_everything_after_it(tmp_path: Path) -> None:
    found = impact_of(CATALOG, find_target(CATALOG, "lab.runs.day"), tmp_path)
    assert _ways(found) == {
        "best": {ROWS: {("lab.runs", "day", "FILTER")}},
        "board": {ROWS: {("lab.best", ROWS, "")}},
    }


def test_a_key_tells_its_check_and_the_tables_that_refer_to_it(tmp_path: Path) -> None:
    found = impact_of(CATALOG, find_target(CATALOG, "lab.agents.agent"), tmp_path)
    assert ("asset check", "key_uniqueness") in found.mentions
    assert ("referred to by", "lab.runs (agent -> agent)") in found.mentions
    assert _ways(found) == {"board": {ROWS: {("lab.agents", "agent", "JOIN")}}}


def test_the_way_up_ends_at_the_tables_and_tells_what_decides_rows(tmp_path: Path) -> None:
    found = origin_of(CATALOG, find_target(CATALOG, "board.mean_top"), tmp_path)
    ways = _ways(found)
    assert ways["runs"]["score"] == {("lab.best", "top", "AGGREGATION")}
    assert ways["runs"]["day"] == {("lab.best", ROWS, "FILTER")}
    assert ways["agents"]["family"] == {("lab.board", ROWS, "GROUP_BY")}
    assert [each.relation.name for each in found.reached] == ["best", "agents", "runs"]


def test_a_whole_relation_reaches_all_that_reads_it(tmp_path: Path) -> None:
    found = impact_of(CATALOG, find_target(CATALOG, "lab.best"), tmp_path)
    assert set(_ways(found)["board"]) == {"mean_top", ROWS}


@pytest.mark.parametrize(
    ("name", "words"),
    [("lab.rnus", "did you mean 'lab.runs'"), ("lab.runs.scor", "did you mean 'score'"), ("nothing", "unknown relation")],
)  # fmt: skip
def test_a_name_that_is_unknown_lists_close_ones(name: str, words: str) -> None:
    with pytest.raises(GaelpError, match=words):
        find_target(CATALOG, name)


def test_the_command_prints_a_tree_and_one_document(tmp_path: Path) -> None:
    env = {"GAELP_HOME": str(tmp_path)}
    name = "training.episodes.episode_return"
    shown = CliRunner().invoke(app, ["catalog", "impact", name], env=env)
    assert shown.exit_code == 0
    assert "sum_return <- training.episodes.episode_return (AGGREGATION)" in shown.stdout
    document = json.loads(CliRunner().invoke(app, ["catalog", "impact", name, "--json"], env=env).stdout)
    assert document["field"] == "episode_return"
    assert "analytics.training_progress" in {each["relation"] for each in document["relations"]}
