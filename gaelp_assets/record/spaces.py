"""What gymnasium knows of an environment, as a row of the catalogue, and how its observations and actions become columns.

gymnasium is not imported here: who has a space has imported it. A space of another library with the same names will do.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.record.values import Row, plain
from gaelp_assets.space_bounds import bounds

Array = NDArray[Any]
KINDS: Final = (
    "Discrete", "Box", "MultiDiscrete", "MultiBinary", "Text", "Dict", "Tuple", "Sequence", "Graph", "OneOf",
)  # fmt: skip
"""The classes of spaces that the catalogue knows; a subclass counts as the one that it comes from."""
UNIFORM_FROM: Final = 100
"""From so many numbers on, a bound that is the same everywhere is written once."""


def count(space: object) -> int | None:
    """The number of elements of a Discrete space; None for any other."""
    elements = getattr(space, "n", None)
    return int(elements) if kind(space) == "Discrete" and isinstance(elements, int | np.integer) else None


def kind(space: object) -> str:
    """The name of the space's class among `KINDS`.

    Raises:
        GaelpError: it is none of them, nor comes from one.
    """
    for base in type(space).__mro__:
        if base.__name__ in KINDS:
            return base.__name__
    raise GaelpError(Problem(f"unknown space {type(space).__name__}", expected="one of " + ", ".join(KINDS)))


def describe(space: Any) -> Row:
    """A space as the catalogue's JSON: type, dtype, n or shape, low, high; null in a bound is unbounded. Nested spaces by key."""
    name = kind(space)
    if name == "Dict":
        return {"type": name, "spaces": {str(key): describe(part) for key, part in space.spaces.items()}}
    if name in {"Tuple", "OneOf"}:
        return {"type": name, "spaces": [describe(part) for part in space.spaces]}
    if name == "Sequence":
        return {"type": name, "space": describe(space.feature_space)}
    if name == "Text":
        return {"type": name, "min_length": int(space.min_length), "max_length": int(space.max_length)}
    if name == "Graph":
        edges = None if space.edge_space is None else describe(space.edge_space)
        return {"type": name, "node_space": describe(space.node_space), "edge_space": edges}
    described: Row = {"type": name, "dtype": str(space.dtype)}
    if name == "Discrete":
        return described | {"n": int(space.n), "start": int(space.start)}
    described["shape"] = [int(length) for length in space.shape]
    if name == "MultiDiscrete":
        return described | {"nvec": plain(space.nvec), "start": plain(getattr(space, "start", 0))}
    if name == "MultiBinary":
        return described | {"n": plain(space.n)}
    return described | {"low": _bound(space.low), "high": _bound(space.high)}


def _bound(values: Array) -> object:
    if values.size >= UNIFORM_FROM and bool(np.all(values == values.flat[0])):
        return plain(values.flat[0])
    return plain(values)


def size(space: Any) -> int:
    """Numbers in a value of the space, flattened without one-hot encoding: a Discrete one is one number; 0 where that varies."""
    name = kind(space)
    if name == "Dict":
        return sum(size(part) for part in space.spaces.values())
    if name == "Tuple":
        return sum(size(part) for part in space.spaces)
    return math.prod(int(length) for length in space.shape or ()) if is_numeric(space) else 0


def space_fields(prefix: str, space: Any) -> Row:
    """The catalogue's fields of one space: `observation_space_type`, `observation_space`, `observation_shape`, `observation_size`,
    `observation_low`, `observation_high`."""
    described = describe(space)
    low, high = bounds(described)
    return {
        f"{prefix}_space_type": kind(space),
        f"{prefix}_space": described,
        f"{prefix}_shape": [int(length) for length in getattr(space, "shape", None) or ()],
        f"{prefix}_size": size(space),
        f"{prefix}_low": low,
        f"{prefix}_high": high,
    }


def is_numeric(space: Any) -> bool:
    """Whether each value of the space is the same number of numbers: what a transition can hold."""
    name = kind(space)
    if name in {"Dict", "Tuple"}:
        parts = space.spaces.values() if name == "Dict" else space.spaces
        return all(is_numeric(part) for part in parts)
    return name in {"Discrete", "Box", "MultiDiscrete", "MultiBinary"}


@dataclass(frozen=True)
class Layout:
    """How values of a space lie in a column: each of `shape` and `dtype`; `convert` makes it of a nested value, else it is one."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    convert: Callable[[Any], Array] | None


def layout(space: Any, lanes: int | None = None) -> Layout:
    """The layout of one value or, for a vector environment, of each of `lanes` values that come together.

    Raises:
        GaelpError: values of the space are of no fixed number of numbers.
    """
    if not is_numeric(space):
        problem = Problem(
            f"values of a {kind(space)} space are no fixed number of numbers",
            expected="Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of them",
            remedy="Record episodes without their steps: transitions=False.",
        )
        raise GaelpError(problem)
    if kind(space) in {"Dict", "Tuple"}:
        convert = _flattener(space, lanes)
        return Layout((size(space),), np.dtype(np.float64), convert)
    shape = tuple(int(length) for length in space.shape or ())
    return Layout(shape, np.dtype(space.dtype), None)


def _flattener(space: Any, lanes: int | None) -> Callable[[Any], Array]:
    name = kind(space)
    if name not in {"Dict", "Tuple"}:
        shape = (-1,) if lanes is None else (lanes, -1)
        return lambda value: np.asarray(value, dtype=np.float64).reshape(shape)
    keys = list(space.spaces) if name == "Dict" else list(range(len(space.spaces)))
    parts = [(key, _flattener(space.spaces[key], lanes)) for key in keys]
    return lambda value: np.concatenate([flatten(value[key]) for key, flatten in parts], axis=-1)


_VERSION: Final = re.compile(r"(?:(?P<namespace>[^/]+)/)?(?P<name>.+?)(?:-v(?P<version>[0-9]+))?")


def environment_id(name: str) -> str:
    """A registered id as the platform spells it.

    >>> environment_id("ALE/Pong-v5")
    'ALE.Pong-v5'
    """
    return re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9_.-]", ".", name)).strip(".")


def environment_row(
    environment: str,
    spec: Any,
    observation_space: Any,
    action_space: Any,
    kwargs: Mapping[str, Any] | None = None,
) -> Row:
    """The row of an environment, without `updated_at`; what nobody told is None.

    Args:
        environment: its id, as the platform spells it.
        spec: gymnasium's `EnvSpec`, or None.
        observation_space: that of a single environment.
        action_space: likewise.
        kwargs: what it was made with, where that is not what the spec says.
    """
    match = _VERSION.fullmatch(spec.id if spec is not None else environment)
    version = match["version"] if match else None
    entry_point = getattr(spec, "entry_point", None)
    entry_point = entry_point if isinstance(entry_point, str) else _class_path(entry_point)
    library = _library(entry_point)
    given = dict(kwargs if kwargs is not None else getattr(spec, "kwargs", None) or {})
    limit = given.pop("max_episode_steps", None) or getattr(spec, "max_episode_steps", None)
    threshold = getattr(spec, "reward_threshold", None)
    # What is said of the vector is no parameter of the environment in it.
    for name in ("num_envs", "vectorization_mode", "vector_kwargs", "wrappers"):
        given.pop(name, None)
    return {
        "environment_id": environment,
        "name": ((match and match["name"]) or environment)[:100],
        "namespace": match["namespace"] if match else None,
        "version": int(version) if version is not None and int(version) <= 10000 else None,
        "library": library,
        "library_version": _version(library),
        "entry_point": entry_point,
        "parameters": plain(given),
        **space_fields("observation", observation_space),
        **space_fields("action", action_space),
        "action_count": count(action_space),
        "max_episode_steps": int(limit) if limit is not None and limit > 0 else None,
        "reward_threshold": None if threshold is None or not math.isfinite(threshold) else float(threshold),
        "nondeterministic": None if spec is None else bool(spec.nondeterministic),
    }


def _class_path(entry_point: object) -> str | None:
    name = getattr(entry_point, "__qualname__", None)
    return f"{getattr(entry_point, '__module__', '')}:{name}" if name else None


def _library(entry_point: str | None) -> str | None:
    root = (entry_point or "").partition(":")[0].partition(".")[0]
    return root if root and root != "__main__" else None


def _version(library: str | None) -> str | None:
    if library is None:
        return None
    found = getattr(sys.modules.get(library), "__version__", None)
    if isinstance(found, str):
        return found
    try:
        return metadata.version(library)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def numbers(layout: Layout) -> int:
    """Numbers in one value."""
    return math.prod(layout.shape)
