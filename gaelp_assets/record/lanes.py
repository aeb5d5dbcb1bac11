"""How environments that step together are reset once they have ended, and what that means for their tracks. No gymnasium needed.

- `NextStep`: the step after an end is a reset: its action is ignored, its reward 0, its flags False. It is no step.
- `SameStep`: the step that ends an episode already brings the next one's first observation; the last one stands in the infos.
- `Disabled`: the loop resets those that have ended, by a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, unknown
from gaelp_assets.record.vector_tracks import VectorTrack

MODES: Final = ("NextStep", "SameStep", "Disabled")


def autoreset_mode(envs: Any) -> str:
    """The mode that the vector environment names in its metadata; gymnasium's default where it names none.

    Raises:
        GaelpError: it names one that nobody knows.
    """
    named = (getattr(envs, "metadata", None) or {}).get("autoreset_mode", "NextStep")
    mode = str(getattr(named, "value", named))
    if mode not in MODES:
        raise GaelpError(unknown("autoreset mode", mode, MODES))
    return mode


def seeds(seed: Any, lanes: int, *, known: bool) -> list[int | None]:
    """The seed of each environment: s, s + 1, ... of one, as `SyncVectorEnv` and `AsyncVectorEnv` deal them out; else unknown."""
    if seed is None or not known:
        return [None] * lanes
    if isinstance(seed, Sequence | np.ndarray):
        return [None if one is None else int(one) for one in seed]
    return [int(seed) + lane for lane in range(lanes)]


class Lanes:
    """A vector environment's track, and the mode by which it goes on."""

    def __init__(self, track: VectorTrack, mode: str, *, seeds_known: bool) -> None:
        self.track = track
        self.mode = mode
        self._seeds_known = seeds_known

    def reset(self, observations: Any, seed: Any, mask: NDArray[np.bool_] | None) -> None:
        """All environments, or those of the mask, were reset."""
        self.track.begin(observations, seeds(seed, self.track.lanes, known=self._seeds_known), mask)

    def step(
        self,
        actions: Any,
        observations: Any,
        rewards: Any,
        terminated: Any,
        truncated: Any,
        infos: Any,
        training_rewards: Any = None,
    ) -> None:
        """A step of all of them; `rewards` are the environments' own."""
        track = self.track
        if self.mode == "SameStep":
            track.begin_ended(
                track.step(
                    actions, rewards, terminated, truncated, observations, training_rewards, _finals(infos)
                )
            )
            return
        waiting = list(track.waiting) if self.mode == "NextStep" else []
        track.step(actions, rewards, terminated, truncated, observations, training_rewards)
        if waiting:
            track.begin_ended(waiting)


def _finals(infos: Any) -> Any:
    def final(lane: int) -> Any:
        return infos["final_obs"][lane]

    return final
