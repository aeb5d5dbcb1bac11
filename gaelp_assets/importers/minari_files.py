"""The files of a Minari dataset: its metadata, and its episodes out of HDF5, Arrow or Parquet, as arrays.

Written by Minari 0.5: `data/metadata.json` beside `data/main_data.hdf5`, or beside a folder for each episode.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.importers import hdf5

Array = NDArray[Any]
HDF5_NAME: Final = "main_data.hdf5"
METADATA_NAME: Final = "metadata.json"
Leaf = Callable[[tuple[str, ...]], Array]
"""Gives the array of a path: see `spaces.columns`."""
FORMATS: Final = ("arrow", "hdf5", "parquet")


@dataclass(frozen=True)
class Stored:
    """An episode as it is stored."""

    number: int
    where: str
    """File and group or folder, for messages."""
    observations: Leaf
    actions: Leaf
    rewards: Array
    terminations: Array
    truncations: Array
    infos: Mapping[str, Any]
    """Arrays by name, nested; each of n or n + 1 entries."""
    seed: object
    """As the writer tells it; None where it does not."""


def data_folder(path: Path) -> Path:
    """The folder with the metadata, for the dataset's own folder, that folder, or the HDF5 file in it.

    Raises:
        GaelpError: it is none of them.
    """
    candidates = [path / "data", path] if path.is_dir() else [path.parent]
    for folder in candidates:
        if (folder / METADATA_NAME).is_file():
            return folder
    problem = Problem(
        "no Minari dataset",
        str(path),
        f"a folder with data/{METADATA_NAME} and data/{HDF5_NAME}, or with Arrow or Parquet files",
        "Give the folder of one dataset, such as ~/.minari/datasets/NAMESPACE/NAME-v0.",
    )
    raise GaelpError(problem)


def read_metadata(folder: Path) -> dict[str, Any]:
    """The dataset's metadata; spaces and the environment's specification, JSON texts within, are parsed too.

    Raises:
        GaelpError: damaged, or of a format that no reader here knows.
    """
    path = folder / METADATA_NAME
    metadata = _json(path.read_bytes(), str(path))
    for name in ("observation_space", "action_space", "env_spec"):
        if isinstance(metadata.get(name), str):
            metadata[name] = _json(metadata[name].encode(), f"{path}: {name}")
    form = metadata.get("data_format", "hdf5")
    if form not in FORMATS:
        raise GaelpError(unknown("data_format", str(form), FORMATS, where=str(path)))
    for name in ("observation_space", "action_space"):
        if not isinstance(metadata.get(name), dict):
            expected = "the space that Minari 0.5 writes there"
            raise GaelpError(
                Problem(f"no {name}", str(path), expected, "Write the dataset once more with Minari 0.5.")
            )
    return metadata


@contextmanager
def opened(folder: Path, metadata: Mapping[str, Any]) -> Iterator[Iterator[tuple[int, Callable[[], Stored]]]]:
    """The numbers of the episodes, in order, each with what reads it; a damaged one is an error of its own reading.

    Raises:
        GaelpError: a file is missing or damaged; also what reads an episode raises it.
    """
    form = metadata.get("data_format", "hdf5")
    if form == "hdf5":
        path = folder / HDF5_NAME
        if not path.is_file():
            raise GaelpError(Problem("no such file", str(path)))
        with hdf5.opened(path) as file:
            numbers = sorted(int(name[8:]) for name in file if re.fullmatch("episode_[0-9]+", name))
            yield ((number, partial(_from_hdf5, file, number, path)) for number in numbers)
    else:
        numbers = sorted(int(path.name) for path in folder.iterdir() if re.fullmatch("[0-9]+", path.name))
        yield ((number, partial(_from_folder, folder / str(number), number, form)) for number in numbers)


def _json(text: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except UnicodeDecodeError as error:
        raise GaelpError(Problem(f"byte {error.start}: no UTF-8", where)) from None
    except json.JSONDecodeError as error:
        raise GaelpError(
            Problem(f"byte {len(error.doc[: error.pos].encode())}: no JSON ({error.msg})", where)
        ) from None
    if not isinstance(value, dict):
        raise GaelpError(Problem("no JSON object", where))
    return value


def _from_hdf5(file: Any, number: int, path: Path) -> Stored:
    name = f"episode_{number}"
    try:
        group = file[name]
        seed = _scalar(group.attrs.get("seed"))
        infos = _hdf5_infos(group["infos"], path) if "infos" in group else {}
    except hdf5.UNREADABLE as error:
        raise hdf5.damaged(path, str(error).splitlines()[0][:200], f"/{name}") from error
    return Stored(
        number,
        f"{path}: /{name}",
        _hdf5_leaf(group, "observations", path),
        _hdf5_leaf(group, "actions", path),
        hdf5.array(group, "rewards", path),
        hdf5.array(group, "terminations", path),
        hdf5.array(group, "truncations", path),
        infos,
        seed,
    )


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _hdf5_leaf(group: Any, name: str, path: Path) -> Leaf:
    # Parts of a Tuple are called `_index_0`; keys of a Dict by themselves.
    def leaf(parts: tuple[str, ...]) -> Array:
        above: Any = group
        for part in (name, *parts)[:-1]:
            above = _child(above, part, path)
        return hdf5.array(above, _child_name(above, (name, *parts)[-1]), path)

    return leaf


def _child(group: Any, part: str, path: Path) -> Any:
    name = _child_name(group, part)
    if name not in group:
        raise hdf5.damaged(path, "no such group", f"{group.name}/{part}")
    return group[name]


def _child_name(group: Any, part: str) -> str:
    return f"_index_{part}" if part.isdigit() and part not in group else part


def _hdf5_infos(group: Any, path: Path) -> dict[str, Any]:
    import h5py

    return {
        name: _hdf5_infos(value, path) if isinstance(value, h5py.Group) else hdf5.array(group, name, path)
        for name, value in group.items()
    }


def _from_folder(folder: Path, number: int, form: str) -> Stored:
    metadata = _json((folder / METADATA_NAME).read_bytes(), str(folder / METADATA_NAME))
    table = _table(sorted(path for path in folder.iterdir() if path.suffix == f".{form}"), form, folder)
    missing = {"observations", "actions", "rewards", "terminations", "truncations"} - set(table.column_names)
    if missing:
        raise GaelpError(Problem(f"no column {min(missing)}", str(folder)))
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    # The format repeats or cuts everything to the number of observations; how many steps there were is told beside it.
    steps = metadata.get("total_steps")
    n = steps if isinstance(steps, int) and steps >= 0 else max(table.num_rows - 1, 0)
    return Stored(
        number,
        str(folder),
        _arrow_leaf(columns["observations"], None),
        _arrow_leaf(columns["actions"], n),
        _numpy(columns["rewards"])[:n],
        _numpy(columns["terminations"])[:n],
        _numpy(columns["truncations"])[:n],
        _arrow_infos(columns["infos"]) if "infos" in columns else {},
        metadata.get("seed"),
    )


def _table(parts: list[Path], form: str, above: Path) -> Any:
    import pyarrow as pa
    from pyarrow import ipc, parquet

    if not parts:
        raise GaelpError(Problem(f"no .{form} file", str(above)))
    tables = []
    for path in parts:
        try:
            if form == "parquet":
                tables.append(parquet.ParquetFile(path).read())
            else:
                with ipc.open_file(str(path)) as reader:
                    tables.append(reader.read_all())
        except hdf5.UNREADABLE as error:
            size = path.stat().st_size
            what = f"damaged or cut off, of {size} bytes ({str(error).splitlines()[0][:200]})"
            raise GaelpError(
                Problem(what, str(path), remedy="Fetch or copy it from its source again.")
            ) from error
    return pa.concat_tables(tables)


def _arrow_leaf(column: Any, n: int | None) -> Leaf:
    def leaf(parts: tuple[str, ...]) -> Array:
        value = column
        for part in parts:
            value = value.field(part)
        return _numpy(value)[:n]

    return leaf


def _numpy(column: Any) -> Array:
    """A column as an array: of shape (rows, numbers) for lists of one length."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False))
        return flat.reshape(len(column), column.type.list_size)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _arrow_infos(column: Any) -> dict[str, Any]:
    import pyarrow as pa

    infos: dict[str, Any] = {}
    for number in range(column.type.num_fields):
        field = column.type.field(number)
        values = column.field(number)
        infos[field.name] = _arrow_infos(values) if pa.types.is_struct(field.type) else _numpy(values)
    return infos
