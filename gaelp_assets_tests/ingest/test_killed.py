"""Killed with SIGKILL at any step and run again, loading ends as one clean load would have."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from gaelp_assets_tests.ingest import killed_loader
from gaelp_assets_tests.ingest.killed_loader import load_everything
from gaelp_assets_tests.platforms import SLICE, checkpoint, drop, ndjson, platform_in, state

# A process for each kill, forked from one that has imported everything and has started no thread yet.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([killed_loader.__name__])


def run(home: Path, fatal_step: int | None = None) -> int | None:
    """The exit code of a process that loads everything below the home."""
    process = PROCESSES.Process(target=killed_loader.run, args=(home, fatal_step, home / "steps"))
    process.start()
    process.join()
    return process.exitcode


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
    assert run(clean) == 0
    steps = int((clean / "steps").read_text())
    expected = state(platform_in(clean))
    assert steps >= 30

    def killed_and_run_again(step: int) -> Path:
        home = tmp_path / f"killed-{step}"
        shutil.copytree(full_gateway, home)
        assert run(home, step) == -signal.SIGKILL
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
