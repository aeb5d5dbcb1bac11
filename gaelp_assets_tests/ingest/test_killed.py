"""Killed with SIGKILL at any step and run again, loading ends as one clean load would have."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from gaelp_assets.cli.exits import EXIT_REJECTED
from gaelp_assets.platform import Platform
from gaelp_assets_tests.ingest import killed_loader
from gaelp_assets_tests.ingest.killed_loader import correct_everything, load_everything, replay_everything
from gaelp_assets_tests.platforms import EARLY, SLICE, checkpoint, drop, ndjson, platform_in, state
from gaelp_assets_tests.processes import FORKED

pytestmark = pytest.mark.slow

Work = Callable[[Platform], None]


def run(home: Path, work: Work, fatal_step: int | None = None) -> int | None:
    """The exit code of a process that does the work on the home."""
    process = FORKED.Process(target=killed_loader.run, args=(home, work, fatal_step, home / "steps"))
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
    elsewhere = [
        checkpoint(number, environment_id="Taxi-v4") for number in (2, 5)
    ]  # the first has another slice's key
    raw = [checkpoint(3), checkpoint(4), *elsewhere, "nonsense"]
    drop(platform, "raw/training/checkpoints/r.ndjson", ndjson(raw))
    return home


@pytest.fixture
def replayable_gateway(full_gateway: Path) -> Path:
    """The same, loaded; among its dead letters are lines of two files that a mended rule takes."""
    platform = platform_in(full_gateway)
    for name in ("early", "too"):
        early = [checkpoint(number, date=EARLY.isoformat(), uri=f"file:///{name}") for number in (10, 11)]
        lines = [*early, checkpoint(12), checkpoint(13)] if name == "early" else [*early[:1], checkpoint(14)]
        drop(platform, f"raw/training/checkpoints/{name}.ndjson", ndjson(lines))
    load_everything(platform)
    return full_gateway


@pytest.fixture
def correctable_gateway(tmp_path: Path) -> Path:
    """A home with three files loaded, the revision of one in `raw/`, and a file that is set aside."""
    home = tmp_path / "correctable"
    platform = platform_in(home)
    raw = "raw/training/checkpoints"
    taxi = checkpoint(7, environment_id="Taxi-v4")
    for name, lines in {
        "day": [checkpoint(1), checkpoint(2)],
        "week": [checkpoint(6), taxi, checkpoint(8)],
        "month": [checkpoint(9)],
    }.items():
        drop(platform, f"{raw}/{name}.ndjson", ndjson(lines))
    load_everything(platform)
    drop(platform, f"{raw}/day.rev-2.ndjson", ndjson([checkpoint(1, bytes=7)]))
    drop(platform, f"{raw}/lost.rev-2.ndjson", ndjson([checkpoint(3, bytes=-1)]))
    return home


@pytest.mark.parametrize(
    ("gateway", "work", "stride"),
    [
        ("full_gateway", load_everything, 4),
        ("replayable_gateway", replay_everything, 4),
        ("correctable_gateway", correct_everything, 12),
        pytest.param("full_gateway", load_everything, 1, marks=pytest.mark.thorough),
        pytest.param("replayable_gateway", replay_everything, 1, marks=pytest.mark.thorough),
        pytest.param("correctable_gateway", correct_everything, 1, marks=pytest.mark.thorough),
    ],
)
def test_killed_at_every_step_and_run_again_it_ends_like_one_clean_run(
    gateway: str, work: Work, stride: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    origin: Path = request.getfixturevalue(gateway)
    clean = tmp_path / "clean"
    shutil.copytree(origin, clean)
    assert run(clean, work) == 0
    steps = int((clean / "steps").read_text())
    expected = state(platform_in(clean))
    assert steps >= 20

    def killed_and_run_again(step: int) -> Path:
        home = tmp_path / f"killed-{step}"
        shutil.copytree(origin, home)
        assert run(home, work, step) == -signal.SIGKILL
        return home

    with ThreadPoolExecutor(2) as pool:
        homes = list(pool.map(killed_and_run_again, range(0, steps, stride)))
    for home in homes:
        platform = platform_in(home)
        work(platform)
        for was, is_ in zip(expected, state(platform), strict=True):
            assert_frame_equal(was, is_)
        assert not platform.gateway.pending().files
        assert not platform.gateway.unsorted().files
        assert len(platform.gateway.failed()) == 1


@pytest.mark.parametrize(
    "parts",
    [(0.5, 0.75), pytest.param((0.3, 0.5, 0.6, 0.7, 0.8), marks=pytest.mark.thorough)],
    ids=["some", "more"],
)
def test_the_command_killed_at_several_moments_ends_like_one_clean_load(
    parts: tuple[float, ...], full_gateway: Path, tmp_path: Path
) -> None:
    clean, killed = tmp_path / "clean", tmp_path / "killed"
    shutil.copytree(full_gateway, clean)
    shutil.copytree(full_gateway, killed)
    started = time.monotonic()
    assert ingest(clean).wait() == EXIT_REJECTED
    seconds = time.monotonic() - started
    expected = state(platform_in(clean))
    for part in parts:
        process = ingest(killed)
        with suppress(subprocess.TimeoutExpired):
            process.wait(part * seconds)
        process.kill()
        process.wait()
    # What an earlier call that was killed has rejected or set aside already, the last one does not tell of.
    assert ingest(killed).wait() in {0, EXIT_REJECTED}
    for was, is_ in zip(expected, state(platform_in(killed)), strict=True):
        assert_frame_equal(was, is_)


def ingest(home: Path) -> subprocess.Popen[bytes]:
    """`gaelp ingest`, started. It ends with `EXIT_REJECTED` where it sets a file of its queue aside: the others are loaded."""
    return subprocess.Popen(
        [sys.executable, "-m", "gaelp_assets.cli.main", "ingest"],
        env={**os.environ, "GAELP_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
