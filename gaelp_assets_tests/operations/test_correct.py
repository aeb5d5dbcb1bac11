"""`gaelp revise` and `gaelp withdraw`: what they hand over, what they refuse, and that twice is once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gaelp_assets.cli.main import app
from gaelp_assets.errors import GaelpError
from gaelp_assets.gateway import Stage
from gaelp_assets.operations.correct import Corrected, revise, withdraw_batch, withdraw_key
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets.warehouse.ledger import Note
from gaelp_assets_tests.ingest.killed_loader import load_everything
from gaelp_assets_tests.ingest.test_corrections import FOLDER, RAW, fates, held, unbalanced
from gaelp_assets_tests.platforms import (
    FIRST_DATE,
    SLICE,
    TABLE,
    checkpoint,
    drop,
    load,
    ndjson,
    platform_in,
    rows,
)

NOTE = Note("ada", "the collector counted twice")


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """Two slices of a raw file `day`, loaded."""
    platform = platform_in(tmp_path / "home")
    day = [checkpoint(1), checkpoint(2), checkpoint(3), checkpoint(4, environment_id="Taxi-v4")]
    drop(platform, f"{RAW}/day.ndjson", ndjson(day))
    load_everything(platform)
    return platform


def revised(platform: Platform, file: Path, lines: list[Any], batch: str = "") -> Corrected:
    file.write_bytes(ndjson(lines))
    return revise(platform, platform.catalog[TABLE], file, NOTE, batch=batch)


def ledger(platform: Platform) -> list[dict[str, Any]]:
    return rows(platform, "SELECT * FROM ops.import_logs ORDER BY slice_environment, mode, position")


@pytest.mark.parametrize("name", ["day.ndjson", "export of Monday.ndjson"])
def test_a_file_takes_the_place_of_what_was_loaded_under_a_name(
    platform: Platform, tmp_path: Path, name: str
) -> None:
    new = [checkpoint(1), checkpoint(2, bytes=7)]
    done = revised(platform, tmp_path / name, new, "" if name.startswith("day") else "day")
    assert done.changed
    assert held(platform) == {"1": 1025, "2": 7}
    assert not unbalanced(platform)
    found = [row for row in ledger(platform) if row["revision"] and row["mode"] != "sort"]
    assert {(row["corrected_by"], row["reason"]) for row in found} == {("ada", NOTE.reason)}
    assert len(found) == 2, "one slice has a new version, the other one has no row any more"
    before = ledger(platform)
    assert not revised(platform, tmp_path / name, new, "day").changed
    assert ledger(platform) == before
    load(platform, rebuild=True)
    assert held(platform) == {"1": 1025, "2": 7}
    assert [row["reason"] for row in ledger(platform)] == [row["reason"] for row in before]


def test_a_revision_is_revised_and_the_first_version_comes_back(platform: Platform, tmp_path: Path) -> None:
    taxi = checkpoint(4, environment_id="Taxi-v4")
    original = [checkpoint(1), checkpoint(2), checkpoint(3), taxi]
    for lines, expected in (
        ([checkpoint(1, bytes=7), taxi], {"1": 7, "4": 1028}),
        ([checkpoint(1, bytes=8), checkpoint(2), taxi], {"1": 8, "2": 1026, "4": 1028}),
        (original, {"1": 1025, "2": 1026, "3": 1027, "4": 1028}),
    ):
        assert revised(platform, tmp_path / "day.ndjson", lines).changed
        assert held(platform) == expected
        assert not unbalanced(platform)


def test_a_key_is_withdrawn_once_and_a_revision_brings_its_row_back(
    platform: Platform, tmp_path: Path
) -> None:
    relation = platform.catalog[TABLE]
    assert withdraw_key(platform, relation, {"checkpoint_id": "checkpoint-2"}, NOTE).withdrawn == 1
    assert held(platform) == {"1": 1025, "3": 1027, "4": 1028}
    before = ledger(platform)
    assert not withdraw_key(platform, relation, {"checkpoint_id": "checkpoint-2"}, NOTE).changed
    assert ledger(platform) == before
    assert "checkpoint-2" not in json.dumps(before, default=str)
    lines = [checkpoint(n) for n in (1, 2, 3)] + [checkpoint(4, environment_id="Taxi-v4")]
    assert revised(platform, tmp_path / "day.ndjson", lines).changed
    assert held(platform) == {"1": 1025, "2": 1026, "3": 1027, "4": 1028}
    assert withdraw_key(platform, relation, {"checkpoint_id": "checkpoint-2"}, NOTE).changed
    assert held(platform) == {"1": 1025, "3": 1027, "4": 1028}
    assert not unbalanced(platform)


def test_a_whole_file_is_withdrawn_once_and_can_be_revised_afterwards(
    platform: Platform, tmp_path: Path
) -> None:
    relation = platform.catalog[TABLE]
    [batch_id] = {row["batch_id"] for row in ledger(platform) if row["mode"] == "sort"}
    assert withdraw_batch(platform, relation, batch_id[:12], NOTE).withdrawn == 4
    assert held(platform) == {}
    assert fates(platform)["day.ndjson"]["withdrawn"] in (1, 3)
    before = ledger(platform)
    assert not withdraw_batch(platform, relation, "day", NOTE).changed
    assert ledger(platform) == before
    assert revised(platform, tmp_path / "day.ndjson", [checkpoint(1)]).changed
    assert held(platform) == {"1": 1025}
    assert not unbalanced(platform)


def test_what_cannot_be_meant_is_refused_and_nothing_changes(platform: Platform, tmp_path: Path) -> None:
    relation = platform.catalog[TABLE]
    file = tmp_path / "day.ndjson"
    drop(platform, f"{FOLDER}/twice.ndjson", ndjson([checkpoint(8)]))
    load(platform)
    drop(platform, f"{FOLDER}/twice.ndjson", ndjson([checkpoint(9)]))
    load(platform)
    before, files = ledger(platform), platform.gateway.counts()
    attempts: dict[str, Callable[[], object]] = {
        "no file called 'dat' is loaded.*such as day": lambda: revised(
            platform, file, [checkpoint(1)], "dat"
        ),
        "1 lines of the revision are rejected": lambda: revised(platform, file, [checkpoint(1), "{"]),
        "rows of slices in which": lambda: revised(
            platform, file, [checkpoint(1, environment_id="Other-v1")]
        ),
        "2 files are called": lambda: revised(platform, file, [checkpoint(1)], "twice"),
        "2 files are called .twice": lambda: withdraw_batch(platform, relation, "twice", NOTE),
        "no row has that key": lambda: withdraw_key(platform, relation, {"checkpoint_id": "secret"}, NOTE),
        "not the fields of the key": lambda: withdraw_key(platform, relation, {"bytes": "secret"}, NOTE),
        "is not corrected": lambda: withdraw_batch(
            platform, platform.catalog["ops.import_logs"], "day", NOTE
        ),
        "cannot be read": lambda: revise(platform, relation, tmp_path / "none.ndjson", NOTE, batch="day"),
    }
    for problem, attempt in attempts.items():
        with pytest.raises(GaelpError, match=problem) as refusal:
            attempt()
        assert "secret" not in str(refusal.value)
    assert ledger(platform) == before
    assert platform.gateway.counts() == files


def test_the_commands_refresh_what_is_derived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAELP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GAELP_FIRST_DATE", FIRST_DATE.isoformat())
    monkeypatch.setenv("GAELP_CATALOG", str(_catalog(tmp_path / "catalog")))
    platform = open_platform(load_settings())
    platform.gateway.prepare()
    home = "raw/lab/facts"
    drop(platform, f"{home}/day.ndjson", ndjson(_fact(n, 10) for n in range(4)))
    cli = CliRunner()
    assert cli.invoke(app, ["ingest"]).exit_code == 0
    again = tmp_path / "again.ndjson"
    again.write_bytes(ndjson([_fact(0, 10), _fact(1, 11)]))
    reason = ["--reason", "counted twice"]
    for _ in range(2):
        assert cli.invoke(app, ["revise", "lab.facts", str(again), "--batch", "day", *reason]).exit_code == 0
        assert rows(platform, "SELECT n, total FROM lab.totals") == [{"n": 2, "total": 21}]
    for _ in range(2):
        assert cli.invoke(app, ["withdraw", "lab.facts", "--key", "id=0", *reason]).exit_code == 0
        assert rows(platform, "SELECT n, total FROM lab.totals") == [{"n": 1, "total": 11}]
    assert cli.invoke(app, ["withdraw", "lab.facts", "--batch", "day", *reason]).exit_code == 0
    assert rows(platform, "SELECT n, total FROM lab.totals") == []
    assert cli.invoke(app, ["withdraw", "lab.facts", *reason]).exit_code != 0
    assert len(platform.gateway.slice_files(platform.catalog["lab.facts"], SLICE, Stage.SENT)) == 4


def _fact(number: int, value: int) -> dict[str, Any]:
    return {
        "id": number,
        "date": SLICE.date.isoformat() if SLICE.date else "",
        "environment_id": SLICE.environment,
        "value": value,
    }


def _catalog(folder: Path) -> Path:
    """A table with an INTEGER for a key, and a table of its sums, slice by slice."""
    common = {"description": "for a test", "owner": "team:data-platform"}
    slicing = [
        {"name": "date", "type": "DATE", "mode": "REQUIRED", "description": "day"},
        {"name": "environment_id", "type": "STRING", "mode": "REQUIRED", "description": "environment"},
    ]
    by = {"date": "date", "environment": "environment_id"}
    numbers = [{"name": name, "type": "INTEGER", "description": name} for name in ("n", "total")]
    facts = [
        {"name": "id", "type": "INTEGER", "mode": "REQUIRED", "description": "key"},
        {"name": "value", "type": "INTEGER", "description": "value"},
    ]
    (folder / "lab").mkdir(parents=True)
    for name, content in {
        "facts": {**common, "fields": [*slicing, *facts], "primary_key": ["id"], "partitioning": by},
        "totals": {**common, "kind": "derived_table", "fields": [*slicing, *numbers], "partitioning": by},
    }.items():
        (folder / "lab" / f"{name}.json").write_text(json.dumps(content))
    (folder / "lab" / "totals.sql").write_text(
        "SELECT date, environment_id, COUNT(*) AS n, SUM(value) AS total FROM lab.facts GROUP BY date, environment_id\n"
    )
    return folder


def test_a_correction_that_a_sensor_loaded_before_its_command_was_done_has_its_note_all_the_same(
    platform: Platform,
) -> None:
    relation = platform.catalog[TABLE]
    withdraw_key(platform, relation, {"checkpoint_id": "checkpoint-1"}, NOTE)
    for environment in ("CartPole-v1", "Taxi-v4"):
        folder = f"cloud_ready/training/checkpoints/date={SLICE.date}/environment={environment}"
        drop(platform, f"{folder}/day.withdraw-3.ndjson", ndjson([{"every_row_of": "day"}]))
    load_everything(platform)
    assert {row["reason"] for row in ledger(platform) if row["revision"] == 3} == {None}
    assert not withdraw_batch(platform, relation, "day", NOTE).changed
    assert {row["reason"] for row in ledger(platform) if row["revision"]} == {NOTE.reason}
