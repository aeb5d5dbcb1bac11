"""CleanRL's runs: TensorBoard's logs in folders called ENVIRONMENT__EXPERIMENT__SEED__TIME.

Each finished episode is a return and a length at one step, one after the other: a row of `training.episodes`. All scalars are metrics as
well, these too.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gaelp_assets.importers import logged, tensorboard
from gaelp_assets.importers.event_files import Reader
from gaelp_assets.importers.logged import Owner
from gaelp_assets.importers.source import Kind, Options, Rows, Tally, day, required, valid_id

_RETURN: Final = "charts/episodic_return"
_LENGTH: Final = "charts/episodic_length"
_PARAMETERS: Final = "hyperparameters/text_summary"
_NAME: Final = re.compile(r"(?P<environment>.+?)__(?P<experiment>.+)__(?P<seed>\d+)__(?P<time>\d+)")
_LONGEST: Final = 1_000_000_000


@dataclass(frozen=True)
class _Episode:
    step: int
    at: float
    total: float
    length: float | None


def rows(path: Path, options: Options, tally: Tally) -> Rows:
    """The metrics and episodes of each run, and its row; then the agents.

    Raises:
        GaelpError: no event file, or an environment or agent that neither the folder's name nor the user says.
    """
    agents = logged.Agents()
    for run in tensorboard.runs(path, options, KIND.name):
        yield from _run(run, options, tally, agents)
    yield from agents.rows(tally)


def _run(run: tensorboard.Run, options: Options, tally: Tally, agents: logged.Agents) -> Rows:
    # First the episodes: with them come the parameters, which say what the metrics belong to.
    reader = Reader()
    episodes = list(_episodes(run, reader))
    parameters = _table(reader.texts.get(_PARAMETERS, ""))
    match = _NAME.fullmatch(run.folder.name)
    named = match.groupdict() if match else {}
    told = logged.told(
        parameters,
        {"env_id": named.get("environment"), "exp_name": named.get("experiment"), "seed": named.get("seed")},
    )
    algorithm = options.algorithm or told.algorithm
    owner = Owner(
        run.id,
        required(
            options.agent or (valid_id(told.algorithm) if told.algorithm else None),
            "agent",
            "agent",
            run.folder,
        ),
        required(
            options.environment or told.environment,
            "environment",
            "environment",
            run.folder,
        ),
    )
    counting = Reader()
    yield from tensorboard.metrics(run, owner, counting, tally)
    finished = 0
    for index, episode in enumerate(episodes):
        why_not = _why_not(episode)
        if why_not is None:
            finished += 1
            yield "training.episodes", _row(owner, index, episode)
        else:
            tally.drop(why_not)
    row = tensorboard.run_row(run, owner, counting, KIND.name, tally)
    if row is None:
        return
    tally.note("returns are numbers of 4 bytes, as TensorBoard keeps them: not the exact sums of rewards")
    tally.note("CleanRL does not tell terminated from truncated, nor policy versions: these are NULL")
    config = row["config"]
    assert isinstance(config, dict)
    yield (
        "training.training_runs",
        {
            **row,
            "seed": told.seed,
            "episode_count": finished,
            "config": {**config, "parameters": parameters},
        },
    )
    kept = {name: value for name, value in parameters.items() if name not in logged.SEED_WORDS}
    agents.add(owner.agent_id, algorithm, kept, str(row["started_at"]), str(row["updated_at"]))


def _episodes(run: tensorboard.Run, reader: Reader) -> Iterator[_Episode]:
    """The episodes in the order in which they ended: a return, and the length that follows it at the same step."""
    waiting: _Episode | None = None
    for file in run.files:
        for points in tensorboard.readable(reader, file, None):
            for name, step, at, value in zip(
                points.name.tolist(),
                points.step.tolist(),
                points.at.tolist(),
                points.value.tolist(),
                strict=True,
            ):
                text = reader.names[name]
                if text == _RETURN:
                    if waiting is not None:
                        yield waiting
                    waiting = _Episode(step, at, value, None)
                elif text == _LENGTH and waiting is not None and waiting.step == step:
                    yield _Episode(step, at, waiting.total, value)
                    waiting = None
    if waiting is not None:
        yield waiting


def _why_not(episode: _Episode) -> str | None:
    """Why an episode has no row; None where it has."""
    if episode.length is None:
        return "an episode without a length"
    if not math.isfinite(episode.total):
        return "an episode whose return is no finite number"
    if not (1 <= episode.length <= _LONGEST and episode.length.is_integer()):
        return "an episode whose length is no number of steps"
    if episode.step < 0 or episode.at <= 0 or logged.moment_of(episode.at) is None:
        return "an episode without a step or moment"
    return None


def _row(owner: Owner, index: int, episode: _Episode) -> dict[str, object]:
    at = logged.moment_of(episode.at)
    assert at is not None
    assert episode.length is not None
    return {
        "episode_id": f"{owner.training_run_id}.e{index:06d}",
        "date": day(at),
        "environment_id": owner.environment_id,
        "agent_id": owner.agent_id,
        "training_run_id": owner.training_run_id,
        "purpose": "training",
        "episode_index": index,
        "global_step": episode.step,
        "episode_return": episode.total,
        "episode_length": int(episode.length),
        "transitions_recorded": False,
        "ended_at": at,
    }


def _table(text: str) -> dict[str, object]:
    r"""The parameters, of the table that CleanRL writes them as.

    >>> _table("|param|value|\n|-|-|\n|seed|1|\n|env_id|CartPole-v1|")
    {'seed': 1, 'env_id': 'CartPole-v1'}
    """
    found: dict[str, object] = {}
    for line in text.splitlines()[2:]:
        cells = line.strip().removeprefix("|").removesuffix("|").split("|", 1)
        if len(cells) == 2 and cells[0]:
            found[cells[0]] = _plain(cells[1])
    return found


def _plain(text: str) -> object:
    """The number, truth value or None that Python wrote; else the text."""
    try:
        value = ast.literal_eval(text) if len(text) < 100 else text
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    simple = value is None or isinstance(value, bool | int | float)
    too_large = isinstance(value, int) and not -(2**63) <= value < 2**63
    return (
        value
        if simple and not too_large and not (isinstance(value, float) and not math.isfinite(value))
        else text
    )


KIND: Final = Kind(
    "cleanrl",
    "CleanRL's runs: folders ENVIRONMENT__EXPERIMENT__SEED__TIME of TensorBoard's event files",
    rows,
)
