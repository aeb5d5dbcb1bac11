"""A disk that fills up at any step is named and waited out: with space made, the end is that of one clean load."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaelp_assets.errors import TransientError
from gaelp_assets.warehouse.duckdb.connection import DuckDBFile
from gaelp_assets_tests.chaos import workers
from gaelp_assets_tests.chaos.endings import assert_same, ending
from gaelp_assets_tests.chaos.processes import clean
from gaelp_assets_tests.chaos.workloads import fill
from gaelp_assets_tests.platforms import platform_in

ROWS = 2_000
SIZE = 32 << 20
STEPS = (4 << 10, 64 << 10)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of one's own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def leave(disk: Path, free: int) -> None:
    """Fills the disk but for so many bytes."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    status = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - free, 1))


@pytest.fixture(params=["everything", "the warehouse alone"])
def home(disk: Path, seed: int, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A home on the small disk, with much to load; its gateway and its staging on another one, or on the same."""
    home = disk / "home"
    home.mkdir()
    if request.param == "the warehouse alone":
        for part in ("export_gateway", "staging"):
            (tmp_path / part).mkdir()
            (home / part).symlink_to(tmp_path / part)
    fill(home, seed, rows=ROWS)
    return home


def test_a_disk_that_fills_up_at_any_step(home: Path, disk: Path, tmp_path: Path, seed: int) -> None:
    """With a little more space at each attempt, every step is sooner or later the one that takes the last byte."""
    undisturbed = tmp_path / "clean"
    shutil.copytree(home, undisturbed)
    clean(workers.ingest, undisturbed)
    chance, free, told = random.Random(seed), 0, []
    while True:
        leave(disk, free)
        try:
            workers.ingest(platform_in(home))
        except TransientError as error:
            told.append(str(error))
            assert free < SIZE, "there is space enough by now"
            free += chance.randint(*STEPS)
        else:
            break
    for message in told:
        print(message)
        assert str(home) in message
        assert "space" in message
    assert_same(ending(undisturbed), ending(home))
    full = (
        ["staging", "export_gateway"]
        if not (home / "staging").is_symlink()
        else ["no space left on the disk to append"]
    )
    assert all(any(step in message for message in told) for step in full)


def test_no_room_for_the_lock_of_the_warehouse_passes(disk: Path) -> None:
    """A file system without a single file more to give: neither the folder nor the lock can be made."""
    subprocess.run(["mount", "-o", "remount,nr_inodes=2", str(disk)], check=True)
    (disk / "the_last_one").touch()
    for file in (disk / "folder" / "warehouse.duckdb", disk / "warehouse.duckdb"):
        with (
            pytest.raises(TransientError, match=r"cannot (make the folder|lock)"),
            DuckDBFile(file, 5).writing("try"),
        ):
            raise AssertionError("there is no room")
