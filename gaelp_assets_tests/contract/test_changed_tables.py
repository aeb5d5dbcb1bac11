"""What a user changes in the catalogue of a table that holds rows: equal to a fresh load of all files, or refused with nothing changed.

Each change is asked of each engine, in each of three ways: a rebuild, an append of another file, and a late file whose lines are as they
were before the change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.operations.reslice import reslice
from gaelp_assets_tests.contract.changes import TABLE, Laboratory, Lines, by_slice, everything, rows_of, table


def _field(name: str, type_: str, mode: str = "NULLABLE", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "mode": mode, **more}


ID: Final = _field("id", "STRING", "REQUIRED")
N: Final = _field("n", "INTEGER")
DATE: Final = _field("date", "DATE", "REQUIRED")
DAY: Final = _field("day", "DATE", "REQUIRED")
ENVIRONMENT: Final = _field("environment_id", "STRING", "REQUIRED")


def _at_most(limit: int) -> dict[str, Any]:
    check = {"name": "less_than", "arguments": {"max_value": limit}}
    return {**N, "checks": [check]}


NUMBERS: Final[Lines] = [{"id": f"r{n}", "n": n} for n in range(10)]
VERSIONS: Final[Lines] = [
    {"id": "a", "n": 1, "at": 3},
    {"id": "a", "n": 2, "at": 2},
    {"id": "b", "n": 1, "at": 1},
]
SLICED: Final[Lines] = [
    {
        "id": f"r{n}",
        "n": n,
        "date": f"2026-11-0{1 + n % 2}",
        "day": f"2026-11-0{1 + n % 3}",
        "environment_id": "ABC"[n % 3],
    }
    for n in range(6)
]
BY_BOTH: Final = {"date": "date", "environment": "environment_id"}
BY_DATE: Final = {"date": "date"}
VERSION_FIELDS: Final = [ID, N, _field("at", "INTEGER")]


def _numbers(*fields: Mapping[str, Any], **keys: Any) -> Relation:
    return table([ID, *(fields or (N,))], **keys)


def _versions(**keys: Any) -> Relation:
    return table(VERSION_FIELDS, **keys)


def _sliced(partitioning: Mapping[str, str] | None) -> Relation:
    return table([ID, N, DATE, DAY, ENVIRONMENT], partitioning=partitioning)


class Case(NamedTuple):
    """A change, what the table holds when it is made, and how a rebuild and an append end."""

    before: Relation
    after: Relation
    lines: Lines
    more: Lines
    """Of a file that comes later: as producers send it after the change."""
    rebuild: str
    """`same`, or a part of the refusal."""
    append: str | None = None
    """Likewise; None where it ends as the rebuild does."""


NO_N: Final = [{"id": "x"}]
CASES: Final[Mapping[str, Case]] = {
    "nothing": Case(_numbers(), _numbers(), NUMBERS, [{"id": "x", "n": 4}], "same"),
    "description": Case(_numbers(), _numbers(description="other"), NUMBERS, [{"id": "x", "n": 4}], "same"),
    "tightened rule": Case(_numbers(), _numbers(_at_most(7)), NUMBERS, [{"id": "x", "n": 1}], r"lose 3 rows .*n: less_than \(3\)"),
    "rule that nearly all rows break": Case(
        _numbers(max_reject_fraction=0.1), _numbers(_at_most(1), max_reject_fraction=0.1), NUMBERS, [{"id": "x", "n": 0}], "lose 9 rows", "lose 9 rows|9 of 10 lines are rejected"
    ),
    "tightened rule that all rows keep": Case(_numbers(), _numbers(_at_most(70)), NUMBERS, [{"id": "x", "n": 1}], "same"),
    "loosened rule": Case(_numbers(_at_most(7)), _numbers(), NUMBERS, [{"id": "x", "n": 80}], "same"),
    "dropped field": Case(_numbers(), table([ID]), NUMBERS, NO_N, r"lose 10 rows .*n: unknown_field \(10\)"),
    "renamed field": Case(_numbers(), _numbers({**N, "name": "number"}), NUMBERS, [{"id": "x", "number": 1}], "lose 10 rows"),
    "renamed field with its former name": Case(_numbers(), _numbers({**N, "name": "number", "was": ["n"]}), NUMBERS, [{"id": "x", "number": 1}], "same"),
    "renamed field of a wider type": Case(
        _numbers(), _numbers({**N, "name": "number", "type": "FLOAT", "was": ["n"]}), NUMBERS, [{"id": "x", "number": 0.5}], "same"
    ),
    "renamed key": Case(
        _numbers(), table([{**ID, "name": "key", "was": ["id"]}, N], primary_key=["key"]), NUMBERS, [{"key": "x", "n": 1}], "same"
    ),
    "new field": Case(_numbers(), _numbers(N, _field("more", "STRING")), NUMBERS, [{"id": "x", "more": "y"}], "same"),
    "integers to floats": Case(_numbers(), _numbers({**N, "type": "FLOAT"}), NUMBERS, [{"id": "x", "n": 0.5}], "same"),
    "integers beyond 2^53 to floats": Case(
        _numbers(), _numbers({**N, "type": "FLOAT"}), [{"id": "a", "n": 2**53 + 1}, {"id": "b", "n": 5}], [{"id": "c", "n": 0.5}],
        "a FLOAT does not hold [12] of its values exactly",
    ),
    "integers to text": Case(_numbers(), _numbers({**N, "type": "STRING"}), NUMBERS, [{"id": "x", "n": "1"}], "no widening of the type"),
    "required": Case(_numbers(), _numbers({**N, "mode": "REQUIRED"}), [*NUMBERS, {"id": "y"}], [{"id": "x", "n": 1}], r"lose 1 rows .*n: missing_field \(1\)"),
    "required that all rows have": Case(_numbers(), _numbers({**N, "mode": "REQUIRED"}), NUMBERS, [{"id": "x", "n": 1}], "same"),
    "latest to reject": Case(_versions(on_key_conflict={"latest": "n"}), _versions(), VERSIONS, [{"id": "c", "n": 1, "at": 1}], "its key is another row's"),
    "reject to latest": Case(_versions(), _versions(on_key_conflict={"latest": "n"}), VERSIONS, [{"id": "c", "n": 1, "at": 1}], "its key is another row's"),
    "other version field": Case(
        _versions(on_key_conflict={"latest": "n"}), _versions(on_key_conflict={"latest": "at"}), VERSIONS, [{"id": "c", "n": 1, "at": 1}], "lose 1 rows"
    ),
    "wider key": Case(_versions(), _versions(primary_key=["id", "n"]), VERSIONS, [{"id": "c", "n": 1, "at": 1}], "same"),
    "narrower key": Case(_versions(primary_key=["id", "n"]), _versions(), VERSIONS, [{"id": "c", "n": 1, "at": 1}], "its key is another row's"),
    "narrower key of the latest": Case(
        _versions(primary_key=["id", "n"], on_key_conflict={"latest": "at"}), _versions(on_key_conflict={"latest": "at"}), VERSIONS,
        [{"id": "a", "n": 3, "at": 9}], "lose 1 rows .*its key is", "lose [12] rows .*its key is",
    ),
    **{
        f"sliced by {before} to {after}": Case(_sliced(one), _sliced(other), SLICED, [{**SLICED[0], "id": "x"}], "the partitioning changed")
        for before, one, after, other in (
            ("both", BY_BOTH, "date", BY_DATE),
            ("both", BY_BOTH, "nothing", None),
            ("date", BY_DATE, "both", BY_BOTH),
            ("date", BY_DATE, "day", {"date": "day"}),
            ("nothing", None, "date", BY_DATE),
        )
    },
}  # fmt: skip


def _resliced(case: Case) -> bool:
    return case.before.partitioning != case.after.partitioning


@pytest.fixture(params=["rebuild", "append", "late"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", CASES)
def test_a_changed_table_equals_a_fresh_load_or_is_refused_with_nothing_changed(
    engine: str, tmp_path: Path, name: str, way: str
) -> None:
    case = CASES[name]
    laboratory = Laboratory(engine, tmp_path / "home")
    old = laboratory.platform(case.before)
    old.gateway.prepare()
    laboratory.send(old, "first.ndjson", case.lines)
    laboratory.load(old, case.lines)
    before = rows_of(old)
    stored = everything(old)

    new = laboratory.platform(case.after)
    late = [{**line, "id": f"late-{line['id']}"} for line in case.lines]
    later = {"rebuild": [], "append": case.more, "late": late}[way]
    if later:
        laboratory.send(new, "later.ndjson", later)
    expected = case.rebuild if way == "rebuild" else case.append or case.rebuild
    try:
        laboratory.load(new, later or case.lines, rebuild=way == "rebuild")
    except GaelpError as error:
        found = str(error)
        assert all(problem.remedy for problem in error.problems), "with the way out"
        assert rows_of(old) == before
        assert [frame.equals(then) for frame, then in zip(everything(old), stored, strict=True)] == [True] * 3
        laboratory.load(old, case.lines, rebuild=True)
        assert set(rows_of(old)) >= set(before), "what is put back in the catalogue is as it was"
    else:
        found = "same"
        fresh = Laboratory(engine, tmp_path / "fresh")
        other = fresh.platform(case.after)
        other.gateway.prepare()
        fresh.send(other, "first.ndjson", case.lines)
        fresh.load(other, case.lines)
        if later:
            fresh.send(other, "later.ndjson", later)
            fresh.load(other, later)
        assert rows_of(new) == rows_of(other)
    assert re.search(expected, found, re.DOTALL), found


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if _resliced(case)])
def test_a_table_is_sliced_otherwise_by_a_command_and_back(engine: str, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    laboratory = Laboratory(engine, tmp_path / "home")
    old, new = laboratory.platform(case.before), laboratory.platform(case.after)
    old.gateway.prepare()
    laboratory.send(old, "first.ndjson", case.lines)
    laboratory.load(old, case.lines)
    before = rows_of(old)
    for platform in (new, old):
        with pytest.raises(GaelpError, match="the partitioning changed"):
            laboratory.load(platform, case.lines, rebuild=True)
        assert (
            reslice(platform, platform.catalog[TABLE]).files == len(by_slice(case.before, case.lines))
            or platform is old
        )
        sort_raw(platform, run_id="sort")
        laboratory.load(platform, case.lines)
        assert rows_of(platform) == before
        laboratory.load(platform, case.lines, rebuild=True)
        assert rows_of(platform) == before
        with pytest.raises(GaelpError, match="nothing to slice otherwise"):
            reslice(platform, platform.catalog[TABLE])
