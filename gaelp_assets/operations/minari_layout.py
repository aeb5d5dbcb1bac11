"""How Minari 0.5 lays out a dataset in HDF5 (https://minari.farama.org): spaces in its words, an episode as a group of arrays.

The file is written through h5py's low-level calls: an episode is five or more small arrays, and h5py's own convenience costs as much as
HDF5 itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, Problem

Array = NDArray[Any]
Space = Mapping[str, Any]
Arrays = Sequence[tuple[str, Array]]
"""Arrays by their paths below an episode's group."""
_SIMPLE: Final = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")


def check_space(space: Space, where: str) -> None:
    """Nothing, if the space and its parts have a form as numbers.

    Raises:
        GaelpError: one of them has none, or a name that HDF5 takes for a path.
    """
    kind = space.get("type")
    if kind in {"Dict", "Tuple"}:
        for name, part in _subspaces(space):
            if "/" in name or name in {"", "."}:
                raise GaelpError(Problem(f"a part of a space is called {name!r}", where, "a name without /"))
            check_space(part, where)
    elif kind not in _SIMPLE:
        expected = f"{', '.join(_SIMPLE[:-1])} or {_SIMPLE[-1]}, in Dict and Tuple too"
        raise GaelpError(Problem(f"a space of the type {kind!r}", where, expected))


def arrays(name: str, space: Space, flat: Array) -> Arrays | None:
    """Values of a space as Minari stores them; None where they are none of the space.

    Args:
        name: of the group or array.
        space: of n numbers a value.
        flat: values x n numbers, the parts of a nested space one after another.
    """
    if flat.shape[1] != _size(space):
        return None
    found = []
    used = 0
    for path, part in _leaves(name, space):
        width = _size(part)
        numbers = flat[:, used : used + width]
        used += width
        dtype = np.dtype(_dtype(part))
        with np.errstate(invalid="ignore"):
            values = np.ascontiguousarray(numbers, dtype)
        if dtype.kind in "iub" and not np.array_equal(values, numbers):
            return None
        found.append((path, values.reshape(len(flat), *_shape(part))))
    return found


def minari_space(space: Space) -> dict[str, Any]:
    """A space of the catalogue as Minari writes it."""
    kind = space["type"]
    if kind in {"Dict", "Tuple"}:
        parts = [(key, minari_space(part)) for key, part in _subspaces(space)]
        return {"type": kind, "subspaces": dict(parts) if kind == "Dict" else [part for _, part in parts]}
    if kind == "Discrete":
        return {"type": kind, "dtype": "int64", "start": space.get("start", 0), "n": space["n"]}
    if kind == "MultiDiscrete":
        start = space.get("start", np.zeros(_shape(space), int).tolist())
        return {"type": kind, "dtype": _dtype(space), "nvec": space["nvec"], "start": start}
    if kind == "MultiBinary":
        return {"type": kind, "n": space.get("n", list(_shape(space)))}
    bounds = {
        name: _bound(space, name, infinite) for name, infinite in (("low", -math.inf), ("high", math.inf))
    }
    return {"type": kind, "dtype": _dtype(space), "shape": list(_shape(space)), **bounds}


class EpisodeFile:
    """The file of a dataset while its episodes are written, one after another.

    Args:
        path: of the file, which is made.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self._h5 = h5py
        self._file = h5py.File(path, "w", libver="latest", track_order=True)
        ordered = h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED
        self._of_group = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        self._of_group.set_link_creation_order(ordered)
        self._of_group.set_attr_creation_order(ordered)
        self._of_array = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        self._of_array.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        self._types: dict[np.dtype[Any], Any] = {}
        self.episodes = 0
        """How many have been written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()

    def add(self, attributes: Mapping[str, int], of_steps: Arrays) -> None:
        """Writes an episode: numbers that are told of it, and its arrays."""
        h5g, h5s = self._h5.h5g, self._h5.h5s
        group = h5g.create(self._file.id, f"episode_{self.episodes}".encode(), gcpl=self._of_group)
        for name, number in {"id": self.episodes, **attributes}.items():
            value = np.array(number, np.int64)
            place = self._h5.h5a.create(group, name.encode(), self._type(value), h5s.create(h5s.SCALAR))
            place.write(value)
        inner: dict[tuple[str, ...], Any] = {(): group}
        for path, values in of_steps:
            *above, name = path.split("/")
            for depth in range(1, len(above) + 1):
                if (key := tuple(above[:depth])) not in inner:
                    inner[key] = h5g.create(inner[key[:-1]], key[-1].encode(), gcpl=self._of_group)
            place = self._h5.h5d.create(
                inner[tuple(above)],
                name.encode(),
                self._type(values),
                h5s.create_simple(values.shape),
                dcpl=self._of_array,
            )
            place.write(h5s.ALL, h5s.ALL, values)
        self.episodes += 1

    def _type(self, values: Array) -> Any:
        if values.dtype not in self._types:
            self._types[values.dtype] = self._h5.h5t.py_create(values.dtype, logical=True)
        return self._types[values.dtype]


def _leaves(name: str, space: Space) -> Iterator[tuple[str, Space]]:
    if "spaces" not in space:
        yield name, space
        return
    for key, part in _subspaces(space):
        yield from _leaves(f"{name}/{key if space['type'] == 'Dict' else f'_index_{key}'}", part)


def _subspaces(space: Space) -> list[tuple[str, Space]]:
    parts = space["spaces"]
    return (
        list(parts.items()) if isinstance(parts, dict) else [(str(n), part) for n, part in enumerate(parts)]
    )


def _size(space: Space) -> int:
    if "spaces" in space:
        return sum(_size(part) for _, part in _subspaces(space))
    return math.prod(_shape(space))


def _shape(space: Space) -> tuple[int, ...]:
    return () if space["type"] == "Discrete" else tuple(space["shape"])


def _dtype(space: Space) -> str:
    return str(space.get("dtype") or ("int8" if space["type"] == "MultiBinary" else "int64"))


def _bound(space: Space, name: str, infinite: float) -> Any:
    """A bound for each number: one that is the same everywhere is written once in the catalogue, and one that there is not as null."""
    given = space.get(name)
    filled = (
        json.loads(json.dumps(given).replace("null", json.dumps(infinite))) if given is not None else infinite
    )
    return np.broadcast_to(np.asarray(filled, float), _shape(space)).astype(_dtype(space)).tolist()
