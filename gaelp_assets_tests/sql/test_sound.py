"""Which derived relations are set aside, and with which problems; what else is wrong with a catalogue stops it whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import Catalog
from gaelp_assets.catalog.load import read_relations
from gaelp_assets.errors import GaelpError
from gaelp_assets.sql import sound
from gaelp_assets.sql.sound import sound_catalog

FACT: dict[str, Any] = {
    "primary_key": ["id"],
    "fields": [{"name": "id", "type": "STRING", "mode": "REQUIRED"}, {"name": "score", "type": "FLOAT"}],
}
NUMBER = [{"name": "n", "type": "INTEGER"}]


def write(folder: Path, name: str, content: dict[str, Any] | str, sql: str | None = None) -> None:
    path = folder / "lab" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    common = {"description": name, "owner": "team:research"}
    path.write_text(content if isinstance(content, str) else json.dumps({**common, **content}))
    if sql is not None:
        path.with_suffix(".sql").write_text(sql)


def view(folder: Path, name: str, sql: str, **keys: Any) -> None:
    write(folder, name, {"kind": "derived_table", "fields": NUMBER, **keys}, sql)


def read(folder: Path, **arguments: Any) -> Catalog:
    return sound_catalog(read_relations(folder), **arguments)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has read no catalogue yet."""
    monkeypatch.setattr(sound, "_found_sound", set())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    write(folder, "scores", FACT)
    view(folder, "good", "SELECT COUNT(*) AS n FROM lab.scores")
    return folder


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT COUNT(*) AS n FROM", "lab/bad.sql"),
        ("SELECT COUNT(*) AS n FROM lab.scores; SELECT 1", "not one SELECT statement"),
        ("SELECT COUNT(*) AS n FROM lab.score", "did you mean 'lab.scores'"),
        ("SELECT COUNT(scor) AS n FROM lab.scores", "did you mean score?"),
        ("SELECT COUNTT(score) AS n FROM lab.scores", "COUNTT is not used here"),
        ("SELECT id, COUNT(*) AS n FROM lab.scores", "lab/bad.sql, line 1"),
        ("SELECT MAX(score) AS n FROM lab.scores", "the query gives FLOAT64"),
        ("SELECT COUNT(*) AS m FROM lab.scores", "the query gives no column n"),
        ("SELECT COUNT(*) AS n, 1 AS m FROM lab.scores", "no field declares the column m"),
        ("SELECT n FROM lab.bad", "in a circle"),
    ],
)
def test_a_broken_view_is_set_aside_with_its_problem_and_nothing_else_is(
    folder: Path, sql: str, words: str
) -> None:
    view(folder, "bad", sql)
    catalog = read(folder)
    assert list(catalog.relations) == ["lab.good", "lab.scores"]
    [found] = catalog.set_aside.values()
    assert found.id == "lab.bad"
    assert words in "\n".join(map(str, found.problems))


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        ("{", False),
        ({"kind": "view"}, False),
        ({"kind": "view", "fields": NUMBER, "feilds": 1}, True),
        ({"kind": "view", "fields": NUMBER, "clustering": ["m"]}, True),
    ],
    ids=["no JSON", "no fields", "an unknown key", "an unknown field"],
)
def test_a_views_broken_description_costs_the_view_alone(folder: Path, content: Any, whole: bool) -> None:
    write(folder, "bad", content, "SELECT COUNT(*) AS n FROM lab.scores")
    found = read(folder).set_aside["lab.bad"]
    assert "lab/bad.json" in str(found.problems[0])
    assert (found.relation is not None) is whole


def test_sql_whose_description_is_not_there_yet_costs_itself_alone(folder: Path) -> None:
    (folder / "lab" / "bad.sql").write_text("SELECT 1 AS n")
    assert list(read(folder).set_aside) == ["lab.bad"]


def test_what_reads_a_broken_view_is_told_so_whatever_lies_between(folder: Path) -> None:
    view(folder, "bad", "SELECT COUNT(scor) AS n FROM lab.scores")
    view(folder, "after", "SELECT n FROM lab.bad")
    view(folder, "last", "SELECT a.n FROM lab.after AS a CROSS JOIN lab.good")
    catalog = read(folder)
    assert list(catalog.relations) == ["lab.good", "lab.scores"]
    told = {id_: [problem.what for problem in found.problems] for id_, found in catalog.set_aside.items()}
    assert told["lab.after"] == ["reads lab.bad, which is set aside for its own problems"]
    assert told["lab.last"] == ["reads lab.after, which is set aside for its own problems"]


def test_each_circle_is_set_aside_and_what_stands_beside_it_is_not(folder: Path) -> None:
    for one, other in ("ab", "ba", "cd", "dc"):
        view(folder, one, f"SELECT n FROM lab.{other}")
    catalog = read(folder)
    assert list(catalog.set_aside) == ["lab.a", "lab.b", "lab.c", "lab.d"]
    assert list(catalog.relations) == ["lab.good", "lab.scores"]


def test_a_table_with_problems_stops_the_catalogue_with_the_problems_of_all_files(folder: Path) -> None:
    """Its files wait in the gateway: without the table they would be taken for strays."""
    view(folder, "bad", "SELECT n FROM lab.nothing")
    write(folder, "other", {**FACT, "primary_key": ["idd"]})
    with pytest.raises(GaelpError) as raised:
        read(folder)
    assert "lab/bad.sql" in str(raised.value)
    assert "lab/other.json" in str(raised.value)


def test_a_view_over_the_platforms_own_columns_is_sound(folder: Path) -> None:
    view(folder, "batches", "SELECT COUNT(DISTINCT _batch_id) AS n FROM lab.scores")
    assert "lab.batches" in read(folder).relations


def test_a_relation_that_is_set_aside_is_found_with_its_problems(folder: Path) -> None:
    view(folder, "bad", "SELECT COUNT(scor) AS n FROM lab.scores")
    for name in ("lab.bad", "bad"):
        with pytest.raises(GaelpError, match="did you mean score"):
            read(folder).find(name)


def test_sound_views_are_remembered_until_what_they_depend_on_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache" / "sound.json"
    read(folder, cache=cache)
    assert not cache.parent.exists(), "looking at an empty home makes nothing there"
    cache.parent.mkdir()
    read(folder, cache=cache, remember=False)
    assert not cache.exists()
    read(folder, cache=cache)
    with monkeypatch.context() as patched:
        patched.setattr(sound, "_found_sound", set())
        patched.setattr("gaelp_assets.sql.views.query_problems", lambda *_: pytest.fail("bound again"))
        assert "lab.good" in read(folder, cache=cache).relations
    view(folder, "good", "SELECT MAX(score) AS n FROM lab.scores")
    assert "lab.good" in read(folder, cache=cache).set_aside
    assert "lab.good" in read(folder, cache=cache).set_aside, "what is broken is not remembered as sound"
    fields = [FACT["fields"][0], {"name": "score", "type": "INTEGER"}]
    write(folder, "scores", {**FACT, "fields": fields})
    assert "lab.good" in read(folder, cache=cache).relations, "a column that it reads is another one"
    cache.write_text("not JSON")
    assert "lab.good" in read(folder, cache=cache).relations


def test_a_process_that_read_its_catalogue_again_bound_every_view_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(folder)
    with monkeypatch.context() as patched:
        patched.setattr("gaelp_assets.sql.views.query_problems", lambda *_: pytest.fail("bound again"))
        assert "lab.good" in read(folder).relations
