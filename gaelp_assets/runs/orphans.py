"""Runs whose process is gone and which no daemon watches: such a run keeps its slot from running again.

`gaelp ingest` holds a file lock for as long as it lives. Who gets the lock knows that every unfinished run of its kind is dead.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import dagster as dg

from gaelp_assets.runs.holders import Held, holding
from gaelp_assets.runs.planning import SLOT_TAG
from gaelp_assets.settings import Settings

UNFINISHED_RUN_STATUSES: Final = [
    status
    for status in dg.DagsterRunStatus
    if status not in {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
]
# A daemon writes a heartbeat every 30 seconds.
SILENCE_SECONDS: Final = 100
IN_PROCESS_TAG: Final = {"gaelp/launcher": "in process"}


def process_lock(settings: Settings) -> Path:
    """The lock file that a process holds while it executes runs by itself (see `holders.holding`)."""
    return settings.home / "ingest.lock"


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
    with suppress(Held), holding(process_lock(settings), "gaelp dev"):
        fail_orphans(instance, of_daemon=False)


def runs_of_daemon(instance: dg.DagsterInstance) -> dict[str, str]:
    """The slots of the runs that a living daemon has queued or started, by run id."""
    if not daemon_lives(instance):
        return {}
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED_RUN_STATUSES))
    return {
        run.run_id: run.tags[SLOT_TAG]
        for run in runs
        if SLOT_TAG in run.tags and not run.tags.items() >= IN_PROCESS_TAG.items()
    }
