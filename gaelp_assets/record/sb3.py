"""Stable-Baselines3: a callback that records what its algorithms do. SB3 is imported when the callback is made.

SB3's vector environments reset in the step that ends an episode: the observation that comes back is the next episode's, the last one
stands in the infos. `VecNormalize` changes observations and rewards on their way: what is recorded is what was there before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.record.lanes import Lanes, seeds
from gaelp_assets.record.vector_tracks import VectorTrack

if TYPE_CHECKING:
    from gaelp_assets.record.recorder import Recorder

PARAMETERS: Final = (
    "learning_rate", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm",
    "clip_range", "target_kl", "buffer_size", "learning_starts", "tau", "gradient_steps", "train_freq", "target_update_interval",
    "exploration_fraction", "exploration_initial_eps", "exploration_final_eps", "policy_delay", "target_policy_noise", "use_sde",
)  # fmt: skip
"""Attributes of SB3's algorithms that they were configured with: those that an algorithm has are its hyperparameters."""


def sb3_callback(recorder: Recorder, transitions: bool | int | None = None) -> Any:
    """A callback for `learn(callback=...)`. It never raises, and never stops training.

    Where the recorder was told neither algorithm nor hyperparameters, they are the model's.

    Args:
        recorder: the run's recorder.
        transitions: True, False, or N to record the steps of each Nth episode; None: as the recorder says.

    Raises:
        GaelpError: Stable-Baselines3 is not installed.
    """
    try:
        from stable_baselines3.common.callbacks import BaseCallback
    except ImportError:
        problem = Problem("Stable-Baselines3 is not installed", remedy="pip install stable-baselines3")
        raise GaelpError(problem) from None

    class RecordCallback(BaseCallback):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self._steps = Steps(recorder, transitions)

        def _on_training_start(self) -> None:
            self._steps.start(self.model)

        def _on_step(self) -> bool:
            self._steps.step(self.model, self.locals)
            return True

        def _on_training_end(self) -> None:
            recorder.flush()

    return RecordCallback()


class Steps:
    """What the callback does, of a model by SB3's contract: `_last_obs`, `get_env()`, and the locals of a step."""

    def __init__(self, recorder: Recorder, transitions: bool | int | None) -> None:
        self._recorder = recorder
        self._transitions = transitions
        self._lanes: Lanes | None = None
        self._finals: _Finals | None = None

    def start(self, model: Any) -> None:
        """Training begins, or goes on: the environments have been reset, or stand where they stood."""
        try:
            first = self._lanes is None
            lanes = self._lanes or self._open(model)
            self._lanes = lanes
            if first or model.num_timesteps == 0:
                # Only the first reset of a model is known to have used its seed.
                known = first and model.num_timesteps == 0 and model.seed is not None
                dealt = seeds(model.seed if known else None, lanes.track.lanes, known=True)
                lanes.track.begin(self._now(model), dealt)
        except Exception as error:
            self._recorder.failed(None, error)

    def _open(self, model: Any) -> Lanes:
        env = model.get_env()
        normalized = _normalizer(model)
        below = env if normalized is None else normalized.venv
        spec = _first(env, "spec")
        name = type(model).__name__
        self._recorder.told_agent(name, _parameters(model))
        track = self._recorder.add_track(
            spec=spec,
            observation_space=below.observation_space,
            action_space=env.action_space,
            lanes=env.num_envs,
            transitions=self._transitions,
            config={
                "num_envs": env.num_envs,
                "autoreset_mode": "SameStep",
                "vector_wrappers": _wrappers(env),
            },
        )
        assert isinstance(track, VectorTrack)
        if normalized is not None:
            self._finals = _Finals(normalized.venv)
            normalized.venv = self._finals
        return Lanes(track, "SameStep", seeds_known=True)

    @staticmethod
    def _now(model: Any) -> Any:
        """The observations before the next step, as the environments gave them."""
        normalizer = _normalizer(model)
        return model._last_obs if normalizer is None else normalizer.get_original_obs()

    def step(self, model: Any, told: Mapping[str, Any]) -> None:
        """A step of all environments, of which SB3 tells the locals of its loop."""
        lanes = self._lanes
        if lanes is None or not self._recorder.is_mine:
            return
        try:
            infos, dones = told["infos"], np.asarray(told["dones"], dtype=np.bool_)
            # SB3 keeps of both flags one: cut off is what the infos say, and what is not cut off has ended by itself.
            truncated = np.array([bool(info.get("TimeLimit.truncated")) for info in infos]) & dones
            actions = told.get("clipped_actions", told["actions"])
            rewards, given = told["rewards"], None
            observations, finals = (
                told["new_obs"],
                {"final_obs": [info.get("terminal_observation") for info in infos]},
            )
            normalizer = _normalizer(model)
            if normalizer is not None:
                rewards, given = normalizer.get_original_reward(), rewards
                observations = normalizer.get_original_obs()
                if self._finals is not None:
                    finals = {"final_obs": self._finals.last}
            lanes.step(actions, observations, rewards, dones & ~truncated, truncated, finals, given)
        except Exception as error:
            self._recorder.failed(lanes.track, error)


class _Finals:
    """Stands below `VecNormalize` in the environments' place, and keeps the last observations of episodes as they were."""

    def __init__(self, venv: Any) -> None:
        object.__setattr__(self, "_venv", venv)
        object.__setattr__(self, "last", [])

    def step_wait(self) -> Any:
        """The environments' own."""
        answer = self._venv.step_wait()
        object.__setattr__(self, "last", [info.get("terminal_observation") for info in answer[3]])
        return answer

    def step(self, actions: Any) -> Any:
        """The environments' own, through `step_wait`."""
        self._venv.step_async(actions)
        return self.step_wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_venv"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._venv, name, value)


def _normalizer(model: Any) -> Any:
    return model.get_vec_normalize_env()


def _first(env: Any, name: str) -> Any:
    try:
        return env.get_attr(name)[0]
    except (AttributeError, IndexError):
        return None


def _wrappers(env: Any) -> list[str]:
    found = []
    while hasattr(env, "venv"):
        found.append(type(env).__name__)
        env = env.venv
    return found


def _parameters(model: Any) -> dict[str, Any]:
    """The hyperparameters; one that is a schedule is its value at the start."""
    found = {}
    for name in PARAMETERS:
        value = getattr(model, name, None)
        if callable(value):
            value = value(1.0)
        if value is not None:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found
