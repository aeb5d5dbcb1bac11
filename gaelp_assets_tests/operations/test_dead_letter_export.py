"""Rejected lines come back exactly as they were sent; what is replayed and still bad changes nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from gaelp_assets.cli import render
from gaelp_assets.cli.dead_letter_export import dead_letter_export as dead_letter_export_command
from gaelp_assets.errors import GaelpError
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.operations import dead_letter_export
from gaelp_assets.operations.dead_letter_export import export_lines
from gaelp_assets.operations.rejects import dead_letters, listed_lines, open_reasons, open_rejects
from gaelp_assets.operations.replay import replay
from gaelp_assets.platform import Platform
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, drop, load, ndjson, platform_in, state
from gaelp_assets_tests.zetasql_gate import Gate

QUEUE = f"cloud_ready/training/checkpoints/{SLICE.path}"
SENSITIVE = "diagnostics.universal_equipment_registry"
BAD = [
    json.dumps(checkpoint(20, bytes="many")).encode(),
    b'  {"checkpoint_id" :  "x",\t"checkpoint_id": "y"}  ',
    b'{"text": "\xff\xfe"}',
    b"{",
]
KINDS = {str: "STRING", int: "INTEGER", dt.date: "DATE", dt.datetime: "TIMESTAMP"}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return platform_in(tmp_path)


def with_bad_lines(platform: Platform) -> None:
    drop(platform, f"{QUEUE}/b.ndjson", ndjson([BAD[0], *map(checkpoint, (1, 2, 3)), *BAD[1:3]]))
    drop(platform, f"{QUEUE}/a.ndjson", ndjson([*map(checkpoint, (4, 5)), BAD[3], checkpoint(1, bytes=7)]))
    load(platform)


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_come_back_as_they_were_sent_and_load_once_they_are_mended(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_export, "_PAGE", 2)
    with_bad_lines(platform)
    path = tmp_path / "mend.ndjson"
    found = export_lines(platform, path)
    assert (found.relation.id, found.lines, found.files_set_aside) == (TABLE, 5, 0)
    lines = [BAD[3], BAD[0], json.dumps(checkpoint(1)).encode(), *BAD[1:3]]
    assert path.read_bytes() == b"".join(line + b"\n" for line in lines)
    reasons = told(found.reasons)
    assert [line["line"] for line in reasons] == [1, 2, 3, 4, 5]
    assert [(line["file"][-8:], line["line_number"]) for line in reasons] == [
        ("a.ndjson", 3),
        ("b.ndjson", 1),
        ("b.ndjson", 2),
        ("b.ndjson", 5),
        ("b.ndjson", 6),
    ]
    assert {reason["rule"] for reason in reasons[2]["reasons"]} == {"key_conflict"}
    assert "many" not in found.reasons.read_text()
    assert path.stat().st_mode & 0o77 == 0
    drop(platform, f"{QUEUE}/mended.ndjson", ndjson([checkpoint(20), checkpoint(21)]))
    assert load(platform).total("loaded") == 2


def test_only_what_is_meant_is_exported_and_by_the_producers_place(
    platform: Platform, tmp_path: Path
) -> None:
    drop(platform, f"{QUEUE}/first.ndjson", ndjson([checkpoint(1)]))
    load(platform)
    drop(
        platform, "raw/training/checkpoints/day.ndjson", ndjson([b"{", checkpoint(2), checkpoint(1, bytes=7)])
    )
    sort_raw(platform, run_id="test")
    load(platform)
    found = export_lines(platform, tmp_path / "a.ndjson", rule="key_conflict")
    [line] = told(found.reasons)
    assert (line["file"], line["line_number"]) == ("training/checkpoints/day.ndjson", 3)
    assert line["byte_offset"] == len(ndjson([b"{", checkpoint(2)]))
    found = export_lines(platform, tmp_path / "b.ndjson", batch=line["batch_id"][:12])
    assert found.path.read_bytes() == ndjson([checkpoint(1, bytes=7)])
    for name in ("rule", "batch"):
        with pytest.raises(GaelpError, match="no open line is meant"):
            export_lines(platform, tmp_path / "c.ndjson", **{name: "nothing"})  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[1] == ".") == [
        "a.ndjson",
        "a.reasons.jsonl",
        "b.ndjson",
        "b.reasons.jsonl",
    ]


def test_lines_of_two_tables_are_not_mixed_and_sensitive_ones_need_a_word(
    platform: Platform, tmp_path: Path
) -> None:
    relation = platform.catalog[SENSITIVE]
    drop(platform, f"raw/{SENSITIVE.replace('.', '/')}/a.ndjson", b"{\n" * 3)
    drop(platform, f"{QUEUE}/a.ndjson", ndjson([checkpoint(1), "{"]))
    mild = relation.model_copy(update={"max_reject_fraction": 1.0})
    platform.catalog.relations[SENSITIVE] = mild  # type: ignore[index]
    sort_raw(platform, run_id="test")
    load(platform)
    path = tmp_path / "mend.ndjson"
    with pytest.raises(
        GaelpError, match=rf"several tables.*{SENSITIVE} \(3\), {TABLE} \(1\).*export DATASET"
    ):
        export_lines(platform, path)
    with pytest.raises(GaelpError, match=r"sensitive values, of primary_id_value, .*--raw"):
        export_lines(platform, path, relation=relation)
    assert not path.exists()
    assert export_lines(platform, path, relation=relation, raw=True).lines == 3


@pytest.mark.parametrize(("name", "expected"), [("a.csv", "ending"), ("none/a.ndjson", "cannot write")])
def test_a_file_that_cannot_be_written_is_refused_in_words(
    platform: Platform, tmp_path: Path, name: str, expected: str
) -> None:
    drop(platform, f"{QUEUE}/a.ndjson", ndjson([checkpoint(1), "{"]))
    load(platform)
    with pytest.raises(GaelpError, match=expected):
        export_lines(platform, tmp_path / name)


def test_google_accepts_every_query(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(platform, f"{QUEUE}/a.ndjson", ndjson([checkpoint(1), "{"]))
    load(platform)
    asked: list[tuple[str, dict[str, str]]] = []
    query = platform.warehouse.query

    def noted(sql: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> Any:
        asked.append((sql, {name: KINDS[type(value)] for name, value in (parameters or {}).items()}))
        return query(sql, parameters, **more)

    monkeypatch.setattr(platform.warehouse, "query", noted)
    assert export_lines(platform, tmp_path / "a.ndjson", rule="malformed_json", batch="").lines == 1
    gate = Gate(platform.catalog)
    for sql, kinds in asked:
        gate.accept(sql, kinds)
    assert len(asked) == 4


def test_replaying_lines_that_are_still_bad_changes_nothing(platform: Platform) -> None:
    with_bad_lines(platform)
    relation = platform.catalog[TABLE]
    before, reasons = state(platform), open_reasons(platform, relation)
    for _ in range(2):
        assert sorted((item.lines, item.still_rejected) for item in replay(platform)) == [(0, 1), (0, 4)]
        load(platform)
        assert open_rejects(platform, relation).slices == ((SLICE, 5),)
        assert open_reasons(platform, relation).equals(reasons)
        for now, then in zip(state(platform), before, strict=True):
            assert now.equals(then)
    assert platform.gateway.pending().files == []


def test_the_command_says_what_it_wrote_and_what_is_elsewhere(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_bad_lines(platform)
    drop(platform, f"{QUEUE}/c.ndjson", b"{\n")
    load(platform)
    said: list[str] = []
    monkeypatch.setattr(render, "print_line", said.append)
    monkeypatch.setenv("GAELP_HOME", str(tmp_path))
    path = tmp_path / "mend.ndjson"
    command = typer.Typer()
    command.command()(dead_letter_export_command)
    command([TABLE, "--output", str(path)], standalone_mode=False)
    assert said[0] == f"6 lines of {TABLE} in {path}, their reasons in {tmp_path / 'mend.reasons.jsonl'}"
    assert said[2].startswith(f"1 files of {TABLE} are set aside whole, 1 of these lines are theirs")
    assert len(path.read_bytes().splitlines()) == 6


def test_a_file_in_which_lines_were_being_mended_was_written_over(platform: Platform, tmp_path: Path) -> None:
    with_bad_lines(platform)
    path = tmp_path / "mend.ndjson"
    path.write_text("half mended")
    with pytest.raises(GaelpError, match=r"mend.ndjson: there is such a file already.*Name another"):
        export_lines(platform, path)
    assert [each.name for each in tmp_path.glob("mend*")] == ["mend.ndjson"]
    assert path.read_text() == "half mended"


def test_what_was_not_exported_was_told_to_be_acknowledged_too(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_bad_lines(platform)
    said: list[str] = []
    monkeypatch.setattr(render, "print_line", said.append)
    monkeypatch.setenv("GAELP_HOME", str(tmp_path))
    command = typer.Typer()
    command.command()(dead_letter_export_command)
    command(
        [TABLE, "--output", str(tmp_path / "one.ndjson"), "--rule", "key_conflict"], standalone_mode=False
    )
    assert said[1].endswith(f"gaelp dead-letter acknowledge {TABLE} --rule key_conflict")


def test_the_list_said_that_it_was_whole_where_lines_of_files_set_aside_were_left_out(
    platform: Platform,
) -> None:
    with_bad_lines(platform)
    drop(platform, f"{QUEUE}/c.ndjson", ndjson([BAD[0], *BAD[2:], checkpoint(1)]))
    load(platform)
    relation = platform.catalog[TABLE]
    assert dead_letters(platform, limit=100).height == listed_lines(platform) == 5 + 3
    assert listed_lines(platform, relation) == 8
    assert listed_lines(platform, platform.catalog["training.agents"]) == 0


def test_lines_of_a_file_that_was_set_aside_were_on_the_list_and_in_no_export(
    platform: Platform, tmp_path: Path
) -> None:
    drop(platform, f"{QUEUE}/c.ndjson", ndjson([BAD[0], *BAD[2:], checkpoint(1)]))
    load(platform)
    path = tmp_path / "mend.ndjson"
    found = export_lines(platform, path)
    assert (found.relation.id, found.lines, found.files_set_aside, found.lines_set_aside) == (TABLE, 3, 1, 3)
    assert path.read_bytes().splitlines() == [BAD[0], *BAD[2:]]
    assert [row["line_number"] for row in told(tmp_path / "mend.reasons.jsonl")] == [1, 2, 3]
    assert export_lines(platform, tmp_path / "one.ndjson", rule="malformed_json").lines == 1
    with pytest.raises(GaelpError, match="no open line is meant"):
        export_lines(platform, tmp_path / "none.ndjson", batch="abc")
