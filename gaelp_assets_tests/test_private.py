"""For whom the platform's files are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.platform import open_platform
from gaelp_assets.private import keep_private
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, load, ndjson


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(("shared", "denied"), [("", 0o077), ("group", 0o007)], ids=["owner", "group"])
def test_everybody_could_read_the_warehouse_and_the_gateway(tmp_path: Path, shared: str, denied: int) -> None:
    settings = load_settings({"GAELP_HOME": str(tmp_path / "home"), "GAELP_SHARED": shared})
    keep_private(settings)
    platform = open_platform(settings)
    platform.gateway.prepare()
    created = platform.gateway.store.create(
        "raw/training/checkpoints/a.ndjson", [ndjson([checkpoint(1), checkpoint(2)])]
    )
    assert created is not None
    sort_raw(platform, run_id="test")
    load(platform, TABLE, SLICE)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (settings.home, *settings.home.rglob("*"))}
    assert {"warehouse.duckdb", "sent", "staging"} <= {path.name for path in modes}
    assert {str(path): oct(mode) for path, mode in modes.items() if mode & denied} == {}
    if shared:
        assert {str(path): oct(mode) for path, mode in modes.items() if mode & 0o060 != 0o060} == {}
        assert modes[settings.home] & stat.S_ISGID
