"""Runs as experiment loggers keep them (MLflow, W&B): parameters by name, and metrics by name and step. Pure.

Which parameter names environment, agent, algorithm and seed is nobody's standard: the words of the training libraries are tried in turn.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gaelp_assets.errors import Problem
from gaelp_assets.importers.source import Rows, Tally, moment, non_finite, valid_algorithm

ENVIRONMENT_WORDS: Final = ("env_id", "environment_id", "env_name", "environment", "env", "gym_id", "task")
AGENT_WORDS: Final = ("agent_id", "agent")
ALGORITHM_WORDS: Final = ("algorithm", "algo", "algorithm_name", "alg", "exp_name")
SEED_WORDS: Final = ("seed", "random_seed")
NAME_LENGTH: Final = 500


@dataclass(frozen=True)
class Told:
    """What the parameters of a run say of it; None where they are silent."""

    environment: str | None
    agent: str | None
    algorithm: str | None
    seed: int | None


def told(*sources: Mapping[str, object]) -> Told:
    """What parameters, and then tags, say.

    >>> told({"env_id": "CartPole-v1", "algo": "ppo", "seed": "3"})
    Told(environment='CartPole-v1', agent=None, algorithm='ppo', seed=3)
    """

    def first(words: tuple[str, ...]) -> str | None:
        values = (source.get(word) for source in sources for word in words)
        return next((value for value in values if isinstance(value, str) and value.strip()), None)

    seeds = (source.get(word) for source in sources for word in SEED_WORDS)
    return Told(
        first(ENVIRONMENT_WORDS),
        first(AGENT_WORDS),
        first(ALGORITHM_WORDS),
        next((seed for seed in map(_seed, seeds) if seed is not None), None),
    )


def _seed(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


@dataclass(frozen=True)
class Owner:
    """What metrics belong to."""

    training_run_id: str
    agent_id: str
    environment_id: str

    def metric_row(self, name: str, step: int, measured_at: str, value: float) -> dict[str, object]:
        """The row of `training.metrics`; `measured_at` is a UTC moment as rows have it."""
        row: dict[str, object] = {
            "training_run_id": self.training_run_id,
            "name": name,
            "global_step": step,
            "date": measured_at[:10],
            "environment_id": self.environment_id,
            "agent_id": self.agent_id,
            "measured_at": measured_at,
        }
        if math.isfinite(value):
            row["value"] = value
        else:
            row["non_finite"] = non_finite(value)
        return row


@dataclass
class Agents:
    """The agents of several runs: a row for each, with the hyperparameters that all of its runs have in common."""

    found: dict[str, dict[str, object]] = field(default_factory=dict)

    def add(
        self,
        agent_id: str,
        algorithm: str | None,
        parameters: Mapping[str, object],
        started_at: str,
        updated_at: str,
    ) -> None:
        """Adds a run of that agent."""
        known = self.found.get(agent_id)
        if known is None:
            self.found[agent_id] = {
                "algorithm": algorithm,
                "hyperparameters": dict(parameters),
                "created_at": started_at,
                "updated_at": updated_at,
            }
            return
        known["algorithm"] = known["algorithm"] or algorithm
        shared = known["hyperparameters"]
        assert isinstance(shared, dict)
        known["hyperparameters"] = {
            name: value for name, value in shared.items() if name in parameters and parameters[name] == value
        }
        known["created_at"] = min(str(known["created_at"]), started_at)
        known["updated_at"] = max(str(known["updated_at"]), updated_at)

    def rows(self, tally: Tally) -> Rows:
        """The rows of `training.agents`."""
        for agent_id, known in self.found.items():
            shared = known["hyperparameters"]
            assert isinstance(shared, dict)
            yield from agent_rows(
                agent_id,
                known["algorithm"],
                shared,
                str(known["created_at"]),
                str(known["updated_at"]),
                tally,
            )


def several_runs(number: int, path: Path) -> Problem:
    """The problem of one name for several runs."""
    return Problem(
        f"{number} runs, and --run names one",
        str(path),
        "the path of one run",
        "Leave out --run: each has an id of its own.",
    )


def why_not(name: str, step: int) -> str | None:
    """Why a metric cannot be a row; None where it can."""
    if not 1 <= len(name) <= NAME_LENGTH:
        return f"a name of no or more than {NAME_LENGTH} characters"
    if not 0 <= step < 2**63:
        return "a step below 0 or beyond 64 bits"
    return None


def agent_rows(
    agent_id: str,
    algorithm: object,
    hyperparameters: Mapping[str, object] | None,
    created_at: str,
    updated_at: str,
    tally: Tally,
) -> Rows:
    """The row of `training.agents`; none, with a note, where nobody says which algorithm it is."""
    if not isinstance(algorithm, str) or not algorithm:
        tally.note(f"the agent {agent_id} gets no row: its algorithm is not known; --algorithm says it")
        return
    row: dict[str, object] = {
        "agent_id": agent_id,
        "algorithm": valid_algorithm(algorithm),
        "created_at": created_at,
        "updated_at": updated_at,
    }
    if hyperparameters is not None:
        row["hyperparameters"] = hyperparameters
    yield "training.agents", row


def moment_of(seconds: float | None) -> str | None:
    """The `moment` of so many seconds since 1970; None where no calendar has it."""
    if seconds is None:
        return None
    try:
        return moment(seconds)
    except (ValueError, OverflowError, OSError):
        return None


def version_moment(last: str, ended: bool) -> str:
    """When the row of a run was written: its last moment, and a microsecond later once the run has ended.

    Of two versions the later stays: without that, the row of the ended run could have the moment of the last one before.

    >>> version_moment("2026-11-20T12:00:00.000000Z", True)
    '2026-11-20T12:00:00.000001Z'
    """
    return moment(dt.datetime.fromisoformat(last) + dt.timedelta(microseconds=1)) if ended else last
