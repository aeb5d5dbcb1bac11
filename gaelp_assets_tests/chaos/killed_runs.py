"""Does what `gaelp ingest` does on a home with a small catalogue of its own, and kills its own process at the step that it is told.

The steps are what leaves something behind: moves in the gateway, commits of the warehouse, and Dagster's events of what was materialized
and of how steps and runs end. Each counts twice, before and after.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import dagster as dg
import duckdb  # noqa: F401 - imported here once, and not by each process that is forked from this one
import msgspec  # noqa: F401
import pandera.polars  # noqa: F401
import polars as pl  # noqa: F401
import pyarrow as pa  # noqa: F401
import sqlglot  # noqa: F401
from dagster import DagsterEventType

from gaelp_assets.catalog import load_catalog
from gaelp_assets.cli.dev import dagster_instance
from gaelp_assets.definitions import build_definitions
from gaelp_assets.gateway.stores.local import LocalStore
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.runs.in_process import run_pending
from gaelp_assets.settings import load_settings
from gaelp_assets.warehouse.duckdb.warehouse import DuckDBWarehouse

EVENTS: Final = {
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.RUN_START,
    DagsterEventType.RUN_SUCCESS,
}


class Killer:
    """Notes the steps, and dies at one: at that of the given number, or never."""

    def __init__(self, fatal_step: int | None) -> None:
        self._fatal_step = fatal_step
        self.steps: list[str] = []

    def watch(self, owner: Any, name: str, counts: Callable[..., bool] = lambda *_: True) -> None:
        """Has calls of that method counted, if `counts` says so of their arguments."""
        original: Callable[..., Any] = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            if not counts(*args):
                return original(*args, **kwargs)
            self._pass(f"before {name}")
            result = original(*args, **kwargs)
            self._pass(f"after {name}")
            return result

        setattr(owner, name, watched)

    def _pass(self, step: str) -> None:
        if len(self.steps) == self._fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps.append(step)


def small_platform(home: Path) -> Platform:
    """The platform of the catalogue that lies in the home."""
    settings = load_settings({"GAELP_HOME": str(home), "GAELP_FIRST_DATE": "2026-11-01"})
    platform = open_platform(settings, load_catalog(home / "catalog"))
    platform.gateway.prepare()
    return platform


def watch_runs(killer: Killer) -> None:
    """Has everything counted that a run leaves behind."""
    killer.watch(LocalStore, "move")
    killer.watch(DuckDBWarehouse, "write")
    killer.watch(DuckDBWarehouse, "refresh")
    killer.watch(dg.DagsterInstance, "handle_new_event", _is_counted)


def ingest(home: Path, fatal_step: int | None, steps: Path) -> None:
    """Loads and refreshes all that is pending. If it is not killed, writes the names of its steps and the number of its runs to a file."""
    killer = Killer(fatal_step)
    watch_runs(killer)
    platform = small_platform(home)
    definitions = build_definitions(platform.settings, platform.catalog)
    with dagster_instance(platform.settings) as instance:
        results = run_pending(definitions, platform, instance)
    assert all(result.success for result in results)
    steps.write_text("\n".join([str(len(results)), *killer.steps]))


def _is_counted(_: dg.DagsterInstance, entry: dg.EventLogEntry) -> bool:
    return entry.dagster_event is not None and entry.dagster_event.event_type in EVENTS
