"""Three calls for loops that wrap nothing: reset, step, close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.record import rewards as taps
from gaelp_assets.record.lanes import Lanes
from gaelp_assets.record.tracks import SingleTrack, Track

if TYPE_CHECKING:
    from gaelp_assets.record.recorder import Recorder


class Loop:
    """The environment, or vector environment, that the loop steps itself."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._single: SingleTrack | None = None
        self._lanes: Lanes | None = None
        self._tap: taps.Tap | taps.VectorTap | None = None

    @property
    def _track(self) -> Track | None:
        return self._lanes.track if self._lanes is not None else self._single

    def reset(self, observations: Any, envs: Any, seed: Any, mask: Any, told: dict[str, Any]) -> None:
        """See `Recorder.reset`."""
        if self._single is None and self._lanes is None:
            self._open(envs, told)
        if not self._recorder.is_mine:
            return
        try:
            if self._single is not None:
                if isinstance(self._tap, taps.Tap):
                    self._tap.take()
                self._single.begin(observations, seed)
            elif self._lanes is not None:
                self._lanes.reset(
                    observations, seed, None if mask is None else np.array(mask, dtype=np.bool_)
                )
        except Exception as error:  # noqa: BLE001, RUF100 - training goes on
            self._recorder.failed(self._track, error)

    def _open(self, envs: Any, told: dict[str, Any]) -> None:
        if envs is None:
            problem = Problem(
                "no environment is given", "recorder.reset", "recorder.reset(observations, envs) at first"
            )
            raise GaelpError(problem)
        known = ("purpose", "transitions")
        wrong = [unknown("option", name, known, where="recorder.reset") for name in told if name not in known]
        if wrong:
            raise GaelpError(*wrong)
        if hasattr(envs, "num_envs"):
            from gaelp_assets.record.vector import open_lanes

            self._lanes = open_lanes(
                self._recorder, envs, told.get("transitions"), told.get("purpose", "training")
            )
            vector_tap = taps.VectorTap(envs, envs.num_envs)
            self._tap = vector_tap if vector_tap else None
            return
        track = self._recorder.add_track(
            spec=getattr(envs, "spec", None),
            observation_space=envs.observation_space,
            action_space=envs.action_space,
            config={"num_envs": 1, "wrappers": [type(wrapper).__name__ for wrapper in taps.chain(envs)]},
            **told,
        )
        assert isinstance(track, SingleTrack)
        self._single = track
        self._tap = taps.tap(envs)

    def step(
        self, actions: Any, observations: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any
    ) -> None:
        """See `Recorder.step`."""
        if not self._recorder.is_mine:
            return
        try:
            if self._single is not None:
                own = rewards if self._tap is None else self._tap.take()  # type: ignore[call-arg]
                given = None if self._tap is None else rewards
                self._single.step(actions, own, terminated, truncated, observations, given)
            elif self._lanes is not None:
                own = rewards if self._tap is None else self._tap.take(np.asarray(rewards))  # type: ignore[call-arg]
                given = None if self._tap is None else rewards
                self._lanes.step(actions, observations, own, terminated, truncated, infos, given)
        except Exception as error:  # noqa: BLE001, RUF100 - training goes on
            self._recorder.failed(self._track, error)
