"""How the values of one field travel from decoded lines to a Polars column: one class for each form of simple value.

Records, arrays and JSON stand in `nested`; which values are good ones of a type, in `scalars`.

A `Column` belongs to the compiled relation: its `annotation` is what msgspec decodes, and its `writer` starts the column of one chunk. The
chunk's lines come in blocks; a `ColumnWriter` packs the values of each block into a piece while they are in the processor's cache, and
makes one series of all pieces. A value that does not fit its field gets a stand-in, and its place goes into the `BlockScan`, as does what
can be seen of the block only as a whole.
"""

from __future__ import annotations

import base64
import datetime as dt
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from msgspec import UNSET, Raw

from gaelp_assets.catalog.model import Field
from gaelp_assets.ingest.decode.scalars import SCALARS, parse_numeric
from gaelp_assets.validation.schema import polars_type

Values = Sequence[object]
"""What msgspec has decoded of one field, as its column's annotation says."""
Mask = npt.NDArray[np.bool_]
Piece = TypeVar("Piece")
Parsed = TypeVar("Parsed")
_EPOCH: Final = dt.date(1970, 1, 1).toordinal()
_FIRST_MICROSECOND: Final = -62_135_596_800_000_000  # 0001-01-01
_LAST_MICROSECOND: Final = 253_402_300_799_999_999  # of the year 9999
_EXACT_INTEGERS: Final = 2.0**53  # from here on, a double does not hold every integer
_KNOWN_DATES: Final = 100_000
_UNPACKABLE: Final = (struct.error, TypeError, KeyError)
_BITS: Final[Mapping[object, int]] = {False: 0, True: 1}
_PACKING: Final[Mapping[str, tuple[object, str]]] = {
    "INTEGER": (int, "q"),
    "FLOAT": (float, "d"),
    "BOOLEAN": (bool, "?"),
    "DATE": (str, "i"),
    "TIMESTAMP": (str, "q"),
    "DATETIME": (str, "q"),
}
"""What msgspec decodes of a type, and the code of the packed values, which means the same to `struct` and to NumPy."""


@dataclass
class BlockScan:
    """What packing the values of a block brings to light. Places are those of the values in the block.

    What the numbers of keys are for stands in `duplicate_keys`.
    """

    keys: int = 0
    """Keys of declared fields that are there, in the lines and in their records."""
    free_keys: int = 0
    """Key ends (a quote and a colon) inside the text of JSON fields, those in strings included."""
    free_escaped: int = 0
    """Those of `free_keys` whose quote is escaped: they stand in a string, and end no key."""
    invalid_rows: set[int] = field(default_factory=set)
    """Values that do not fit their field."""
    suspects: set[int] = field(default_factory=set)
    """Values that may have a key twice, or are nested too deeply."""
    large: set[int] = field(default_factory=set)
    """Floats so large that digits of an integer may be lost."""

    def absorb(
        self, inner: BlockScan, places: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
    ) -> None:
        """Adds what was found in nested values; `places` says which outer value each of them belongs to."""
        self.keys += inner.keys
        self.free_keys += inner.free_keys
        self.free_escaped += inner.free_escaped
        for outer, found in (
            (self.invalid_rows, inner.invalid_rows),
            (self.suspects, inner.suspects),
            (self.large, inner.large),
        ):
            if found:
                outer.update(places(np.fromiter(found, np.int64, len(found))).tolist())


class ColumnWriter(Protocol):
    """The column of one chunk, as far as it has been written."""

    def add(self, values: Values, scan: BlockScan) -> None:
        """Packs the values of the chunk's next block: None is NULL, UNSET is missing."""

    def finish(self) -> pl.Series:
        """All values as one series of the field's type; no block may follow."""


class Column(ABC):
    """A field of the relation. Belongs to one thread at a time: some columns remember values that they have parsed."""

    annotation: object = str

    def __init__(self, field: Field) -> None:
        self.field: Final = field
        self.dtype: Final = polars_type(field)

    @abstractmethod
    def writer(self) -> ColumnWriter:
        """Starts the column of a chunk."""

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64] | int:  # noqa: ARG002 - columns with objects in their values do
        """How many key ends lie inside each of the values."""
        return 0


class PiecewiseColumn(Column, Generic[Piece]):
    """A column whose blocks are packed one by one, each to a piece, and put together at the end."""

    @abstractmethod
    def build(self, values: Values, scan: BlockScan) -> Piece:
        """The piece of a block's values."""

    @abstractmethod
    def assemble(self, pieces: Sequence[Piece]) -> pl.Series:
        """One series of the pieces, of the field's type."""

    def writer(self) -> ColumnWriter:
        """Starts the column of a chunk."""
        return _PieceWriter(self)


class _PieceWriter(Generic[Piece]):
    def __init__(self, column: PiecewiseColumn[Piece]) -> None:
        self._column = column
        self._pieces: list[Piece] = []

    def add(self, values: Values, scan: BlockScan) -> None:
        self._pieces.append(self._column.build(values, scan))

    def finish(self) -> pl.Series:
        return self._column.assemble(self._pieces)


def _without_unset(values: Values, scan: BlockScan) -> Values:
    """The values with None for what is missing."""
    scan.keys -= values.count(UNSET)
    return [None if value is UNSET else value for value in values]


def _parsed(values: Values, scan: BlockScan, parse: Callable[[object], Parsed | None]) -> list[Parsed | None]:
    """Each value parsed; one for which `parse` raises ValueError does not fit."""
    parsed: list[Parsed | None] = []
    for place, value in enumerate(values):
        try:
            parsed.append(None if value is None else parse(value))
        except ValueError:
            scan.invalid_rows.add(place)
            parsed.append(None)
    return parsed


def null_mask(values: Values) -> Mask:
    """Which of the values are null or missing."""
    return np.frombuffer(bytes([value is None or value is UNSET for value in values]), np.bool_)


def with_stand_ins(values: Values, stand_in: object, scan: BlockScan) -> Values:
    """The values with a stand-in for those that are null or missing."""
    unset = values.count(UNSET)
    scan.keys -= unset
    if unset == len(values):
        return [stand_in] * unset
    return [stand_in if value is None or value is UNSET else value for value in values]


def _with_nulls(series: pl.Series, masks: Sequence[Mask | None], counts: Iterable[int]) -> pl.Series:
    if all(mask is None for mask in masks):
        return series
    nothing = [np.zeros(n, np.bool_) if mask is None else mask for mask, n in zip(masks, counts, strict=True)]
    return series.set(pl.Series(np.concatenate(nothing)), None)


class SeriesColumn(PiecewiseColumn[pl.Series]):
    """A column whose pieces are Polars series of the field's type."""

    def assemble(self, pieces: Sequence[pl.Series]) -> pl.Series:
        """See `PiecewiseColumn`."""
        series: pl.Series = pl.concat(pieces)
        return series


class TextColumn(SeriesColumn):
    """A STRING."""

    def build(self, values: Values, scan: BlockScan) -> pl.Series:
        """See `PiecewiseColumn`."""
        try:
            return pl.Series(values=values, dtype=pl.String)
        except ValueError:
            values = _without_unset(values, scan)
        try:
            return pl.Series(values=values, dtype=pl.String)
        except UnicodeEncodeError:  # half of a surrogate pair
            return pl.Series(values=_parsed(values, scan, _whole_text), dtype=pl.String)


def _whole_text(value: object) -> str:
    text = str(value)
    text.encode()  # raises UnicodeEncodeError, which is a ValueError, if half of a surrogate pair is left
    return text


class Packed(NamedTuple):
    """Values of one size each, packed as in a C array."""

    data: bytes
    nulls: Mask | None
    """Which of them are NULL, and have stand-ins in `data`; None if none is."""


class PackedColumn(PiecewiseColumn[Packed]):
    """An INTEGER, FLOAT or BOOLEAN."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self.annotation, self._code = _PACKING[field.type]
        self._numpy: Final = np.dtype(self._code)

    def build(self, values: Values, scan: BlockScan) -> Packed:
        """See `PiecewiseColumn`."""
        try:
            data = self._pack(values)
        except _UNPACKABLE:
            return self._build_others(values, scan)
        self._look_for_large(data, scan)
        return Packed(data, None)

    def _pack(self, values: Values) -> bytes:
        if self._code == "?":
            return bytes(map(_BITS.__getitem__, values))  # not `struct`, for which None is false
        return struct.pack(f"{len(values)}{self._code}", *values)

    def _build_others(self, values: Values, scan: BlockScan) -> Packed:
        nulls = None
        if not self.field.required:
            nulls = null_mask(values)
            values = with_stand_ins(values, 0, scan)
        try:
            data = self._pack(values)
        except struct.error:
            fits = [isinstance(value, int) and -(2**63) <= value < 2**63 for value in values]
            scan.invalid_rows.update(i for i, good in enumerate(fits) if not good)
            data = self._pack([v if good else 0 for v, good in zip(values, fits, strict=True)])
        self._look_for_large(data, scan)
        return Packed(data, nulls)

    def _look_for_large(self, packed: bytes, scan: BlockScan) -> None:
        if self._code != "d" or not packed:
            return
        numbers = np.frombuffer(packed, np.float64)
        if max(numbers.max(), -numbers.min()) >= _EXACT_INTEGERS:
            scan.large.update(np.flatnonzero(np.abs(numbers) >= _EXACT_INTEGERS).tolist())

    def assemble(self, pieces: Sequence[Packed]) -> pl.Series:
        """See `PiecewiseColumn`."""
        series = pl.Series(np.frombuffer(b"".join([data for data, _ in pieces]), self._numpy))
        counts = (len(data) // self._numpy.itemsize for data, _ in pieces)
        return _with_nulls(series.cast(self.dtype), [nulls for _, nulls in pieces], counts)


class DateColumn(PackedColumn):
    """A DATE: there are few, so each is parsed once."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._days: dict[object, int | None] = {}

    def build(self, values: Values, scan: BlockScan) -> Packed:
        """See `PiecewiseColumn`."""
        nulls = None
        try:
            days = [*map(self._days.__getitem__, values)]
        except KeyError:
            if not self.field.required:
                nulls = null_mask(values)
                values = with_stand_ins(values, "1970-01-01", scan)
            self._learn(set(values))
            days = [*map(self._days.__getitem__, values)]
        try:
            return Packed(self._pack(days), nulls)
        except struct.error:
            scan.invalid_rows.update(i for i, day in enumerate(days) if day is None)
            return Packed(self._pack([day or 0 for day in days]), nulls)

    def _learn(self, dates: set[object]) -> None:
        if len(self._days) > _KNOWN_DATES:
            self._days.clear()
        for date in dates:
            good = isinstance(date, str) and SCALARS["DATE"](date) is None
            self._days[date] = dt.date.fromisoformat(str(date)).toordinal() - _EPOCH if good else None


class MomentColumn(PackedColumn):
    """A TIMESTAMP or DATETIME: text that Arrow parses for the whole block, ten times faster than Polars."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._type = pa.timestamp("us", "UTC" if field.type == "TIMESTAMP" else None)
        self._stand_in = "1970-01-01T00:00:00" + ("Z" if field.type == "TIMESTAMP" else "")

    def build(self, values: Values, scan: BlockScan) -> Packed:
        """See `PiecewiseColumn`."""
        nulls: Mask | None = None
        if not self.field.required and (None in values or UNSET in values):
            nulls = null_mask(values)
            values = with_stand_ins(values, self._stand_in, scan)
        try:
            text = pl.Series(values=values, dtype=pl.String).to_arrow()
        except ValueError:  # half of a surrogate pair, say
            values = ["" if SCALARS[self.field.type](value) else value for value in values]
            text = pl.Series(values=values, dtype=pl.String).to_arrow()
        parts: list[bytes] = []
        self._parse(text, 0, parts, scan)
        return Packed(b"".join(parts), nulls)

    def _parse(
        self, text: pa.Array[pa.LargeStringScalar], start: int, parts: list[bytes], scan: BlockScan
    ) -> None:
        """Parses the whole, or its halves where Arrow refuses it, down to the single values that do not fit."""
        count = len(text)
        if not count:
            return
        try:
            data = text.cast(self._type).buffers()[1]
        except pa.ArrowException:
            if count == 1:
                scan.invalid_rows.add(start)
                parts.append(bytes(8))
                return
            half = count // 2
            self._parse(text[:half], start, parts, scan)
            self._parse(text[half:], start + half, parts, scan)
            return
        assert data is not None
        numbers = np.frombuffer(memoryview(data), np.int64, count)
        if numbers.min() < _FIRST_MICROSECOND or numbers.max() > _LAST_MICROSECOND:
            outside = (numbers < _FIRST_MICROSECOND) | (numbers > _LAST_MICROSECOND)
            scan.invalid_rows.update((np.flatnonzero(outside) + start).tolist())
            numbers = np.where(outside, 0, numbers)
        if self.field.type == "DATETIME":
            short = (len(str(value)) < len("2026-11-20T10") for value in text.to_pylist())
            scan.invalid_rows.update(start + i for i, is_date in enumerate(short) if is_date)
        parts.append(numbers.tobytes())


class ParsedColumn(SeriesColumn):
    """A field whose values Python parses one by one: TIME, BYTES and NUMERIC, of which there are few."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        parsers: dict[str, Callable[[object], dt.time | bytes | Decimal | None]] = {
            "TIME": _parse_time,
            "BYTES": _parse_bytes,
            "NUMERIC": _parse_raw_numeric,
        }
        self._parse = parsers[field.type]
        self.annotation = Raw if field.type == "NUMERIC" else str

    def build(self, values: Values, scan: BlockScan) -> pl.Series:
        """See `PiecewiseColumn`."""
        parsed = _parsed(_without_unset(values, scan), scan, self._parse)
        if self.field.required:
            scan.invalid_rows.update(place for place, value in enumerate(parsed) if value is None)
        return pl.Series(values=parsed, dtype=self.dtype, strict=True)


def _parse_time(value: object) -> dt.time:
    if not isinstance(value, str) or SCALARS["TIME"](value):
        raise ValueError("no time of day")
    return dt.time.fromisoformat(value)


def _parse_bytes(value: object) -> bytes:
    if not isinstance(value, str) or SCALARS["BYTES"](value):
        raise ValueError("no base64")
    return base64.b64decode(value)


def _parse_raw_numeric(value: object) -> Decimal | None:
    assert isinstance(value, Raw)
    text = bytes(value)
    if text == b"null":
        return None
    number = parse_numeric(msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode())
    if number is None:
        raise ValueError("no decimal number of that size")
    return number
