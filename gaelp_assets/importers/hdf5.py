"""HDF5 files: opened with the library that is there or missing, and proved to be as long as they say.

HDF5 itself has checksums for its own structures only, and in its newest format only: a flipped bit within numbers cannot be seen.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, Problem

Array = NDArray[Any]
UNREADABLE: Final = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""What h5py, NumPy and pyarrow raise where a structure is not what it should be: a length of millions of millions, a name in no UTF-8."""
_LARGE: Final = 1 << 26
_MOST_COMPRESSED: Final = 1_100
"""Deflate makes at most 1,032 bytes of one."""
_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"


class BrokenFileError(GaelpError):
    """The file is damaged or cut off."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file as h5py knows it, for reading.

    Raises:
        GaelpError: h5py is not installed, or the file is no HDF5.
        BrokenFileError: it is shorter than it says, or damaged where it was read.
    """
    prove_length(path)
    try:
        import h5py
    except ImportError:
        problem = Problem(
            "h5py is not installed, which HDF5 files are read with",
            remedy="Install it beside gaelp-assets: pip install h5py.",
        )
        raise GaelpError(problem) from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise
        raise damaged(path, str(error).splitlines()[0][:200] if str(error) else "") from error


def damaged(path: Path, what: str, place: str = "") -> BrokenFileError:
    """The error of a file whose structure is broken; `place` is the dataset or group that was read."""
    where = f"{path}: {place}" if place else str(path)
    return BrokenFileError(Problem(f"damaged HDF5 ({what})", where))


def prove_length(path: Path) -> None:
    """Compares the file's length with that in its first block.

    Raises:
        GaelpError: it is no HDF5 file.
        BrokenFileError: it ends before its own end; the byte is told.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(96)
    if not head.startswith(_SIGNATURE):
        raise GaelpError(
            Problem("byte 0: no HDF5 file", str(path), "a file that starts with the signature of HDF5")
        )
    end = _announced_end(head)
    if end is None:
        what = f"byte {min(8, size)}: the first block of HDF5 is damaged or cut off"
        raise BrokenFileError(Problem(what, str(path)))
    if size < end:
        what = f"byte {size}: the file ends here, but says of itself that it has {end} bytes"
        raise BrokenFileError(Problem(what, str(path)))


def _announced_end(head: bytes) -> int | None:
    """The address of the file's end, from its superblock (HDF5 File Format Specification, II.A); None where that is not to be read."""
    version = head[8] if len(head) > 8 else None
    if version in {0, 1}:
        width, at = head[13:14], (24 if version == 0 else 28) + 16
    elif version in {2, 3}:
        width, at = head[9:10], 12 + 16
    else:
        return None
    if width != b"\x08" or len(head) < at + 8:
        return None
    return int(struct.unpack_from("<Q", head, at)[0])


def array(group: Any, name: str, path: Path) -> Array:
    """All values of a dataset. The low-level calls take half the time of `group[name][()]`, which counts for many small episodes.

    Raises:
        BrokenFileError: there is no such dataset, it is a group, or it cannot be read; with the byte where its
            values start, where that is known.
    """
    import h5py

    try:
        dataset = h5py.h5d.open(group.id, name.encode())
    except UNREADABLE as error:
        kind = "a group, not a dataset" if name in group else "no such dataset"
        raise damaged(path, kind, _place(group, name)) from error
    try:
        kind = dataset.dtype
        if kind.kind in "fiub" and not kind.subdtype:
            prove_size(dataset, path, group, name)
            values = np.empty(dataset.shape, kind)
            if values.size:
                dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
            return values
        return np.asarray(h5py.Dataset(dataset)[()])
    except UNREADABLE as error:
        raise damaged(path, f"{_start(dataset)}the values cannot be read", _place(group, name)) from error


def prove_size(dataset: Any, path: Path, group: Any, name: str) -> None:
    """Refuses a dataset that says to be far larger than what is stored of it: HDF5 would fill all memory with zeros.

    Raises:
        BrokenFileError: it does.
    """
    announced = math.prod(dataset.shape) * dataset.dtype.itemsize
    if announced > _LARGE and announced > _MOST_COMPRESSED * dataset.get_storage_size():
        what = f"{announced} bytes announced, {dataset.get_storage_size()} there"
        raise damaged(path, what, _place(group, name))


def _place(group: Any, name: str) -> str:
    return f"{group.name.rstrip('/')}/{name}"


def _start(dataset: Any) -> str:
    """Where the values of a dataset start in the file, for a message."""
    try:
        offset = dataset.get_offset()
        if offset is None and dataset.get_num_chunks():
            offset = dataset.get_chunk_info(0).byte_offset
    except (OSError, RuntimeError, ValueError):
        offset = None
    return "" if offset is None else f"values from byte {offset} on; "
