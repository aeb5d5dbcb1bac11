"""What one run decides once for all of its files: each relation's compiled form, and which day it is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace

import pytest

import gaelp_assets.platform_reader as platform_module
from gaelp_assets.catalog import Slice
from gaelp_assets.catalog.model import Relation
from gaelp_assets.ingest import validate
from gaelp_assets.ingest.compiled import CompiledRelation
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.ingest.validate import Validators
from gaelp_assets.platform import Platform
from gaelp_assets_tests.platforms import (
    ENVIRONMENT,
    SLICE,
    TABLE,
    checkpoint,
    drop,
    load,
    ndjson,
    platform_in,
)

BEFORE_MIDNIGHT = dt.datetime(2026, 11, 1, 23, 59, tzinfo=dt.UTC)
AFTER_MIDNIGHT = dt.datetime(2026, 11, 2, 0, 1, tzinfo=dt.UTC)
TOMORROW_AFTER_MIDNIGHT = dt.date(2026, 11, 3)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return platform_in(tmp_path)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the relations that are compiled during the test."""
    ids: list[str] = []

    def counted(relation: Relation) -> CompiledRelation:
        ids.append(relation.id)
        return CompiledRelation(relation)

    monkeypatch.setattr(validate, "CompiledRelation", counted)
    return ids


@pytest.fixture
def midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look at the clock is before midnight, and every later one after it."""
    looks = iter([BEFORE_MIDNIGHT])
    clock = SimpleNamespace(now=lambda zone: next(looks, AFTER_MIDNIGHT))
    monkeypatch.setattr(
        platform_module, "dt", SimpleNamespace(datetime=clock, UTC=dt.UTC, timedelta=dt.timedelta)
    )


def of_day(number: int, date: dt.date) -> bytes:
    return ndjson([checkpoint(number, date=date.isoformat(), created_at=f"{date.isoformat()}T00:00:30Z")])


def test_the_files_of_a_load_share_one_compiled_relation(platform: Platform, compiled: list[str]) -> None:
    for number in range(3):
        drop(
            platform,
            f"cloud_ready/training/checkpoints/{SLICE.path}/{number}.ndjson",
            ndjson([checkpoint(number)]),
        )
    assert load(platform).total("loaded") == 3
    assert compiled == [TABLE]


def test_a_run_over_many_slices_and_a_sort_of_many_tables_compile_each_relation_once(
    platform: Platform, compiled: list[str]
) -> None:
    for number, table in enumerate(["checkpoints", "checkpoints", "agents", "agents"]):
        drop(platform, f"raw/training/{table}/{number}.ndjson", ndjson([checkpoint(number)]))
    sort_raw(platform, run_id="test")
    assert sorted(compiled) == ["training.agents", TABLE]
    compiled.clear()
    validators = Validators.for_run(platform)
    for day in (1, 2, 3):
        slice_ = Slice(dt.date(2026, 11, day), ENVIRONMENT)
        load_slice(platform, platform.catalog[TABLE], slice_, run_id="test", validators=validators)
    assert compiled == [TABLE]


def test_a_relation_of_another_catalogue_is_not_taken_for_the_compiled_one_of_its_name(
    platform: Platform,
) -> None:
    validators = Validators.for_run(platform)
    relation = platform.catalog[TABLE]
    assert validators.of(relation).compiled is validators.of(relation, SLICE).compiled
    other = relation.model_copy()
    assert validators.of(other).compiled.relation is other


@pytest.mark.usefixtures("midnight")
def test_a_load_over_midnight_takes_the_rows_of_the_days_that_it_began_with(platform: Platform) -> None:
    """Each of its files was judged by the day on which it was opened, so that one run refused and took rows of the same day."""
    slice_ = Slice(TOMORROW_AFTER_MIDNIGHT, ENVIRONMENT)
    for number in range(3):
        drop(
            platform,
            f"cloud_ready/training/checkpoints/{slice_.path}/{number}.ndjson",
            of_day(number, TOMORROW_AFTER_MIDNIGHT),
        )
    report = load(platform, slice_=slice_)
    assert len(report.set_aside) == 3
    assert report.total("loaded") == 0


@pytest.mark.usefixtures("midnight")
def test_the_slices_of_a_run_over_midnight_are_judged_by_the_same_day(platform: Platform) -> None:
    validators = Validators.for_run(platform)
    for environment in (ENVIRONMENT, "Taxi-v3"):
        slice_ = Slice(TOMORROW_AFTER_MIDNIGHT, environment)
        drop(
            platform,
            f"cloud_ready/training/checkpoints/{slice_.path}/a.ndjson",
            of_day(1, TOMORROW_AFTER_MIDNIGHT),
        )
        report = load_slice(platform, platform.catalog[TABLE], slice_, run_id="test", validators=validators)
        assert len(report.set_aside) == 1


@pytest.mark.usefixtures("midnight")
def test_a_sort_over_midnight_takes_the_rows_of_the_days_that_it_began_with(platform: Platform) -> None:
    for number in range(3):
        drop(platform, f"raw/training/checkpoints/{number}.ndjson", of_day(number, TOMORROW_AFTER_MIDNIGHT))
    reports = sort_raw(platform, run_id="test")
    assert [len(report.set_aside) for report in reports] == [1, 1, 1]
