"""Somebody else acts between two steps of a load, a sort or a rebuild: each of these is a race, made to be lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from gaelp_assets.catalog import Catalog
from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.gateway import Gateway, GatewayFile
from gaelp_assets.gateway.paths import NAME_BYTES
from gaelp_assets.ingest import load as load_module
from gaelp_assets.ingest import sort as sort_module
from gaelp_assets.ingest import staging
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.ingest.staging import StagedFile
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
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


def before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], None]) -> None:
    """Has somebody act just before each call."""
    original = getattr(owner, name)

    def called(*arguments: Any, **more: Any) -> Any:
        act()
        return original(*arguments, **more)

    monkeypatch.setattr(owner, name, called)


@pytest.mark.parametrize("place", ["raw", "cloud_ready"])
def test_a_bad_file_that_somebody_takes_away_while_it_is_set_aside_ends_no_run(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = FOLDER if place == "cloud_ready" else "raw/training/checkpoints"
    drop(platform, f"{folder}/a.ndjson", b"")
    drop(platform, f"{folder}/b.ndjson", ndjson([checkpoint(1)]))

    def take_away() -> None:
        for listing in (platform.gateway.unsorted(), platform.gateway.pending()):
            for file in listing.files:
                if not file.stored.size:
                    platform.gateway.store.delete(file.stored)

    before(monkeypatch, Gateway, "fail", take_away)
    sort_raw(platform, run_id="test")
    load(platform)
    assert platform.gateway.failed() == []
    assert len(rows(platform, f"SELECT * FROM {TABLE}")) == 1


def test_a_sort_that_was_cut_short_and_goes_on_with_a_mended_rule_loses_no_line(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [checkpoint(1), checkpoint(2), checkpoint(3, environment_id="Taxi-v4")]
    drop(platform, "raw/training/checkpoints/a.ndjson", ndjson([*lines, checkpoint(4, bytes=0)]))

    def cut_short(*_: Any) -> None:
        raise TransientError(Problem("cut short"))

    with monkeypatch.context() as patch:
        patch.setattr(sort_module, "_record", cut_short)
        with pytest.raises(TransientError):
            sort_raw(platform, run_id="test")
    mended = platform_without_checks_of(platform, "bytes")
    sort_raw(mended, run_id="test")
    load(mended)
    numbers = rows(platform, f"SELECT policy_version AS n FROM {TABLE} ORDER BY 1")
    assert [row["n"] for row in numbers] == [1, 2, 4]
    assert rows(platform, "SELECT * FROM ops.dead_letter") == []


def platform_without_checks_of(platform: Platform, field: str) -> Platform:
    """The platform with a catalogue in which that field of the checkpoints is not checked any more."""
    relation = platform.catalog[TABLE]
    fields = tuple(f.model_copy(update={"checks": ()}) if f.name == field else f for f in relation.fields)
    relations = [
        r.model_copy(update={"fields": fields}) if r is relation else r
        for r in platform.catalog.relations.values()
    ]
    catalog = Catalog(relations, platform.catalog.upstream)
    gateway = Gateway(platform.gateway.store, catalog)
    return dataclasses.replace(platform, catalog=catalog, gateway=gateway)


def test_a_rebuild_that_appends_overtake_again_and_again_reads_each_file_once(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(platform, f"{FOLDER}/0.ndjson", ndjson([checkpoint(0), "{"]))
    load(platform)
    read: list[str] = []
    overtaking = iter(range(1, 9))
    rebuild_ledger = DuckDBWarehouse.ledger

    def overtaken(self: DuckDBWarehouse, *arguments: Any) -> Any:
        number = next(overtaking, None)
        if number is not None:
            drop(platform, f"{FOLDER}/{number}.ndjson", ndjson([checkpoint(number), checkpoint(0)]))
            load_slice(platform_in(platform.settings.home), platform.catalog[TABLE], SLICE, run_id="other")
        return rebuild_ledger(self, *arguments)

    stage_file = staging.stage_file

    def noted(by: Gateway, file: GatewayFile, *arguments: Any, **more: Any) -> StagedFile:
        if by is platform.gateway:
            read.append(file.path)
        return stage_file(by, file, *arguments, **more)

    monkeypatch.setattr(DuckDBWarehouse, "ledger", overtaken)
    monkeypatch.setattr(load_module, "stage_file", noted)
    report = load(platform, rebuild=True)
    assert report.total("loaded") == 9
    assert len(read) == len(set(read)) == 9


def test_an_append_whose_files_are_replaced_again_and_again_ends_and_loses_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop had no bound of its own."""
    names = [f"{FOLDER}/{number:02}.ndjson" for number in range(load_module.ATTEMPTS + 5)]
    for number, name in enumerate(names, 1):
        drop(platform, name, ndjson([checkpoint(number), checkpoint(0, bytes=number)]))
    # The last of the files that are staged: its second row is refused, and fetched from it for the dead letter.
    still_to_replace = list(enumerate(names, 1))

    def replace_last() -> None:
        number, name = still_to_replace.pop()
        drop(platform, name, ndjson([checkpoint(number)]))

    with monkeypatch.context() as patch:
        before(patch, DuckDBWarehouse, "write", replace_last)
        with pytest.raises(TransientError, match=f"each of {load_module.ATTEMPTS} attempts") as caught:
            load(platform)
    assert "Give new content a new name" in str(caught.value)
    assert len(still_to_replace) == 5
    assert rows(platform, f"SELECT * FROM {TABLE}") == []
    report = load(platform)
    assert (report.total("loaded"), report.total("rejected")) == (len(names) + 1, 4)
    assert platform.gateway.failed() == []


def test_a_rebuild_takes_a_file_that_was_sent_once_more_for_the_one_that_it_replaces(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(platform, f"{FOLDER}/a.ndjson", ndjson([checkpoint(1)]))
    load(platform)
    stage_file = staging.stage_file

    def overtaken(by: Gateway, file: GatewayFile, *arguments: Any, **more: Any) -> StagedFile:
        monkeypatch.setattr(load_module, "stage_file", stage_file)
        drop(platform, f"{FOLDER}/a.ndjson", ndjson([checkpoint(1)]))
        load(platform)
        return stage_file(by, file, *arguments, **more)

    monkeypatch.setattr(load_module, "stage_file", overtaken)
    assert load(platform, rebuild=True).total("loaded") == 1


def test_a_rebuild_of_waiting_files_in_conflict_takes_the_row_that_an_append_takes(tmp_path: Path) -> None:
    ends = []
    for rebuild in (False, True):
        platform = platform_in(tmp_path / str(rebuild))
        for number in range(5):
            drop(platform, f"{FOLDER}/{number}.ndjson", ndjson([checkpoint(1, bytes=number + 1)]))
        load(platform, rebuild=rebuild)
        ends.append(state(platform))
    for appended, rebuilt in zip(*ends, strict=True):
        assert_frame_equal(appended, rebuilt)


def test_names_as_long_as_is_allowed_are_sorted_loaded_and_rebuilt(platform: Platform) -> None:
    name = "n" * (NAME_BYTES - len(".ndjson")) + ".ndjson"
    drop(platform, f"{FOLDER}/{name}", ndjson([checkpoint(1)]))
    drop(platform, f"raw/training/checkpoints/{name}", ndjson([checkpoint(2)]))
    sort_raw(platform, run_id="test")
    load(platform)
    assert load(platform, rebuild=True).total("loaded") == 2
    assert platform.gateway.failed() == []
