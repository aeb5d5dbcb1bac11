"""What a home ends as, for comparison: tables, dead letters, ledger, and what lies in the gateway's stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from gaelp_assets.gateway import Stage
from gaelp_assets_tests.chaos.workloads import TABLES
from gaelp_assets_tests.platforms import platform_in, state


@dataclass(frozen=True)
class Ending:
    """Tables with everything but times and runs, and the names of the gateway's files by stage."""

    tables: dict[str, tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]]
    files: dict[str, list[str]]


def ending(home: Path) -> Ending:
    """What the home is now; every batch's accounts must balance, and nothing may still be queued."""
    platform = platform_in(home)
    platform.warehouse.ensure([platform.catalog[table] for table in TABLES])
    tables = {table: state(platform, table) for table in TABLES}
    for _, letters, ledger in tables.values():
        unbalanced = ledger.filter(
            pl.col("lines") != pl.sum_horizontal("loaded", "duplicate", "rejected", "sorted")
        )
        assert unbalanced.is_empty()
        assert ledger["rejected"].sum() == letters.height
    files = {
        stage.value: sorted(stored.name for stored in platform.gateway.store.list(f"{stage}/"))
        for stage in Stage
    }
    # The identity of a failed file is its version's, which differs from home to home.
    files["failed"] = sorted(failed.original or "?" for failed in platform.gateway.failed())
    assert not files["raw"]
    assert not files["transformed"]
    assert not files["cloud_ready"]
    return Ending(tables, files)


def assert_same_files(was: Ending, is_: Ending) -> None:
    """The same names lie in the same stages; a bad file that is sent again fails again, and lies there once more."""
    for stage, names in was.files.items():
        lost, gained = set(names) - set(is_.files[stage]), set(is_.files[stage]) - set(names)
        assert not lost, f"not in {stage}/: {lost}"
        assert not gained, f"too much in {stage}/: {gained}"


def assert_same(was: Ending, is_: Ending) -> None:
    """The two are the same to the last batch id."""
    assert_same_files(was, is_)
    assert was.files == is_.files
    for table, frames in was.tables.items():
        for expected, found in zip(frames, is_.tables[table], strict=True):
            assert_frame_equal(expected, found)


def assert_equivalent(was: Ending, is_: Ending) -> None:
    """The same where the order of loading was free: of equal rows in two batches, any may be the one that was loaded."""
    assert_same_files(was, is_)
    for table, (rows, letters, ledger) in was.tables.items():
        found_rows, found_letters, found_ledger = is_.tables[table]
        assert_frame_equal(rows.drop("_batch_id"), found_rows.drop("_batch_id"))
        assert_frame_equal(letters, found_letters)
        free = ["loaded", "duplicate"]
        assert_frame_equal(ledger.drop(free), found_ledger.drop(free))
        assert ledger["loaded"].sum() == found_ledger["loaded"].sum() == rows.height
        counted = found_rows.group_by("_batch_id").len().sort("_batch_id")
        booked = (
            found_ledger.filter(pl.col("loaded") > 0)
            .group_by("batch_id")
            .agg(pl.col("loaded").sum().cast(pl.UInt32))
            .sort("batch_id")
        )
        assert counted.rows() == booked.rows()
