"""Faults of the machine end with a clear word, lose nothing, and heal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaelp_assets.errors import TransientError
from gaelp_assets.ingest import staging
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, drop, load, ndjson, platform_in, rows

FOLDER = f"cloud_ready/training/checkpoints/{SLICE.path}"
ROWS = 3_000


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    platform = platform_in(tmp_path)
    drop(platform, f"{FOLDER}/a.ndjson", ndjson(checkpoint(number) for number in range(ROWS)))
    return platform


@pytest.fixture
def full_staging(platform: Platform) -> Iterator[Path]:
    """The staging folder on a disk of its own, which is too small."""
    staging = platform.settings.staging
    staging.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(staging)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield staging
    subprocess.run(["umount", str(staging)], check=True)


def test_a_full_disk_while_staging_leaves_the_file_in_the_queue(
    platform: Platform, full_staging: Path
) -> None:
    with pytest.raises(TransientError, match="No space left on device"):
        load(platform)
    assert list(full_staging.iterdir()) == []
    assert len(platform.gateway.pending().files) == 1
    subprocess.run(["mount", "-o", "remount,size=64m", str(full_staging)], check=True)
    assert load(platform).total("loaded") == ROWS


def test_a_warehouse_that_another_program_holds_open_is_waited_for_and_then_named(platform: Platform) -> None:
    load(platform)
    drop(platform, f"{FOLDER}/b.ndjson", ndjson([checkpoint(ROWS)]))
    file = platform.settings.home / "warehouse.duckdb"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb; c = duckdb.connect({str(file)!r}); print(1, flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"1\n"
    impatient = DuckDBWarehouse(file, platform.catalog, lock_timeout=2)
    try:
        with pytest.raises(TransientError, match=f"{holder.pid}"):
            impatient.query("SELECT 1 AS one")
    finally:
        holder.communicate(b"\n")
    assert load(platform).total("loaded") == 1
    assert rows(platform, f"SELECT COUNT(*) AS n FROM {TABLE}") == [{"n": ROWS + 1}]


def test_what_a_killed_process_left_in_staging_goes_after_a_day(platform: Platform) -> None:
    leftover = platform.settings.staging / "left"
    leftover.mkdir(parents=True)
    (leftover / "rows-0.parquet").write_bytes(b"")
    yesterday = leftover.stat().st_mtime - staging.LEFTOVER_SECONDS - 1
    os.utime(leftover, (yesterday, yesterday))
    load(platform)
    assert not leftover.exists()
