"""RLlib's trials: every number of a result a row of `training.metrics`, and the episodes that a result is new with as `training.episodes`.

The lists of episodes in a result reach back: only as many at their end as `episodes_this_iter` says are new. A trial that was restored
goes on in the same file with iterations that are there already: those of before are void.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers import logged
from gaelp_assets.importers.environments import plain
from gaelp_assets.importers.logged import Owner
from gaelp_assets.importers.rllib_files import (
    PROGRESS,
    RESULTS,
    BrokenResultsError,
    Result,
    Values,
    parameters,
    results,
)
from gaelp_assets.importers.source import (
    Kind,
    Options,
    Rows,
    Tally,
    day,
    files_of,
    moment,
    required,
    run_id,
    valid_id,
)

_STEPS: Final = (
    "timesteps_total",
    "num_env_steps_sampled_lifetime",
    "env_runners/num_env_steps_sampled_lifetime",
)
_ITERATION: Final = "training_iteration"
_PLACES: Final = ("", "env_runners/", "sampler_results/")
"""Before the names of what tells of episodes; where several have it, it is the same."""
_NO_MEASURE: Final = frozenset({"pid", "timestamp"})
_LONGEST: Final = 1_000_000_000


@dataclass
class _Survey:
    """What a first reading tells of a trial."""

    file: Path
    number: int = 0
    steps: str = _ITERATION
    """The name of what counts its steps."""
    valid: set[int] = field(default_factory=set)
    """The numbers of the results that no later one of a restored trial replaced."""
    first: Result | None = None
    last: Result | None = None
    last_moment: float = 0.0
    done: bool = False


def rows(path: Path, options: Options, tally: Tally) -> Rows:
    """The metrics and episodes of each trial, and its run; then the agents.

    Raises:
        GaelpError: no trial, or an environment or agent that neither it nor the user says.
    """
    agents = logged.Agents()
    trials = _trials(path)
    if options.run and len(trials) > 1:
        raise GaelpError(logged.several_runs(len(trials), path))
    root = path.parent if path.is_file() else path
    for file in trials:
        yield from _trial(file, run_id(options, root, file.parent), options, tally, agents)
    yield from agents.rows(tally)


def _trials(path: Path) -> list[Path]:
    """The file of each trial's results: `progress.csv` only where there is no `result.json`."""
    if path.is_file():
        return [path]
    found = [file for file in path.rglob(RESULTS) if file.is_file()] if path.is_dir() else []
    whole = {file.parent for file in found}
    found += [
        file
        for file in (path.rglob(PROGRESS) if path.is_dir() else ())
        if file.is_file() and file.parent not in whole
    ]
    return sorted(found) or files_of(path, RESULTS, KIND.name)


def _trial(file: Path, run: str, options: Options, tally: Tally, agents: logged.Agents) -> Rows:
    survey = _survey(file, tally)
    config = plain((survey.first.config if survey.first else None) or parameters(file.parent))
    assert isinstance(config, dict)
    named = re.match(r"([A-Za-z0-9]+)_", file.parent.name)
    told = logged.told(config, {"algo": named[1] if named else None})
    algorithm = options.algorithm or told.algorithm
    owner = Owner(
        run,
        required(options.agent or (valid_id(algorithm) if algorithm else None), "agent", "agent", file),
        required(options.environment or told.environment, "environment", "environment", file),
    )
    if survey.first is None or survey.last is None or not survey.last_moment:
        tally.note(f"{run} holds no result with a moment: it gets no row")
        tally.drop("a result without a moment", survey.number)
        return
    if survey.steps == _ITERATION:
        tally.note(f"{run} counts no steps: global_step is its iteration")
    episodes = 0
    counted = False
    for number, result in _again(survey):
        yield from _metrics(number, result, survey, owner, tally)
        new = _new_episodes(result.values)
        counted |= new is not None
        for row in (
            _episodes(new or [], episodes, result.values, survey, owner, tally)
            if number in survey.valid
            else ()
        ):
            yield "training.episodes", row
        episodes += len(new or []) if number in survey.valid else 0
    if counted:
        tally.note("episodes have the step and moment of the result that they came with, and no flags")
    else:
        tally.note(f"{run} keeps no episodes, only their means")
    yield "training.training_runs", _run_row(survey, owner, config, told.seed)
    agents.add(
        owner.agent_id,
        algorithm,
        {name: value for name, value in config.items() if name not in logged.SEED_WORDS},
        _started(survey),
        moment(survey.last_moment),
    )


def _survey(file: Path, tally: Tally) -> _Survey:
    survey = _Survey(file)
    newest: list[tuple[int, int]] = []
    try:
        for result in results(file):
            number, survey.number = survey.number, survey.number + 1
            if survey.first is None:
                survey.first = result
                survey.steps = next(
                    (name for name in _STEPS if _count(result.values, name) is not None), _ITERATION
                )
            survey.last = result
            survey.done = result.values.get("done") is True
            survey.last_moment = max(survey.last_moment, _at(result.values) or 0.0)
            step = _count(result.values, survey.steps)
            if step is not None:
                # A restored trial goes back: what it counted beyond is void.
                while newest and newest[-1][0] >= step:
                    newest.pop()
                newest.append((step, number))
    except BrokenResultsError as error:
        tally.damaged(error.what, f"byte {error.offset:,} of {file.name}")
    survey.valid = {number for _, number in newest}
    return survey


def _again(survey: _Survey) -> Iterator[tuple[int, Result]]:
    """The results once more, up to where the file is damaged or grew since."""
    return zip(range(survey.number), results(survey.file), strict=False)


def _at(values: Values) -> float | None:
    at = values.get("timestamp")
    usable = isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < 1e11
    return float(at) if usable and logged.moment_of(float(at)) else None  # type: ignore[arg-type]


def _count(values: Values, name: str) -> int | None:
    """A count that is one: not negative, and whole."""
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        return None
    return int(value) if value == int(value) else None


def _metrics(number: int, result: Result, survey: _Survey, owner: Owner, tally: Tally) -> Rows:
    step, at = _count(result.values, survey.steps), _at(result.values)
    for name, value in result.values.items():
        tally.read += 1
        reason = (
            _no_number(name, value)
            or ("a result without a moment" if at is None else None)
            or ("a result without a step" if step is None else None)
            or ("a result that a later one of the trial replaced" if number not in survey.valid else None)
            or logged.why_not(name, step or 0)
        )
        if reason is not None:
            tally.drop(reason)
            continue
        assert isinstance(value, int | float)
        assert step is not None
        assert at is not None
        yield "training.metrics", owner.metric_row(name, step, moment(at), float(value))


def _no_number(name: str, value: object) -> str | None:
    """Why a value is no metric; None where it is."""
    if name in _NO_MEASURE:
        return "no measure: a process or moment"
    if isinstance(value, bool):
        return "no number but true or false"
    if isinstance(value, int | float):
        return None if isinstance(value, float) or abs(value) < 2**1000 else "a number beyond 64 bits"
    kinds: list[tuple[type[Any], str]] = [(str, "a text"), (list, "a list"), (type(None), "null")]
    return f"no number but {next((word for kind, word in kinds if isinstance(value, kind)), 'another thing')}"


def _new_episodes(values: Values) -> list[tuple[object, object]] | None:
    """Return and length of the episodes that are new; None where the result tells none."""
    for place in _PLACES:
        for name in ("episode_reward", "episode_return"):
            returns, lengths = (values.get(f"{place}hist_stats/{of}") for of in (name, "episode_lengths"))
            new = _count(values, f"{place}episodes_this_iter")
            if isinstance(returns, list) and isinstance(lengths, list) and new is not None:
                pairs: list[tuple[object, object]] = list(zip(returns, lengths, strict=False))
                # More than the lists hold are not in them any more.
                return [(None, None)] * (new - len(pairs)) + (pairs[-new:] if new else [])
    return None


def _episodes(
    new: list[tuple[object, object]], before: int, values: Values, survey: _Survey, owner: Owner, tally: Tally
) -> Iterator[dict[str, object]]:
    at, step = _at(values), _count(values, survey.steps)
    for index, (total, length) in enumerate(new, before):
        tally.read += 1
        if total is None or length is None:
            tally.drop("an episode that the result only counts")
        elif at is None or step is None:
            tally.drop("an episode of a result without a moment or step")
        elif isinstance(total, bool) or not isinstance(total, int | float) or not math.isfinite(total):
            tally.drop("an episode whose return is no finite number")
        elif isinstance(length, bool) or not isinstance(length, int | float) or not 1 <= length <= _LONGEST:
            tally.drop("an episode whose length is no number of steps")
        else:
            yield {
                "episode_id": f"{owner.training_run_id}.e{index:06d}",
                "date": day(moment(at)),
                "environment_id": owner.environment_id,
                "agent_id": owner.agent_id,
                "training_run_id": owner.training_run_id,
                "purpose": "training",
                "episode_index": index,
                "global_step": step,
                "episode_return": float(total),
                "episode_length": int(length),
                "transitions_recorded": False,
                "ended_at": moment(at),
            }


def _started(survey: _Survey) -> str:
    assert survey.first is not None
    values = survey.first.values
    seconds = values.get("time_total_s")
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e9
    at = _at(values) or survey.last_moment
    return moment(at - float(seconds) if known else at)  # type: ignore[arg-type]


def _run_row(survey: _Survey, owner: Owner, config: dict[str, object], seed: int | None) -> dict[str, object]:
    assert survey.last is not None
    last = moment(survey.last_moment)
    host = survey.last.values.get("hostname")
    steps = _count(survey.last.values, survey.steps) if survey.steps != _ITERATION else None
    row: dict[str, object] = {
        "training_run_id": owner.training_run_id,
        "agent_id": owner.agent_id,
        "environment_id": owner.environment_id,
        "seed": seed,
        "status": "succeeded" if survey.done else None,
        "started_at": _started(survey),
        "finished_at": last if survey.done else None,
        "host": host if isinstance(host, str) and 0 < len(host) <= 255 else None,
        "global_step": steps,
        "config": {"source": {"kind": KIND.name, "file": survey.file.name}, "parameters": config},
        "updated_at": logged.version_moment(last, survey.done),
    }
    return {name: value for name, value in row.items() if value is not None}


KIND: Final = Kind(
    "rllib",
    "RLlib's trials as Ray Tune keeps them: `result.json`, or `progress.csv` where there is no other",
    rows,
)
