"""How the values of one field travel from decoded lines to a Polars column: one class for each form of field.

`annotation` is what msgspec decodes. `build` packs the values of a block into a piece while they are in the processor's cache, and
`assemble` makes one column of the pieces of many blocks. A value that does not fit gets a stand-in, and its place goes into the `Tally`, as
does what can be seen of the block only as a whole.
"""

from __future__ import annotations

import base64
import datetime as dt
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from msgspec import UNSET, Raw, UnsetType

from gaelp_assets.catalog.model import Field
from gaelp_assets.ingest.doubts import (
    ESCAPED_KEY_END,
    MAX_DEPTH,
    count_key_ends,
    has_spaced_colon,
    key_ends,
    may_have_duplicates,
    too_deep,
)
from gaelp_assets.ingest.explain import SCALARS, parse_numeric
from gaelp_assets.validation.schema import polars_type

Values = Sequence[Any]
Mask = npt.NDArray[np.bool_]
_EPOCH: Final = dt.date(1970, 1, 1).toordinal()
_FIRST_MICROSECOND: Final = -62_135_596_800_000_000  # 0001-01-01
_LAST_MICROSECOND: Final = 253_402_300_799_999_999  # of the year 9999
_EXACT_INTEGERS: Final = 2.0**53  # from here on, a double does not hold every integer
_KNOWN_DATES: Final = 100_000
_UNPACKABLE: Final = (struct.error, TypeError)


@dataclass
class Tally:
    """What building the pieces of a block brings to light. Places are those of the values in the block."""

    keys: int = 0
    """Keys in declared objects."""
    free_keys: int = 0
    """Ends of keys (a quote and a colon) in JSON fields, those in their strings included."""
    free_escaped: int = 0
    """Those of them whose quote is escaped."""
    unfit: set[int] = field(default_factory=set)
    """Values that do not fit their field."""
    doubtful: set[int] = field(default_factory=set)
    """Values that may have a key twice, or are nested too deeply."""
    large: set[int] = field(default_factory=set)
    """Floats so large that digits of an integer may be lost."""

    def absorb(self, inner: Tally, places: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]) -> None:
        """Adds the tally of nested values; `places` says which of the outer values each belongs to."""
        self.keys += inner.keys
        self.free_keys += inner.free_keys
        self.free_escaped += inner.free_escaped
        for outer, found in (
            (self.unfit, inner.unfit),
            (self.doubtful, inner.doubtful),
            (self.large, inner.large),
        ):
            if found:
                outer.update(places(np.fromiter(found, np.int64, len(found))).tolist())


def _present(values: Values, stand_in: Any, tally: Tally) -> tuple[Values, Mask]:
    """The values with a stand-in for those that are null or missing, and a mask of the latter."""
    tally.keys -= values.count(UNSET)
    nothing = np.fromiter((v is None or v is UNSET for v in values), np.bool_, len(values))
    return [stand_in if v is None or v is UNSET else v for v in values], nothing


def _with_nulls(series: pl.Series, masks: Sequence[Mask | None], counts: Iterable[int]) -> pl.Series:
    if all(mask is None for mask in masks):
        return series
    nothing = [np.zeros(n, np.bool_) if mask is None else mask for mask, n in zip(masks, counts, strict=True)]
    return series.set(pl.Series(np.concatenate(nothing)), None)


def _arrow(values: npt.NDArray[np.int64]) -> pa.Array[Any]:
    """The Arrow array over the same memory. `pyarrow.array` would import pandas first, which takes longer than a small file."""
    return pa.Array.from_buffers(
        pa.int64(), len(values), [None, pa.py_buffer(memoryview(cast("Any", values)))]
    )


class Column:
    """A field of text; the others derive from it. A piece is a Polars series."""

    annotation: Any = str

    def __init__(self, field: Field) -> None:
        self.field = field
        self.dtype = polars_type(field)

    def build(self, values: Values, tally: Tally) -> Any:
        """The piece of the values: None is NULL, UNSET is missing."""
        try:
            return pl.Series(values=values, dtype=pl.String)
        except (ValueError, TypeError):
            pass
        parsed = self._parsed(values, tally, lambda value: value.encode() and value)
        return pl.Series(values=parsed, dtype=pl.String)

    def _parsed(self, values: Values, tally: Tally, parse: Callable[[Any], Any]) -> list[Any]:
        """Each value parsed; one for which `parse` raises ValueError does not fit."""
        parsed: list[Any] = []
        for place, value in enumerate(values):
            try:
                parsed.append(None if value is None or value is UNSET else parse(value))
            except ValueError:
                tally.unfit.add(place)
                parsed.append(None)
        tally.keys -= values.count(UNSET)
        return parsed

    def assemble(self, pieces: Sequence[Any]) -> pl.Series:
        """One series of the pieces, of the field's type."""
        return pl.concat(pieces)

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64] | int:  # noqa: ARG002 - others use it
        """How many key ends lie inside each of the values."""
        return 0


class PackedColumn(Column):
    """An INTEGER, FLOAT or BOOLEAN. A piece is the packed values, and a mask of the NULLs among them or None."""

    numpy: Any
    code: str

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        kinds: dict[str, tuple[Any, Any, str]] = {
            "INTEGER": (int, np.int64, "q"),
            "FLOAT": (float, np.float64, "d"),
            "BOOLEAN": (bool, np.bool_, "?"),
            "DATE": (str, np.int32, "i"),
            "TIMESTAMP": (str, np.int64, "q"),
            "DATETIME": (str, np.int64, "q"),
        }
        self.annotation, self.numpy, self.code = kinds[field.type]

    def build(self, values: Values, tally: Tally) -> Any:  # noqa: D102 - declared in Column
        try:
            packed = self._pack(values)
        except _UNPACKABLE:
            return self._build_others(values, tally)
        self._look_for_doubts(packed, tally)
        return packed, None

    def _pack(self, values: Values) -> bytes:
        if self.code == "?":
            return bytes(values)  # not `struct`, for which None is false
        return struct.pack(f"{len(values)}{self.code}", *values)

    def _build_others(self, values: Values, tally: Tally) -> Any:
        values, nothing = _present(values, 0, tally)
        try:
            packed = self._pack(values)
        except struct.error:
            fits = [-(2**63) <= value < 2**63 for value in values]
            tally.unfit.update(i for i, good in enumerate(fits) if not good)
            packed = self._pack([v if good else 0 for v, good in zip(values, fits, strict=True)])
        self._look_for_doubts(packed, tally)
        return packed, nothing

    def _look_for_doubts(self, packed: bytes, tally: Tally) -> None:
        if self.code != "d" or not packed:
            return
        numbers = np.frombuffer(packed, np.float64)
        if max(numbers.max(), -numbers.min()) >= _EXACT_INTEGERS:
            tally.large.update(np.flatnonzero(np.abs(numbers) >= _EXACT_INTEGERS).tolist())

    def assemble(self, pieces: Sequence[Any]) -> pl.Series:  # noqa: D102 - declared in Column
        series = pl.Series(np.frombuffer(b"".join([packed for packed, _ in pieces]), self.numpy))
        size = np.dtype(self.numpy).itemsize
        counts = (len(packed) // size for packed, _ in pieces)
        return _with_nulls(series.cast(self.dtype), [mask for _, mask in pieces], counts)


class DateColumn(PackedColumn):
    """A DATE: there are few, so each is parsed once."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._days: dict[Any, int | None] = {}

    def build(self, values: Values, tally: Tally) -> Any:  # noqa: D102 - declared in Column
        try:
            return self._pack([*map(self._days.__getitem__, values)]), None
        except (KeyError, struct.error):
            pass
        values, nothing = _present(values, "1970-01-01", tally)
        self._learn(set(values))
        days = [*map(self._days.__getitem__, values)]
        tally.unfit.update(i for i, day in enumerate(days) if day is None)
        return self._pack([day or 0 for day in days]), nothing

    def _learn(self, dates: set[str]) -> None:
        if len(self._days) > _KNOWN_DATES:
            self._days.clear()
        for date in dates:
            good = SCALARS["DATE"](date) is None
            self._days[date] = dt.date.fromisoformat(date).toordinal() - _EPOCH if good else None


class MomentColumn(PackedColumn):
    """A TIMESTAMP or DATETIME: text that Arrow parses for the whole block, ten times faster than Polars."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._type = pa.timestamp("us", "UTC" if field.type == "TIMESTAMP" else None)
        self._stand_in = "1970-01-01T00:00:00" + ("Z" if field.type == "TIMESTAMP" else "")

    def build(self, values: Values, tally: Tally) -> Any:  # noqa: D102 - declared in Column
        nothing: Mask | None = None
        if None in values or UNSET in values:
            values, nothing = _present(values, self._stand_in, tally)
        try:
            text = pl.Series(values=values, dtype=pl.String).to_arrow()
        except ValueError:  # half of a surrogate pair, say
            values = ["" if SCALARS[self.field.type](value) else value for value in values]
            text = pl.Series(values=values, dtype=pl.String).to_arrow()
        parts: list[bytes] = []
        self._parse(text, 0, parts, tally)
        return b"".join(parts), nothing

    def _parse(self, text: pa.Array[Any], start: int, parts: list[bytes], tally: Tally) -> None:
        """Parses the whole, or its halves where Arrow refuses it, down to the single values that do not fit."""
        count = len(text)
        if not count:
            return
        try:
            numbers = np.frombuffer(cast("Any", text.cast(self._type).buffers()[1]), np.int64, count)
        except pa.ArrowException:
            if count == 1:
                tally.unfit.add(start)
                parts.append(bytes(8))
                return
            half = count // 2
            self._parse(text[:half], start, parts, tally)
            self._parse(text[half:], start + half, parts, tally)
            return
        if numbers.min() < _FIRST_MICROSECOND or numbers.max() > _LAST_MICROSECOND:
            outside = (numbers < _FIRST_MICROSECOND) | (numbers > _LAST_MICROSECOND)
            tally.unfit.update((np.flatnonzero(outside) + start).tolist())
            numbers = np.where(outside, 0, numbers)
        if self.field.type == "DATETIME":
            values = text.to_pylist()
            tally.unfit.update(start + i for i, v in enumerate(values) if len(v) < len("2026-11-20T10"))
        parts.append(numbers.tobytes())


class ParsedColumn(Column):
    """A field whose values Python parses one by one: TIME, BYTES and NUMERIC, of which there are few. A piece is a Polars series."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        parsers: dict[str, Callable[[Any], Any]] = {
            "TIME": _parse_time,
            "BYTES": _parse_bytes,
            "NUMERIC": _parse_raw_numeric,
        }
        self._parse = parsers[field.type]
        self.annotation = Raw if field.type == "NUMERIC" else str

    def build(self, values: Values, tally: Tally) -> Any:  # noqa: D102 - declared in Column
        parsed = self._parsed(values, tally, self._parse)
        if self.field.required:
            tally.unfit.update(place for place, value in enumerate(parsed) if value is None)
        return pl.Series(values=parsed, dtype=self.dtype, strict=True)


def _parse_time(value: str) -> dt.time:
    if SCALARS["TIME"](value):
        raise ValueError("no time of day")
    return dt.time.fromisoformat(value)


def _parse_bytes(value: str) -> bytes:
    if SCALARS["BYTES"](value):
        raise ValueError("no base64")
    return base64.b64decode(value)


def _parse_raw_numeric(value: Raw) -> Any:
    text = bytes(value)
    if text == b"null":
        return None
    number = parse_numeric(msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode())
    if number is None:
        raise ValueError("no decimal number of that size")
    return number


class JsonColumn(Column):
    """A JSON field: the bytes as sent. A piece is all bytes, the length of each value, and a mask of the NULLs."""

    nulls_are_values = False
    annotation = Raw

    def build(self, values: Values, tally: Tally) -> Any:  # noqa: D102 - declared in Column
        data, lengths = self._joined(values)
        nothing = lengths == 0
        if nothing.any():
            tally.keys -= values.count(UNSET)
        if not self.nulls_are_values:
            for i in np.flatnonzero(lengths == 4).tolist():
                nothing[i] = bytes(values[i]) == b"null"
        if self.field.required and nothing.any():
            tally.unfit.update(np.flatnonzero(nothing).tolist())
        if b":" in data:
            self._look_for_duplicates(values, lengths, data, tally)
        for i in np.flatnonzero(lengths > 2 * MAX_DEPTH).tolist():
            if too_deep(bytes(values[i])):
                tally.doubtful.add(i)
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
        values: Values, lengths: npt.NDArray[np.int64], data: bytes, tally: Tally
    ) -> None:
        tally.free_keys += count_key_ends(data)
        if b"\\" in data:
            tally.free_escaped += data.count(ESCAPED_KEY_END)
        ends = key_ends(data, np.cumsum(lengths) - lengths)
        for i in np.flatnonzero((ends > 1) | has_spaced_colon(data)).tolist():
            if values[i] is not UNSET and may_have_duplicates(values[i], int(ends[i])):
                tally.doubtful.add(i)

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64] | int:  # noqa: D102 - declared in Column
        data, lengths = self._joined(values)
        return key_ends(data, np.cumsum(lengths) - lengths)

    def assemble(self, pieces: Sequence[Any]) -> pl.Series:  # noqa: D102 - declared in Column
        data = b"".join([data for data, _, _ in pieces])
        lengths = np.concatenate([lengths for _, lengths, _ in pieces])
        nothing = np.concatenate([mask for _, _, mask in pieces])
        text = pa.LargeStringArray.from_buffers(
            len(lengths), _arrow(_offsets(lengths)).buffers()[1], pa.py_buffer(data)
        )
        series = cast("pl.Series", pl.from_arrow(text))
        return series.set(pl.Series(nothing), None) if nothing.any() else series


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


class RecordColumn(Column):
    """A RECORD: an object with declared keys. A piece is those of its fields, and a mask of the NULLs."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._struct = StructFields(field.fields, field.name)
        self.annotation = self._struct.type

    def build(self, values: Values, tally: Tally) -> Any:  # noqa: D102 - declared in Column
        tally.keys -= values.count(UNSET)
        rows, nothing = self._rows(values)
        inner = Tally()
        pieces = self._struct.build(rows, inner)
        tally.absorb(inner, lambda places: np.flatnonzero(~nothing)[places])
        return pieces, nothing

    @staticmethod
    def _rows(values: Values) -> tuple[Values, Mask]:
        nothing = np.fromiter((v is None or v is UNSET for v in values), np.bool_, len(values))
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


class ArrayColumn(Column):
    """A REPEATED field; no array, or null, is an empty array, as in BigQuery. A piece is the lengths, and that of the elements."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._element = make_column(field.model_copy(update={"mode": "REQUIRED"}))
        if isinstance(self._element, JsonColumn):
            self._element.nulls_are_values = True
        self.annotation = list.__class_getitem__(self._element.annotation)

    def build(self, values: Values, tally: Tally) -> Any:  # noqa: D102 - declared in Column
        try:
            lengths = np.fromiter(map(len, values), np.int64, len(values))
        except TypeError:
            values, _ = _present(values, (), tally)
            lengths = np.fromiter(map(len, values), np.int64, len(values))
        inner = Tally()
        piece = self._element.build(list(chain.from_iterable(values)), inner)
        tally.absorb(
            inner, lambda places: np.searchsorted(_offsets(lengths), places, side="right").astype(np.int64) - 1
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

    def _columns(self, rows: Values) -> Iterable[tuple[Column, Values]]:
        values = zip(*map(_as_tuple, rows), strict=True) if rows else [()] * len(self.columns)
        return zip(self.columns, values, strict=True)

    def build(self, rows: Values, tally: Tally) -> list[Any]:
        """A piece for each column; counts the keys that are there."""
        tally.keys += len(rows) * len(self.columns)
        return [column.build(values, tally) for column, values in self._columns(rows)]

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


def make_column(field: Field) -> Column:
    """The column that suits the field."""
    if field.repeated:
        return ArrayColumn(field)
    kinds: dict[str, type[Column]] = {
        "RECORD": RecordColumn,
        "JSON": JsonColumn,
        "DATE": DateColumn,
        **dict.fromkeys(("TIMESTAMP", "DATETIME"), MomentColumn),
        **dict.fromkeys(("INTEGER", "FLOAT", "BOOLEAN"), PackedColumn),
        **dict.fromkeys(("TIME", "BYTES", "NUMERIC"), ParsedColumn),
    }
    return kinds.get(field.type, Column)(field)
