"""Killed with SIGKILL at any step and run again, loading ends as one clean load would have."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from gaelp_assets_tests.ingest.killed_loader import load_everything
from gaelp_assets_tests.platforms import SLICE, checkpoint, drop, ndjson, platform_in, state


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gaelp_assets_tests.ingest.killed_loader", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def full_gateway(tmp_path: Path) -> Path:
    """A home whose gateway has good, bad, doubled and contradicting lines, raw and ready."""
    home = tmp_path / "origin"
    platform = platform_in(home)
    folder = f"cloud_ready/training/checkpoints/{SLICE.path}"
    drop(platform, f"{folder}/a.ndjson", ndjson([checkpoint(1), checkpoint(2), "{", checkpoint(1)]))
    drop(platform, f"{folder}/b.ndjson.gz", ndjson([checkpoint(2), checkpoint(3, bytes=7)]))
    drop(platform, f"{folder}/c.ndjson", b"")
    raw = [checkpoint(3), checkpoint(4), checkpoint(5, environment_id="Taxi-v4"), "nonsense"]
    drop(platform, "raw/training/checkpoints/r.ndjson", ndjson(raw))
    return home


def test_killed_at_every_step_and_run_again_it_ends_like_one_clean_load(
    full_gateway: Path, tmp_path: Path
) -> None:
    clean = tmp_path / "clean"
    shutil.copytree(full_gateway, clean)
    finished = run(clean)
    assert finished.returncode == 0, finished.stderr
    steps = int(finished.stdout)
    expected = state(platform_in(clean))
    assert steps >= 30

    def killed_and_run_again(step: int) -> Path:
        home = tmp_path / f"killed-{step}"
        shutil.copytree(full_gateway, home)
        assert run(home, str(step)).returncode == -signal.SIGKILL
        return home

    with ThreadPoolExecutor(2) as pool:
        homes = list(pool.map(killed_and_run_again, range(steps)))
    for home in homes:
        platform = platform_in(home)
        load_everything(platform)
        for was, is_ in zip(expected, state(platform), strict=True):
            assert_frame_equal(was, is_)
        assert not platform.gateway.pending().files
        assert not platform.gateway.unsorted().files
        assert len(platform.gateway.failed()) == 1
