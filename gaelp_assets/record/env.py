"""`RecordEnv`: a gymnasium environment whose episodes and steps are recorded."""

from __future__ import annotations

from typing import Any

import gymnasium

from gaelp_assets.record import rewards
from gaelp_assets.record.recorder import Recorder
from gaelp_assets.record.tracks import SingleTrack


class RecordEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records what passes; what passes is not changed, and no random generator is touched.

    Put it around all other wrappers. Where one of them may change rewards, the environment's own are tapped below it: `reward` is the
    environment's, `training_reward` what the loop gets.

    Args:
        env: the environment.
        recorder: the run's recorder.
        transitions: True, False, or N to record the steps of each Nth episode; None: as the recorder says.
        purpose: `training`, or `evaluation` for an environment that the policy is only measured in.

    Raises:
        GaelpError: the environment has no id, or values of its spaces cannot be columns.
    """

    def __init__(
        self,
        env: Any,
        recorder: Recorder,
        transitions: bool | int | None = None,
        *,
        purpose: str = "training",
    ) -> None:
        super().__init__(env)
        self._recorder = recorder
        wrappers = [type(wrapper).__name__ for wrapper in rewards.chain(env)]
        track = recorder.add_track(
            spec=env.spec,
            observation_space=env.observation_space,
            action_space=env.action_space,
            transitions=transitions,
            purpose=purpose,
            config={"num_envs": 1, "wrappers": wrappers},
        )
        assert isinstance(track, SingleTrack)
        self._track = track
        self._tap = rewards.tap(env)
        self._on = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The environment's reset; the next episode begins."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._on = self._recorder.is_mine
        if self._on:
            try:
                if self._tap is not None:
                    self._tap.take()
                self._track.begin(observation, seed)
            except Exception as error:  # noqa: BLE001, RUF100 - training goes on
                self._recorder.failed(self._track, error)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """The environment's step."""
        answer = self.env.step(action)
        if self._on:
            observation, reward, terminated, truncated, _ = answer
            try:
                if self._tap is None:
                    self._track.step(action, reward, terminated, truncated, observation)
                else:
                    self._track.step(action, self._tap.take(), terminated, truncated, observation, reward)
            except Exception as error:  # noqa: BLE001, RUF100 - training goes on
                self._recorder.failed(self._track, error)
        return answer
