"""The native decoder: blocks of lines -> columns, for the lines that are certain to be rows; the others are named, for Python to judge.

It is the library that `hatch_build.py` makes of `native/` where there is a C++ compiler. Without it everything works the same, in Python
alone and more slowly. While a block is decoded, the interpreter is free for other threads.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from gaelp_assets.catalog.model import Field, Relation
from gaelp_assets.ingest.read.lines import MAX_LINE_BYTES, Block
from gaelp_assets.validation.schema import NUMERIC_PRECISION, NUMERIC_SCALE

_LOG: Final = logging.getLogger(__name__)
LIBRARY: Final = Path(__file__).with_name("_native.so")
INTERFACE: Final = 1  # that of the library; `gaelp_interface` in native/decoder.cpp
MAX_BLOCK_BYTES: Final = 2**31 - 1  # what Arrow's views reach
KINDS: Final = (
    "STRING",
    "BYTES",
    "INTEGER",
    "FLOAT",
    "NUMERIC",
    "BOOLEAN",
    "TIMESTAMP",
    "DATE",
    "DATETIME",
    "TIME",
    "JSON",
    "RECORD",
)  # in the order of `Kind` in native/columns.hpp
_LIST: Final = len(KINDS)
_TYPES: Final[dict[str, pa.DataType]] = {
    "STRING": pa.string_view(),
    "BYTES": pa.binary_view(),
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "NUMERIC": pa.decimal128(NUMERIC_PRECISION, NUMERIC_SCALE),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "DATE": pa.date32(),
    "DATETIME": pa.timestamp("us"),
    "TIME": pa.time64("ns"),
    "JSON": pa.string_view(),
}
_VIEWS: Final = {"STRING", "BYTES", "JSON"}


@cache
def library() -> ctypes.CDLL | None:
    """The library, if it has been built, and for this interface."""
    try:
        native = ctypes.CDLL(str(LIBRARY))
        native.gaelp_interface.restype = ctypes.c_int32
        usable = native.gaelp_interface() == INTERFACE
    except (OSError, AttributeError):
        usable = False
    if not usable:
        _LOG.info("the native decoder has not been built: files are proven in Python alone, more slowly")
        return None
    native.gaelp_hash.restype = ctypes.c_uint64
    native.gaelp_hash.argtypes = [ctypes.c_char_p, ctypes.c_int64]
    native.gaelp_relation.restype = ctypes.c_void_p
    native.gaelp_relation.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    native.gaelp_relation_free.restype = None
    native.gaelp_relation_free.argtypes = [ctypes.c_void_p]
    native.gaelp_decode.restype = ctypes.c_void_p
    native.gaelp_decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    native.gaelp_batch_free.restype = None
    native.gaelp_batch_free.argtypes = [ctypes.c_void_p]
    native.gaelp_describe.restype = ctypes.c_int64
    native.gaelp_describe.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    return native


class _Handle:
    """Something of the library's, freed with the last that refers to it."""

    def __init__(self, address: int | None, free: Any, *needs: object) -> None:
        if not address:
            raise MemoryError("the native decoder has no memory left")
        self.address = address
        self._free = free
        self._needs = needs  # what has to outlive it

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self._free(self.address)


@dataclass(frozen=True)
class NativeBlock:
    """What the native decoder made of a block: each line that is not blank is a row, or is refused."""

    rows: pl.DataFrame
    """The relation's columns."""
    hashes: npt.NDArray[np.int64]
    """XXH3 of the line of each row, without the space around it."""
    places: npt.NDArray[np.int64]
    """Three numbers for each row: which line of the block it is (blank ones are counted), where that starts, and where it ends, line
    end included."""
    refused: npt.NDArray[np.int64]
    """The same of each line that is left to Python."""
    line_count: int
    """Lines that are not blank."""


class _Exported:
    """An array in the form that Polars takes without a look at its type: that would import all of Arrow's functions first."""

    def __init__(self, array: pa.Array[Any]) -> None:
        self._array = array

    def __arrow_c_array__(self, requested_schema: object | None = None) -> Any:
        return self._array.__arrow_c_array__(requested_schema)


class NativeRelation:
    """Decodes lines of a relation natively. May be used by several threads at once."""

    def __init__(self, relation: Relation) -> None:
        native = library()
        if native is None:
            raise RuntimeError("the native decoder has not been built")
        self._native = native
        self._fields = relation.fields
        numbers, names = _described(relation.fields)
        text = "".join(names).encode()
        self._relation = _Handle(
            native.gaelp_relation((ctypes.c_int32 * len(numbers))(*numbers), text), native.gaelp_relation_free
        )
        self._room = 2 + 6 + 8 * _columns(relation.fields)

    def decode(self, block: Block) -> NativeBlock:
        """The lines of the block (of less than `MAX_BLOCK_BYTES`)."""
        source = pa.py_buffer(block.buffer)
        batch = _Handle(
            self._native.gaelp_decode(self._relation.address, source.address, source.size, MAX_LINE_BYTES),
            self._native.gaelp_batch_free,
            self._relation,
            source,
        )
        described = (ctypes.c_int64 * self._room)()
        if self._native.gaelp_describe(batch.address, described, self._room) != self._room:
            raise MemoryError("the native decoder cannot describe its result")
        numbers = iter(described)
        lines, blank = next(numbers), next(numbers)
        hashes, places, refused = (_integers(_buffer(numbers, batch)) for _ in range(3))
        arrays = [_array(field, numbers, source, batch) for field in self._fields]
        rows = pl.DataFrame(
            [
                pl.Series(_Exported(array)).alias(field.name)
                for array, field in zip(arrays, self._fields, strict=True)
            ]
        )
        return NativeBlock(rows, hashes, places.reshape(-1, 3).T, refused.reshape(-1, 3).T, lines - blank)


def integer_series(name: str, values: npt.NDArray[np.int64]) -> pl.Series:
    """The series over the same memory. From an array of NumPy's, Polars would import `numpy.ma` first."""
    array = pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(cast("Any", values))])
    return pl.Series(_Exported(array)).alias(name)


def _described(fields: Sequence[Field]) -> tuple[list[int], list[str]]:
    """What `gaelp_relation` reads: four numbers for each field, parents first, and the names in the same order."""
    numbers, names = [KINDS.index("RECORD"), 0, 0, len(fields)], [""]

    def add(field: Field, *, element: bool = False) -> None:
        name = "" if element else field.name
        names.append(name)
        if field.repeated and not element:
            numbers.extend((_LIST, 0, len(name.encode()), 1))
            add(field, element=True)
            return
        numbers.extend((KINDS.index(field.type), field.required, len(name.encode()), len(field.fields)))
        for inner in field.fields:
            add(inner)

    for field in fields:
        add(field)
    return numbers, names


def _columns(fields: Sequence[Field]) -> int:
    return sum(1 + field.repeated + _columns(field.fields) for field in fields)


def _buffer(numbers: Iterator[int], batch: _Handle) -> pa.Buffer:
    address, size = next(numbers), next(numbers)
    return pa.foreign_buffer(address, size, batch) if size else pa.py_buffer(b"")


def _integers(buffer: pa.Buffer) -> npt.NDArray[np.int64]:
    return np.frombuffer(cast("Any", buffer), np.int64)


def _array(
    field: Field, numbers: Iterator[int], source: pa.Buffer, batch: _Handle, *, element: bool = False
) -> pa.Array[Any]:
    length, nulls = next(numbers), next(numbers)
    valid, values, texts = (_buffer(numbers, batch) for _ in range(3))
    mask = valid if nulls else None
    if field.repeated and not element:
        inner = _array(field, numbers, source, batch, element=True)
        return pa.Array.from_buffers(
            pa.large_list(inner.type), length, [mask, values], nulls, children=[inner]
        )
    if field.type == "RECORD":
        parts = [_array(part, numbers, source, batch) for part in field.fields]
        named = pa.struct(
            [pa.field(part.name, array.type) for part, array in zip(field.fields, parts, strict=True)]
        )
        return pa.Array.from_buffers(named, length, [mask], nulls, children=parts)
    buffers = [mask, values, source, texts] if field.type in _VIEWS else [mask, values]
    return pa.Array.from_buffers(_TYPES[field.type], length, buffers, nulls)
