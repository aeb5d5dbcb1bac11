"""`RecordVectorEnv`: a gymnasium vector environment whose episodes and steps are recorded, in all three autoreset modes."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorWrapper

from gaelp_assets.record import rewards
from gaelp_assets.record.lanes import Lanes, autoreset_mode
from gaelp_assets.record.recorder import Recorder
from gaelp_assets.record.vector_tracks import VectorTrack


def open_lanes(recorder: Recorder, envs: Any, transitions: bool | int | None, purpose: str) -> Lanes:
    """The track of a vector environment. Raises as `Recorder.add_track` does."""
    base = envs.unwrapped
    usual = isinstance(base, SyncVectorEnv | AsyncVectorEnv)
    mode = autoreset_mode(envs)
    spec = envs.spec
    kwargs = dict(getattr(spec, "kwargs", None) or {})
    if spec is None and isinstance(base, SyncVectorEnv):
        spec = base.envs[0].spec
    if spec is None and isinstance(base, AsyncVectorEnv):
        spec = base.get_attr("spec")[0]
    kind = "sync" if isinstance(base, SyncVectorEnv) else "async" if usual else "vector_entry_point"
    inner = (
        [type(w).__name__ for w in rewards.chain(base.envs[0])] if isinstance(base, SyncVectorEnv) else None
    )
    if isinstance(base, AsyncVectorEnv):
        inner = [one.name for one in getattr(spec, "additional_wrappers", None) or ()]
    track = recorder.add_track(
        spec=spec,
        observation_space=envs.single_observation_space,
        action_space=envs.single_action_space,
        lanes=envs.num_envs,
        transitions=transitions,
        purpose=purpose,
        kwargs=kwargs or None,
        config={
            "num_envs": envs.num_envs,
            "vectorization_mode": kind,
            "autoreset_mode": mode,
            "vector_wrappers": [type(wrapper).__name__ for wrapper in rewards.chain(envs)],
            "wrappers": inner,
        },
    )
    assert isinstance(track, VectorTrack)
    # Vector environments of their own draw one generator's numbers for all: the seed of one of them says nothing.
    return Lanes(track, mode, seeds_known=usual)


class RecordVectorEnv(VectorWrapper[Any, Any, Any]):
    """Records what passes; what passes is not changed, and no random generator is touched.

    Rewards are the environments' own where wrappers below change them and are within reach: vector wrappers always, wrappers of the
    single environments in a `SyncVectorEnv`. Of an `AsyncVectorEnv` only what comes out of its processes is seen.

    Args:
        envs: the vector environment.
        recorder: the run's recorder.
        transitions: True, False, or N to record the steps of each Nth episode; None: as the recorder says.
        purpose: `training`, or `evaluation` for environments that the policy is only measured in.

    Raises:
        GaelpError: the environment has no id, or values of its spaces cannot be columns.
    """

    def __init__(
        self,
        envs: Any,
        recorder: Recorder,
        transitions: bool | int | None = None,
        *,
        purpose: str = "training",
    ) -> None:
        super().__init__(envs)
        self._recorder = recorder
        self._lanes = open_lanes(recorder, envs, transitions, purpose)
        tap = rewards.VectorTap(envs, envs.num_envs)
        self._tap = tap if tap else None
        self._on = False

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The environments' reset; those of `options["reset_mask"]` alone, where there is one."""
        # Read before it is handed on: gymnasium takes the mask out of the caller's own dict.
        mask = None if options is None else options.get("reset_mask")
        mask = None if mask is None else np.array(mask, dtype=np.bool_)
        observations, infos = self.env.reset(seed=seed, options=options)
        self._on = self._recorder.is_mine
        if self._on:
            try:
                self._lanes.reset(observations, seed, mask)
            except Exception as error:  # noqa: BLE001, RUF100 - training goes on
                self._recorder.failed(self._lanes.track, error)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """The environments' step."""
        answer = self.env.step(actions)
        if self._on:
            observations, given, terminated, truncated, infos = answer
            try:
                if self._tap is None:
                    self._lanes.step(actions, observations, given, terminated, truncated, infos)
                else:
                    own = self._tap.take(given)
                    self._lanes.step(actions, observations, own, terminated, truncated, infos, given)
            except Exception as error:  # noqa: BLE001, RUF100 - training goes on
                self._recorder.failed(self._lanes.track, error)
        return answer
