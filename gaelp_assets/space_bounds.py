"""How far the numbers of a space reach: least and greatest of each, in the order in which its values are flattened.

What records and what imports describe spaces alike (`training.environments.observation_space`), and both tell their bounds by this.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

UNBOUNDED: Final = sys.float_info.max
"""Stands, with its sign, for a number without a bound: JSON has no infinity, an array of the warehouse no NULL."""
NUMBERS: Final = 1000
"""Of more numbers than these, bounds are told only where they are the same for all."""

Bounds = tuple[list[float], list[float]]


def bounds(space: Mapping[str, Any]) -> Bounds:
    """Least and greatest of the numbers of a flattened value: a list each, of one number where it is the same for all.

    Both are empty where they are not known: of texts, sequences and graphs, and of more than `NUMBERS` different ones.

    Args:
        space: as `training.environments` describes it.

    >>> bounds({"type": "Box", "shape": [2], "low": [-1.0, None], "high": [1.0, 1.0]})
    ([-1.0, -1.7976931348623157e+308], [1.0])
    >>> bounds({"type": "Discrete", "n": 3, "start": 1})
    ([1.0], [3.0])
    """
    parts = list(_parts(space))
    if not parts or any(part is None for part in parts):
        return [], []
    known = [part for part in parts if part is not None]
    lows, highs = (_joined([(side[0], side[1][which]) for side in known]) for which in (0, 1))
    return (lows, highs) if lows and highs else ([], [])


def _joined(parts: list[tuple[int, list[float]]]) -> list[float]:
    """The bounds of parts after each other, each given by its size and one number or as many as it has."""
    if len({value for _, values in parts for value in values}) == 1:
        return parts[0][1][:1]
    if sum(size for size, _ in parts) > NUMBERS:
        return []
    return [value for size, values in parts for value in (values * size if len(values) == 1 else values)]


def _parts(space: Mapping[str, Any]) -> Iterator[tuple[int, Bounds] | None]:
    """Size and bounds of each part that is no Dict or Tuple; None of one whose bounds nobody knows."""
    nested = space.get("spaces")
    if space.get("type") in {"Dict", "Tuple"} and nested is not None:
        for part in nested.values() if isinstance(nested, Mapping) else nested:
            yield from _parts(part)
        return
    match space.get("type"):
        case "Box":
            size = math.prod(space["shape"])
            lows, highs = _flat(space["low"], -UNBOUNDED), _flat(space["high"], UNBOUNDED)
        case "Discrete":
            first = float(space.get("start") or 0)
            size, lows, highs = 1, [first], [first + space["n"] - 1]
        case "MultiDiscrete":
            counts = _flat(space["nvec"], 0.0)
            size, starts = len(counts), _flat(space.get("start") or 0, 0.0)
            lows = starts * size if len(starts) == 1 else starts
            highs = [first + count - 1 for first, count in zip(lows, counts, strict=False)]
        case "MultiBinary":
            size, lows, highs = math.prod(space.get("shape") or [space["n"]]), [0.0], [1.0]
        case _:
            yield None
            return
    whole = size and all(len(side) in {1, size} for side in (lows, highs))
    yield (size, (lows, highs)) if whole else None


def _flat(values: object, unbounded: float) -> list[float]:
    """Numbers of a nested list, in C order; what is None, or is not finite, is unbounded."""
    if isinstance(values, list | tuple):
        return [number for part in values for number in _flat(part, unbounded)]
    number = float(values) if isinstance(values, int | float) else unbounded
    return [number if math.isfinite(number) else unbounded]
