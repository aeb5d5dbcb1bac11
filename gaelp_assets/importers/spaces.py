"""Spaces as Minari writes them in its metadata: their description in the catalogue's words, and their values as columns of numbers.

Nested values are flattened in the order of the space: the keys of a Dict as they stand there, the parts of a Tuple by number, arrays in
C order. A Discrete value is one number, not one of many zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.space_bounds import bounds

Array = NDArray[Any]
Space = Mapping[str, Any]
"""`{"type": "Box", "dtype": "float32", "shape": [4], "low": [...], "high": [...]}`, nested ones with `subspaces`."""
_NUMERIC: Final = frozenset({"Box", "Discrete", "MultiDiscrete", "MultiBinary"})
_KNOWN: Final = _NUMERIC | {"Dict", "Tuple", "Text"}
_EXACT: Final = 2**53


def described(space: Space) -> dict[str, object]:
    """The space as `training.environments` has it: null in a bound is unbounded.

    Raises:
        ValueError: a space that is not one of gymnasium's, or lacks what it needs.
    """
    kind = _kind(space)
    if kind in {"Dict", "Tuple"}:
        inner = [(name, described(part)) for name, part in parts(space)]
        return {"type": kind, "spaces": dict(inner) if kind == "Dict" else [part for _, part in inner]}
    if kind == "Text":
        return {"type": kind, "min_length": space.get("min_length"), "max_length": space.get("max_length")}
    known: dict[str, object] = {"type": kind}
    if "dtype" in space:
        known["dtype"] = str(space["dtype"])
    if kind == "Discrete":
        return known | {"n": int(space["n"]), "start": int(space.get("start", 0))}
    if kind == "Box":
        return known | {"shape": shape(space), "low": _bound(space["low"]), "high": _bound(space["high"])}
    known["shape"] = shape(space)
    return known | {name: space[name] for name in ("n", "nvec", "start") if name in space}


def fields(prefix: str, space: Space) -> dict[str, object]:
    """The catalogue's fields of a space; `prefix` is observation or action.

    Raises:
        ValueError: as `described`.
    """
    known = described(space)
    low, high = bounds(known)
    return {
        f"{prefix}_space_type": _kind(space),
        f"{prefix}_space": known,
        f"{prefix}_shape": shape(space),
        f"{prefix}_size": size(space) or 0,
        f"{prefix}_low": low,
        f"{prefix}_high": high,
    }


def shape(space: Space) -> list[int]:
    """Lengths of the axes of one value; empty for a single number, and for a nested space."""
    kind = _kind(space)
    if kind == "MultiDiscrete":
        return list(np.shape(space["nvec"]))
    if kind == "MultiBinary":
        return [int(length) for length in np.atleast_1d(space["n"])]
    return [int(length) for length in space["shape"]] if kind == "Box" else []


def size(space: Space) -> int | None:
    """Numbers in one flattened value; None where the space holds texts."""
    kind = _kind(space)
    if kind in _NUMERIC:
        return math.prod(shape(space))
    if kind == "Text":
        return None
    sizes = [size(part) for _, part in parts(space)]
    return None if None in sizes else sum(part for part in sizes if part is not None)


def is_image(space: Space) -> bool:
    """Whether Minari takes the space, or a part of it, for images, which it keeps as JPEG unless told not to."""
    if _kind(space) in {"Dict", "Tuple"}:
        return any(is_image(part) for _, part in parts(space))
    axes = shape(space)
    return (
        _kind(space) == "Box"
        and len(axes) in {2, 3}
        and min(axes[:2]) >= 32
        and space.get("dtype") == "uint8"
        and bool(np.all(np.asarray(space["low"]) == 0))
        and bool(np.all(np.asarray(space["high"]) == 255))
    )


def columns(
    space: Space, leaf: Callable[[tuple[str, ...]], Array], path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], int, Array]]:
    """Path, width and array of each part of a nested value, in the order of the space.

    The array has shape (n, width) where it is as its space says, and its own shape where it is not.

    Args:
        space: of the value; without texts.
        leaf: gives the array of a path: keys of a Dict and numbers of a Tuple's parts, from outside inwards.
        path: of the space itself.
    """
    if _kind(space) in {"Dict", "Tuple"}:
        nested = [columns(part, leaf, (*path, name)) for name, part in parts(space)]
        return [column for part in nested for column in part]
    values = leaf(path)
    width = math.prod(shape(space))
    fits = values.ndim > 0 and values.size == len(values) * width
    return [(path, width, values.reshape(len(values), width) if fits else values)]


def as_floats(values: Array) -> Array | None:
    """The same numbers as FLOAT; None where one of them would lose digits.

    >>> as_floats(np.array([2**53 + 1])) is None
    True
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and values.size:
        low, high = int(values.min()), int(values.max())
        if low < -_EXACT or high > _EXACT:
            return None
    return values.astype(np.float64, copy=False)


def _kind(space: Space) -> str:
    kind = space.get("type")
    if not isinstance(kind, str) or kind not in _KNOWN:
        raise ValueError(f"a space of the type {kind!r}; known are {', '.join(sorted(_KNOWN))}")
    return kind


def parts(space: Space) -> list[tuple[str, Space]]:
    """The parts of a Dict by their keys, of a Tuple by their numbers."""
    found = space["subspaces"]
    return (
        list(found.items()) if isinstance(found, dict) else [(str(n), part) for n, part in enumerate(found)]
    )


def _bound(value: object) -> object:
    if isinstance(value, list):
        return [_bound(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
