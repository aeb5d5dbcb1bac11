"""MLflow's runs: agents, runs and metrics, from its SQLite database or the folder `mlruns`.

Parameters stay the texts that MLflow makes of them. A value that is the greatest finite number is an infinity that MLflow could not keep.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers import logged, mlflow_files
from gaelp_assets.importers.logged import Owner
from gaelp_assets.importers.mlflow_files import BrokenFileError, Metric, Run, Store
from gaelp_assets.importers.source import RUN_LENGTH, Kind, Options, Rows, Tally, required, valid_id, written

_STATUS: Final = {
    "RUNNING": "running",
    "SCHEDULED": "queued",
    "FINISHED": "succeeded",
    "FAILED": "failed",
    "KILLED": "cancelled",
}


def rows(path: Path, options: Options, tally: Tally) -> Rows:
    """The rows of all runs that are not deleted: the metrics of each, then the runs and agents.

    Args:
        path: `mlflow.db`, the folder `mlruns`, or the folder of an experiment or of a run in it.
        options: names and the moment where the runs are silent.
        tally: counts values of metrics.

    Raises:
        GaelpError: there is no such store, or a name that neither run nor options give.
    """
    agents = logged.Agents()
    try:
        with mlflow_files.opened(path) as store:
            runs = list(_existing(store, tally))
            if options.run and len(runs) > 1:
                raise GaelpError(logged.several_runs(len(runs), path))
            for run in runs:
                yield from _run(store, run, path, options, tally, agents)
    except BrokenFileError as error:
        tally.damaged(error.problems[0].what, error.problems[0].where)
    yield from agents.rows(tally)


def _existing(store: Store, tally: Tally) -> Iterator[Run]:
    for run in store.runs():
        if run.deleted:
            tally.read += 1
            tally.drop("a run that was deleted in MLflow")
        else:
            yield run


def _run(store: Store, run: Run, path: Path, options: Options, tally: Tally, agents: logged.Agents) -> Rows:
    told = logged.told(run.params, run.tags)
    algorithm = options.algorithm or told.algorithm
    named = told.agent or algorithm
    agent = options.agent or (valid_id(named) if named else None)
    where = path / run.run_id
    owner = Owner(
        options.run or valid_id(run.run_id, RUN_LENGTH),
        required(agent, "agent", "agent", where),
        required(options.environment or told.environment, "environment", "environment", where),
    )
    started = logged.moment_of(_seconds(run.started)) or written(path, options, tally, owner.training_run_id)
    last = started
    for name, step, milliseconds, value in _newest(store.metrics(run), tally):
        at = logged.moment_of(milliseconds / 1000)
        reason = logged.why_not(name, step) or ("a time that no calendar has" if at is None else None)
        if reason or at is None:
            tally.drop(reason or "")
            continue
        last = max(last, at)
        if math.isinf(value) and store.replaces_infinity:
            tally.note(
                "values that are the greatest finite number count as Infinity, which this store cannot keep"
            )
        yield "training.metrics", owner.metric_row(name, step, at, value)
    ended = logged.moment_of(_seconds(run.ended))
    finished = None if ended is None else max(ended, started)
    updated_at = logged.version_moment(max(last, finished or last), finished is not None)
    agents.add(owner.agent_id, algorithm, run.params, started, updated_at)
    row = {
        "training_run_id": owner.training_run_id,
        "agent_id": owner.agent_id,
        "environment_id": owner.environment_id,
        "seed": told.seed,
        "status": _STATUS.get(run.status, "running" if finished is None else "succeeded"),
        "started_at": started,
        "finished_at": finished,
        "config": {
            "source": {"kind": "mlflow", "run": run.run_id, "name": run.name, "experiment": run.experiment},
            "parameters": run.params,
        },
        "updated_at": updated_at,
    }
    yield "training.training_runs", row


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _newest(metrics: Iterator[Metric], tally: Tally) -> Iterator[Metric]:
    """Of several values of a metric at a step the one that was logged last, in the order in which the steps came.

    Memory: the values of one metric.
    """
    for _, values in groupby(metrics, key=lambda metric: metric[0]):
        newest: dict[int, Metric] = {}
        for metric in values:
            tally.read += 1
            if metric[1] in newest:
                tally.drop("a value that a later one at the same step replaced")
            newest[metric[1]] = metric
        yield from newest.values()


KIND: Final = Kind("mlflow", "MLflow's tracking database (SQLite) or its folder mlruns", rows)
