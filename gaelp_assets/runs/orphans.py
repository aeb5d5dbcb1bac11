"""Runs whose process is gone and which no daemon watches: such a run keeps its slot from running again.

`gaelp ingest` holds a file lock for as long as it lives. Who gets the lock knows that every unfinished run of its kind is dead.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import dagster as dg

from gaelp_assets.runs.planning import SLOT_TAG
from gaelp_assets.settings import Settings

if TYPE_CHECKING:
    from filelock import FileLock

UNFINISHED_RUN_STATUSES: Final = [
    status
    for status in dg.DagsterRunStatus
    if status not in {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
]
# A daemon writes a heartbeat every 30 seconds.
SILENCE_SECONDS: Final = 100
IN_PROCESS_TAG: Final = {"gaelp/launcher": "in process"}


def process_lock(settings: Settings) -> FileLock:
    """The lock that a process holds while it executes runs by itself."""
    from filelock import FileLock

    settings.home.mkdir(parents=True, exist_ok=True)
    return FileLock(settings.home / "ingest.lock")


def fail_orphans(instance: dg.DagsterInstance, *, of_daemon: bool) -> int:
    """Ends the unfinished runs of processes that are gone; how many. Only for who holds `process_lock`.

    With `of_daemon`, the planned runs that a daemon left queued or started are among them, if none lives: nobody else would end them.
    """
    of_daemon = of_daemon and not daemon_lives(instance)
    runs = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED_RUN_STATUSES))
        if run.tags.items() >= IN_PROCESS_TAG.items() or (of_daemon and SLOT_TAG in run.tags)
    ]
    for run in runs:
        instance.report_run_failed(run, "The process that was to execute this run is gone.")
    return len(runs)


def daemon_lives(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon has shown a sign of life lately."""
    now = time.time()
    beats = instance.get_daemon_heartbeats().values()
    return any(now - beat.timestamp < SILENCE_SECONDS for beat in beats)


def release_orphans(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Frees the slots of dead processes, if no living one executes runs by itself."""
    with _if_free(settings) as free:
        if free:
            fail_orphans(instance, of_daemon=False)


@contextmanager
def _if_free(settings: Settings) -> Iterator[bool]:
    from filelock import Timeout

    lock = process_lock(settings)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
