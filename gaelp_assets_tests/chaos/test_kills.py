"""Killed with SIGKILL at random instants, and started again until it is done, loading ends as one clean load would have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gaelp_assets_tests.chaos import workers
from gaelp_assets_tests.chaos.endings import assert_same, ending
from gaelp_assets_tests.chaos.processes import Kills, clean
from gaelp_assets_tests.chaos.workloads import fill

GATEWAYS = 4


@pytest.mark.parametrize("gateway", range(GATEWAYS))
def test_sorting_loading_and_rebuilding_killed_at_random_instants(
    gateway: int, tmp_path: Path, seed: int, kills: int
) -> None:
    origin, undisturbed, home = (tmp_path / name for name in ("origin", "clean", "home"))
    fill(origin, seed + gateway)
    shutil.copytree(origin, undisturbed)
    seconds = clean(workers.ingest, undisturbed)
    expected = ending(undisturbed)
    killer = Kills(seed + gateway, seconds)
    while killer.done < kills // GATEWAYS:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(origin, home)
        for _ in range(killer.chance.randint(1, 8)):
            killer.kill(workers.ingest, home, killer.chance.random())
        clean(workers.ingest, home, killer.chance.random())
        assert_same(expected, ending(home))
