"""What processes of tests are forked from: one that has imported what they need, read the catalogue, and started no thread."""

from __future__ import annotations

import multiprocessing
from typing import Final

FORKED: Final = multiprocessing.get_context("forkserver")
PRELOADED: Final = (
    "gaelp_assets_tests.chaos.workers",
    "gaelp_assets_tests.chaos.killed_runs",
    "gaelp_assets_tests.chaos.killed_changes",
    "gaelp_assets_tests.ingest.killed_loader",
    "gaelp_assets_tests.contract.warehouses",
)
# Of all tests: there is one such server in a process of tests.
FORKED.set_forkserver_preload(list(PRELOADED))
