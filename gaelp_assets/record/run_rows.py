"""The rows of a run, its agent and its environments: what they say, and when they have something new to say."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from gaelp_assets.record import machine, options, spaces
from gaelp_assets.record.values import Row, lower_snake, plain, stamp, text


class RunRows:
    """What is known of the run so far. `state` is what an earlier start of it has left."""

    def __init__(
        self,
        *,
        run: str,
        agent: str | None,
        algorithm: str | None,
        family: str | None,
        hyperparameters: dict[str, Any],
        seed: int | None,
        description: str | None,
        parent_agent: str | None,
        code_version: str | None,
        team: str | None,
        state: Mapping[str, Any],
    ) -> None:
        self.run = run
        self.seed = seed
        self._agent = agent
        self._algorithm = lower_snake(algorithm) if algorithm else None
        self._family = family
        self._hyperparameters = hyperparameters
        self._description = None if description is None else text(description)
        self._parent = parent_agent
        self._team: Row = {} if team is None else {"team": text(team)}
        self._code_version = code_version or machine.code_version()
        self._begun = time.time()
        self._last = self._begun
        self.started_at: float = min(state.get("started_at", self._begun), self._begun)
        self._hours_before: float = state.get("device_hours", 0.0)
        self._hours = self._hours_before
        self._environments: dict[str, Row] = {}
        self._config: Row = {}
        self.environment = ""
        self.is_new = False
        """Whether an environment or agent has become known since its rows were last asked for."""

    @property
    def agent(self) -> str:
        """The agent's id."""
        if self._agent is None:
            self._agent = options.default_agent(self._algorithm or options.UNKNOWN, self._hyperparameters)
        return self._agent

    def now(self) -> float:
        """The time, later than any that was asked for before: of two rows the later one stays."""
        self._last = max(time.time(), self._last + 1e-5)
        return self._last

    def told_agent(self, algorithm: str, hyperparameters: dict[str, Any]) -> None:
        """What a library knows of the agent, where the user did not say."""
        self._algorithm = self._algorithm or lower_snake(algorithm)
        self._hyperparameters = self._hyperparameters or hyperparameters

    def told_environment(
        self,
        environment: str,
        spec: Any,
        observation_space: Any,
        action_space: Any,
        kwargs: Mapping[str, Any] | None,
        config: Mapping[str, Any] | None,
    ) -> None:
        """An environment is recorded; the first one is the run's."""
        if environment not in self._environments:
            row = spaces.environment_row(environment, spec, observation_space, action_space, kwargs)
            self._environments[environment] = row
            self.is_new = True
        if not self.environment:
            self.environment = environment
            self._config = {str(name): plain(value) for name, value in (config or {}).items()}

    def dimension_rows(self) -> list[tuple[str, list[Row]]]:
        """The rows of the environments and of the agent, by table."""
        self.is_new = False
        now = stamp(self.now())
        framework, version = machine.framework()
        algorithm = self._algorithm or options.UNKNOWN
        agent: Row = {
            "agent_id": self.agent,
            "algorithm": algorithm,
            "algorithm_family": self._family or options.KNOWN_FAMILIES.get(algorithm),
            "hyperparameters": self._hyperparameters,
            "code_version": self._code_version,
            "framework": framework,
            "framework_version": version,
            "parent_agent_id": self._parent,
            "description": self._description,
            "created_at": stamp(self.started_at),
            "updated_at": now,
        }
        environments = [{**row, "updated_at": now} for row in self._environments.values()]
        return [("environments", environments), ("agents", [agent])]

    def run_row(self, status: str, error: str | None, step: int, episodes: int, *, final: bool) -> Row:
        """The run's row as of now."""
        device = machine.device()
        now = self.now()
        count = device["device_count"]
        assert isinstance(count, int)
        self._hours = self._hours_before + (now - self._begun) / 3600 * count
        return {
            "training_run_id": self.run,
            "agent_id": self.agent,
            "environment_id": self.environment,
            "seed": self.seed,
            "status": status,
            "started_at": stamp(self.started_at),
            "finished_at": stamp(now) if final else None,
            "host": machine.host(),
            **device,
            "device_hours": self._hours,
            "global_step": int(step),
            "episode_count": episodes,
            "config": {**self._config, **self._team, "versions": machine.versions(), "command": _command()},
            "error_message": error,
            "updated_at": stamp(now),
        }

    def state(self) -> Row:
        """What the next start of the run must know."""
        return {"started_at": self.started_at, "device_hours": self._hours}


def _command() -> str:
    """The script's name; its arguments can hold what must not be kept."""
    return text((sys.argv[0] if sys.argv else "").rpartition("/")[2])[:200]
