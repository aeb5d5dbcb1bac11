"""What the processes of these tests do: the platform's own code, in loops.

Imported by the process that all others are forked from; what loading imports late is imported here, so that no time goes by with that.
"""

from __future__ import annotations

import dataclasses
import random
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import duckdb  # noqa: F401
import msgspec  # noqa: F401
import pandera.polars  # noqa: F401
import polars as pl
import pyarrow as pa  # noqa: F401
import sqlglot  # noqa: F401

from gaelp_assets.ingest.load import load_slice
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.operations.replay import replay
from gaelp_assets.platform import Platform
from gaelp_assets_tests.platforms import EARLY, platform_in

LAST: Final = "everything is written"
"""The file in a home that tells its workers that no more work comes."""


READ_ON: Final = "others still work"
"""The file in a home for as long as its reader goes on."""


def run(work: Callable[..., None], begun: Connection, home: Path, arguments: tuple[Any, ...]) -> None:
    """The body of every process: opens the platform, tells that it goes to work, and works."""
    platform = platform_in(home)
    begun.send(None)
    work(platform, *arguments)


def ingest(platform: Platform, seed: int | None = None) -> None:
    """Sorts and loads what lies there; with a seed, rebuilds some slices in place of appending to them."""
    chance = random.Random(seed)
    sort_raw(platform, run_id="chaos")
    for relation_id, slice_ in platform.gateway.pending_slices():
        rebuild = seed is not None and chance.random() < 0.4
        load_slice(platform, platform.catalog[relation_id], slice_, run_id="chaos", rebuild=rebuild)


def ingest_until_done(platform: Platform) -> None:
    """Ingests again and again, until the last file has come and nothing is left."""
    last = platform.settings.home / LAST
    while True:
        done = last.exists()
        ingest(platform)
        if done and not platform.gateway.pending().files and not platform.gateway.unsorted().files:
            return


def rebuild_until_done(platform: Platform) -> None:
    """Rebuilds all slices in turn, until the last file has come; at least once after it."""
    last = platform.settings.home / LAST
    done = False
    while not done:
        done = last.exists()
        rebuild_all(platform)


def rebuild_all(platform: Platform) -> None:
    """Rebuilds every slice that the ledger knows."""
    for relation in (platform.catalog["training.checkpoints"], platform.catalog["training.agents"]):
        platform.ensure(relation)
        for slice_ in slices_of(platform, relation.id):
            load_slice(platform, relation, slice_, run_id="chaos", rebuild=True)


def slices_of(platform: Platform, relation_id: str) -> list[Any]:
    """The slices of which the ledger holds batches."""
    from gaelp_assets.catalog import Slice

    dataset, name = relation_id.split(".")
    frame = platform.warehouse.query(
        "SELECT DISTINCT slice_date, slice_environment FROM ops.import_logs "
        f"WHERE dataset = '{dataset}' AND `table` = '{name}' AND mode <> 'sort' ORDER BY 1, 2"
    ).frame
    return [Slice(date, environment) for date, environment in frame.iter_rows()]


PER_BATCH: Final = """
SELECT l.slice_date, l.slice_environment, l.batch_id, l.loaded, COUNT(r._batch_id) AS found
FROM ops.import_logs AS l
LEFT JOIN training.checkpoints AS r
    ON r._batch_id = l.batch_id AND r.date = l.slice_date AND r.environment_id = l.slice_environment
WHERE l.dataset = 'training' AND l.`table` = 'checkpoints' AND l.mode <> 'sort'
GROUP BY l.slice_date, l.slice_environment, l.batch_id, l.loaded
"""
TOTALS: Final = """
SELECT
    (SELECT COUNT(*) FROM training.checkpoints) AS checkpoints,
    (SELECT COALESCE(SUM(loaded), 0) FROM ops.import_logs WHERE `table` = 'checkpoints') AS booked_checkpoints,
    (SELECT COUNT(*) FROM training.agents) AS agents,
    (SELECT COALESCE(SUM(loaded), 0) FROM ops.import_logs WHERE `table` = 'agents') AS booked_agents,
    (SELECT COUNT(*) FROM ops.dead_letter) AS letters,
    (SELECT COALESCE(SUM(rejected), 0) FROM ops.import_logs) AS booked_letters
"""


def read_on(platform: Platform, observations: Path) -> None:
    """Queries throughout; whatever it sees must be whole. Writes what it has seen of each batch to a file."""
    platform.warehouse.ensure(
        [platform.catalog[name] for name in ("training.checkpoints", "training.agents", "ops.dead_letter")]
    )
    platform.ensure(platform.catalog["training.checkpoints"])
    seen: set[tuple[Any, ...]] = set()
    going_on = platform.settings.home / READ_ON
    while going_on.exists():
        totals = platform.warehouse.query(TOTALS).frame.row(0, named=True)
        for name in ("checkpoints", "agents", "letters"):
            assert totals[name] == totals[f"booked_{name}"], totals
        batches = platform.warehouse.query(PER_BATCH).frame
        assert batches["loaded"].equals(batches["found"]), "a slice is seen in part"
        now = set(batches.select("slice_date", "slice_environment", "batch_id", "loaded").rows())
        assert seen <= now, "what was there is gone, or has other rows"
        seen = now
    frame = pl.DataFrame(
        sorted(seen),
        schema={
            "slice_date": pl.Date(),
            "slice_environment": pl.String(),
            "batch_id": pl.String(),
            "loaded": pl.Int64(),
        },
        orient="row",
    )
    frame.write_parquet(observations)


def mended(platform: Platform) -> Platform:
    """The platform with the rule mended that rejected early rows."""
    return dataclasses.replace(platform, settings=dataclasses.replace(platform.settings, first_date=EARLY))


def replay_and_ingest(platform: Platform) -> None:
    """Replays what the mended rule had rejected, and loads it."""
    platform = mended(platform)
    replay(platform, rule="date_out_of_range")
    ingest(platform)


def ingest_and_weigh(platform: Platform, peak: Path) -> None:
    """Ingests, and writes the largest memory that this process ever had, in MB, to a file."""
    ingest(platform)
    peak.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000))
