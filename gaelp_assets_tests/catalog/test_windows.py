"""A declaration of windows is answered like SQL would be: with every problem at once, where it stands and what would be right."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog.folders import FOLDER
from gaelp_assets.catalog.load import Reading, read_relations
from gaelp_assets.catalog.model import ReadsSlices, Relation
from gaelp_assets.catalog.window import days_after, microseconds, starts
from gaelp_assets.catalog.window_sql import text_literal
from gaelp_assets.errors import GaelpError
from gaelp_assets.platform import read_catalog
from gaelp_assets.settings import CHECKOUT
from gaelp_assets.sql.slicing import slice_problems
from gaelp_assets.sql.sound import sound_catalog
from gaelp_assets.sql.transpile import output_columns

HOURLY: dict[str, Any] = json.loads(
    (FOLDER / "analytics" / "hourly_learning.json").read_text(encoding="utf-8")
)


ALL: dict[str, str] = HOURLY["window"]["aggregates"]
EPISODES: dict[str, Any] = json.loads((FOLDER / "training" / "episodes.json").read_text(encoding="utf-8"))


def reading_of(folder: Path, window: Mapping[str, Any] | None = None, **keys: Any) -> Reading:
    """The shipped hourly table, changed, beside what it reads and little else; keys of None are left out."""
    content = copy.deepcopy(HOURLY) | keys
    content["window"] |= window or {}
    content = {key: value for key, value in content.items() if value is not None}
    content["window"] = {key: value for key, value in content["window"].items() if value is not None}
    episodes = {key: value for key, value in EPISODES.items() if key != "foreign_keys"}
    ledger = (FOLDER / "ops" / "import_logs.json").read_text(encoding="utf-8")
    files = {
        "training/episodes": json.dumps(episodes),
        "ops/import_logs": ledger,
        "mine/hourly": json.dumps(content),
    }
    for name, text in files.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_relations(folder)


def problems(folder: Path, window: Mapping[str, Any] | None = None, **keys: Any) -> str:
    return "\n".join(map(str, reading_of(folder, window, **keys).problems))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({"size": "0h"}, ["window.size", "the size is 0"]),
        ({"size": "an hour"}, ["window.size", "'an hour' is no duration", "90s, 15m, 1h or 7d"]),
        ({"size": "8d"}, ["the size is 8d", "7d at most"]),
        ({"slide": "2h"}, ["window.slide", "greater than the size 1h"]),
        ({"slide": "25m"}, ["window.slide", "25m does not divide the size 1h"]),
        ({"slide": "0s"}, ["the slide is 0"]),
        ({"slide": "1s"}, ["each row is in 3600 windows", "1440"]),
        ({"allowed_lateness": "soon"}, ["window.allowed_lateness", "no duration"]),
        ({"allowed_lateness": "400d"}, ["365d at most"]),
        ({"source": "training.episode"}, ["window.source", "did you mean 'training.episodes'?"]),
        ({"source": "episodes"}, ["window.source", "training.episodes"]),
        ({"source": "ops.import_logs"}, ["ops.import_logs is a ledger"]),
        ({"time_field": "ended"}, ["window.time_field", "did you mean 'ended_at'?"]),
        ({"time_field": "date"}, ["'date' of training.episodes is DATE", "TIMESTAMP"]),
        ({"time_field": "started_at"}, ["is NULLABLE", "in no window", "nothing says that it is the UTC day of started_at"]),
        ({"group_by": ["environment_id", "agent_id", "agent_id"]}, ["'agent_id' stands 2 times"]),
        ({"group_by": ["environment_id", "episode_return"]}, ["window.group_by", "'episode_return' of training.episodes is FLOAT"]),
        ({"group_by": ["agent_id"]}, ["'environment_id' is not in group_by"]),
        ({"group_by": ["environment_id", "agent"]}, ["did you mean 'agent_id'?"]),
        ({"where": {"purpos": ["training"]}}, ["window.where.purpos", "did you mean 'purpose'?"]),
        ({"where": {"purpose": []}}, ["no row would count"]),
        ({"where": {"purpose": [1], "unfinished": ["no"]}}, ["1: field 'purpose' is STRING", "field 'unfinished' is BOOLEAN"]),
        ({"where": {"episode_return": ["1"]}}, ["'episode_return' of training.episodes is FLOAT"]),
        ({"aggregates": {"n": "COUNT(*) + 1"}}, ["window.aggregates.n", "no function of a field"]),
        ({"aggregates": {"n": "MEDIAN(episode_return)"}}, ["unknown function 'MEDIAN'", "AVG, COUNT, COUNTIF, MAX, MIN, SUM"]),
        ({"aggregates": {"n": "SUM(*)"}}, ["SUM(*)", "COUNT(*) counts rows"]),
        ({"aggregates": {"n": "SUM(agent_id)"}}, ["'agent_id' of training.episodes is STRING", "FLOAT or INTEGER"]),
        ({"aggregates": {"n": "COUNTIF(steps)"}}, ["unknown field of training.episodes 'steps'"]),
        ({"aggregates": {"agent_id": "COUNT(*)"}}, ["2 columns would be called agent_id"]),
        ({"aggregates": {"window_end": "COUNT(*)"}}, ["2 columns would be called window_end"]),
        ({"aggregates": {}}, ["window.aggregates", "at least 1"]),
        ({"slid": "15m"}, ["window.slid", "did you mean 'slide'?"]),
        ({"allowed_lateness": None}, ["unknown column of its windows 'final_at'"]),
        ({"aggregates": {**ALL, "seeds": "MAX(seed)"}}, ["no field declares the column seeds", '"type": "INTEGER"']),
        (
            {"aggregates": {**ALL, "steps": "AVG(seed)", "min_return": "MIN(discounted_return)"}},
            ["AVG(seed) is FLOAT, and the field is declared as INTEGER", "MIN(discounted_return) can be NULL"],
        ),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_named_with_found_and_allowed(
    tmp_path: Path, window: dict[str, Any], expected: list[str]
) -> None:
    text = problems(tmp_path, window)
    for words in ["mine/hourly.json", *expected]:
        assert words in text


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"kind": "view"}, "a view with windows"),
        ({"kind": "table"}, "a table with windows"),
        ({"reads_slices": {"before": 1}}, "which days they read follows from their sizes"),
        ({"python": "f", "inputs": ["training.episodes"]}, "both python and windows"),
        ({"partitioning": {"date": "date", "environment": "agent_id"}}, "'agent_id' does not slice training.episodes"),
        ({"partitioning": None}, "unknown column of its windows 'date'"),
        ({"partitioning": {"date": "window_start", "environment": "environment_id"}}, "unknown column of its windows 'date'"),
    ],
)  # fmt: skip
def test_what_stands_beside_windows_fits_them(tmp_path: Path, keys: dict[str, Any], expected: str) -> None:
    assert expected in problems(tmp_path, **keys)


def test_windows_with_sql_beside_them_are_told_so(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "hourly.sql").write_text("SELECT 1 AS n", encoding="utf-8")
    assert "both SQL and windows" in problems(tmp_path)


def test_all_problems_of_a_declaration_come_at_once(tmp_path: Path) -> None:
    text = problems(
        tmp_path, {"size": "0h", "time_field": "ended", "group_by": ["agent"], "aggregates": {"n": "X(y)"}}
    )
    for words in ("size is 0", "'ended'", "'agent'", "function 'X'"):
        assert words in text


def test_a_broken_declaration_costs_itself_alone(tmp_path: Path) -> None:
    catalog = sound_catalog(reading_of(tmp_path, {"slide": "25m"}))
    assert set(catalog.set_aside) == {"mine.hourly"}
    assert "training.episodes" in catalog.relations
    with pytest.raises(GaelpError, match="does not divide"):
        catalog.find("mine.hourly")


def test_a_source_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    reading_of(tmp_path)
    (tmp_path / "training" / "episodes.json").write_text("{", encoding="utf-8")
    assert [problem.what[:8] for problem in read_relations(tmp_path).problems] == ["not JSON"]


def compiled(folder: Path, window: Mapping[str, Any] | None = None) -> Relation:
    reading = reading_of(folder, window)
    assert reading.problems == []
    return next(relation for relation in reading.relations if relation.name == "hourly")


@pytest.mark.parametrize(
    ("sizes", "after"), [("1h", None), ("1h/15m", 1), ("7h", 1), ("1d", None), ("7d", 6), ("2d/1h", 2)]
)
def test_the_days_that_windows_read_follow_from_their_sizes(
    tmp_path: Path, sizes: str, after: int | None
) -> None:
    size, _, slide = sizes.partition("/")
    found = compiled(tmp_path, {"size": size, "slide": slide or None}).reads_slices
    assert (found.after if found is not None else None, found.before if found is not None else 0) == (
        after,
        0,
    )
    # By trying all starts of two weeks.
    length, every = microseconds(size), microseconds(slide or size)
    assert length
    assert every
    day = 86_400_000_000
    reached = {(start + length - 1) // day - start // day for start in range(0, 35 * day, every)}
    assert max(reached) == days_after(length, every) == (after or 0)


def test_a_moment_is_in_the_windows_that_hold_it() -> None:
    for moment in (-61, -60, -1, 0, 1, 59, 60, 10**15 + 7):
        found = set(starts(moment, size=60, every=20))
        around = range(moment // 20 * 20 - 200, moment + 200, 20)
        assert found == {start for start in around if start <= moment < start + 60}


def test_columns_and_key_of_the_shipped_windows_are_those_declared() -> None:
    catalog = read_catalog()
    relation = catalog["analytics.hourly_learning"]
    assert relation.sql is not None
    columns = output_columns(relation.sql, {r.id: r.fields for r in catalog})
    assert {(c.name, c.type) for c in columns} == {(f.name, f.type) for f in relation.fields}
    assert catalog.upstream[relation.id] == {"training.episodes"}


def test_the_general_rule_of_slices_agrees_that_no_window_of_an_hour_leaves_its_day(tmp_path: Path) -> None:
    """Grouped by the slice's date besides, the query is one that the rule for all queries lets through."""
    relation = compiled(tmp_path)
    assert relation.sql is not None
    by_date = relation.sql.replace("DATE(TIMESTAMP_MICROS(w.`_window`)) AS `date`", "w.`date`")
    by_date = by_date.replace("GROUP BY", "GROUP BY w.`date`,").replace(
        "    s.`environment_id`", "    s.`date`, s.`environment_id`"
    )
    asked = relation.model_copy(update={"sql": by_date, "window": None})
    assert by_date.count("`date`") == 4
    assert slice_problems([*read_catalog(), asked], asked) == []


def test_the_declaration_of_the_page_is_one(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "windows.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    reading_of(tmp_path)
    (tmp_path / "mine" / "hourly.json").write_text(block, encoding="utf-8")
    reading = read_relations(tmp_path)
    assert reading.problems == []
    found = next(relation for relation in reading.relations if relation.name == "hourly")
    assert found.reads_slices == ReadsSlices(after=1)


def test_a_text_in_a_condition_is_a_constant_whatever_it_holds() -> None:
    for text in ("it's", "a\\", "\\'", 'two\nlines "here"'):
        [column] = output_columns(f"SELECT {text_literal(text)} AS t")
        assert column.type == "STRING"
