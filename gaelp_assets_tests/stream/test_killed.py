"""A receiver killed with SIGKILL at any step loses nothing that it has accepted, and doubles nothing that is sent again."""

from __future__ import annotations

import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from gaelp_assets.platform import Platform
from gaelp_assets.stream.receiver import Receiver
from gaelp_assets_tests.ingest.killed_loader import stream_everything
from gaelp_assets_tests.ingest.test_killed import run
from gaelp_assets_tests.platforms import platform_in, rows, state

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stride", [29, pytest.param(1, marks=pytest.mark.thorough)])
def test_killed_at_every_step_what_was_accepted_is_loaded_and_what_is_sent_again_changes_nothing(
    stride: int, tmp_path: Path
) -> None:
    origin, clean = tmp_path / "origin", tmp_path / "clean"
    platform_in(origin)
    shutil.copytree(origin, clean)
    assert run(clean, stream_everything) == 0
    steps = int((clean / "steps").read_text())
    expected = state(platform_in(clean))
    assert steps >= 20
    assert expected[0].height == 4

    def killed(step: int) -> Path:
        home = tmp_path / f"killed-{step}"
        shutil.copytree(origin, home)
        assert run(home, stream_everything, step) == -signal.SIGKILL
        return home

    with ThreadPoolExecutor(2) as pool:
        homes = list(pool.map(killed, range(0, steps, stride)))
    for home in homes:
        platform = platform_in(home)
        _take_up(platform)
        accepted = home / "accepted"
        known = {row["batch_id"] for row in rows(platform, "SELECT batch_id FROM ops.import_logs")}
        assert known.issuperset(accepted.read_text().split() if accepted.exists() else [])
        stream_everything(platform)
        for was, is_ in zip(expected, state(platform), strict=True):
            assert_frame_equal(was, is_)
        assert not platform.gateway.pending().files
        assert not platform.gateway.unsorted().files
        assert not platform.gateway.failed()


def _take_up(platform: Platform) -> None:
    receiver = Receiver(platform)
    receiver.start()
    assert receiver.close(60)
