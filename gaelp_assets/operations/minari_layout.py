"""How Minari 0.5 lays out a dataset in HDF5 (https://minari.farama.org): an episode as a group of arrays.

The file is written through h5py's low-level calls: an episode is five or more small arrays, and h5py's own convenience costs as much as
HDF5 itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.importers.spaces import parts, shape, size

Array = NDArray[Any]
Space = Mapping[str, Any]
Arrays = Sequence[tuple[str, Array]]
"""Arrays by their paths below an episode's group."""


def arrays(name: str, space: Space, flat: Array) -> Arrays | None:
    """Values of a space as Minari stores them; None where they are none of the space.

    Args:
        name: of the group or array.
        space: in Minari's words (`minari_spaces`), of n numbers a value.
        flat: values x n numbers, the parts of a nested space one after another.
    """
    if flat.shape[1] != size(space):
        return None
    found = []
    used = 0
    for path, part in _leaves(name, space):
        axes = shape(part)
        width = math.prod(axes)
        numbers = flat[:, used : used + width]
        used += width
        with np.errstate(invalid="ignore", over="ignore"):
            values = np.ascontiguousarray(numbers, part.get("dtype", "int8"))
        # Whole numbers are these numbers or none; others are rounded to what the space holds, as far as it reaches.
        same = np.isfinite(values) if values.dtype.kind == "f" else values == numbers
        if not same.all():
            return None
        found.append((path, values.reshape(len(flat), *axes)))
    return found


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
    if "subspaces" not in space:
        yield name, space
        return
    for key, part in parts(space):
        yield from _leaves(f"{name}/{key if space['type'] == 'Dict' else f'_index_{key}'}", part)
