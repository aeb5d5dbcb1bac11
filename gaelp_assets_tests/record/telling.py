"""An environment whose observation tells lane, episode and step, and a tally of it that knows nothing of the recorder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from gaelp_assets.record import Recorder

ID = "Telling-v0"
LENGTHS = (3, 1, 4, 2)
"""Steps of a lane's episodes, over and over, beginning with the lane's own number."""


def length(lane: int, episode: int) -> int:
    return LENGTHS[(lane + episode) % len(LENGTHS)]


def reward(lane: int, episode: int, step: int) -> float:
    return lane * 1000 + episode * 10 + step + 0.5


class Telling(gymnasium.Env[Any, Any]):
    """Ends as `ends` says: (terminated, truncated) of the last step."""

    metadata: dict[str, Any] = {}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(
        self, lane: int = 0, ends: tuple[bool, bool] = (True, False), *, reuses: bool = True
    ) -> None:
        self.observation_space = gymnasium.spaces.Box(-1, 1e6, (3,), np.float64)
        self.action_space = gymnasium.spaces.Discrete(1000)
        self.lane, self.ends, self.reuses = lane, ends, reuses
        self.episode, self.time = -1, 0
        self._seen = np.zeros(3)

    def _observed(self) -> Any:
        # The same array again and again, as some environments do. In SAME_STEP gymnasium itself cannot stand it: what it keeps
        # as the final observation is that array, and the reset overwrites it.
        if not self.reuses:
            self._seen = np.zeros(3)
        self._seen[:] = (self.lane, self.episode, self.time)
        return self._seen

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return self._observed(), {}

    def step(self, action: Any) -> Any:
        given = reward(self.lane, self.episode, self.time)
        self.time += 1
        over = self.time == length(self.lane, self.episode)
        return self._observed(), given, over and self.ends[0], over and self.ends[1], {"time": self.time}


def record(folder: Path, **options: Any) -> Recorder:
    return Recorder(folder / "gateway", **{"run": "run", "algorithm": "None", "environment": ID, **options})


def play(env: Any, steps: int) -> None:
    env.reset(seed=9)
    for number in range(steps):
        _, _, terminated, truncated, _ = env.step(number)
        if terminated or truncated:
            env.reset()


@dataclass(frozen=True)
class Step:
    lane: int
    episode: int
    step: int
    action: float
    reward: float
    terminated: bool
    truncated: bool


class Tally:
    """What a vector environment of that mode does in each vector step, by the rules of the mode alone."""

    def __init__(self, lanes: int, mode: AutoresetMode, ends: tuple[bool, bool]) -> None:
        self.mode, self.ends = mode, ends
        self.at = [(0, 0)] * lanes
        self.over = [False] * lanes
        self.steps: list[list[Step]] = []

    def step(self, actions: Iterable[Any]) -> None:
        done: list[Step] = []
        for lane, action in enumerate(actions):
            episode, step = self.at[lane]
            if self.over[lane]:
                assert self.mode == AutoresetMode.NEXT_STEP
                self.at[lane], self.over[lane] = (episode + 1, 0), False
                continue
            last = step + 1 == length(lane, episode)
            flags = (last and self.ends[0], last and self.ends[1])
            done.append(Step(lane, episode, step, float(action), reward(lane, episode, step), *flags))
            if not last:
                self.at[lane] = (episode, step + 1)
            elif self.mode == AutoresetMode.NEXT_STEP:
                self.over[lane] = True
            else:
                self.at[lane] = (episode + 1, 0)
        self.steps.append(done)


def lines(gateway: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a table that wait to be loaded, in the order of their files' names."""
    found = sorted((gateway / "cloud_ready" / "training" / table).rglob("*.ndjson"))
    return [json.loads(line) for path in found for line in path.read_text(encoding="utf-8").splitlines()]


def recorded(gateway: Path) -> tuple[list[Step], list[tuple[int, int]]]:
    """The steps that are recorded, and the (lane, episode) of episodes that are marked unfinished. Rows are held to what they tell."""
    episodes = {row["episode_id"]: row for row in lines(gateway, "episodes")}
    rows = lines(gateway, "transitions")
    assert len({(row["episode_id"], row["step_index"]) for row in rows}) == len(rows)
    by_episode: dict[str, list[dict[str, Any]]] = {key: [] for key in episodes}
    for row in rows:
        by_episode[row["episode_id"]].append(row)
    steps, unfinished = [], []
    for key, own in by_episode.items():
        episode = episodes[key]
        own.sort(key=lambda row: row["step_index"])
        assert [row["step_index"] for row in own] == list(range(episode["episode_length"]))
        assert episode["episode_return"] == sum(row["reward"] for row in own)
        lane, number, _ = map(int, own[0]["observation"])
        for row in own:
            assert row["observation"] == [lane, number, row["step_index"]]
            last = row["step_index"] == len(own) - 1
            assert row.get("final_observation", []) == ([lane, number, len(own)] if last else [])
            flags = (row["terminated"], row["truncated"])
            if last and episode["unfinished"]:
                unfinished.append((lane, number))
                assert flags == (False, True) == (episode["terminated"], episode["truncated"])
                flags = (False, False)
            elif last:
                assert flags == (episode["terminated"], episode["truncated"])
            steps.append(Step(lane, number, row["step_index"], row["action"][0], row["reward"], *flags))
    return steps, unfinished
