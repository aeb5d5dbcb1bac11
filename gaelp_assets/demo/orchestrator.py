"""The training orchestrator in miniature: trains every agent in every environment, date by date, and publishes the rows.

It knows which file goes to which table, slice and stage of the gateway; how a file is written is the caller's affair.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Literal, cast

import numpy as np

from gaelp_assets.catalog.slices import WHOLE, Slice
from gaelp_assets.demo.equipment import registry_rows, session_rows
from gaelp_assets.demo.runs import DayRows, Save, TrainingRun
from gaelp_assets.demo.spaces import Env, environment_row, make
from gaelp_assets.demo.tasks import (
    AGENTS,
    DEFAULT_DAYS,
    DEFAULT_SEEDS,
    DEMO_ENVIRONMENTS,
    Agent,
    Environment,
    Size,
)
from gaelp_assets.record.values import Row, timestamp

# The definitions of environments and agents are part of the release, not of the day on which they are sent.
DEFINED_AT: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class ProducedFile:
    """One gateway file: `STAGE/DATASET/TABLE/[date=.../][environment=.../]NAME.ndjson`, one line for each row."""

    stage: Literal["raw", "cloud_ready"]
    dataset: str
    table: str
    slice: Slice | None
    """None for a raw file, whose rows belong to several slices; `WHOLE` for a table that is not sliced."""
    name: str
    """Without ending; unique within its folder for as long as the rows differ."""
    rows: list[Row]


Publish = Callable[[ProducedFile], None]


@dataclass(frozen=True)
class Progress:
    """How far the training of a date is."""

    date: dt.date
    done: int
    total: int
    label: str
    """The environment and agent that were trained last."""


@dataclass(frozen=True)
class DayReport:
    """What was published for one date."""

    date: dt.date
    files: int
    rows: int
    mean_returns: dict[tuple[str, str], float]
    """By environment and agent: the mean return of the day's training episodes, over all seeds."""


def default_dates(last: dt.date, days: int = DEFAULT_DAYS) -> tuple[dt.date, ...]:
    """The dates of a demo of that many days that ends on `last`."""
    return tuple(last - dt.timedelta(days=days - 1 - day) for day in range(days))


def produce(
    publish: Publish,
    save: Save,
    *,
    dates: Sequence[dt.date],
    size: Size,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[DayReport]:
    """Trains on each date, publishes its files, then yields; training goes on where it stopped.

    The same arguments give the same files, byte for byte, whenever they are produced.

    Raises:
        ValueError: there are no dates or no seeds, or the dates do not rise.
    """
    days, seeds = tuple(dates), tuple(seeds)
    if not days or any(later <= earlier for earlier, later in itertools.pairwise(days)):
        raise ValueError("dates: expected at least one, each later than the one before")
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError("seeds: expected at least one, each once")
    return _produce(publish, save, days, size, seeds, on_progress)


def _produce(
    publish: Publish,
    save: Save,
    dates: tuple[dt.date, ...],
    size: Size,
    seeds: tuple[int, ...],
    on_progress: Callable[[Progress], None],
) -> Iterator[DayReport]:
    environments = {environment: make(environment) for environment in DEMO_ENVIRONMENTS}
    try:
        runs = [
            TrainingRun(environment, env, agent, seed, size, dates)
            for environment, env in environments.items()
            for agent in AGENTS
            for seed in seeds
        ]
        # Other seeds, dates or sizes are other files.
        suffix = f"{dates[0]:%Y%m%d}-{len(dates)}x{size.steps_per_day}-s{'_'.join(map(str, seeds))}"
        for date in dates:
            first = date == dates[0]
            told: dict[TrainingRun, DayRows] = {}
            published: list[ProducedFile] = []
            for part, of_part in _parts(runs, each=first):
                files = _first_files(environments, date) if first and not told else []
                rows: dict[TrainingRun, DayRows] = {}
                for run in of_part:
                    told[run] = rows[run] = run.day(date, save)
                    on_progress(Progress(date, len(told), len(runs), f"{run.environment.id} {run.agent.id}"))
                files += _day_files(date, rows, part, suffix)
                if len(told) == len(runs):
                    files += [_evaluations(date, told, suffix), _sessions(date)]
                for file in files:
                    publish(file)
                published += files
            yield DayReport(
                date, len(published), sum(len(file.rows) for file in published), _mean_returns(told)
            )
    finally:
        for env in environments.values():
            env.close()


def _parts(runs: Sequence[TrainingRun], *, each: bool) -> Iterator[tuple[str, list[TrainingRun]]]:
    """The runs of each environment, under its name, or all of them.

    On the first date an environment is published as soon as it is trained: who has just started the demo waits for the first curve.
    """
    if not each:
        yield "", list(runs)
        return
    for environment, of_it in itertools.groupby(runs, key=lambda run: run.environment):
        yield f"{environment.id}-", list(of_it)


def _first_files(environments: dict[Environment, Env], date: dt.date) -> list[ProducedFile]:
    """The definitions of environments and agents, and the equipment registry of the first date."""
    described = [environment_row(environment, env, DEFINED_AT) for environment, env in environments.items()]
    agents = [_agent_row(agent) for agent in AGENTS]
    equipment = registry_rows(date)
    return [
        _whole_file("training", "environments", f"gymnasium-{described[0]['library_version']}", described),
        _whole_file("training", "agents", f"gaelp-{agents[0]['code_version']}", agents),
        _whole_file(
            "diagnostics", "universal_equipment_registry", f"collector-{date.isoformat()}", equipment
        ),
    ]


def _sessions(date: dt.date) -> ProducedFile:
    """A collector's diagnostic sessions of a day."""
    return ProducedFile(
        "cloud_ready",
        "diagnostics",
        "diagnostic_sessions",
        Slice(date),
        f"collector-{date.isoformat()}",
        session_rows(date),
    )


def _whole_file(dataset: str, table: str, name: str, rows: list[Row]) -> ProducedFile:
    return ProducedFile("cloud_ready", dataset, table, WHOLE, name, rows)


def _agent_row(agent: Agent) -> Row:
    moment = timestamp(DEFINED_AT)
    return {
        "agent_id": agent.id,
        "algorithm": agent.algorithm,
        "algorithm_family": agent.family,
        "hyperparameters": dict(agent.hyperparameters),
        "code_version": version("gaelp-assets"),
        "framework": "numpy",
        "framework_version": np.__version__,
        "description": agent.description,
        "created_at": moment,
        "updated_at": moment,
    }


def _day_files(date: dt.date, told: dict[TrainingRun, DayRows], part: str, suffix: str) -> list[ProducedFile]:
    """What trainers write slice by slice; the runs come first, so that the keys by which the facts refer to them can be met."""
    runs = [rows.run for rows in told.values()]
    files = [_whole_file("training", "training_runs", f"{date.isoformat()}-{part}{suffix}", runs)]
    for table in ("checkpoints", "episodes", "transitions"):
        by_slice: dict[tuple[str, str], list[Row]] = {}
        for run, rows in told.items():
            by_slice.setdefault((run.environment.id, run.agent.id), []).extend(getattr(rows, table))
        files += [
            ProducedFile(
                "cloud_ready", "training", table, Slice(date, environment_id), f"{agent_id}-{suffix}", rows
            )
            for (environment_id, agent_id), rows in by_slice.items()
        ]
    return files


def _evaluations(date: dt.date, told: dict[TrainingRun, DayRows], suffix: str) -> ProducedFile:
    """What the evaluators write of a date, unsorted."""
    rows = [row for found in told.values() for row in found.evaluations]
    return ProducedFile("raw", "training", "evaluations", None, f"{date.isoformat()}-{suffix}", rows)


def _mean_returns(told: dict[TrainingRun, DayRows]) -> dict[tuple[str, str], float]:
    returns: dict[tuple[str, str], list[float]] = {}
    for run, rows in told.items():
        found = returns.setdefault((run.environment.id, run.agent.id), [])
        training = [row for row in rows.episodes if row["purpose"] == "training"]
        found += [cast("float", row["episode_return"]) for row in training]
    return {key: sum(values) / len(values) for key, values in returns.items()}
