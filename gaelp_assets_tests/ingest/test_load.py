"""Files in, fates out: one slice loaded, resent, contradicted, rebuilt, and set aside where it must be."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from gaelp_assets.catalog import WHOLE, Slice
from gaelp_assets.errors import GaelpError
from gaelp_assets.gateway import Stage
from gaelp_assets.ingest.report import SliceReport
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.platform import Platform
from gaelp_assets_tests.platforms import (
    SLICE,
    TABLE,
    checkpoint,
    drop,
    load,
    ndjson,
    platform_in,
    rows,
    state,
)

FOLDER = f"cloud_ready/training/checkpoints/{SLICE.path}"


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return platform_in(tmp_path)


def counts(report: SliceReport) -> tuple[int, int, int, int]:
    lines, loaded, duplicate, rejected = (
        report.total(c) for c in ("lines", "loaded", "duplicate", "rejected")
    )
    assert all(counts.balanced for counts in report.counts)
    return lines, loaded, duplicate, rejected


def test_every_line_has_one_fate_and_the_file_goes_to_sent(platform: Platform) -> None:
    lines = [
        checkpoint(1),
        checkpoint(2),
        "{",
        checkpoint(1),
        checkpoint(3, bytes="7"),
        checkpoint(2, bytes=9),
    ]
    drop(platform, f"{FOLDER}/a.ndjson", ndjson(lines))
    report = load(platform)
    assert counts(report) == (6, 2, 1, 3)
    assert rows(platform, f"SELECT checkpoint_id, bytes FROM {TABLE} ORDER BY 1") == [
        {"checkpoint_id": "checkpoint-1", "bytes": 1025},
        {"checkpoint_id": "checkpoint-2", "bytes": 1026},
    ]
    letters = rows(
        platform, "SELECT line_number, byte_offset, raw, reasons FROM ops.dead_letter ORDER BY line_number"
    )
    assert [letter["line_number"] for letter in letters] == [3, 5, 6]
    raw = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    for letter in letters:
        number = letter["line_number"] - 1
        assert letter["raw"].decode() == raw[number]
        assert letter["byte_offset"] == sum(len(line) + 1 for line in raw[:number])
    assert [[reason["rule"] for reason in letter["reasons"]] for letter in letters] == [
        ["malformed_json"],
        ["wrong_type"],
        ["key_conflict"],
    ]
    assert platform.gateway.counts(Stage.CLOUD_READY)[Stage.CLOUD_READY].files == 0
    [sent] = platform.gateway.slice_files(platform.catalog[TABLE], SLICE, Stage.SENT)
    [ledger] = rows(platform, "SELECT * FROM ops.import_logs")
    assert sent.name == f"a~{ledger['batch_id'][:12]}.ndjson"
    assert (ledger["lines"], ledger["loaded"], ledger["duplicate"], ledger["rejected"]) == (6, 2, 1, 3)


def test_the_same_bytes_under_another_name_are_the_same_batch(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/a.ndjson", ndjson([checkpoint(1)]))
    load(platform)
    before = state(platform)
    drop(platform, f"{FOLDER}/b.ndjson", ndjson([checkpoint(1)]))
    drop(platform, f"{FOLDER}/c.ndjson", ndjson([checkpoint(1)]))
    report = load(platform)
    assert report.written == []
    for was, is_ in zip(before, state(platform), strict=True):
        assert_frame_equal(was, is_)
    assert not platform.gateway.pending().files


def test_a_resend_that_only_formats_its_json_otherwise_is_a_duplicate(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/a.ndjson", ndjson([checkpoint(1, metrics=None)]))
    drop(
        platform,
        f"{FOLDER}/b.ndjson",
        ndjson([json.dumps(checkpoint(1, metrics=None), separators=(",", ":"))]),
    )
    assert counts(load(platform)) == (2, 1, 1, 0)


def test_rebuild_ends_with_the_slice_that_appends_made(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/b.ndjson", ndjson([checkpoint(1), checkpoint(2), "nonsense"]))
    load(platform)
    drop(platform, f"{FOLDER}/a.ndjson.gz", ndjson([checkpoint(2, bytes=5), checkpoint(3), checkpoint(1)]))
    load(platform)
    appended = state(platform)
    assert counts(load(platform, rebuild=True)) == (6, 3, 1, 2)
    for was, is_ in zip(appended, state(platform), strict=True):
        assert_frame_equal(was, is_)


def test_rebuild_takes_what_is_pending_too(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/a.ndjson", ndjson([checkpoint(1)]))
    load(platform)
    drop(platform, f"{FOLDER}/b.ndjson", ndjson([checkpoint(2)]))
    assert counts(load(platform, rebuild=True)) == (2, 2, 0, 0)
    assert not platform.gateway.pending().files


def test_rebuild_refuses_to_lose_rows_whose_file_is_gone(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/a.ndjson", ndjson([checkpoint(1), checkpoint(2)]))
    load(platform)
    [sent] = platform.gateway.slice_files(platform.catalog[TABLE], SLICE, Stage.SENT)
    platform.gateway.store.delete(sent.stored)
    with pytest.raises(GaelpError, match="rebuilding would lose 2 rows of training/checkpoints"):
        load(platform, rebuild=True)
    assert len(rows(platform, f"SELECT * FROM {TABLE}")) == 2


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.ndjson", b"", "has no lines"),
        ("a.ndjson", b"\n\n", "has no lines"),
        ("a.ndjson", b"\x1f\x8b\x08\x00 not text", "gzip"),
        ("a.ndjson.zst", b'{"a": 1}\n', "Zstandard"),
        ("a.ndjson", '{"a": 1}\n'.encode("utf-16"), "UTF-16"),
        ("a.ndjson", ndjson(["{"] * 9 + [checkpoint(1)]), "9 of 10 lines are rejected"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_set_aside_with_its_reasons_and_the_others_go_on(
    platform: Platform, name: str, content: bytes, expected: str
) -> None:
    drop(platform, f"{FOLDER}/{name}", content)
    drop(platform, f"{FOLDER}/good.ndjson", ndjson([checkpoint(1)]))
    report = load(platform)
    assert counts(report) == (1, 1, 0, 0)
    [set_aside] = report.set_aside
    assert expected in str(set_aside.problems[0])
    [failed] = platform.gateway.failed()
    assert failed.stored.size == len(content)
    assert expected in str(failed.problems[0])
    error_file = platform.settings.home / "export_gateway" / (failed.stored.name + ".error.json")
    assert expected in error_file.read_text()


def test_a_failed_file_comes_back_with_retry(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/a.ndjson", b"")
    load(platform)
    assert platform.gateway.retry("a.ndjson")
    assert [file.name for file in platform.gateway.pending().files] == ["a.ndjson"]


def test_a_truncated_archive_is_an_error_and_never_a_quiet_end(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/a.ndjson.gz", ndjson(checkpoint(n) for n in range(2000)))
    path = platform.settings.home / "export_gateway" / FOLDER / "a.ndjson.gz"
    path.write_bytes(path.read_bytes()[:-200])
    assert "cut off" in str(load(platform).set_aside[0].problems[0])
    assert rows(platform, "SELECT COUNT(*) AS n FROM ops.import_logs") == [{"n": 0}]


def test_a_row_that_contradicts_its_path_is_rejected(platform: Platform) -> None:
    wrong = [
        checkpoint(1, date="2026-11-02"),
        checkpoint(2, environment_id="Taxi-v4"),
        checkpoint(3),
        checkpoint(4),
    ]
    drop(platform, f"{FOLDER}/a.ndjson", ndjson(wrong))
    report = load(platform)
    assert counts(report) == (4, 2, 0, 2)
    assert set(report.reasons["rule"]) == {"wrong_slice"}


def test_of_a_dimension_the_greater_version_stays_whatever_the_order(platform: Platform) -> None:
    agents = platform.catalog["training.agents"]
    base = {
        "agent_id": "q-learning",
        "algorithm": "q_learning",
        "hyperparameters": {},
        "code_version": "1",
        "created_at": "2026-11-01T00:00:00Z",
    }
    versions = [
        {**base, "updated_at": f"2026-11-0{day}T00:00:00Z", "description": f"day {day}"} for day in (2, 3, 1)
    ]
    for number, row in enumerate(versions):
        drop(platform, f"cloud_ready/training/agents/{number}.ndjson", ndjson([row]))
        load(platform, agents.id, WHOLE)
    assert [row["description"] for row in rows(platform, "SELECT description FROM training.agents")] == [
        "day 3"
    ]
    before = state(platform, agents.id)
    load(platform, agents.id, WHOLE, rebuild=True)
    for was, is_ in zip(before, state(platform, agents.id), strict=True):
        assert_frame_equal(was, is_)


def test_a_row_older_than_its_tables_retention_was_loaded(platform: Platform) -> None:
    """BigQuery drops such a row at once, while the ledger goes on saying that it is loaded."""
    settings = dataclasses.replace(platform.settings, first_date=dt.date(2000, 1, 1))
    platform = dataclasses.replace(platform, settings=settings)
    kept = platform.catalog[TABLE].retention_days
    assert kept is not None
    today = platform.last_date - dt.timedelta(days=1)
    oldest, expired = (Slice(today - dt.timedelta(days=age), "CartPole-v1") for age in (kept - 1, kept))
    days = [slice_.date.isoformat() for slice_ in (oldest, expired) if slice_.date]
    good, bad = ([checkpoint(10 * n + i, date=day) for i in range(3)] for n, day in enumerate(days))
    drop(platform, "raw/training/checkpoints/r.ndjson", ndjson([good[0], bad[0]]))
    sort_raw(platform, run_id="test")
    drop(platform, f"cloud_ready/training/checkpoints/{oldest.path}/a.ndjson", ndjson(good[1:]))
    assert counts(load(platform, slice_=oldest)) == (3, 3, 0, 0)
    assert counts(load(platform, slice_=oldest, rebuild=True)) == (3, 3, 0, 0)
    drop(platform, f"cloud_ready/training/checkpoints/{expired.path}/b.ndjson", ndjson(bad[1:]))
    [file] = load(platform, slice_=expired).set_aside
    assert "older_than_retention (2 lines)" in file.problems[0].what
    [letter] = rows(platform, "SELECT reasons FROM ops.dead_letter")
    assert [reason["rule"] for reason in letter["reasons"]] == ["older_than_retention"]
    with pytest.raises(GaelpError, match=f"older than the {kept} days"):
        load(platform, slice_=expired, rebuild=True)
