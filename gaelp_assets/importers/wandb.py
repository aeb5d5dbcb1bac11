r"""W&B runs that were recorded offline: agent, run and metrics, from `.wandb` files.

A metric's step is W&B's own (`_step`). Nested keys are joined by dots, and a dot within a key is written `\.`: `{"n": {"a": 1}}` becomes
`n.a`, and the key `"n.a"` becomes `n\.a`. What is no number (texts, tables, histograms, images) is counted and left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers import logged, wandb_files
from gaelp_assets.importers.environments import plain
from gaelp_assets.importers.logged import Owner
from gaelp_assets.importers.source import RUN_LENGTH, Kind, Options, Rows, Tally, required, valid_id, written
from gaelp_assets.importers.wandb_files import BrokenFileError, Entry, Log

_STEP, _TIME = ("_step",), ("_timestamp",)
_OWN: Final = frozenset({_STEP, _TIME})


@dataclass
class _Survey:
    """What a first reading tells of a run, that the second one needs: a configuration can stand at the end."""

    log: Log
    entries: int = 0
    last: str | None = None
    last_step: int = -1
    ordered: bool = True
    """Whether each step is greater than the one before: then no metric has two values at a step."""
    newest: dict[tuple[tuple[str, ...], int], int] = field(default_factory=dict)
    """Where that is not so: the number of the last entry with the key and step."""


def rows(path: Path, options: Options, tally: Tally) -> Rows:
    """The rows of one run or several: the metrics of each, then the runs and agents.

    Args:
        path: a `.wandb` file, the folder of a run, or one of several runs.
        options: names and the moment where the runs are silent.
        tally: counts values of the history.

    Raises:
        GaelpError: no such run, or a name that neither run nor options give.
    """
    files = wandb_files.log_files(path)
    if options.run and len(files) > 1:
        raise GaelpError(logged.several_runs(len(files), path))
    agents = logged.Agents()
    for file in files:
        yield from _run(file, options, tally, agents)
    yield from agents.rows(tally)


def _run(path: Path, options: Options, tally: Tally, agents: logged.Agents) -> Rows:
    survey = _survey(path, tally)
    log = survey.log
    config = {name: plain(value) for name, value in log.config.items() if name != "_wandb"}
    told = logged.told(config)
    algorithm = options.algorithm or told.algorithm
    named = told.agent or algorithm
    agent = options.agent or (valid_id(named) if named else None)
    owner = Owner(
        options.run or valid_id(log.run_id or path.stem.removeprefix("run-"), RUN_LENGTH),
        required(agent, "agent", "agent", path),
        required(options.environment or told.environment, "environment", "environment", path),
    )
    started = logged.moment_of(log.started) or written(path, options, tally, owner.training_run_id)
    yield from _metrics(survey, owner, started, tally)
    last = max(survey.last or started, started)
    if not log.ended:
        tally.note(
            f"{path.name} does not tell of the run's end: it goes on, was killed, or the file is not whole"
        )
    status = "running" if not log.ended else ("failed" if log.exit_code else "succeeded")
    updated_at = logged.version_moment(last, log.ended)
    agents.add(owner.agent_id, algorithm, config, started, updated_at)
    row = {
        "training_run_id": owner.training_run_id,
        "agent_id": owner.agent_id,
        "environment_id": owner.environment_id,
        "seed": told.seed,
        "status": status,
        "started_at": started,
        "finished_at": last if log.ended else None,
        "config": {
            "source": {"kind": "wandb", "run": log.run_id, "name": log.name, "project": log.project},
            "parameters": config,
        },
        "updated_at": updated_at,
    }
    yield "training.training_runs", row
    for what, number in sorted(log.others.items()):
        tally.note(f"{number} records are no history: {what}")


def _survey(path: Path, tally: Tally) -> _Survey:
    survey = _Survey(Log(path))
    try:
        for number, entry in enumerate(wandb_files.entries(path, survey.log)):
            survey.entries = number + 1
            at = _moment(entry)
            if at is not None and (survey.last is None or at > survey.last):
                survey.last = at
            survey.ordered &= entry.step > survey.last_step
            survey.last_step = max(entry.step, survey.last_step)
    except BrokenFileError as error:
        tally.damaged(error.problems[0].what, error.problems[0].where)
    if not survey.ordered:
        for number, entry in _again(survey):
            survey.newest.update({(key, entry.step): number for key in entry.values})
    return survey


def _again(survey: _Survey) -> Iterator[tuple[int, Entry]]:
    """The entries once more, up to where the file is damaged or grew since."""
    return zip(
        range(survey.entries), wandb_files.entries(survey.log.path, Log(survey.log.path)), strict=False
    )


def _metrics(survey: _Survey, owner: Owner, started: str, tally: Tally) -> Rows:
    for number, entry in _again(survey):
        at = _moment(entry) or started
        objects = {
            key[:-1]: text for key, text in entry.values.items() if key[-1] == "_type" and len(key) > 1
        }
        for key, text in entry.values.items():
            if key in _OWN:
                continue
            tally.read += 1
            name = wandb_files.name_of(key)
            kind = next((objects[key[:cut]] for cut in range(1, len(key)) if key[:cut] in objects), None)
            value = None if kind else wandb_files.number(text)
            reason = logged.why_not(name, entry.step)
            if value is None:
                tally.drop(f"no number but {_kind(kind or text, kind is not None)}")
            elif reason:
                tally.drop(reason)
            elif survey.newest and survey.newest[key, entry.step] != number:
                tally.drop("a value that a later one at the same step replaced")
            else:
                yield "training.metrics", owner.metric_row(name, entry.step, at, value)


def _kind(text: str, named: bool) -> str:
    """What stands in place of a number: W&B names its own kinds, such as histogram."""
    if named:
        name = json.loads(text)
        return (
            f"a part of the kind {name}"
            if isinstance(name, str) and name.isascii() and len(name) < 50
            else "a part of an object"
        )
    kinds = {"t": "true or false", "f": "true or false", "n": "null", "[": "a list", "{": "an object"}
    return kinds.get(text[:1], "a text")


def _moment(entry: Entry) -> str | None:
    text = entry.values.get(_TIME)
    seconds = wandb_files.number(text) if text is not None else None
    return logged.moment_of(seconds)


KIND: Final = Kind("wandb", "runs of W&B that were recorded offline: .wandb files", rows)
