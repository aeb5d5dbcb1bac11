"""What a user changes in the catalogue of a table that holds rows: equal to a fresh load of all files, or refused with nothing changed.

Each change is asked of each engine, in each of three ways: a rebuild, an append of another file, and a late file whose lines are as they
were before the change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import pytest

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.operations.deploy import apply, plan
from gaelp_assets.operations.losses import Losses, changed_tables, check_kept, count_losses
from gaelp_assets.operations.reload import reload_table
from gaelp_assets.platform import Platform
from gaelp_assets_tests.contract.changes import TABLE, Laboratory, Lines, everything, rows_of, table

pytestmark = pytest.mark.slow


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


def _sliced(partitioning: Mapping[str, str] | None, **keys: Any) -> Relation:
    return table([ID, N, DATE, DAY, ENVIRONMENT], partitioning=partitioning, **keys)


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
NEW_VERSION: Final[Lines] = [{"id": "c", "n": 1, "at": 1}]
TAKEN: Final = "its key is another row's"
CASES: Final[Mapping[str, Case]] = {
    "nothing": Case(_numbers(), _numbers(), NUMBERS, [{"id": "x", "n": 4}], "same"),
    "description": Case(_numbers(), _numbers(description="other"), NUMBERS, [{"id": "x", "n": 4}], "same"),
    "tightened rule": Case(
        _numbers(), _numbers(_at_most(7)), NUMBERS, [{"id": "x", "n": 1}], r"lose 3 rows .*n: less_than \(3\)"
    ),
    "rule that nearly all rows break": Case(
        _numbers(max_reject_fraction=0.1),
        _numbers(_at_most(1), max_reject_fraction=0.1),
        NUMBERS,
        [{"id": "x", "n": 0}],
        "lose 9 rows",
        "lose 9 rows|9 of 10 lines are rejected",
    ),
    "tightened rule that all rows keep": Case(
        _numbers(), _numbers(_at_most(70)), NUMBERS, [{"id": "x", "n": 1}], "same"
    ),
    "loosened rule": Case(_numbers(_at_most(7)), _numbers(), NUMBERS, [{"id": "x", "n": 80}], "same"),
    "dropped field": Case(_numbers(), table([ID]), NUMBERS, NO_N, r"lose 10 rows .*n: unknown_field \(10\)"),
    "renamed field": Case(
        _numbers(), _numbers({**N, "name": "number"}), NUMBERS, [{"id": "x", "number": 1}], "lose 10 rows"
    ),
    "renamed field with its former name": Case(
        _numbers(),
        _numbers({**N, "name": "number", "was": ["n"]}),
        NUMBERS,
        [{"id": "x", "number": 1}],
        "same",
    ),
    "renamed field of a wider type": Case(
        _numbers(),
        _numbers({**N, "name": "number", "type": "FLOAT", "was": ["n"]}),
        NUMBERS,
        [{"id": "x", "number": 0.5}],
        "same",
    ),
    "renamed key": Case(
        _numbers(),
        table([{**ID, "name": "key", "was": ["id"]}, N], primary_key=["key"]),
        NUMBERS,
        [{"key": "x", "n": 1}],
        "same",
    ),
    "new field": Case(
        _numbers(), _numbers(N, _field("more", "STRING")), NUMBERS, [{"id": "x", "more": "y"}], "same"
    ),
    "integers to floats": Case(
        _numbers(), _numbers({**N, "type": "FLOAT"}), NUMBERS, [{"id": "x", "n": 0.5}], "same"
    ),
    "integers beyond 2^53 to floats": Case(
        _numbers(),
        _numbers({**N, "type": "FLOAT"}),
        [{"id": "a", "n": 2**53 + 1}, {"id": "b", "n": 5}],
        [{"id": "c", "n": 0.5}],
        "a FLOAT does not hold [12] of its values exactly",
    ),
    "integers to text": Case(
        _numbers(),
        _numbers({**N, "type": "STRING"}),
        NUMBERS,
        [{"id": "x", "n": "1"}],
        "no widening of the type",
    ),
    "required": Case(
        _numbers(),
        _numbers({**N, "mode": "REQUIRED"}),
        [*NUMBERS, {"id": "y"}],
        [{"id": "x", "n": 1}],
        r"lose 1 rows .*n: missing_field \(1\)",
    ),
    "required that all rows have": Case(
        _numbers(), _numbers({**N, "mode": "REQUIRED"}), NUMBERS, [{"id": "x", "n": 1}], "same"
    ),
    "latest to reject": Case(
        _versions(on_key_conflict={"latest": "n"}), _versions(), VERSIONS, NEW_VERSION, TAKEN
    ),
    "reject to latest": Case(
        _versions(), _versions(on_key_conflict={"latest": "n"}), VERSIONS, NEW_VERSION, TAKEN
    ),
    "other version field": Case(
        _versions(on_key_conflict={"latest": "n"}),
        _versions(on_key_conflict={"latest": "at"}),
        VERSIONS,
        NEW_VERSION,
        "lose 1 rows",
    ),
    "wider key": Case(_versions(), _versions(primary_key=["id", "n"]), VERSIONS, NEW_VERSION, "same"),
    "narrower key": Case(_versions(primary_key=["id", "n"]), _versions(), VERSIONS, NEW_VERSION, TAKEN),
    "narrower key of the latest": Case(
        _versions(primary_key=["id", "n"], on_key_conflict={"latest": "at"}),
        _versions(on_key_conflict={"latest": "at"}),
        VERSIONS,
        [{"id": "a", "n": 3, "at": 9}],
        "lose 1 rows .*its key is",
        "lose [12] rows .*its key is",
    ),
    **{
        f"sliced by {before} to {after}": Case(
            _sliced(one), _sliced(other), SLICED, [{**SLICED[0], "id": "x"}], "the partitioning changed"
        )
        for before, one, after, other in (
            ("both", BY_BOTH, "date", BY_DATE),
            ("both", BY_BOTH, "nothing", None),
            ("date", BY_DATE, "both", BY_BOTH),
            ("date", BY_DATE, "day", {"date": "day"}),
            ("nothing", None, "date", BY_DATE),
        )
    },
}


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
    found = "same"
    try:
        laboratory.load(new, later or case.lines, rebuild=way == "rebuild")
    except GaelpError as error:
        found = str(error)
    assert re.search(expected, found, re.DOTALL), found
    if found == "same":
        assert rows_of(new) == fresh_load(engine, tmp_path / "fresh", case, later)
    else:
        assert rows_of(old) == before
        assert [frame.equals(then) for frame, then in zip(everything(old), stored, strict=True)] == [True] * 3
        laboratory.load(old, case.lines, rebuild=True)
        assert set(rows_of(old)) >= set(before), "what is put back in the catalogue is as it was"


def fresh_load(engine: str, home: Path, case: Case, later: Lines) -> list[tuple[Any, ...]]:
    """The rows of all files, loaded into a new table of the changed definition."""
    laboratory = Laboratory(engine, home)
    platform = laboratory.platform(case.after)
    platform.gateway.prepare()
    for name, lines in (("first.ndjson", case.lines), ("later.ndjson", later)):
        if lines:
            laboratory.send(platform, name, lines)
            laboratory.load(platform, lines)
    return rows_of(platform)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if _resliced(case)])
def test_all_files_are_loaded_again_by_a_command_for_another_partitioning_and_back(
    engine: str, tmp_path: Path, name: str
) -> None:
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
        reload_table(platform, platform.catalog[TABLE])
        sort_raw(platform, run_id="sort")
        laboratory.load(platform, case.lines)
        assert rows_of(platform) == before
        laboratory.load(platform, case.lines, rebuild=True)
        assert rows_of(platform) == before
        with pytest.raises(GaelpError, match="no need to load it again"):
            reload_table(platform, platform.catalog[TABLE])


def test_corrections_were_undone_when_a_table_was_loaded_again_by_another_partitioning(
    engine: str, tmp_path: Path
) -> None:
    """A revision's name says which file of its slice it corrects; among files of other slices it would be one like any other."""
    by_date, whole = (_sliced(by) for by in (BY_DATE, None))
    laboratory = Laboratory(engine, tmp_path / "home")
    old, new = laboratory.platform(by_date), laboratory.platform(whole)
    old.gateway.prepare()
    corrected = [{**SLICED[0], "n": 7}]
    for name, lines in {"first.ndjson": SLICED[:1], "first.rev-2.ndjson": corrected}.items():
        laboratory.send(old, name, lines)
        laboratory.load(old, lines)
    before = everything(old)
    with pytest.raises(GaelpError, match="would undo 1 revisions and withdrawals"):
        reload_table(new, whole)
    assert all(map(pl.DataFrame.equals, everything(old), before))
    reload_table(new, whole, accept_loss=True)
    sort_raw(new, run_id="sort")
    laboratory.load(new, corrected)
    (reasons,) = new.warehouse.query("SELECT reasons FROM ops.dead_letter").frame["reasons"]
    assert [reason["rule"] for reason in reasons] == ["key_conflict"], "to be sent once more"


def test_another_key_of_a_sliced_table_is_refused_until_all_files_are_loaded_again(
    engine: str, tmp_path: Path
) -> None:
    """A rebuild of one slice would have said nothing of a row of another slice that the new key makes one too many."""
    lines = [{**SLICED[0], "n": 1}, {**SLICED[0], "date": "2026-11-09", "n": 2}]
    by_slices, whole = (_sliced(BY_DATE, key_scope=scope) for scope in ("slice", "table"))
    laboratory = Laboratory(engine, tmp_path / "home")
    old, new = laboratory.platform(by_slices), laboratory.platform(whole)
    old.gateway.prepare()
    laboratory.send(old, "first.ndjson", lines)
    laboratory.load(old, lines)
    before = everything(old)
    laboratory.send(new, "later.ndjson", [{**SLICED[0], "id": "x"}])
    for rebuild in (False, True):
        with pytest.raises(GaelpError, match="two rows with one key, changed"):
            laboratory.load(new, lines, rebuild=rebuild)
    with pytest.raises(GaelpError, match="2 rows share a key by now"):
        reload_table(new, whole)
    assert all(map(pl.DataFrame.equals, everything(old), before))
    reload_table(new, whole, accept_loss=True)
    sort_raw(new, run_id="sort")
    laboratory.load(new, lines)
    assert [row[:2] for row in rows_of(new)] == [("r0", 1), ("x", 0)]
    (reasons,) = new.warehouse.query("SELECT reasons FROM ops.dead_letter").frame["reasons"]
    assert [reason["rule"] for reason in reasons] == ["key_conflict"]


def test_lines_that_are_accepted_to_be_lost_are_dead_letters_with_their_reasons(
    engine: str, tmp_path: Path
) -> None:
    case = CASES["rule that nearly all rows break"]
    laboratory = Laboratory(engine, tmp_path / "home")
    old, new = laboratory.platform(case.before), laboratory.platform(case.after)
    old.gateway.prepare()
    laboratory.send(old, "first.ndjson", case.lines)
    laboratory.load(old, case.lines)
    (changed,) = changed_tables(new.warehouse, new.catalog)
    assert (changed.relation, changed.rows, changed.other_keys) == (case.after, 10, False)
    assert count_losses(new, changed) == Losses(9, {"n: less_than": 9})
    with pytest.raises(GaelpError, match=r"making it again would lose 9 rows: n: less_than \(9\)"):
        check_kept(new, case.after)
    laboratory.load(new, case.lines, rebuild=True, accept_loss=True)
    assert rows_of(new) == [("r0", 0)]
    letters = new.warehouse.query("SELECT reasons FROM ops.dead_letter").frame["reasons"]
    assert [[reason["rule"] for reason in reasons] for reasons in letters] == [["less_than"]] * 9
    assert changed_tables(new.warehouse, new.catalog) == []


def test_rows_of_a_table_that_was_dropped_are_not_lost_in_the_rebuild_that_fills_it(
    engine: str, tmp_path: Path
) -> None:
    """The slice held none of them any more: only the ledger knew that they had been there."""
    case = CASES["tightened rule"]
    laboratory = Laboratory(engine, tmp_path / "home")
    old, new = laboratory.platform(case.before), laboratory.platform(case.after)
    old.gateway.prepare()
    laboratory.send(old, "first.ndjson", case.lines)
    laboratory.load(old, case.lines)
    replaced = plan(old.warehouse, old.catalog, jobs=1, replace=[case.before])
    apply(old.warehouse, replaced, jobs=1)
    assert rows_of(old) == []
    with pytest.raises(GaelpError, match="lose 3 rows"):
        laboratory.load(new, case.lines, rebuild=True)
    laboratory.load(old, case.lines, rebuild=True)
    assert len(rows_of(old)) == 10


def test_two_versions_of_a_definition_on_one_warehouse_lose_nothing(engine: str, tmp_path: Path) -> None:
    one = _numbers()
    other = _numbers(N, _field("more", "STRING"))
    laboratory = Laboratory(engine, tmp_path / "home")
    old, new = laboratory.platform(one), laboratory.platform(other)
    old.gateway.prepare()
    sent: list[Mapping[str, Any]] = []
    loads: list[tuple[Platform, Mapping[str, Any]]] = [
        (old, {"id": "a", "n": 1}),
        (new, {"id": "b", "more": "x"}),
        (new, {"id": "c", "n": 2}),
    ]
    for number, (platform, line) in enumerate(loads):
        sent.append(line)
        laboratory.send(platform, f"{number}.ndjson", [line])
        laboratory.load(platform, sent)
    laboratory.send(old, "late.ndjson", [{"id": "d", "n": 3}])
    with pytest.raises(GaelpError, match=r"mo\.\.\. \(4 characters\): unknown_field"):
        laboratory.load(old, sent)
    laboratory.load(new, sent)
    assert rows_of(new) == [("a", 1, None), ("b", None, "x"), ("c", 2, None), ("d", 3, None)]
