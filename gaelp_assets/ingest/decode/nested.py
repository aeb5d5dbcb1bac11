"""How JSON, records and arrays travel from decoded lines to a Polars column; simple values stand in `columns`.

Records and arrays hold values of other columns: their writers write those of all records or arrays of a chunk as one column, beside which
ones are NULL, or how long each is.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from msgspec import UNSET, Raw, Struct, UnsetType

from gaelp_assets.catalog.model import Field
from gaelp_assets.ingest.decode.columns import (
    BlockScan,
    Column,
    ColumnWriter,
    DateColumn,
    Mask,
    MomentColumn,
    PackedColumn,
    ParsedColumn,
    PiecewiseColumn,
    TextColumn,
    Values,
    null_mask,
)
from gaelp_assets.ingest.decode.duplicate_keys import (
    ESCAPED_KEY_END,
    MAX_DEPTH,
    count_key_ends,
    key_ends,
    may_have_duplicates,
    too_deep,
)


def _buffer(values: npt.NDArray[np.int64]) -> pa.Buffer:
    return pa.py_buffer(values.data)


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


class Json(NamedTuple):
    """JSON values of a block, as sent."""

    data: bytes
    """All of them, one after the other."""
    lengths: npt.NDArray[np.int64]
    """The bytes of each."""
    nulls: Mask


class JsonColumn(PiecewiseColumn[Json]):
    """A JSON field. `nulls_are_values`: a null is JSON's own, as it is in an array, where there is no NULL."""

    annotation = Raw

    def __init__(self, field: Field, *, nulls_are_values: bool = False) -> None:
        super().__init__(field)
        self._nulls_are_values = nulls_are_values

    def build(self, values: Values, scan: BlockScan) -> Json:
        """See `PiecewiseColumn`."""
        texts, data, lengths = self._joined(values)
        nulls = lengths == 0
        if nulls.any():
            scan.keys -= values.count(UNSET)
        if not self._nulls_are_values:
            for i in np.flatnonzero(lengths == 4).tolist():
                nulls[i] = bytes(texts[i]) == b"null"
        if self.field.required and nulls.any():
            scan.invalid_rows.update(np.flatnonzero(nulls).tolist())
        if b":" in data:
            self._look_for_duplicates(texts, lengths, data, scan)
        for i in np.flatnonzero(lengths > 2 * MAX_DEPTH).tolist():
            if too_deep(bytes(texts[i])):
                scan.suspects.add(i)
        return Json(data, lengths, nulls)

    @staticmethod
    def _joined(values: Values) -> tuple[list[bytes], bytes, npt.NDArray[np.int64]]:
        texts = [value if isinstance(value, Raw) else b"" for value in values]
        return texts, b"".join(texts), np.fromiter(map(len, texts), np.int64, len(texts))

    @staticmethod
    def _look_for_duplicates(
        texts: Sequence[bytes], lengths: npt.NDArray[np.int64], data: bytes, scan: BlockScan
    ) -> None:
        scan.free_keys += count_key_ends(data)
        if b"\\" in data:
            scan.free_escaped += data.count(ESCAPED_KEY_END)
        ends = key_ends(data, np.cumsum(lengths) - lengths)
        for i in np.flatnonzero(ends > 1).tolist():
            if may_have_duplicates(texts[i], int(ends[i])):
                scan.suspects.add(i)

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64]:
        """See `Column`."""
        _, data, lengths = self._joined(values)
        return key_ends(data, np.cumsum(lengths) - lengths)

    def assemble(self, pieces: Sequence[Json]) -> pl.Series:
        """See `PiecewiseColumn`."""
        data = b"".join([piece.data for piece in pieces])
        lengths = np.concatenate([piece.lengths for piece in pieces])
        nulls = np.concatenate([piece.nulls for piece in pieces])
        text = pa.LargeStringArray.from_buffers(len(lengths), _buffer(_offsets(lengths)), pa.py_buffer(data))
        series = pl.Series(text)
        return series.set(pl.Series(nulls), None) if nulls.any() else series


class RecordColumn(Column):
    """A RECORD: an object with declared keys."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._struct = StructFields(field.fields, field.name)
        self.annotation = self._struct.type

    def writer(self) -> RecordWriter:
        """See `Column`."""
        return RecordWriter(self.dtype, self._struct.writer())

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64]:
        """See `Column`."""
        keys = np.zeros(len(values), np.int64)
        keys[~null_mask(values)] = self._struct.count_keys(_structs(values))
        return keys


def _structs(values: Values) -> list[Struct]:
    return [value for value in values if isinstance(value, Struct)]


class RecordWriter:
    """The records of a chunk: those that are there, and a mask of the NULLs."""

    def __init__(self, dtype: pl.DataType, rows: StructWriter) -> None:
        self._dtype = dtype
        self._rows = rows
        self._nulls: list[Mask] = []

    def add(self, values: Values, scan: BlockScan) -> None:
        """See `ColumnWriter`."""
        scan.keys -= values.count(UNSET)
        nulls = null_mask(values)
        inner = BlockScan()
        self._rows.add(_structs(values), inner)
        scan.absorb(inner, lambda places: np.flatnonzero(~nulls)[places])
        self._nulls.append(nulls)

    def finish(self) -> pl.Series:
        """See `ColumnWriter`."""
        nulls = np.concatenate(self._nulls)
        fields = self._rows.finish()
        if not nulls.any():
            return fields.to_struct()
        # Positions of the present rows, NULL for the others.
        positions = pl.Series(np.cumsum(~nulls) - 1).set(pl.Series(nulls), None)
        records = fields.to_struct().gather(positions) if fields.height else None
        return pl.repeat(None, len(nulls), dtype=self._dtype, eager=True) if records is None else records


class ArrayColumn(Column):
    """A REPEATED field; no array, or null, is an empty array, as in BigQuery."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        element = field.model_copy(update={"mode": "REQUIRED"})
        self._element = (
            JsonColumn(element, nulls_are_values=True) if field.type == "JSON" else make_column(element)
        )
        self.annotation = list.__class_getitem__(self._element.annotation)

    def writer(self) -> ArrayWriter:
        """See `Column`."""
        return ArrayWriter(self._element.writer())

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64] | int:
        """See `Column`."""
        arrays = _arrays(values)
        keys = self._element.inner_keys(list(chain.from_iterable(arrays)))
        if isinstance(keys, int):
            return 0
        owners = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
        return np.bincount(owners, keys, minlength=len(arrays)).astype(np.int64)


def _arrays(values: Values) -> list[Values]:
    return [value if isinstance(value, list) else () for value in values]


class ArrayWriter:
    """The arrays of a chunk: their lengths, and the elements of all."""

    def __init__(self, elements: ColumnWriter) -> None:
        self._elements = elements
        self._lengths: list[npt.NDArray[np.int64]] = []

    def add(self, values: Values, scan: BlockScan) -> None:
        """See `ColumnWriter`."""
        scan.keys -= values.count(UNSET)
        arrays = _arrays(values)
        lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
        inner = BlockScan()
        self._elements.add(list(chain.from_iterable(arrays)), inner)
        scan.absorb(
            inner,
            lambda places: np.searchsorted(_offsets(lengths), places, side="right").astype(np.int64) - 1,
        )
        self._lengths.append(lengths)

    def finish(self) -> pl.Series:
        """See `ColumnWriter`."""
        lengths = np.concatenate(self._lengths)
        elements = self._elements.finish().to_arrow()
        # `LargeListArray.from_arrays` wants an array of offsets: `pyarrow.array` imports pandas, which takes longer than a small file.
        return pl.Series(
            pa.Array.from_buffers(
                pa.large_list(elements.type),
                len(lengths),
                [None, _buffer(_offsets(lengths))],
                0,
                children=[elements],
            )
        )


class StructFields:
    """The columns of an object with declared keys, and the msgspec struct that decodes it."""

    def __init__(self, fields: Sequence[Field], name: str) -> None:
        self.columns: Final = [make_column(field) for field in fields]
        names = {f"field_{i}": field.name for i, field in enumerate(fields)}  # any name, keywords too
        declared = [
            (attribute, column.annotation)
            if column.field.required
            else (attribute, _optional(column.annotation), UNSET)
            for attribute, column in zip(names, self.columns, strict=True)
        ]
        self.type: Final[type[Struct]] = msgspec.defstruct(
            name, declared, rename=names, kw_only=True, forbid_unknown_fields=True, gc=False
        )

    def writer(self) -> StructWriter:
        """Starts the columns of a chunk."""
        return StructWriter(self.columns)

    def count_keys(self, rows: Sequence[Struct]) -> npt.NDArray[np.int64]:
        """How many key ends each row accounts for, those in its JSON fields included."""
        keys = np.zeros(len(rows), np.int64)
        for column, values in zip(self.columns, _transposed(rows, len(self.columns)), strict=True):
            keys += (
                1
                if column.field.required
                else np.fromiter((v is not UNSET for v in values), np.int64, len(rows))
            )
            keys += column.inner_keys(values)
        return keys


class StructWriter:
    """The columns of a chunk's objects of one declared form."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = [column.field.name for column in columns]
        self._writers = [column.writer() for column in columns]

    def add(self, rows: Sequence[Struct], scan: BlockScan) -> None:
        """Packs the next rows, and counts the keys that are there."""
        scan.keys += len(rows) * len(self._writers)
        for writer, values in zip(self._writers, _transposed(rows, len(self._writers)), strict=True):
            writer.add(values, scan)

    def finish(self) -> pl.DataFrame:
        """All rows as a frame; no more may follow."""
        return pl.DataFrame(
            [writer.finish().alias(name) for name, writer in zip(self._names, self._writers, strict=True)]
        )


def _transposed(rows: Sequence[Struct], columns: int) -> Iterable[Values]:
    """The values of each column."""
    return zip(*map(msgspec.structs.astuple, rows), strict=True) if rows else [()] * columns


def _optional(annotation: object) -> object:
    """The annotation of a field that may be missing or null; `Raw` takes a null itself."""
    return operator.or_(annotation, UnsetType if annotation is Raw else None | UnsetType)


def make_column(field: Field) -> Column:
    """The column that suits the field."""
    if field.repeated:
        return ArrayColumn(field)
    kinds: dict[str, type[Column]] = {
        "STRING": TextColumn,
        "RECORD": RecordColumn,
        "JSON": JsonColumn,
        "DATE": DateColumn,
        **dict.fromkeys(("TIMESTAMP", "DATETIME"), MomentColumn),
        **dict.fromkeys(("INTEGER", "FLOAT", "BOOLEAN"), PackedColumn),
        **dict.fromkeys(("TIME", "BYTES", "NUMERIC"), ParsedColumn),
    }
    return kinds[field.type](field)
