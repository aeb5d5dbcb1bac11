"""Spaces of the catalogue in Minari's words, proved: what is written in them, `gymnasium` can be made of.

A space in a row of `training.environments` is any JSON that a producer has handed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np

from gaelp_assets.errors import GaelpError, Problem

_NUMBERS: Final = 10_000_000
"""Of one value. A step of so many would be larger than any line that a producer may write."""
_DEPTH: Final = 50
_KNOWN: Final = "Box, Discrete, MultiDiscrete or MultiBinary, in Dict and Tuple too"

Numbers: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Whole: TypeAlias = Literal["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
Fractions: TypeAlias = Literal["float16", "float32", "float64"]
Axes: TypeAlias = list[Annotated[int, msgspec.Meta(ge=0)]]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Box(msgspec.Struct, tag=True, tag_field="type"):
    """Numbers between bounds; null is unbounded, and one bound may stand for all."""

    dtype: Whole | Fractions
    shape: Axes
    low: Any = None
    high: Any = None


class Discrete(msgspec.Struct, tag=True, tag_field="type"):
    """One of `n` whole numbers from `start` on."""

    n: Count
    start: Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)] = 0


class MultiDiscrete(msgspec.Struct, tag=True, tag_field="type"):
    """Several of them."""

    nvec: list[Any]
    start: Any = 0
    dtype: Whole = "int64"


class MultiBinary(msgspec.Struct, tag=True, tag_field="type"):
    """Bits."""

    n: Count | list[Count] | None = None
    shape: Axes | None = None


class Dict(msgspec.Struct, tag=True, tag_field="type"):
    """Spaces with names."""

    spaces: dict[str, Space]


class Tuple(msgspec.Struct, tag=True, tag_field="type"):
    """Spaces with numbers."""

    spaces: list[Space]


Space: TypeAlias = Box | Discrete | MultiDiscrete | MultiBinary | Dict | Tuple


def minari_space(described: Mapping[str, Any], where: str = "a space") -> dict[str, Any]:
    """A space of the catalogue as Minari writes it.

    Args:
        described: as `training.environments` has it.
        where: what is named where something is wrong.

    Raises:
        GaelpError: it, or a part of it, has no form as numbers, has a name that HDF5 takes for a path, or is no space.
    """
    try:
        return _translated(msgspec.convert(described, Space), 0)
    except RecursionError:
        raise GaelpError(Problem(f"a space in more than {_DEPTH} others", where)) from None
    except (TypeError, ValueError, OverflowError) as error:  # msgspec's own error is a ValueError
        raise GaelpError(Problem(f"is no space: {error}", where, _KNOWN)) from None


def _translated(space: Space, depth: int) -> dict[str, Any]:
    if depth > _DEPTH:
        raise RecursionError
    match space:
        case Dict():
            inner = {_named(name): _translated(part, depth + 1) for name, part in space.spaces.items()}
            return {"type": "Dict", "subspaces": inner}
        case Tuple():
            return {"type": "Tuple", "subspaces": [_translated(part, depth + 1) for part in space.spaces]}
        case Discrete():
            return {"type": "Discrete", "dtype": "int64", "start": space.start, "n": space.n}
        case MultiDiscrete():
            counts = _whole(space.nvec, space.dtype, "nvec")
            if (counts < 1).any():
                raise ValueError("nvec has a number below 1")
            start = _whole(_filled(space.start, counts.shape, 0), space.dtype, "start")
            return {
                "type": "MultiDiscrete",
                "dtype": space.dtype,
                "nvec": counts.tolist(),
                "start": start.tolist(),
            }
        case MultiBinary():
            axes = space.n if space.n is not None else space.shape
            if axes is None:
                raise ValueError("MultiBinary without n")
            _size(axes if isinstance(axes, list) else [axes])
            return {"type": "MultiBinary", "n": axes}
        case Box():
            _size(space.shape)
            low, high = (_bound(space, name) for name in ("low", "high"))
            if (low > high).any():
                raise ValueError("a low bound is above the high one")
            low, high = low.tolist(), high.tolist()
            return {"type": "Box", "dtype": space.dtype, "shape": space.shape, "low": low, "high": high}


def _named(name: str) -> str:
    if "/" in name or "\0" in name or name in {"", "."} or not _is_text(name):
        raise ValueError(f"a part is called {name!r}, which HDF5 takes for a path or for no name")
    return name


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _size(axes: Sequence[int]) -> None:
    if math.prod(axes) > _NUMBERS:
        raise ValueError(f"more than {_NUMBERS:,} numbers")


def _bound(space: Box, name: str) -> Numbers:
    """A bound for each number; where there is none, the type's own of whole numbers, which have no infinity."""
    given, first = getattr(space, name), name == "low"
    if space.dtype.startswith("float"):
        return np.array(_filled(given, space.shape, -math.inf if first else math.inf), float)
    limits = np.iinfo(space.dtype)
    return _whole(_filled(given, space.shape, int(limits.min if first else limits.max)), space.dtype, name)


def _filled(given: object, axes: Sequence[int], missing: float) -> Any:
    """A number for each place: one that is the same everywhere is written once in the catalogue, and one that there is not as null."""
    present = np.frompyfunc(lambda number: missing if number is None else number, 1, 1)
    # As objects, whole numbers stay what they are beyond 53 bits too.
    return np.broadcast_to(present(np.array(given, object)), axes).tolist()


def _whole(given: object, dtype: str, name: str) -> Numbers:
    exact = np.array(given, object)
    numbers = exact.astype(dtype)
    if not np.array_equal(numbers, exact):
        raise ValueError(f"{name} has a number that is no {dtype}")
    return numbers
