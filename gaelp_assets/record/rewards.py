"""The environment's own rewards, below wrappers that change them: a tap at the place where they are still its own.

A tap adds up what passes, until it is read: a wrapper above it that steps several times for one (frame skipping) gets the sum.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Wrappers that hand rewards on as they are, by name: the modules that hold them are not imported for it.
KEEPING: Final = frozenset({
    "PassiveEnvChecker", "OrderEnforcing", "TimeLimit", "Autoreset", "RecordEpisodeStatistics", "RecordVideo", "RenderCollection",
    "HumanRendering", "AddRenderObservation", "AddWhiteNoise", "ObstructView", "TimeAwareObservation", "AtariPreprocessing",
    "FrameStackObservation", "DelayObservation", "FlattenObservation", "FilterObservation", "GrayscaleObservation",
    "MaxAndSkipObservation", "NormalizeObservation", "ResizeObservation", "ReshapeObservation", "RescaleObservation",
    "DtypeObservation", "DiscretizeObservation", "TransformObservation", "TransformAction", "ClipAction", "RescaleAction",
    "DiscretizeAction", "StickyAction", "RepeatAction", "RecordEnv", "RecordVectorEnv", "JaxToNumpy", "JaxToTorch",
    "NumpyToTorch", "DictInfoToList", "VectorizeTransformObservation", "VectorizeTransformAction", "Monitor",
})  # fmt: skip


_WRAPPERS: Final = frozenset({"Wrapper", "VectorWrapper"})


class Tap:
    """Stands in an environment's place below a wrapper, and is otherwise that environment."""

    def __init__(self, env: Any) -> None:
        object.__setattr__(self, "_tapped", env)
        object.__setattr__(self, "_sum", 0.0)

    def step(self, action: Any) -> Any:
        """The environment's own step."""
        answer = self._tapped.step(action)
        object.__setattr__(self, "_sum", self._sum + answer[1])
        return answer

    def take(self) -> Any:
        """What has passed since it was last asked for: a number, or an array of the lanes."""
        taken = self._sum
        object.__setattr__(self, "_sum", 0.0)
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_tapped"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._tapped, name, value)


def may_change(wrapper: Any) -> bool:
    """Whether the wrapper may change rewards: it has a `step` or `reward` of its own, and is none that is known to hand them on."""
    for base in type(wrapper).__mro__:
        if base.__name__ in {"Wrapper", "VectorWrapper", "VecEnvWrapper"}:
            return False
        if base.__name__ in KEEPING:
            return False
        if base.__name__ in {"RewardWrapper", "VectorRewardWrapper"}:
            return True
        if base.__name__ in {
            "ObservationWrapper",
            "ActionWrapper",
            "VectorObservationWrapper",
            "VectorActionWrapper",
        }:
            return False
        if "step" in vars(base) or "step_wait" in vars(base):
            return True
    return False


def chain(env: Any) -> list[Any]:
    """The wrappers from the outermost one inwards, without the environment itself."""
    found = []
    while not isinstance(env, Tap) and _WRAPPERS & {base.__name__ for base in type(env).__mro__}:
        found.append(env)
        env = env.env
    return found


def tap(env: Any) -> Tap | None:
    """Puts a tap below the innermost wrapper of the environment that may change rewards; None where there is no such wrapper."""
    changing = [wrapper for wrapper in chain(env) if may_change(wrapper)]
    if not changing:
        return None
    innermost = changing[-1]
    if not isinstance(innermost.env, Tap):
        innermost.env = Tap(innermost.env)
    found: Tap = innermost.env
    return found


class VectorTap:
    """The own rewards of environments that step together: below vector wrappers, and below the wrappers of each environment in them."""

    def __init__(self, envs: Any, lanes: int) -> None:
        self.changing = [type(wrapper).__name__ for wrapper in chain(envs) if may_change(wrapper)]
        self._outer = tap(envs)
        base = envs.unwrapped
        inner = getattr(base, "envs", None)
        self._inner = (
            [tap(env) for env in inner] if isinstance(inner, list | tuple) and len(inner) == lanes else []
        )
        if any(one is not None for one in self._inner):
            self.changing += [type(w).__name__ for w in chain(inner[0]) if may_change(w)]  # type: ignore[index]
        else:
            self._inner = []

    def __bool__(self) -> bool:
        return self._outer is not None or bool(self._inner)

    def take(self, seen: NDArray[Any]) -> NDArray[np.float64]:
        """The environments' own rewards of the last step, of which these were seen: shape (lanes,)."""
        outer = None if self._outer is None else self._outer.take()
        if not self._inner:
            return np.asarray(seen if outer is None else outer, dtype=np.float64)
        own = [None if one is None else one.take() for one in self._inner]
        below = seen if outer is None else np.broadcast_to(outer, np.shape(seen))
        return np.array(
            [float(below[k]) if value is None else float(value) for k, value in enumerate(own)],
            dtype=np.float64,
        )
