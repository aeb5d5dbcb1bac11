"""Runs of `gaelp ingest` whose process is gone: no daemon watches those, and one would hold its slot for ever.

Such a process holds a file lock for as long as it lives. Who gets the lock knows that every unfinished run of its kind is dead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import dagster as dg

from gaelp_assets.settings import Settings

if TYPE_CHECKING:
    from filelock import FileLock

IN_PROCESS_TAG: Final = {"gaelp/launcher": "in process"}


def process_lock(settings: Settings) -> FileLock:
    """The lock that a process holds while it executes runs by itself."""
    from filelock import FileLock

    settings.home.mkdir(parents=True, exist_ok=True)
    return FileLock(settings.home / "ingest.lock")


def fail_orphans(instance: dg.DagsterInstance) -> int:
    """Ends the unfinished runs of processes that are gone; how many. Only for who holds `process_lock`."""
    unfinished = [
        status
        for status in dg.DagsterRunStatus
        if status
        not in {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    ]
    runs = instance.get_runs(dg.RunsFilter(tags=IN_PROCESS_TAG, statuses=unfinished))
    for run in runs:
        instance.report_run_failed(run, "The process that executed this run is gone.")
    return len(runs)


def release_orphans(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Frees the slots of dead processes, if no living one executes runs by itself."""
    with _if_free(settings) as free:
        if free:
            fail_orphans(instance)


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
