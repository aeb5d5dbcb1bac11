"""How the values of one field travel from decoded lines to a Polars column: one class for each form of simple value.

Records, arrays and JSON stand in `nested`.

`annotation` is what msgspec decodes. `build` packs the values of a block into a piece while they are in the processor's cache, and
`assemble` makes one column of the pieces of many blocks. A value that does not fit gets a stand-in, and its place goes into the
`BlockScan`, as does what can be seen of the block only as a whole.
"""

from __future__ import annotations

import base64
import datetime as dt
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from msgspec import UNSET, Raw

from gaelp_assets.catalog.model import Field
from gaelp_assets.ingest.decode.scalars import SCALARS, parse_numeric
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
class BlockScan:
    """What building the pieces of a block brings to light. Places are those of the values in the block."""

    keys: int = 0
    """Keys in declared objects."""
    free_keys: int = 0
    """Ends of keys (a quote and a colon) in JSON fields, those in their strings included."""
    free_escaped: int = 0
    """Those of them whose quote is escaped."""
    invalid_rows: set[int] = field(default_factory=set)
    """Values that do not fit their field."""
    suspects: set[int] = field(default_factory=set)
    """Values that may have a key twice, or are nested too deeply."""
    large: set[int] = field(default_factory=set)
    """Floats so large that digits of an integer may be lost."""

    def absorb(
        self, inner: BlockScan, places: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
    ) -> None:
        """Adds the tally of nested values; `places` says which of the outer values each belongs to."""
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


def _without_unset(values: Values, scan: BlockScan) -> Values:
    """The values with None for what is missing."""
    scan.keys -= values.count(UNSET)
    return [None if value is UNSET else value for value in values]


def _parsed(values: Values, scan: BlockScan, parse: Callable[[Any], Any]) -> list[Any]:
    """Each value parsed; one for which `parse` raises ValueError does not fit."""
    parsed: list[Any] = []
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


def with_stand_ins(values: Values, stand_in: Any, scan: BlockScan) -> Values:
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


class ColumnBuilder:
    """A field of text; the others derive from it. A piece is a Polars series."""

    annotation: Any = str

    def __init__(self, field: Field) -> None:
        self.field = field
        self.dtype = polars_type(field)

    def build(self, values: Values, scan: BlockScan) -> Any:
        """The piece of the values: None is NULL, UNSET is missing."""
        try:
            return pl.Series(values=values, dtype=pl.String)
        except ValueError:
            values = _without_unset(values, scan)
        try:
            return pl.Series(values=values, dtype=pl.String)
        except UnicodeEncodeError:  # half of a surrogate pair
            return pl.Series(values=_parsed(values, scan, lambda v: v.encode() and v), dtype=pl.String)

    def assemble(self, pieces: Sequence[Any]) -> pl.Series:
        """One series of the pieces, of the field's type."""
        series: pl.Series = pl.concat(pieces)
        return series

    def inner_keys(self, values: Values) -> npt.NDArray[np.int64] | int:  # noqa: ARG002 - others use it
        """How many key ends lie inside each of the values."""
        return 0


class PackedColumn(ColumnBuilder):
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

    def build(self, values: Values, scan: BlockScan) -> Any:  # noqa: D102 - declared in Column
        try:
            packed = self._pack(values)
        except _UNPACKABLE:
            return self._build_others(values, scan)
        self._look_for_doubts(packed, scan)
        return packed, None

    def _pack(self, values: Values) -> bytes:
        if self.code == "?":
            return bytes(values)  # not `struct`, for which None is false
        return struct.pack(f"{len(values)}{self.code}", *values)

    def _build_others(self, values: Values, scan: BlockScan) -> Any:
        nothing = None
        if not self.field.required:
            nothing = null_mask(values)
            values = with_stand_ins(values, 0, scan)
        try:
            packed = self._pack(values)
        except struct.error:
            fits = [-(2**63) <= value < 2**63 for value in values]
            scan.invalid_rows.update(i for i, good in enumerate(fits) if not good)
            packed = self._pack([v if good else 0 for v, good in zip(values, fits, strict=True)])
        self._look_for_doubts(packed, scan)
        return packed, nothing

    def _look_for_doubts(self, packed: bytes, scan: BlockScan) -> None:
        if self.code != "d" or not packed:
            return
        numbers = np.frombuffer(packed, np.float64)
        if max(numbers.max(), -numbers.min()) >= _EXACT_INTEGERS:
            scan.large.update(np.flatnonzero(np.abs(numbers) >= _EXACT_INTEGERS).tolist())

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

    def build(self, values: Values, scan: BlockScan) -> Any:  # noqa: D102 - declared in Column
        nothing = None
        try:
            days = [*map(self._days.__getitem__, values)]
        except KeyError:
            if not self.field.required:
                nothing = null_mask(values)
                values = with_stand_ins(values, "1970-01-01", scan)
            self._learn(set(values))
            days = [*map(self._days.__getitem__, values)]
        try:
            return self._pack(days), nothing
        except struct.error:
            scan.invalid_rows.update(i for i, day in enumerate(days) if day is None)
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

    def build(self, values: Values, scan: BlockScan) -> Any:  # noqa: D102 - declared in Column
        nothing: Mask | None = None
        if not self.field.required and (None in values or UNSET in values):
            nothing = null_mask(values)
            values = with_stand_ins(values, self._stand_in, scan)
        try:
            text = pl.Series(values=values, dtype=pl.String).to_arrow()
        except ValueError:  # half of a surrogate pair, say
            values = ["" if SCALARS[self.field.type](value) else value for value in values]
            text = pl.Series(values=values, dtype=pl.String).to_arrow()
        parts: list[bytes] = []
        self._parse(text, 0, parts, scan)
        return b"".join(parts), nothing

    def _parse(self, text: pa.Array[Any], start: int, parts: list[bytes], scan: BlockScan) -> None:
        """Parses the whole, or its halves where Arrow refuses it, down to the single values that do not fit."""
        count = len(text)
        if not count:
            return
        try:
            numbers = np.frombuffer(cast("Any", text.cast(self._type).buffers()[1]), np.int64, count)
        except pa.ArrowException:
            if count == 1:
                scan.invalid_rows.add(start)
                parts.append(bytes(8))
                return
            half = count // 2
            self._parse(text[:half], start, parts, scan)
            self._parse(text[half:], start + half, parts, scan)
            return
        if numbers.min() < _FIRST_MICROSECOND or numbers.max() > _LAST_MICROSECOND:
            outside = (numbers < _FIRST_MICROSECOND) | (numbers > _LAST_MICROSECOND)
            scan.invalid_rows.update((np.flatnonzero(outside) + start).tolist())
            numbers = np.where(outside, 0, numbers)
        if self.field.type == "DATETIME":
            short = (len(cast("str", value)) < len("2026-11-20T10") for value in text.to_pylist())
            scan.invalid_rows.update(start + i for i, is_date in enumerate(short) if is_date)
        parts.append(numbers.tobytes())


class ParsedColumn(ColumnBuilder):
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

    def build(self, values: Values, scan: BlockScan) -> Any:  # noqa: D102 - declared in Column
        parsed = _parsed(_without_unset(values, scan), scan, self._parse)
        if self.field.required:
            scan.invalid_rows.update(place for place, value in enumerate(parsed) if value is None)
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
