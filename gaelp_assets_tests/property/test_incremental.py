"""A chain of derived tables follows whatever happens to what it reads: late rows, resends, withdrawals, other SQL and Python, in any order.

What is asked of it: only the slices whose inputs changed are computed again, and in the end each table is what its SQL or its function
says of all rows.
"""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gaelp_assets.catalog import WHOLE, Slice
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.operations.compute import refresh
from gaelp_assets.operations.correct import withdraw_key
from gaelp_assets.operations.stale import stale_slices
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets.warehouse.ledger import Note
from gaelp_assets_tests.platforms import FIRST_DATE, drop, ndjson

pytestmark = pytest.mark.slow

ENVIRONMENTS: Final = ("CartPole-v1", "Taxi-v4")
COMMON: Final = {"description": "for a test", "owner": "team:data-platform"}
DATE: Final = {"name": "date", "type": "DATE", "mode": "REQUIRED", "description": "day"}
ENVIRONMENT: Final = {"name": "environment_id", "type": "STRING", "mode": "REQUIRED", "description": "where"}
BOTH: Final = {"date": "date", "environment": "environment_id"}
DERIVED: Final[Mapping[str, tuple[str, list[dict[str, str]], dict[str, str] | None]]] = {
    "daily": (
        "SELECT date, environment_id, COUNT(*) AS n, SUM(value) AS total FROM lab.facts GROUP BY date, environment_id",
        [DATE, ENVIRONMENT],
        BOTH,
    ),
    "days": ("SELECT date, SUM(n) AS n, SUM(total) AS total FROM lab.daily GROUP BY date", [DATE], {"date": "date"}),
    "totals": ("SELECT COALESCE(SUM(n), 0) AS n, SUM(total) AS total FROM lab.doubled", [], None),
}  # fmt: skip
DOUBLED: Final = "SELECT date, n, {factor} * total AS total FROM lab.days"
BY_FUNCTION: Final = "days"
"""The one of them that a function computes: what its SQL says, `CODE` does."""
CODE: Final = """\
import polars as pl

VERSION = {version}

def days(inputs):
    return inputs["lab.daily"].group_by("date").agg(pl.col("n", "total").sum())
"""


def write_catalog(folder: Path, factor: int, version: int) -> Path:
    """A table, what is derived from it slice by slice, by day, and as a whole; a plain view, whose SQL changes, stands in between."""
    numbers = [{"name": name, "type": "INTEGER", "description": name} for name in ("n", "total")]
    key = [{"name": "id", "type": "INTEGER", "mode": "REQUIRED", "description": "key"}]
    value = [{"name": "value", "type": "INTEGER", "description": "value"}]
    content: dict[str, dict[str, Any]] = {
        "facts": {"fields": [DATE, ENVIRONMENT, *key, *value], "primary_key": ["id"], "partitioning": BOTH},
        "doubled": {"kind": "view", "fields": [DATE, *numbers]},
    }
    queries = {"doubled": DOUBLED.format(factor=factor)}
    for name, (queries[name], fields, partitioning) in DERIVED.items():
        content[name] = {"kind": "derived_table", "fields": [*fields, *numbers]}
        if partitioning is not None:
            content[name]["partitioning"] = partitioning
    del queries[BY_FUNCTION]
    declared = [{**field, "computed_from": [f"lab.daily.{field['name']}"]} for field in [DATE, *numbers]]
    content[BY_FUNCTION] |= {"python": BY_FUNCTION, "inputs": ["lab.daily"], "fields": declared}
    (folder / "lab").mkdir(parents=True, exist_ok=True)
    for name, keys in content.items():
        (folder / "lab" / f"{name}.json").write_text(json.dumps({**COMMON, **keys}))
    for name, sql in queries.items():
        (folder / "lab" / f"{name}.sql").write_text(sql + "\n")
    (folder / "lab" / f"{BY_FUNCTION}.py").write_text(CODE.format(version=version))
    return folder


@dataclass
class Lab:
    """A platform with that catalogue, and what a dictionary knows of the same events."""

    home: Path
    factor: int = 1
    version: int = 1
    facts: dict[int, tuple[Slice, int]] = field(default_factory=dict)
    withdrawn: set[int] = field(default_factory=set)
    touched: set[Slice] = field(default_factory=set)
    """The slices of facts that were written since the last refresh."""
    other_sql: bool = True
    other_code: bool = False
    days: set[Slice] = field(default_factory=set)
    """The slices that the function has computed."""
    seen: set[str] = field(default_factory=set)
    files: int = 0

    @property
    def platform(self) -> Platform:
        catalog = write_catalog(self.home / "catalog", self.factor, self.version)
        variables = {"GAELP_HOME": str(self.home), "GAELP_CATALOG": str(catalog)}
        platform = open_platform(load_settings({**variables, "GAELP_FIRST_DATE": str(FIRST_DATE)}))
        platform.gateway.prepare()
        return platform

    def add(self, day: int, environment: int, numbers: list[int]) -> None:
        slice_ = Slice(FIRST_DATE + dt.timedelta(days=day), ENVIRONMENTS[environment])
        rows = [
            {"date": str(slice_.date), "environment_id": slice_.environment, "id": n, "value": n * n}
            for n in numbers
        ]
        self.files += 1
        platform = self.platform
        drop(platform, f"cloud_ready/lab/facts/{slice_.path}/file-{self.files}.ndjson", ndjson(rows))
        load_slice(platform, platform.catalog["lab.facts"], slice_, run_id="test")
        # The first row of a key keeps it, wherever it is, and a withdrawn one does not come back.
        self.facts = {**{n: (slice_, n * n) for n in numbers if n not in self.withdrawn}, **self.facts}
        # The same bytes once more are the same batch, and change nothing.
        if (content := repr(rows)) not in self.seen:
            self.touched.add(slice_)
        self.seen.add(content)

    def withdraw(self, number: int) -> None:
        if number in self.facts:
            platform = self.platform
            withdraw_key(
                platform, platform.catalog["lab.facts"], {"id": str(number)}, Note("test", "for a test")
            )
            self.touched.add(self.facts.pop(number)[0])
            self.withdrawn.add(number)

    def change_sql(self) -> None:
        self.factor += 1
        self.other_sql = True

    def change_code(self) -> None:
        self.version += 1
        self.other_code = True

    def refresh(self) -> None:
        """Computes what is stale, level by level, and compares which slices that were with those that had to be."""
        platform = self.platform
        computed: dict[str, set[Slice]] = {name: set() for name in DERIVED}
        while stale := stale_slices(platform):
            relation = stale[0].relation
            slices = [found.slice for found in stale if found.relation.id == relation.id]
            platform.warehouse.ensure([relation])
            refresh(platform, relation, *slices, run_id="test")
            assert not computed[relation.name] & set(slices), "a slice was computed twice"
            computed[relation.name].update(slices)
        assert computed["daily"] == self.touched
        days = {Slice(slice_.date) for slice_ in self.touched} | (self.days if self.other_code else set())
        assert computed["days"] == days
        self.days |= days
        self.other_code = False
        if self.facts or self.touched:
            assert computed["totals"] == ({WHOLE} if days or self.other_sql else set())
            self.other_sql = False
        self.touched.clear()

    def check(self) -> None:
        query = self.platform.warehouse.query
        held = query("SELECT id, date, environment_id, value FROM lab.facts WHERE date > '2000-01-01'").frame
        assert {i: (Slice(date, where), value) for i, date, where, value in held.rows()} == self.facts
        for name, (sql, fields, _) in DERIVED.items():
            columns = ", ".join([*(found["name"] for found in fields), "n", "total"])
            kept, fresh = (
                query(f"SELECT {columns} FROM {source}").frame for source in (f"lab.{name}", f"({sql})")
            )
            assert sorted(map(str, kept.rows())) == sorted(map(str, fresh.rows())), name
        total = sum(value for _, value in self.facts.values()) * self.factor
        [found] = query("SELECT COALESCE(total, 0) FROM lab.totals").frame.rows()
        assert found == (total,)


events = st.one_of(
    st.tuples(
        st.just("add"), st.integers(0, 2), st.integers(0, 1), st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True)
    ),
    st.tuples(st.just("withdraw"), st.integers(1, 9)),
    st.tuples(st.just("change_sql")),
    st.tuples(st.just("change_code")),
    st.tuples(st.just("refresh")),
)  # fmt: skip
LATE: Final = [
    ("add", 1, 0, [1, 2]), ("refresh",), ("add", 0, 1, [3]), ("refresh",), ("withdraw", 1), ("change_sql",),
    ("refresh",), ("change_code",)
]  # fmt: skip


def follows(happening: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        for name, *arguments in [("add", 2, 1, [10]), *happening]:
            getattr(lab, name)(*arguments)
        lab.refresh()
        lab.check()


@example(happening=LATE)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(happening=st.lists(events, min_size=2, max_size=6))
def test_only_what_changed_is_computed_again_and_all_is_as_from_scratch(
    happening: list[tuple[Any, ...]],
) -> None:
    follows(happening)


@pytest.mark.thorough
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(happening=st.lists(events, min_size=2, max_size=12))
def test_many_more_events(happening: list[tuple[Any, ...]]) -> None:
    follows(happening)
