"""Sorts and loads everything below a home, and kills its own process at the step whose number it is given.

The steps are the calls that leave something behind: moves and creations in the gateway, and the warehouse's commits. Each counts
twice, before and after.
"""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaelp_assets.catalog.folders import FOLDER
from gaelp_assets.catalog.load import read_relations
from gaelp_assets.gateway.stores.local import LocalStore
from gaelp_assets.ingest import load, sort
from gaelp_assets.operations.correct import revise, withdraw_batch, withdraw_key
from gaelp_assets.operations.replay import replay
from gaelp_assets.platform import Platform
from gaelp_assets.sql.sound import sound_catalog
from gaelp_assets.stream.batch import Batch
from gaelp_assets.stream.receiver import Receiver
from gaelp_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gaelp_assets.warehouse.ledger import Note
from gaelp_assets_tests.chaos.workers import mended
from gaelp_assets_tests.platforms import TABLE, checkpoint, ndjson, platform_in

STEPS = (
    (LocalStore, ("create", "move", "delete")),
    (DuckDBWarehouse, ("ensure", "write", "mark_replayed")),
    (load, ("stage_file",)),
    (sort, ("stage_file",)),
)


class Killer:
    """Counts steps, and dies at one."""

    def __init__(self, fatal_step: int | None) -> None:
        self.fatal_step = fatal_step
        self.step = 0

    def pass_by(self) -> None:
        if self.step == self.fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)
        self.step += 1

    def watch(self, owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.pass_by()
            result = original(*args, **kwargs)
            self.pass_by()
            return result

        setattr(owner, name, watched)


def load_everything(platform: Platform) -> None:
    sort.sort_raw(platform, run_id="test")
    for relation_id, slice_ in platform.gateway.pending_slices():
        load.load_slice(platform, platform.catalog[relation_id], slice_, run_id="test")


def replay_everything(platform: Platform) -> None:
    """Replays what a rule had rejected that is mended by now, and loads it."""
    platform = mended(platform)
    replay(platform, rule="date_out_of_range")
    load_everything(platform)


def correct_everything(platform: Platform) -> None:
    """Loads a revision that came into `raw/`, then revises and withdraws by command."""
    load_everything(platform)
    relation, note = platform.catalog[TABLE], Note("ada", "counted twice")
    file = platform.settings.home / "again.ndjson"
    file.write_bytes(ndjson([checkpoint(6, bytes=6), checkpoint(8, bytes=8)]))
    revise(platform, relation, file, note, batch="week")
    withdraw_key(platform, relation, {"checkpoint_id": "checkpoint-8"}, note)
    withdraw_batch(platform, relation, "month", note)


def pushed(platform: Platform) -> list[Batch]:
    """What a source hands a receiver: good, bad and doubled lines of two slices, and the same lines packed and under another name."""
    elsewhere = [checkpoint(number, environment_id="Taxi-v4") for number in (2, 5)]
    bodies = [
        ndjson([checkpoint(1), checkpoint(2), "{", checkpoint(1)]),
        ndjson([checkpoint(2), checkpoint(3, bytes=7), *elsewhere]),
        ndjson(["nonsense"]),
    ]
    batches = [
        Batch(platform.catalog[TABLE], f"live-test-{number}", body) for number, body in enumerate(bodies)
    ]
    again = Batch(platform.catalog[TABLE], "live-test-again", bodies[0])
    packed = Batch(
        platform.catalog[TABLE], "live-test-packed", gzip.compress(bodies[1], mtime=0), "ndjson.gz"
    )
    return [*batches, again, packed]


def stream_everything(platform: Platform) -> None:
    """A receiver takes up what an earlier one has left, then a source hands in everything, in two rounds."""
    receiver = Receiver(platform)
    receiver.start()
    first, *rest = pushed(platform)
    for batches in ([first], rest):
        for waiting in [receiver.accept(batch) for batch in batches]:
            with (platform.settings.home / "accepted").open("a") as accepted:
                accepted.write(f"{waiting.arrived.digest}\n")
            assert waiting.result(60) is not None
    assert receiver.close(60)


def run(home: Path, work: Callable[[Platform], None], fatal_step: int | None, steps: Path) -> None:
    """Does the work and writes the number of steps to a file, unless it is killed before."""
    killer = Killer(fatal_step)
    for owner, names in STEPS:
        for name in names:
            killer.watch(owner, name)
    work(platform_in(home))
    steps.write_text(str(killer.step))


# What each process would work out alone, those that are forked know from the start: the views of the catalogue are sound. Its check
# rules are not looked at here: Polars would start threads, which do not go on in a fork.
sound_catalog(read_relations(FOLDER))
