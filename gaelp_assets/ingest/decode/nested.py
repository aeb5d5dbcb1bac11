"""How JSON, records and arrays travel from decoded lines to a Polars column; simple values stand in `ingest.columns`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from msgspec import UNSET, Raw, UnsetType

from gaelp_assets.catalog.model import Field
from gaelp_assets.ingest.decode.columns import (
    BlockScan,
    ColumnBuilder,
    DateColumn,
    Mask,
    MomentColumn,
    PackedColumn,
    ParsedColumn,
    Values,
    null_mask,
    with_stand_ins,
)
from gaelp_assets.ingest.decode.duplicate_keys import (
    ESCAPED_KEY_END,
    MAX_DEPTH,
    count_key_ends,
    key_ends,
    may_have_duplicates,
    too_deep,
)


def _buffer(values: npt.NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(memoryview(cast("Any", values)))


def _arrow(values: npt.NDArray[np.int64]) -> pa.Array[Any]:
    """The Arrow array over the same memory. `pyarrow.array` would import pandas first, which takes longer than a small file."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, _buffer(values)])


class JsonColumn(ColumnBuilder):
    """A JSON field: the bytes as sent. A piece is all bytes, the length of each value, and a mask of the NULLs."""

    nulls_are_values = False
    annotation = Raw

    def build(self, values: Values, scan: BlockScan) -> Any:  # noqa: D102 - declared in Column
        data, lengths = self._joined(values)
        nothing = lengths == 0
        if nothing.any():
            scan.keys -= values.count(UNSET)
        if not self.nulls_are_values:
            for i in np.flatnonzero(lengths == 4).tolist():
                nothing[i] = bytes(values[i]) == b"null"
        if self.field.required and nothing.any():
            scan.invalid_rows.update(np.flatnonzero(nothing).tolist())
        if b":" in data:
            self._look_for_duplicates(values, lengths, data, scan)
        for i in np.flatnonzero(lengths > 2 * MAX_DEPTH).tolist():
            if too_deep(bytes(values[i])):
                scan.suspects.add(i)
        return data, lengths, nothing

    @staticmethod
    def _joined(values: Values) -> tuple[bytes, npt.NDArray[np.int64]]:
        try:
            data = b"".join(values)
        except TypeError:
            values = [b"" if value is UNSET else value for value in values]
            data = b"".join(values)
        return data, np.fromiter(map(len, values), np.int64, len(values))

    @staticmethod
    def _look_for_duplicates(
        values: Values, lengths: npt.NDArray[np.int64], data: bytes, scan: BlockScan
    ) -> None:
        scan.free_keys += count_key_ends(data)
        if b"\\" in data:
            scan.free_escaped += data.count(ESCAPED_KEY_END)
        ends = key_ends(data, np.cumsum(lengths) - lengths)
        for i in np.flatnonzero(ends > 1).tolist():
            if may_have_duplicates(values[i], int(ends[i])):
                scan.suspects.add(i)

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64] | int:  # noqa: D102 - declared in Column
        data, lengths = self._joined(values)
        return key_ends(data, np.cumsum(lengths) - lengths)

    def assemble(self, pieces: Sequence[Any]) -> pl.Series:  # noqa: D102 - declared in Column
        data = b"".join([data for data, _, _ in pieces])
        lengths = np.concatenate([lengths for _, lengths, _ in pieces])
        nothing = np.concatenate([mask for _, _, mask in pieces])
        text = pa.LargeStringArray.from_buffers(len(lengths), _buffer(_offsets(lengths)), pa.py_buffer(data))
        series = cast("pl.Series", pl.from_arrow(text))
        return series.set(pl.Series(nothing), None) if nothing.any() else series


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


class RecordColumn(ColumnBuilder):
    """A RECORD: an object with declared keys. A piece is those of its fields, and a mask of the NULLs."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._struct = StructFields(field.fields, field.name)
        self.annotation = self._struct.type

    def build(self, values: Values, scan: BlockScan) -> Any:  # noqa: D102 - declared in Column
        scan.keys -= values.count(UNSET)
        rows, nothing = self._rows(values)
        inner = BlockScan()
        pieces = self._struct.build(rows, inner)
        scan.absorb(inner, lambda places: np.flatnonzero(~nothing)[places])
        return pieces, nothing

    @staticmethod
    def _rows(values: Values) -> tuple[Values, Mask]:
        nothing = null_mask(values)
        return [v for v in values if v is not None and v is not UNSET], nothing

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64] | int:  # noqa: D102 - declared in Column
        rows, nothing = self._rows(values)
        keys = np.zeros(len(values), np.int64)
        keys[~nothing] = self._struct.count_keys(rows)
        return keys

    def assemble(self, pieces: Sequence[Any]) -> pl.Series:  # noqa: D102 - declared in Column
        nothing = np.concatenate([mask for _, mask in pieces])
        fields = self._struct.assemble([inner for inner, _ in pieces])
        if not nothing.any():
            return fields.to_struct()
        # Positions of the present rows, NULL for the others.
        positions = pl.Series(np.cumsum(~nothing) - 1).set(pl.Series(nothing), None)
        records = fields.to_struct().gather(positions) if fields.height else None
        return pl.repeat(None, len(nothing), dtype=self.dtype, eager=True) if records is None else records


class ArrayColumn(ColumnBuilder):
    """A REPEATED field; no array, or null, is an empty array, as in BigQuery. A piece is the lengths, and that of the elements."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._element = make_column(field.model_copy(update={"mode": "REQUIRED"}))
        if isinstance(self._element, JsonColumn):
            self._element.nulls_are_values = True
        self.annotation = list.__class_getitem__(self._element.annotation)

    def build(self, values: Values, scan: BlockScan) -> Any:  # noqa: D102 - declared in Column
        try:
            lengths = np.fromiter(map(len, values), np.int64, len(values))
        except TypeError:
            values = with_stand_ins(values, (), scan)
            lengths = np.fromiter(map(len, values), np.int64, len(values))
        inner = BlockScan()
        piece = self._element.build(list(chain.from_iterable(values)), inner)
        scan.absorb(
            inner,
            lambda places: np.searchsorted(_offsets(lengths), places, side="right").astype(np.int64) - 1,
        )
        return lengths, piece

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64] | int:  # noqa: D102 - declared in Column
        arrays: list[Values] = [() if value is None or value is UNSET else value for value in values]
        keys = self._element.inner_keys(list(chain.from_iterable(arrays)))
        if isinstance(keys, int):
            return 0
        owners = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
        return np.bincount(owners, keys, minlength=len(arrays)).astype(np.int64)

    def assemble(self, pieces: Sequence[Any]) -> pl.Series:  # noqa: D102 - declared in Column
        offsets = _offsets(np.concatenate([lengths for lengths, _ in pieces]))
        elements = self._element.assemble([piece for _, piece in pieces]).to_arrow()
        arrays = pa.LargeListArray.from_arrays(cast("pa.Int64Array", _arrow(offsets)), elements)
        return cast("pl.Series", pl.from_arrow(arrays))


class StructFields:
    """The columns of an object with declared keys, and the msgspec struct that decodes it."""

    def __init__(self, fields: Sequence[Field], name: str) -> None:
        self.columns = [make_column(field) for field in fields]
        names = {f"field_{i}": field.name for i, field in enumerate(fields)}  # any name, keywords too
        self.type: Any = msgspec.defstruct(
            name,
            [
                (attribute, column.annotation)
                if column.field.required
                else (attribute, _optional(column.annotation), UNSET)
                for attribute, column in zip(names, self.columns, strict=True)
            ],
            rename=names,
            kw_only=True,
            forbid_unknown_fields=True,
            gc=False,
        )

    def _columns(self, rows: Values) -> Iterable[tuple[ColumnBuilder, Values]]:
        values = zip(*map(_as_tuple, rows), strict=True) if rows else [()] * len(self.columns)
        return zip(self.columns, values, strict=True)

    def build(self, rows: Values, scan: BlockScan) -> list[Any]:
        """A piece for each column; counts the keys that are there."""
        scan.keys += len(rows) * len(self.columns)
        return [column.build(values, scan) for column, values in self._columns(rows)]

    def count_keys(self, rows: Values) -> npt.NDArray[np.int64]:
        """How many key ends each row accounts for, those in its JSON fields included."""
        keys = np.zeros(len(rows), np.int64)
        for column, values in self._columns(rows):
            keys += (
                1
                if column.field.required
                else np.fromiter((v is not UNSET for v in values), np.int64, len(rows))
            )
            keys += column.inner_keys(values)
        return keys

    def assemble(self, blocks: Sequence[Sequence[Any]]) -> pl.DataFrame:
        """The frame of the pieces of blocks."""
        return pl.DataFrame(
            [
                column.assemble([block[i] for block in blocks]).alias(column.field.name)
                for i, column in enumerate(self.columns)
            ]
        )


_as_tuple: Final[Callable[[Any], tuple[Any, ...]]] = msgspec.structs.astuple


def _optional(annotation: Any) -> Any:
    return annotation | UnsetType if annotation is Raw else annotation | None | UnsetType


def make_column(field: Field) -> ColumnBuilder:
    """The column that suits the field."""
    if field.repeated:
        return ArrayColumn(field)
    kinds: dict[str, type[ColumnBuilder]] = {
        "RECORD": RecordColumn,
        "JSON": JsonColumn,
        "DATE": DateColumn,
        **dict.fromkeys(("TIMESTAMP", "DATETIME"), MomentColumn),
        **dict.fromkeys(("INTEGER", "FLOAT", "BOOLEAN"), PackedColumn),
        **dict.fromkeys(("TIME", "BYTES", "NUMERIC"), ParsedColumn),
    }
    return kinds.get(field.type, ColumnBuilder)(field)
