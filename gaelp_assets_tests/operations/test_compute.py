"""Relations that a function computes: found, called slice by slice, proved before they are stored, and computed again when due."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import WHOLE, Slice
from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.catalog_problems import validate_catalog
from gaelp_assets.operations.compute import refresh
from gaelp_assets.operations.impact import find_target, impact_of
from gaelp_assets.operations.lineage import column_sources, hidden_columns
from gaelp_assets.operations.stale import stale_slices
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets.warehouse.refreshes import Why
from gaelp_assets_tests.platforms import FIRST_DATE, drop, load, ndjson

COMMON = {"description": "for a test", "owner": "team:data-platform"}
DATE = {"name": "date", "type": "DATE", "mode": "REQUIRED", "description": "day"}
PLACE = {"name": "environment_id", "type": "STRING", "mode": "REQUIRED", "description": "where"}
BOTH = {"date": "date", "environment": "environment_id"}
FACTS = {
    **COMMON,
    "fields": [
        DATE, PLACE,
        {"name": "id", "type": "INTEGER", "mode": "REQUIRED", "description": "key"},
        {"name": "value", "type": "INTEGER", "description": "value"},
        {"name": "who", "type": "STRING", "description": "whose", "sensitive": True},
    ],
    "primary_key": ["id"],
    "partitioning": BOTH,
}  # fmt: skip
SPREAD: dict[str, Any] = {
    **COMMON,
    "kind": "derived_table",
    "python": "spread",
    "inputs": ["lab.facts"],
    "fields": [
        {**DATE, "computed_from": ["lab.facts.date"]},
        {**PLACE, "computed_from": ["lab.facts.environment_id"]},
        {
            "name": "spread",
            "type": "FLOAT",
            "description": "greatest less smallest value",
            "computed_from": ["lab.facts.value"],
            "checks": [{"name": "greater_than_or_equal_to", "arguments": {"min_value": 0}}],
        },
        {"name": "people", "type": "INTEGER", "description": "how many", "computed_from": ["lab.facts.who"]},
    ],
    "primary_key": ["date", "environment_id"],
    "partitioning": BOTH,
}
CODE = """\
import polars as pl

def spread(inputs):
    facts = inputs["lab.facts"]
    return facts.group_by("date", "environment_id").agg(
        (pl.col("value").max() - pl.col("value").min()).cast(pl.Float64).alias("spread"),
        pl.col("who").n_unique().alias("people"),
    )
"""
ONE = Slice(dt.date(2026, 11, 1), "CartPole-v1")
TWO = Slice(dt.date(2026, 11, 2), "Taxi-v4")


class Lab:
    """A platform whose catalogue has a table, and a relation that a function computes of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "catalog" / "lab"
        self.folder.mkdir(parents=True)
        self.write("facts", FACTS)
        self.write("spread", SPREAD, CODE)

    def write(self, name: str, content: dict[str, Any], code: str | None = None) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(content))
        if code is not None:
            (self.folder / f"{name}.py").write_text(code)

    @property
    def platform(self) -> Platform:
        variables = {"GAELP_HOME": str(self.home), "GAELP_CATALOG": str(self.home / "catalog")}
        platform = open_platform(load_settings({**variables, "GAELP_FIRST_DATE": str(FIRST_DATE)}))
        platform.gateway.prepare()
        return platform

    def put(self, slice_: Slice, name: str, values: dict[int, int | None]) -> None:
        rows = [
            {
                "date": str(slice_.date),
                "environment_id": slice_.environment,
                "id": id_,
                "value": value,
                "who": "x",
            }
            for id_, value in values.items()
        ]
        platform = self.platform
        drop(platform, f"cloud_ready/lab/facts/{slice_.path}/{name}.ndjson", ndjson(rows))
        load(platform, "lab.facts", slice_)

    def refresh_stale(self) -> set[tuple[str, Slice]]:
        platform, computed = self.platform, set()
        while stale := [found for found in stale_slices(platform) if found.relation.dataset == "lab"]:
            for found in stale:
                platform.warehouse.ensure([found.relation])
                refresh(platform, found.relation, found.slice, run_id="test")
                computed.add((found.relation.name, found.slice))
        return computed

    def rows(self, name: str = "spread") -> list[dict[str, Any]]:
        return self.platform.warehouse.query(f"SELECT * FROM lab.{name} ORDER BY 1").frame.to_dicts()

    def problems(self) -> list[str]:
        return [str(problem) for problem in validate_catalog([self.home / "catalog"]).problems]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_slices_are_computed_when_their_rows_or_their_code_change_and_only_then(lab: Lab) -> None:
    lab.put(ONE, "a", {1: 5, 2: 9})
    lab.put(TWO, "a", {3: 1})
    assert lab.refresh_stale() == {("spread", ONE), ("spread", TWO)}
    assert [(row["date"], row["spread"], row["people"]) for row in lab.rows()] == [
        (ONE.date, 4.0, 1), (TWO.date, 0.0, 1)
    ]  # fmt: skip
    assert lab.refresh_stale() == set()
    lab.put(ONE, "late", {4: 25})
    assert lab.refresh_stale() == {("spread", ONE)}
    assert [row["spread"] for row in lab.rows()] == [20.0, 0.0]
    lab.write("spread", SPREAD, CODE + "\n# a comment changes nothing\n")
    assert lab.refresh_stale() == set()
    lab.write("spread", SPREAD, CODE.replace(".max() -", ".max() * 2 -"))
    assert lab.refresh_stale() == {("spread", ONE), ("spread", TWO)}
    assert [row["spread"] for row in lab.rows()] == [45.0, 1.0]


def test_a_module_of_the_folder_that_the_code_imports_is_part_of_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = lab.home / "code_of_a_lab"
    package.mkdir()
    (package / "tools.py").write_text("FACTOR = 1.0\n")
    (package / "spreads.py").write_text(
        "from code_of_a_lab.tools import FACTOR\n"
        + CODE.replace("cast(pl.Float64)", "cast(pl.Float64).mul(FACTOR)")
    )
    monkeypatch.syspath_prepend(str(lab.home))
    lab.write("spread", {**SPREAD, "python": "code_of_a_lab.spreads:spread"})
    (lab.folder / "spread.py").unlink()
    lab.put(ONE, "a", {1: 5, 2: 9})
    lab.refresh_stale()
    assert [row["spread"] for row in lab.rows()] == [4.0]
    (package / "tools.py").write_text("FACTOR = 2.0\n")
    [stale] = [found for found in stale_slices(lab.platform) if found.relation.dataset == "lab"]
    assert stale.why is Why.OTHER_CODE


def test_an_unsliced_relation_may_read_one_that_a_function_computes(lab: Lab) -> None:
    total = {"name": "total", "type": "FLOAT", "description": "sum", "computed_from": ["lab.spread.spread"]}
    code = "import polars as pl\ndef total(inputs):\n    return inputs['lab.spread'].select(pl.col('spread').sum().alias('total'))\n"
    lab.write(
        "total",
        {**COMMON, "kind": "derived_table", "python": "total", "inputs": ["lab.spread"], "fields": [total]},
        code,
    )
    lab.put(ONE, "a", {1: 5, 2: 9})
    lab.put(TWO, "a", {3: 1, 4: 4})
    lab.refresh_stale()
    assert lab.rows("total") == [{"total": 7.0}]
    lab.put(TWO, "b", {5: 11})
    assert lab.refresh_stale() == {("spread", TWO), ("total", WHOLE)}
    assert lab.rows("total") == [{"total": 14.0}]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("return 5", "the function returned a int"),
        ("return facts.select('date')", "no column 'environment_id'"),
        ("return good.with_columns(extra=1)", "unknown column 'extra'"),
        ("return good.with_columns(spread=pl.lit('a'))", "column 'spread' is String; expected"),
        ("return good.with_columns(spread=pl.lit(-1.0))", "1 of 1 rows break greater_than_or_equal_to of spread"),
        ("return good.with_columns(date=pl.lit(None, pl.Date))", "1 of 1 rows have no date"),
        ("return pl.concat([good, good])", "1 of 2 rows repeat a key"),
        ("return good.with_columns(environment_id=pl.lit('Elsewhere-v0'))", "1 of 1 rows are not of the slice"),
        ("raise ValueError('secret 5')", "the function failed: ValueError"),
        ("import sys; sys.exit('secret 5')", "the function failed: SystemExit"),
    ],
)  # fmt: skip
def test_what_a_function_gives_is_proved_and_the_slice_stays_as_it_was(
    lab: Lab, line: str, told: str
) -> None:
    lab.put(ONE, "a", {1: 5, 2: 9})
    lab.refresh_stale()
    before = lab.rows()
    code = CODE.replace("return facts.group", "good = facts.group") + f"    {line}\n"
    lab.write("spread", SPREAD, code)
    with pytest.raises(GaelpError) as caught:
        lab.refresh_stale()
    text = str(caught.value)
    assert told in text
    assert "lab.spread" in text
    assert "secret" not in text
    assert "expected expected" not in text
    assert "not_null" not in text
    if "failed" in told:
        assert "line 9" in text
    assert lab.rows() == before


def test_all_that_is_wrong_with_a_description_is_told_at_once(lab: Lab) -> None:
    fields = [
        {**SPREAD["fields"][0], "computed_from": ["lab.facts.dat"]},
        {**SPREAD["fields"][1], "computed_from": ["lab.fact.environment_id"]},
        {**SPREAD["fields"][2], "computed_from": []},
    ]
    lab.write("spread", {**SPREAD, "python": "spred", "fields": fields, "kind": "view"})
    told = "\n".join(lab.problems())
    for text in (
        "unknown function of", "spread", "did you mean 'spread'", "a view in Python", "says nothing of where it comes from",
        "unknown field of lab.facts 'dat'", "unknown input 'lab.fact'",
    ):  # fmt: skip
        assert text in told, told
    lab.write("spread", {**SPREAD, "python": "no.such.module:function"})
    assert any("there is no module 'no.such.module'" in problem for problem in lab.problems())
    lab.write("spread", {**SPREAD, "inputs": ["lab.nothing"]})
    assert any("unknown relation 'lab.nothing'" in problem for problem in lab.problems())
    lab.write("spread", SPREAD, "def spread(inputs, more):\n    return more\n")
    assert any("a function of one argument" in problem for problem in lab.problems())
    lab.write("spread", SPREAD, "def spread(:\n")
    assert any("line 1 is no Python" in problem for problem in lab.problems())
    # All else goes on without it.
    assert lab.platform.catalog.set_aside.keys() == {"lab.spread"}
    lab.write("spread", SPREAD, CODE)
    assert lab.problems() == []


def test_lineage_is_what_the_fields_declare_and_what_is_sensitive_stays_hidden(lab: Lab) -> None:
    catalog, cache = lab.platform.catalog, lab.home / "cache"
    relation = catalog["lab.spread"]
    assert column_sources(relation, catalog, cache)["spread"] == [("lab.facts", "value")]
    assert hidden_columns(relation, catalog, cache) == {"people"}
    assert "greater_than_or_equal_to of spread" in str(
        impact_of(catalog, find_target(catalog, "lab.facts.value"), cache)
    )
