"""A file that is set aside says which of its lines were rejected and why, and a sorted line where the producer wrote it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gaelp_assets.gateway import explanation
from gaelp_assets.ingest import rejected_lines, validate
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.operations.rejects import dead_letters, open_rejects
from gaelp_assets.platform import Platform
from gaelp_assets_tests.platforms import (
    DATE,
    EARLY,
    SLICE,
    TABLE,
    checkpoint,
    drop,
    load,
    ndjson,
    platform_in,
    rows,
)

QUEUE = f"cloud_ready/training/checkpoints/{SLICE.path}"
SECRET = "s3cr3t-value"


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return platform_in(tmp_path)


def error_file(platform: Platform) -> dict[str, Any]:
    [found] = (platform.settings.home / "export_gateway" / "failed").rglob("*.error.json")
    content: dict[str, Any] = json.loads(found.read_text())
    assert SECRET not in found.read_text()
    return content


def bad(number: int, **more: Any) -> dict[str, Any]:
    return checkpoint(number, bytes=SECRET, **more)


def load_all(platform: Platform) -> None:
    sort_raw(platform, run_id="test")
    for relation_id, slice_ in platform.gateway.pending_slices():
        load_slice(platform, platform.catalog[relation_id], slice_, run_id="test")


def test_a_file_of_bad_lines_told_three_reasons_and_one_line(platform: Platform) -> None:
    lines = [checkpoint(1), bad(2, format=7), "{", "", bad(3)]
    drop(platform, f"{QUEUE}/a.ndjson", ndjson(lines))
    load(platform)
    found = error_file(platform)["rejected"]
    assert (found["table"], found["file"]) == (TABLE, f"training/checkpoints/{SLICE.path}/a.ndjson")
    assert (found["lines_read"], found["lines_rejected"], found["read_to_the_end"]) == (4, 3, True)
    told = {line["line"]: {(r["field"], r["rule"]) for r in line["reasons"]} for line in found["lines"]}
    assert set(told) == {2, 3, 5}
    assert told[2] >= {("bytes", "wrong_type"), ("format", "wrong_type")}
    assert told[3] == {(None, "malformed_json")}
    assert found["lines"][0]["byte"] == len(ndjson(lines[:1]))
    counts = {(r["field"], r["rule"]): r["lines"] for r in found["reasons"]}
    assert counts["bytes", "wrong_type"] == 2


def test_lines_of_a_file_set_aside_were_on_no_list(platform: Platform) -> None:
    drop(platform, f"{QUEUE}/a.ndjson", ndjson([checkpoint(1), bad(2), bad(3)]))
    load(platform)
    letters = dead_letters(platform, relation=platform.catalog[TABLE], raw=True)
    assert letters["line_number"].to_list() == [2, 3]
    assert letters["raw"].to_list() == [json.dumps(bad(n)).encode() for n in (2, 3)]
    assert letters["file"].str.starts_with("failed/training/checkpoints/").all()
    assert "raw" not in dead_letters(platform).columns
    assert dead_letters(platform, relation=platform.catalog["training.episodes"]).is_empty()
    assert dead_letters(platform, limit=1).height == 1
    # The law and the dead letter know nothing of it: it counts once, as a file.
    assert rows(platform, "SELECT * FROM ops.dead_letter") == []
    found = open_rejects(platform, platform.catalog[TABLE])
    assert (found.lines, len(found.files)) == (0, 1)


def test_a_file_that_is_retried_leaves_the_list_and_counts_once(platform: Platform) -> None:
    content = ndjson([checkpoint(1), bad(2), bad(3)])
    drop(platform, f"{QUEUE}/a.ndjson", content)
    for _ in range(2):
        load(platform)
        assert dead_letters(platform).height == 2
        platform.gateway.retry("*")
        assert dead_letters(platform).is_empty()
    # Mended under its own name: nothing of the old file is left to be open.
    drop(platform, f"{QUEUE}/a.ndjson", ndjson(map(checkpoint, (1, 2, 3))))
    assert load(platform).total("loaded") == 3
    assert dead_letters(platform).is_empty()
    assert open_rejects(platform, platform.catalog[TABLE]).files == ()


def test_what_is_told_of_a_file_is_bounded_and_has_each_rule(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejected_lines, "LINES_TOLD", 5)
    monkeypatch.setattr(validate, "CHUNK_REJECTS", 300)
    count = 2000
    lines = [json.dumps(bad(n)) for n in range(count)] + ["{"] * 10
    drop(platform, f"{QUEUE}/a.ndjson.gz", ndjson(lines))  # compressed: read further before it is certain
    load(platform)
    found = error_file(platform)["rejected"]
    assert found["lines_rejected"] == sum(reason["lines"] for reason in found["reasons"])
    told = [line["line"] for line in found["lines"]]
    assert told == [1, 2, 3, 4, 5, count + 1]


def test_the_reasons_of_few_lines_are_bounded_too(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejected_lines, "REASONS_TOLD", 4)
    drop(platform, f"{QUEUE}/a.ndjson", ndjson(bad(n, format=n) for n in range(9)))
    load(platform)
    assert len(error_file(platform)["rejected"]["lines"]) == 2


def test_a_bad_line_of_a_table_whose_rows_need_one_of_several_fields_ended_the_whole_load(
    platform: Platform,
) -> None:
    folder = f"cloud_ready/training/transitions/{SLICE.path}"
    drop(platform, f"{folder}/a.ndjson", b'{"observation": "bad", "step_index": -1}\n')
    load(platform, "training.transitions")
    [line] = error_file(platform)["rejected"]["lines"]
    found = {(reason["field"], reason["rule"]) for reason in line["reasons"]}
    assert found >= {("observation", "wrong_type"), ("step_index", "in_range")}
    assert "any_given" not in {rule for _, rule in found}


def test_a_revision_that_loses_rows_tells_its_lines(platform: Platform) -> None:
    drop(platform, f"{QUEUE}/a.ndjson", ndjson(map(checkpoint, (1, 2, 3))))
    load(platform)
    drop(platform, f"{QUEUE}/a.rev-2.ndjson", ndjson([checkpoint(1), checkpoint(2), bad(3)]))
    load(platform)
    assert [line["line"] for line in error_file(platform)["rejected"]["lines"]] == [3]


def test_a_raw_revision_that_is_set_aside_is_told_by_its_own_lines(platform: Platform) -> None:
    drop(
        platform,
        "raw/training/checkpoints/a.rev-2.ndjson",
        ndjson([checkpoint(1), checkpoint(2), "", bad(3)]),
    )
    sort_raw(platform, run_id="test")
    found = error_file(platform)["rejected"]
    assert found["file"] == "training/checkpoints/a.rev-2.ndjson"
    assert [(line["line"], "origin" in line) for line in found["lines"]] == [(4, False)]


def test_a_withdrawal_of_no_keys_tells_its_lines(platform: Platform) -> None:
    drop(platform, f"{QUEUE}/a.ndjson", ndjson(map(checkpoint, (1, 2))))
    load(platform)
    drop(platform, f"{QUEUE}/a.withdraw-2.ndjson", ndjson([{"checkpoint": SECRET}]))
    load(platform)
    assert [line["line"] for line in error_file(platform)["rejected"]["lines"]] == [1]


def two_environments() -> list[Any]:
    """Lines 2 and 5 are in conflict with what the slice holds; line 3 is no row."""
    return [
        checkpoint(10, environment_id="Taxi-v4"),
        checkpoint(1, bytes=7),
        "{",
        checkpoint(11, environment_id="Taxi-v4"),
        checkpoint(2, bytes=7),
        checkpoint(3),
    ]


@pytest.mark.parametrize("name", ["part.json", f"date={DATE}/part.ndjson.gz"])
def test_a_sorted_line_that_was_rejected_later_was_told_by_a_file_that_nobody_wrote(
    platform: Platform, name: str
) -> None:
    drop(platform, f"{QUEUE}/first.ndjson", ndjson(map(checkpoint, (1, 2))))
    load(platform)
    lines = two_environments()
    content = ndjson(lines)
    if name.endswith(".json"):
        del lines[2]
        content = json.dumps(lines, indent=1).encode()
    drop(platform, f"raw/training/checkpoints/{name}", content)
    load_all(platform)
    letters = dead_letters(platform, raw=True).filter(batch_in_slice(platform))
    conflicts = [number for number, line in enumerate(lines, 1) if '"bytes": 7' in json.dumps(line)]
    assert sorted(letters["line_number"]) == conflicts
    assert set(letters["file"]) == {f"training/checkpoints/{name}"}
    for start, raw in letters.select("byte_offset", "raw").iter_rows():
        text = content[start:].decode()
        assert json.JSONDecoder().raw_decode(text)[0] == json.loads(raw)
    # As before, the dead letter itself holds the batch that a replay or an acknowledgement means.
    [batch] = {
        row["batch_id"]
        for row in rows(platform, "SELECT batch_id FROM ops.dead_letter WHERE slice_date IS NOT NULL")
    }
    assert set(letters["batch_id"]) == {batch[:12]}


def batch_in_slice(platform: Platform) -> pl.Expr:
    found = rows(platform, "SELECT batch_id FROM ops.dead_letter WHERE slice_date IS NOT NULL")
    return pl.col("batch_id").is_in([row["batch_id"][:12] for row in found])


def test_where_a_line_came_from_is_known_while_its_file_is_still_being_sorted_and_not_once_it_is_gone(
    platform: Platform,
) -> None:
    drop(platform, f"{QUEUE}/first.ndjson", ndjson(map(checkpoint, (1, 2))))
    load(platform)
    drop(platform, "raw/training/checkpoints/part.ndjson", ndjson(two_environments()))
    load_all(platform)
    home = platform.settings.home / "export_gateway"
    [raw] = (home / "sent/training/checkpoints/_raw").glob("part~*")
    claimed = home / "transformed/training/checkpoints" / raw.name
    claimed.parent.mkdir(parents=True, exist_ok=True)
    raw.rename(claimed)
    assert sorted(dead_letters(platform)["line_number"]) == [2, 3, 5]
    claimed.unlink()
    assert sorted(dead_letters(platform)["line_number"]) == [1, 2, 3]


def test_a_file_sorted_out_of_another_and_set_aside_names_that_one(platform: Platform) -> None:
    early = dataclasses.replace(platform, settings=dataclasses.replace(platform.settings, first_date=EARLY))
    lines = [checkpoint(3), "{", *(checkpoint(n, date=EARLY.isoformat()) for n in (1, 2))]
    drop(early, "raw/training/checkpoints/part.ndjson", ndjson(lines))
    sort_raw(early, run_id="test")
    load_all(platform)  # its first day is later: another rule than the one by which the lines were sorted
    found = error_file(platform)["rejected"]
    assert [line["origin"]["line"] for line in found["lines"]] == [3, 4]
    assert {line["origin"]["file"] for line in found["lines"]} == {"training/checkpoints/part.ndjson"}
    assert {*dead_letters(platform).select("file", "line_number").iter_rows()} == {
        ("training/checkpoints/part.ndjson", number) for number in (2, 3, 4)
    }


def test_the_newest_raw_file_of_a_name_that_has_the_line_is_told(platform: Platform) -> None:
    drop(platform, f"{QUEUE}/first.ndjson", ndjson([checkpoint(1)]))
    load(platform)
    drop(
        platform,
        "raw/training/checkpoints/part.ndjson",
        ndjson([checkpoint(5), checkpoint(6), checkpoint(1, bytes=7)]),
    )
    load_all(platform)
    drop(platform, "raw/training/checkpoints/part.ndjson", ndjson([checkpoint(7)]))
    load_all(platform)
    assert dead_letters(platform)["line_number"].to_list() == [3]


def test_an_explanation_says_what_was_put_into_it() -> None:
    line = explanation.RejectedLine(
        3, 17, (explanation.Reason(None, "malformed_json", "m"),), explanation.Place("a/b/c.ndjson", 9, 99)
    )
    lines = explanation.RejectedLines(
        "a.b", "a/b/c.ndjson", 4, 3, False, ((explanation.Reason("f", "r", "m"), 3),), (line,)
    )
    for rejected in (None, lines, dataclasses.replace(lines, reasons=(), lines=())):
        content = explanation.explanation("failed/x", "raw/x", [], rejected)
        found = explanation.read_explanation(json.loads(content))
        assert (found.original_name, found.rejected) == ("raw/x", rejected)
