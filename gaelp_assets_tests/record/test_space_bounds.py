"""Bounds of spaces: as gymnasium has them, in the order in which values are flattened, told alike by what records and what imports."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gaelp_assets.importers import spaces as imported
from gaelp_assets.record.spaces import describe, layout, space_fields
from gaelp_assets.space_bounds import UNBOUNDED, bounds

BOX = spaces.Box(np.array([[-1, -np.inf], [0, 2]], np.float32), np.array([[1, 5], [np.inf, 3]], np.float32))
CASES: dict[str, tuple[Any, list[float], list[float]]] = {
    "nested boxes": (BOX, [-1, -UNBOUNDED, 0, 2], [1, 5, UNBOUNDED, 3]),
    "one bound for all": (spaces.Box(0, 255, (96, 96, 3), np.uint8), [0], [255]),
    "more than are told": (spaces.Box(np.arange(1001.0), np.arange(1001.0) + 1, dtype=np.float64), [], []),
    "discrete": (spaces.Discrete(5, start=-2), [-2], [2]),
    "multi-discrete": (spaces.MultiDiscrete([3, 4], start=[1, 0]), [1, 0], [3]),
    "multi-binary": (spaces.MultiBinary([2, 2]), [0], [1]),
    "dict": (
        spaces.Dict({"b": spaces.Discrete(3), "a": spaces.Tuple([BOX, spaces.MultiBinary(2)])}),
        [-1, -UNBOUNDED, 0, 2, 0, 0, 0],
        [1, 5, UNBOUNDED, 3, 1, 1, 2],
    ),
    "text": (spaces.Text(5), [], []),
    "a text within": (spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Text(5)}), [], []),
}


@pytest.mark.parametrize("name", CASES)
def test_bounds_are_those_of_the_flattened_values(name: str) -> None:
    space, low, high = CASES[name]
    told = space_fields("observation", space)
    assert (told["observation_low"], told["observation_high"]) == (low, high)
    assert bounds(json.loads(json.dumps(describe(space)))) == (low, high)
    if not low or name == "text":
        return
    space.seed(3)
    convert = layout(space).convert or (lambda value: np.asarray(value, dtype=np.float64))
    for _ in range(20):
        value = np.ravel(convert(space.sample()))
        assert np.all(value >= low)
        assert np.all(value <= high)


def test_what_is_imported_has_the_bounds_that_are_recorded() -> None:
    part = {"type": "Box", "dtype": "float64", "shape": [2], "low": [-1.0, float("-inf")], "high": [1.0, 1.0]}
    space = {"type": "Tuple", "subspaces": [part, {"type": "Discrete", "n": 3, "start": 1}]}
    told = imported.fields("action", space)
    assert told["action_low"] == [-1.0, -UNBOUNDED, 1.0]
    assert told["action_high"] == [1.0, 1.0, 3.0]
