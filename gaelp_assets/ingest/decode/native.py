"""The native decoder: blocks of lines -> columns, for the lines that are certain to be rows; the others are named, for Python to judge.

Of most of those, it can also tell which values are to blame, and keep the others: what each fault means is said in `faults`.

It is the library that `hatch_build.py` makes of `native/` where there is a C++ compiler. Without it everything works the same, in Python
alone and more slowly. While a block is decoded, the interpreter is free for other threads.

Everything crosses the border as the Arrow C data interface has it (https://arrow.apache.org/docs/format/CDataInterface.html): the relation
as a schema, the lines as an array of bytes, and the result as arrays. Each side frees what it is given with the callback that comes along.
"""

from __future__ import annotations

import ctypes
import errno
import logging
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
INTERFACE: Final = 3  # that of the library; `gaelp_interface` in native/decoder.cpp
MAX_BLOCK_BYTES: Final = 2**31 - 1  # what Arrow's views reach
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
_METADATA: Final = {
    "JSON": {"gaelp.type": "JSON"}
}  # what tells a type from another that Arrow has the same type for
_WANTED: Final = {"gaelp.wanted": "yes"}  # a line lacks something without this field
_PLACES: Final = pa.list_(pa.int64(), 3)
_FAULTS: Final = pa.list_(pa.int64(), 5)


_address: Final = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class _Decoded(ctypes.Structure):
    """`GaelpDecoded` of native/decoder.hpp; an `ArrowArray` is ten words."""

    _fields_ = tuple((name, ctypes.c_int64 * 10) for name in ("rows", "hashes", "places", "refused"))


class _Explained(ctypes.Structure):
    """`GaelpExplained` of native/decoder.hpp."""

    _fields_ = tuple((name, ctypes.c_int64 * 10) for name in ("rows", "places", "refused", "faults"))


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
        _LOG.info("the native decoder has not been built: files are validated in Python alone, more slowly")
        return None
    for function, result in ((native.gaelp_decode, _Decoded), (native.gaelp_explain, _Explained)):
        function.restype = ctypes.c_int32
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(result)]
    return native


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

    @property
    def line_count(self) -> int:
        """Lines that are not blank."""
        return int(self.places.shape[1] + self.refused.shape[1])


@dataclass(frozen=True)
class NativeFaults:
    """What is wrong with lines that are no rows; each that is not blank is explained, or is left to Python."""

    rows: pl.DataFrame
    """The relation's columns, a row for each line that is explained: its values that are fine, NULL or an empty array for the others."""
    places: npt.NDArray[np.int64]
    """Where each of these lines is, as in `NativeBlock`."""
    refused: npt.NDArray[np.int64]
    """Where the others are."""
    faults: npt.NDArray[np.int64]
    """Five numbers for each fault, in the order of the rows: the row, the place of the field among the relation's or -1, what it is
    (`faults.What`), and where in the block the value, or the unknown key, starts and ends."""


class _Exported:
    """An array in the form that Polars takes without a look at its type: that would import all of Arrow's functions first."""

    def __init__(self, array: pa.Array[Any]) -> None:
        self._array = array

    def __arrow_c_array__(self, requested_schema: object | None = None) -> Any:
        return self._array.__arrow_c_array__(requested_schema)


class NativeRelation:
    """Decodes lines of a relation natively. May be used by several threads at once.

    Raises:
        RuntimeError: the library has not been built.
    """

    def __init__(self, relation: Relation) -> None:
        native = library()
        if native is None:
            raise RuntimeError("the native decoder has not been built")
        self._native = native
        fields = [_arrow_field(field) for field in relation.fields]
        self._type = pa.struct(fields)
        self._schema = pa.schema(fields).__arrow_c_schema__()
        optional = [_optional(arrow, field) for arrow, field in zip(fields, relation.fields, strict=True)]
        self._optional_type = pa.struct(optional)
        self._optional_schema = pa.schema(optional).__arrow_c_schema__()

    def decode(self, block: Block) -> NativeBlock:
        """The lines of the block (of at most `MAX_BLOCK_BYTES`)."""
        decoded = _Decoded()
        self._call(self._native.gaelp_decode, self._schema, block.buffer, decoded)
        rows = _imported(decoded.rows, self._type)
        hashes = _imported(decoded.hashes, pa.int64())
        places, refused = (_imported(array, _PLACES) for array in (decoded.places, decoded.refused))
        return NativeBlock(_frame(rows), _integers(hashes), _tuples(places, 3), _tuples(refused, 3))

    def explain(self, lines: bytes) -> NativeFaults:
        """What is wrong with lines that are no rows (of at most `MAX_BLOCK_BYTES` together)."""
        explained = _Explained()
        self._call(self._native.gaelp_explain, self._optional_schema, lines, explained)
        rows = _imported(explained.rows, self._optional_type)
        places, refused = (_imported(array, _PLACES) for array in (explained.places, explained.refused))
        faults = _imported(explained.faults, _FAULTS)
        return NativeFaults(_frame(rows), _tuples(places, 3), _tuples(refused, 3), _tuples(faults, 5))

    @staticmethod
    def _call(function: Any, schema: object, lines: bytes | memoryview, out: ctypes.Structure) -> None:
        data = pa.py_buffer(lines)
        _, array = pa.Array.from_buffers(pa.uint8(), data.size, [None, data]).__arrow_c_array__()
        error = function(
            _address(schema, b"arrow_schema"), _address(array, b"arrow_array"), MAX_LINE_BYTES, out
        )
        if error == errno.ENOMEM:
            raise MemoryError("the native decoder has no memory left")
        if error:
            raise ValueError("the native decoder does not take this relation, or so many bytes at once")


def integer_series(name: str, values: npt.NDArray[np.int64]) -> pl.Series:
    """The series over the same memory. From an array of NumPy's, Polars would import `numpy.ma` first."""
    array = pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(cast("Any", values))])
    return pl.Series(_Exported(array)).alias(name)


def _arrow_field(field: Field) -> pa.Field[Any]:
    """The field as the decoder takes it (`read_field` in native/relation.hpp) and gives it: NULL is in no array, and in place of none."""
    record = field.type == "RECORD"
    one = pa.struct([_arrow_field(part) for part in field.fields]) if record else _TYPES[field.type]
    metadata = _METADATA.get(field.type)
    if not field.repeated:
        return pa.field(field.name, one, nullable=not field.required, metadata=metadata)
    element = pa.field("element", one, nullable=False, metadata=metadata)
    return pa.field(field.name, pa.large_list(element), nullable=False)


def _optional(arrow: pa.Field[Any], field: Field) -> pa.Field[Any]:
    """A field as lines are explained by it: any line may lack it, and for some that is a fault."""
    metadata = {**(_METADATA.get(field.type) or {}), **(_WANTED if field.required else {})}
    if field.repeated:
        return arrow
    return pa.field(field.name, arrow.type, nullable=True, metadata=metadata)


def _imported(array: ctypes.Array[Any], data_type: pa.DataType) -> pa.Array[Any]:
    """The array that the library has handed out, and its memory with it."""
    return pa.Array._import_from_c(ctypes.addressof(array), data_type)


def _integers(array: pa.Array[Any]) -> npt.NDArray[np.int64]:
    return np.frombuffer(cast("Any", array.buffers()[1]), np.int64)


def _tuples(array: pa.Array[Any], size: int) -> npt.NDArray[np.int64]:
    """The numbers of each, transposed: the first of all, the second of all, ..."""
    return _integers(cast("pa.FixedSizeListArray[Any, Any]", array).values).reshape(-1, size).T


def _frame(rows: pa.Array[Any]) -> pl.DataFrame:
    return pl.Series(_Exported(rows)).struct.unnest()
