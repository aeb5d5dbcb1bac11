"""Slices that are appended together: what each ends as is what it ends as alone, and one that cannot be loaded undoes no other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import Slice
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.ingest.load_slices import load_slices
from gaelp_assets.ingest.report import SliceReport
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.losses import DefinitionChanged
from gaelp_assets.warehouse.protocol import WriteMode
from gaelp_assets_tests.platforms import DATE, TABLE, checkpoint, drop, ndjson, platform_in, state

ENVIRONMENTS = ("Acrobot-v1", "CartPole-v1", "Taxi-v3")
SLICES = [Slice(DATE + dt.timedelta(days=day), name) for day in (0, 1) for name in ENVIRONMENTS]
FIRST, SECOND = SLICES[:2]


def row(number: int, slice_: Slice, **changes: Any) -> dict[str, Any]:
    return checkpoint(number, date=str(slice_.date), environment_id=slice_.environment, **changes)


def put(platform: Platform, slice_: Slice, rows: Iterable[Any], name: str = "a") -> None:
    drop(platform, f"cloud_ready/training/checkpoints/{slice_.path}/{name}.ndjson", ndjson(rows))


def fill(platform: Platform) -> None:
    """Rejected lines, a key that another slice has, the same bytes twice, a bad file, a conflict, and a slice without files."""
    put(platform, FIRST, [row(1, FIRST), row(2, FIRST, bytes=-1), row(3, FIRST)])
    put(platform, SECOND, [row(1, SECOND), row(4, SECOND)])
    for name in "ab":
        put(platform, SLICES[2], [row(5, SLICES[2])], name)
    put(platform, SLICES[3], ["{"], "bad")
    put(platform, SLICES[3], [row(6, SLICES[3])], "good")
    put(platform, SLICES[4], [row(7, SLICES[4]), row(7, SLICES[4], bytes=9)])


def together(platform: Platform, slices: list[Slice] = SLICES) -> dict[Slice, SliceReport | GaelpError]:
    return dict(load_slices(platform, platform.catalog[TABLE], slices, run_id="test"))


def alone(platform: Platform) -> dict[Slice, SliceReport | GaelpError]:
    return {slice_: load_slice(platform, platform.catalog[TABLE], slice_, run_id="test") for slice_ in SLICES}


def ended(found: dict[Slice, SliceReport | GaelpError]) -> list[Any]:
    """What the reports say, without their times."""
    told: list[Any] = []
    for slice_, report in found.items():
        assert isinstance(report, SliceReport)
        files = [
            (file.file, file.size, file.counts, [problem.what for problem in file.problems])
            for file in report.files
        ]
        told.append((slice_, report.mode, files, report.reasons.rows()))
    return told


@pytest.fixture
def two(tmp_path: Path) -> tuple[Platform, Platform]:
    return platform_in(tmp_path / "together"), platform_in(tmp_path / "alone")


def test_together_each_slice_ends_as_alone(two: tuple[Platform, Platform]) -> None:
    for _ in range(2):
        for platform in two:
            fill(platform)
        assert ended(together(two[0])) == ended(alone(two[1]))
        for one, other in zip(state(two[0]), state(two[1]), strict=True):
            assert one.equals(other)
    assert not two[0].gateway.pending().files


def test_a_slice_that_has_to_be_rebuilt_keeps_no_other_from_being_loaded(
    two: tuple[Platform, Platform],
) -> None:
    for platform in two:
        put(platform, FIRST, [row(1, FIRST), row(2, FIRST)])
        put(platform, SECOND, [row(3, SECOND)])
        load_slice(platform, platform.catalog[TABLE], FIRST, run_id="test")
        load_slice(platform, platform.catalog[TABLE], SECOND, run_id="test")
        put(platform, FIRST, [row(1, FIRST, bytes=9)], "a.rev-2")
        load_slice(platform, platform.catalog[TABLE], FIRST, run_id="test")
        put(platform, FIRST, [row(8, FIRST)], "late")  # the slice holds a correction by now
        put(platform, SECOND, [row(3, SECOND, bytes=7)], "a.rev-2")
        fill(platform)
    assert ended(together(two[0])) == ended(alone(two[1]))
    for one, other in zip(state(two[0]), state(two[1]), strict=True):
        assert one.equals(other)


def failing_for(
    platform: Platform, slice_: Slice, error: GaelpError, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Makes the engine refuse to write that slice; how many slices each transaction was to write."""
    engine, sizes = type(platform.warehouse), []
    write_all, write_one = engine.write_all, engine.write

    def counted(warehouse: Any, writes: Any) -> Any:
        sizes.append(len(writes))
        if slice_ in [write.slice for write in writes]:
            raise error
        return write_all(warehouse, writes)

    def refusing(warehouse: Any, write: Any) -> Any:
        if write.slice == slice_:
            raise error
        return write_one(warehouse, write)

    monkeypatch.setattr(engine, "write_all", counted)
    monkeypatch.setattr(engine, "write", refusing)
    return sizes


def test_a_slice_that_cannot_be_written_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = platform_in(tmp_path)
    for number, slice_ in enumerate(SLICES):
        put(platform, slice_, [row(number, slice_)])
    sizes = failing_for(
        platform, SECOND, GaelpError(Problem("is not to be written", str(SECOND))), monkeypatch
    )
    found = together(platform)
    assert [isinstance(found[slice_], GaelpError) for slice_ in SLICES] == [
        slice_ == SECOND for slice_ in SLICES
    ]
    assert sizes == [6, 3, 1, 2, 1, 1, 3]
    assert [file.slice for file in platform.gateway.pending().files] == [SECOND]
    assert platform.warehouse.query(f"SELECT COUNT(*) AS n FROM {TABLE}").frame.item() == 5


def test_a_warehouse_out_of_reach_is_not_waited_for_once_for_each_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = platform_in(tmp_path)
    for number, slice_ in enumerate(SLICES):
        put(platform, slice_, [row(number, slice_)])
    sizes = failing_for(platform, SECOND, TransientError(Problem("the disk is full", "here")), monkeypatch)
    assert all(isinstance(outcome, TransientError) for outcome in together(platform).values())
    assert sizes == [6]
    assert len(platform.gateway.pending().files) == 6


def test_files_that_cannot_be_moved_are_a_matter_of_their_own_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = platform_in(tmp_path)
    for number, slice_ in enumerate(SLICES):
        put(platform, slice_, [row(number, slice_)])
    archive = platform.gateway.archive

    def refusing(file: Any, batch_id: str) -> Any:
        if file.slice == SECOND:
            raise TransientError(Problem("the bucket does not answer", file.path))
        return archive(file, batch_id)

    monkeypatch.setattr(type(platform.gateway), "archive", lambda _, file, batch_id: refusing(file, batch_id))
    found = together(platform)
    assert [isinstance(found[slice_], TransientError) for slice_ in SLICES] == [
        slice_ == SECOND for slice_ in SLICES
    ]
    assert [file.slice for file in platform.gateway.pending().files] == [SECOND]
    monkeypatch.undo()
    together(platform)
    assert platform.warehouse.query(f"SELECT COUNT(*) AS n FROM {TABLE}").frame.item() == 6
    assert not platform.gateway.pending().files


@pytest.mark.parametrize("accept_loss", [False, True])
def test_what_a_run_says_of_losses_holds_for_each_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accept_loss: bool
) -> None:
    """An append to a slice of another definition is a rebuild, which was refused although the run accepted its losses."""
    platform = platform_in(tmp_path)
    for number, slice_ in enumerate(SLICES):
        put(platform, slice_, [row(number, slice_)])
    engine = type(platform.warehouse)
    said: list[tuple[WriteMode, bool]] = []
    write_all, write_one = engine.write_all, engine.write

    def changed(warehouse: Any, writes: Any) -> Any:
        said.extend((write.mode, write.accept_loss) for write in writes)
        if any(write.mode is WriteMode.APPEND and write.slice == SECOND for write in writes):
            raise DefinitionChanged(writes[0].relation.id)
        return write_all(warehouse, writes)

    def one(warehouse: Any, write: Any) -> Any:
        if write.slice == SECOND:
            said.append((write.mode, write.accept_loss))
            if write.mode is WriteMode.APPEND:
                raise DefinitionChanged(write.relation.id)
        return write_one(warehouse, write)

    monkeypatch.setattr(engine, "write_all", changed)
    monkeypatch.setattr(engine, "write", one)
    relation = platform.catalog[TABLE]
    found = dict(load_slices(platform, relation, SLICES, run_id="test", accept_loss=accept_loss))
    assert {type(outcome) for outcome in found.values()} == {SliceReport}
    assert (WriteMode.REBUILD, accept_loss) in said
    assert {accepted for _, accepted in said} == {accept_loss}
