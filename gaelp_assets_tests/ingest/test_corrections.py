"""Corrections: a revision stands in the place of a file's earlier versions, a withdrawal takes single rows out, for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.gateway import Stage
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.platform import Platform
from gaelp_assets_tests.ingest.killed_loader import load_everything
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, drop, load, ndjson, platform_in, rows

FOLDER = f"cloud_ready/training/checkpoints/{SLICE.path}"
RAW = "raw/training/checkpoints"


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return platform_in(tmp_path)


def held(platform: Platform) -> dict[str, int]:
    """The bytes of each checkpoint: what a correction changes here."""
    found = rows(platform, f"SELECT checkpoint_id, bytes FROM {TABLE} WHERE date > '2000-01-01' ORDER BY 1")
    return {row["checkpoint_id"].removeprefix("checkpoint-"): row["bytes"] for row in found}


def fates(platform: Platform) -> dict[str, dict[str, Any]]:
    """The ledger's counts that are not 0, by the file's name."""
    names = ("lines", "loaded", "duplicate", "rejected", "superseded", "withdrawn")
    return {
        row["file"].rpartition("/")[2]: {name: row[name] for name in names if row[name]}
        for row in rows(platform, "SELECT * FROM ops.import_logs WHERE mode <> 'sort' ORDER BY position")
    }


def unbalanced(platform: Platform) -> list[dict[str, Any]]:
    return rows(
        platform,
        "SELECT file FROM ops.import_logs WHERE `lines` <> loaded + duplicate + rejected + sorted + superseded + withdrawn",
    )


def keys(*numbers: int, **fields: str) -> bytes:
    return ndjson([{"checkpoint_id": f"checkpoint-{number}", **fields} for number in numbers])


def test_a_day_exported_again_is_corrected_enriched_and_shortened(platform: Platform) -> None:
    first = [checkpoint(n, parent_checkpoint_id=None) for n in range(4)]
    drop(platform, f"{FOLDER}/day.ndjson", ndjson(first))
    load(platform)
    again = [checkpoint(0), checkpoint(1, bytes=7), checkpoint(2, parent_checkpoint_id="checkpoint-1")]
    drop(platform, f"{FOLDER}/day.rev-2.ndjson", ndjson(again))
    load(platform)
    assert held(platform) == {"0": 1024, "1": 7, "2": 1026}
    assert rows(platform, f"SELECT COUNT(*) AS n FROM {TABLE} WHERE parent_checkpoint_id IS NOT NULL") == [
        {"n": 1}
    ]
    assert fates(platform) == {
        "day.ndjson": {"lines": 4, "superseded": 4},
        "day.rev-2.ndjson": {"lines": 3, "loaded": 3},
    }
    [old] = rows(platform, "SELECT superseded_by FROM ops.import_logs WHERE file LIKE '%day.ndjson'")
    [new] = rows(platform, "SELECT batch_id, revision FROM ops.import_logs WHERE file LIKE '%rev-2%'")
    assert old["superseded_by"] == new["batch_id"]
    assert new["revision"] == 2
    assert not unbalanced(platform)
    assert len(platform.gateway.slice_files(platform.catalog[TABLE], SLICE, Stage.SENT)) == 2
    load(platform, rebuild=True)
    assert held(platform) == {"0": 1024, "1": 7, "2": 1026}
    assert not unbalanced(platform)


def test_a_withdrawn_row_stays_withdrawn_through_rebuilds_and_resends_until_a_revision_brings_it_back(
    platform: Platform,
) -> None:
    drop(platform, f"{FOLDER}/day.ndjson", ndjson([checkpoint(1), checkpoint(2)]))
    load(platform)
    drop(platform, f"{FOLDER}/late.withdraw-2.ndjson", keys(2))
    load(platform)
    assert held(platform) == {"1": 1025}
    assert fates(platform) == {
        "day.ndjson": {"lines": 2, "loaded": 1, "withdrawn": 1},
        "late.withdraw-2.ndjson": {},
    }
    load(platform, rebuild=True)
    drop(platform, f"{FOLDER}/resent.ndjson", ndjson([checkpoint(2), checkpoint(3)]))
    report = load(platform)
    assert report.total("withdrawn") == 2
    assert held(platform) == {"1": 1025, "3": 1027}
    assert fates(platform)["resent.ndjson"] == {"lines": 2, "loaded": 1, "withdrawn": 1}
    drop(platform, f"{FOLDER}/back.rev-3.ndjson", ndjson([checkpoint(2, bytes=9)]))
    load(platform)
    assert held(platform) == {"1": 1025, "2": 9, "3": 1027}
    assert not unbalanced(platform)


def test_a_revision_of_another_name_has_the_last_word_on_its_keys_alone(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/day.ndjson", ndjson([checkpoint(1), checkpoint(2)]))
    drop(platform, f"{FOLDER}/contradiction.ndjson", ndjson([checkpoint(2, bytes=5)]))
    load(platform)
    drop(platform, f"{FOLDER}/fix.rev-2.ndjson", ndjson([checkpoint(2, bytes=5)]))
    load(platform)
    assert held(platform) == {"1": 1025, "2": 5}
    assert rows(platform, "SELECT COUNT(*) AS n FROM ops.dead_letter") == [{"n": 0}]
    assert not unbalanced(platform)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_the_numbers_decide_whatever_comes_first(platform: Platform, order: tuple[int, ...]) -> None:
    files = [
        ("day.ndjson", ndjson([checkpoint(1), checkpoint(2), checkpoint(3)])),
        ("day.rev-2.ndjson", ndjson([checkpoint(1, bytes=2), checkpoint(3)])),
        ("day.rev-3.ndjson", ndjson([checkpoint(1, bytes=3), checkpoint(3)])),
        ("gone.withdraw-4.ndjson", keys(3)),
    ]
    for place in order:
        drop(platform, f"{FOLDER}/{files[place][0]}", files[place][1])
        load(platform)
    assert held(platform) == {"1": 3}
    assert not unbalanced(platform)


def test_a_revision_with_the_bytes_of_an_earlier_version_takes_back_what_came_between(
    platform: Platform,
) -> None:
    original = ndjson([checkpoint(1), checkpoint(2)])
    for name, content in (
        ("day", original),
        ("day.rev-2", ndjson([checkpoint(1, bytes=2)])),
        ("day.rev-3", original),
    ):
        drop(platform, f"{FOLDER}/{name}.ndjson", content)
        load(platform)
    for _ in range(2):
        assert held(platform) == {"1": 1025, "2": 1026}
        assert not unbalanced(platform)
        load(platform, rebuild=True)


def test_sent_once_more_a_correction_changes_nothing(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/day.ndjson", ndjson([checkpoint(1), checkpoint(2)]))
    load(platform)
    ledger = None
    for _ in range(2):
        drop(platform, f"{FOLDER}/day.rev-2.ndjson", ndjson([checkpoint(1, bytes=7)]))
        drop(platform, f"{FOLDER}/day.ndjson", ndjson([checkpoint(1), checkpoint(2)]))
        load(platform)
        found = rows(platform, "SELECT * FROM ops.import_logs ORDER BY position")
        assert ledger in (None, found)
        ledger = found
    assert not platform.gateway.pending().files


def test_every_row_of_a_slice_can_be_withdrawn_and_the_ledger_knows_it(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/day.ndjson", ndjson([checkpoint(1), checkpoint(2)]))
    load(platform)
    drop(platform, f"{FOLDER}/day.withdraw-2.ndjson", ndjson([{"every_row_of": "day"}]))
    for rebuild in (False, True):
        load(platform, rebuild=rebuild)
        assert held(platform) == {}
        assert fates(platform)["day.ndjson"] == {"lines": 2, "withdrawn": 2}
        assert not unbalanced(platform)


def test_a_raw_revision_withdraws_the_rows_of_slices_that_it_names_no_more(platform: Platform) -> None:
    day = [checkpoint(1), checkpoint(2, environment_id="Taxi-v4")]
    drop(platform, f"{RAW}/day.ndjson", ndjson(day))
    load_everything(platform)
    assert held(platform) == {"1": 1025, "2": 1026}
    drop(platform, f"{RAW}/day.rev-2.ndjson", ndjson([checkpoint(1, bytes=7)]))
    load_everything(platform)
    assert held(platform) == {"1": 7}
    assert not unbalanced(platform)


def test_a_raw_file_that_comes_after_its_revision_counts_in_no_slice(platform: Platform) -> None:
    drop(platform, f"{RAW}/day.rev-2.ndjson", ndjson([checkpoint(1, bytes=7)]))
    load_everything(platform)
    drop(platform, f"{RAW}/day.ndjson", ndjson([checkpoint(1), checkpoint(2, environment_id="Taxi-v4")]))
    load_everything(platform)
    assert held(platform) == {"1": 7}
    assert not unbalanced(platform)


def test_a_raw_withdrawal_finds_the_slice_of_its_keys(platform: Platform) -> None:
    drop(platform, f"{RAW}/day.ndjson", ndjson([checkpoint(1), checkpoint(2, environment_id="Taxi-v4")]))
    load_everything(platform)
    drop(platform, f"{RAW}/gone.withdraw-2.ndjson", keys(2, date=str(SLICE.date), environment_id="Taxi-v4"))
    load_everything(platform)
    assert held(platform) == {"1": 1025}
    assert not unbalanced(platform)


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("day.rev-2", ndjson([checkpoint(1, bytes=-1)]), "cloud_ready"),
        ("day.rev-2", ndjson([checkpoint(1, environment_id="Taxi-v4")]), "cloud_ready"),
        ("day.rev-2", ndjson([checkpoint(1), checkpoint(2, bytes=-1)]), "raw"),
        ("gone.withdraw-2", ndjson([{"checkpoint": "checkpoint-1"}]), "cloud_ready"),
        ("gone.withdraw-2", ndjson([{"checkpoint_id": "checkpoint-1", "bytes": 1}]), "cloud_ready"),
        ("gone.withdraw-2", ndjson([{"every_row_of": "day"}]), "cloud_ready"),
        ("gone.withdraw-2", ndjson([{}]), "cloud_ready"),
        ("gone.withdraw-2", keys(1, environment_id="Taxi-v4"), "cloud_ready"),
        ("gone.withdraw-2", keys(1), "raw"),
    ],
)
def test_what_would_lose_rows_or_names_none_is_set_aside_and_all_stays(
    platform: Platform, name: str, content: bytes, place: str
) -> None:
    drop(platform, f"{FOLDER}/day.ndjson", ndjson([checkpoint(1), checkpoint(2)]))
    load(platform)
    folder = FOLDER if place == "cloud_ready" else RAW
    drop(platform, f"{folder}/{name}.ndjson", content)
    sort_raw(platform, run_id="test")
    load(platform)
    assert held(platform) == {"1": 1025, "2": 1026}
    assert fates(platform) == {"day.ndjson": {"lines": 2, "loaded": 2}}
    [failed] = platform.gateway.failed()
    assert "checkpoint-" not in str(failed.problems)


def test_lines_replayed_of_a_file_give_way_to_its_revision(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/day.ndjson", ndjson([checkpoint(1), checkpoint(2)]))
    drop(platform, f"{FOLDER}/day.replay-1.ndjson", ndjson([checkpoint(3)]))
    load(platform)
    drop(platform, f"{FOLDER}/day.rev-2.ndjson", ndjson([checkpoint(1)]))
    load(platform)
    assert held(platform) == {"1": 1025}


def test_a_rebuild_without_the_file_of_a_superseded_batch_loses_nothing(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/day.ndjson", ndjson([checkpoint(1), checkpoint(2)]))
    load(platform)
    drop(platform, f"{FOLDER}/day.rev-2.ndjson", ndjson([checkpoint(1, bytes=7)]))
    load(platform)
    [old] = [
        f
        for f in platform.gateway.slice_files(platform.catalog[TABLE], SLICE, Stage.SENT)
        if "rev" not in f.name
    ]
    platform.gateway.store.delete(old.stored)
    load(platform, rebuild=True)
    assert held(platform) == {"1": 7}
    assert fates(platform)["day.ndjson"] == {"lines": 2, "superseded": 2}


@pytest.mark.parametrize("lost", ["day.rev-3", "gone.withdraw-2"])
def test_a_rebuild_without_the_file_of_a_correction_is_refused(platform: Platform, lost: str) -> None:
    original = ndjson([checkpoint(1), checkpoint(2)])
    files = {"day": original, "day.rev-2": ndjson([checkpoint(1, bytes=2)]), "day.rev-3": original}
    for name, content in {**files, "gone.withdraw-2": keys(9)}.items():
        drop(platform, f"{FOLDER}/{name}.ndjson", content)
        load(platform)
    sent = platform.gateway.slice_files(platform.catalog[TABLE], SLICE, Stage.SENT)
    [file] = [file for file in sent if file.name.startswith(lost)]
    platform.gateway.store.delete(file.stored)
    with pytest.raises(GaelpError, match=r"would lose \d rows and the corrections"):
        load(platform, rebuild=True)
    assert held(platform) == {"1": 1025, "2": 1026}


def test_a_rebuild_that_has_not_seen_a_later_revision_of_the_same_bytes_begins_once_more(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ndjson([checkpoint(1), checkpoint(2)])
    for name, content in {"day": original, "day.rev-2": ndjson([checkpoint(1, bytes=2)])}.items():
        drop(platform, f"{FOLDER}/{name}.ndjson", content)
        load(platform)
    write = type(platform.warehouse).write
    overtaken: list[bool] = []

    def after_another(warehouse: Any, what: Any) -> Any:
        if not overtaken:
            overtaken.append(True)
            drop(platform, f"{FOLDER}/day.rev-3.ndjson", original)
            load(platform)
        return write(warehouse, what)

    monkeypatch.setattr(type(platform.warehouse), "write", after_another)
    load(platform, rebuild=True)
    assert held(platform) == {"1": 1025, "2": 1026}
    assert not unbalanced(platform)


def test_an_append_that_was_overtaken_by_a_correction_follows_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(platform, f"{FOLDER}/day.ndjson", ndjson([checkpoint(1)]))
    load(platform)
    write = type(platform.warehouse).write
    overtaken: list[bool] = []

    def after_another(warehouse: Any, what: Any) -> Any:
        if not overtaken:
            overtaken.append(True)
            late.rename(late.with_suffix(".tmp"))
            drop(platform, f"{FOLDER}/gone.withdraw-2.ndjson", keys(2))
            load(platform)
            late.with_suffix(".tmp").rename(late)
        return write(warehouse, what)

    drop(platform, f"{FOLDER}/late.ndjson", ndjson([checkpoint(2), checkpoint(3)]))
    late = platform.settings.home / "export_gateway" / FOLDER / "late.ndjson"
    monkeypatch.setattr(type(platform.warehouse), "write", after_another)
    load(platform)
    assert held(platform) == {"1": 1025, "3": 1027}
    assert not unbalanced(platform)
