"""How the values of one field travel from decoded lines to an Arrow array: one class for each form of field.

`annotation` is what msgspec decodes; `build` makes the array, and raises `UNFIT` where a value does not fit (the caller finds out which).
While building, a `Tally` collects what cannot be seen from the arrays: how many keys the values took, and doubts about the block.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from msgspec import UNSET, Raw, UnsetType

from gaelp_assets.catalog.model import Field
from gaelp_assets.ingest.explain import MAX_DEPTH, SCALARS, has_duplicate_keys, parse_numeric, too_deep
from gaelp_assets.validation.schema import arrow_type, polars_type

UNFIT: Final = (ValueError, OverflowError, TypeError, pa.ArrowException, pl.exceptions.PolarsError)
Values = Sequence[Any]
_FIRST_DAY: Final = -719_162  # 0001-01-01, in days from 1970-01-01
_MICROSECONDS: Final = 86_400_000_000
_LAST_MICROSECOND: Final = 253_402_300_799_999_999  # of the year 9999
_EXACT_INTEGERS: Final = 2.0**53  # from here on, a double does not hold every integer
ESCAPED_KEY: Final = b'\\":'


def _buffer(values: npt.NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(memoryview(cast("Any", values)))


def from_numpy(values: npt.NDArray[Any]) -> pa.Array[Any]:
    """The Arrow array over the same memory. `pyarrow.array` would import pandas first, which takes longer than a small file."""
    kind = pa.int64() if values.dtype == np.int64 else pa.float64()
    return pa.Array.from_buffers(kind, len(values), [None, _buffer(values)])


def from_mask(mask: npt.NDArray[np.bool_]) -> pa.Array[Any]:
    """The Arrow array of a mask."""
    return pl.Series(mask).to_arrow()


@dataclass
class Tally:
    """What building the arrays of a block brings to light."""

    keys: int = 0
    """Keys in declared objects."""
    free_keys: int = 0
    """Ends of keys (a quote and a colon) in JSON fields, those in their strings included."""
    free_escaped: int = 0
    """Those of them whose quote is escaped."""
    large_floats: bool = False
    duplicates: bool = False
    deep: bool = False


class Column:
    """A field with one value of a simple type."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.type = arrow_type(field)
        self._dtype = polars_type(field)

    @property
    def annotation(self) -> Any:
        """The Python type that msgspec decodes a value to."""
        return {"INTEGER": int, "FLOAT": float, "BOOLEAN": bool}.get(self.field.type, str)

    def build(self, values: Values, tally: Tally) -> pa.Array[Any]:  # noqa: ARG002 - others use it
        """The array of the values; None is NULL."""
        return pl.Series(values=values, dtype=self._dtype, strict=True).to_arrow()

    def build_flat(self, arrays: Values, count: int, tally: Tally) -> pa.Array[Any]:  # noqa: ARG002
        """The array of the `count` elements of Python lists."""
        return self.build(list(chain.from_iterable(arrays)), tally)


class NumberColumn(Column):
    """An INTEGER or a FLOAT."""

    def build(self, values: Values, tally: Tally) -> pa.Array[Any]:  # noqa: D102 - declared in Column
        if None in values:
            array = super().build(values, tally)
            self._look_for_doubts(
                np.frombuffer(cast("Any", array.buffers()[1]), self._numpy, len(array)), tally
            )
            return array
        return self._from_iterator(values, len(values), tally)

    def build_flat(self, arrays: Values, count: int, tally: Tally) -> pa.Array[Any]:  # noqa: D102 - declared in Column
        return self._from_iterator(chain.from_iterable(arrays), count, tally)

    @property
    def _numpy(self) -> Any:
        return np.int64 if self.field.type == "INTEGER" else np.float64

    def _from_iterator(self, values: Iterable[Any], count: int, tally: Tally) -> pa.Array[Any]:
        numbers = np.fromiter(values, self._numpy, count)
        self._look_for_doubts(numbers, tally)
        return from_numpy(numbers)

    def _look_for_doubts(self, numbers: npt.NDArray[Any], tally: Tally) -> None:
        if self.field.type == "FLOAT" and len(numbers):
            tally.large_floats |= bool(max(numbers.max(), -numbers.min()) >= _EXACT_INTEGERS)


class MomentColumn(Column):
    """A TIMESTAMP, DATETIME or DATE: text that Arrow parses for the whole block."""

    def build(self, values: Values, tally: Tally) -> pa.Array[Any]:  # noqa: ARG002, D102 - declared in Column
        distinct = set(values)
        if len(distinct) * 4 > len(values) or None in distinct:
            return self._parse(values)
        known = list(distinct)  # a block has few dates: each is parsed once
        numbers = dict(zip(known, self._numbers(self._parse(known)).tolist(), strict=True))
        again = np.fromiter(map(numbers.__getitem__, values), self._integer, len(values))
        return pa.Array.from_buffers(self.type, len(values), [None, _buffer(again)])

    @property
    def _integer(self) -> Any:
        return np.int32 if self.field.type == "DATE" else np.int64

    def _numbers(self, array: pa.Array[Any]) -> npt.NDArray[Any]:
        return cast(
            "npt.NDArray[Any]", np.frombuffer(cast("Any", array.buffers()[1]), self._integer, len(array))
        )

    def _parse(self, values: Values) -> pa.Array[Any]:
        if not values:
            return pl.Series(values=[], dtype=self._dtype).to_arrow()
        text = pl.Series(values=values, dtype=pl.String).to_arrow()
        array = text.cast(self.type)
        numbers = self._numbers(array)
        if self.field.type == "DATE":
            fits = numbers.min() >= _FIRST_DAY
        else:
            fits = numbers.min() >= _FIRST_DAY * _MICROSECONDS and numbers.max() <= _LAST_MICROSECOND
        if not fits:
            raise ValueError("outside the years 1 to 9999")
        if self.field.type == "DATETIME" and min(len(value or "2026-11-20T10") for value in values) < len(
            "2026-11-20T10"
        ):
            raise ValueError("a date without a time")
        return array


class ParsedColumn(Column):
    """A field whose values Python parses one by one: TIME, BYTES and NUMERIC, of which there are few."""

    @property
    def annotation(self) -> Any:  # noqa: D102 - declared in Column
        return Raw if self.field.type == "NUMERIC" else str

    def build(self, values: Values, tally: Tally) -> pa.Array[Any]:  # noqa: ARG002, D102 - declared in Column
        parsers: dict[str, Callable[[Any], Any]] = {
            "TIME": _parse_time,
            "BYTES": _parse_bytes,
            "NUMERIC": _parse_raw_numeric,
        }
        parse = parsers[self.field.type]
        parsed = [None if value is None else parse(value) for value in values]
        if self.field.required and None in parsed:
            raise ValueError("no value")
        return pl.Series(values=parsed, dtype=self._dtype, strict=True).to_arrow().cast(self.type)


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
    """A JSON field: the bytes as sent."""

    nulls_are_values = False

    @property
    def annotation(self) -> Any:  # noqa: D102 - declared in Column
        return Raw

    def build(self, values: Values, tally: Tally) -> pa.Array[Any]:  # noqa: D102 - declared in Column
        if None in values:
            values = [b"" if value is None else value for value in values]
        count = len(values)
        lengths = np.fromiter(map(len, values), np.int64, count)
        data = b"".join(values)
        null = lengths == 0
        if not self.nulls_are_values:
            for i in np.flatnonzero(lengths == 4).tolist():
                null[i] = bytes(values[i]) == b"null"
        if self.field.required and null.any():
            raise ValueError("no value")
        offsets = np.zeros(count + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        self._look_for_doubts(values, offsets, data, tally)
        validity = _buffer(np.packbits(~null, bitorder="little")) if null.any() else None
        return pa.LargeStringArray.from_buffers(count, _buffer(offsets), pa.py_buffer(data), validity)

    @staticmethod
    def _look_for_doubts(values: Values, offsets: npt.NDArray[np.int64], data: bytes, tally: Tally) -> None:
        ends, spaced = key_ends(data)
        tally.free_keys += len(ends)
        if b"\\" in data:
            tally.free_escaped += data.count(ESCAPED_KEY)
        if spaced:
            tally.duplicates = True
        elif len(ends) and not tally.duplicates:
            keys = np.bincount(np.searchsorted(offsets, ends, side="right") - 1, minlength=len(values))
            several = np.flatnonzero(keys > 1)
            tally.duplicates = any(
                may_have_duplicates(values[i], n)
                for i, n in zip(several.tolist(), keys[several].tolist(), strict=True)
            )
        if not tally.deep:
            long = np.flatnonzero(np.diff(offsets) > 2 * MAX_DEPTH)
            tally.deep = any(too_deep(bytes(values[i])) for i in long.tolist())


_SHALLOW: Final = msgspec.json.Decoder(dict[str, Raw])


def may_have_duplicates(value: Raw | bytes, keys: int) -> bool:
    """Whether an object in the value has a key twice; dear only where objects lie in objects, or a string holds a quote and a colon."""
    try:
        if len(_SHALLOW.decode(value)) == keys:
            return False
    except msgspec.ValidationError:
        pass  # an array of objects
    text = bytes(value)
    return too_deep(text) or has_duplicate_keys(text)


def key_ends(data: bytes) -> tuple[npt.NDArray[np.int64], bool]:
    """Where a quote is followed by a colon, and whether a colon anywhere follows a space (where a key may hide)."""
    text = np.frombuffer(data, np.uint8)
    colons = text[1:] == ord(":")
    ends = np.flatnonzero(colons & (text[:-1] == ord('"')))
    if b" " not in data and b"\t" not in data and b"\r" not in data:
        return ends, False
    return ends, bool((colons & (text[:-1] <= ord(" "))).any())


class RecordColumn(Column):
    """A RECORD: an object with declared keys."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self._struct = StructFields(field.fields, field.name)

    @property
    def annotation(self) -> Any:  # noqa: D102 - declared in Column
        return self._struct.type

    def build(self, values: Values, tally: Tally) -> pa.Array[Any]:  # noqa: D102 - declared in Column
        null = np.fromiter((value is None for value in values), np.bool_, len(values))
        rows = [value for value in values if value is not None]
        arrays = self._struct.build(rows, tally)
        if null.any():
            # Positions of the present rows, NULL for the others.
            positions = pl.Series(np.cumsum(~null) - 1).set(pl.Series(null), None).to_arrow()
            arrays = [array.take(positions) for array in arrays]
        return pa.StructArray.from_arrays(
            arrays, fields=[*cast("pa.StructType", self.type)], mask=from_mask(null)
        )


class ArrayColumn(Column):
    """A REPEATED field; no array, or null, is an empty array, as in BigQuery."""

    def __init__(self, field: Field, element: Column) -> None:
        super().__init__(field)
        self._element = element

    @property
    def annotation(self) -> Any:  # noqa: D102 - declared in Column
        return list.__class_getitem__(self._element.annotation)

    def build(self, values: Values, tally: Tally) -> pa.Array[Any]:  # noqa: D102 - declared in Column
        if None in values:
            values = [() if value is None else value for value in values]
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
        flat = self._element.build_flat(values, int(offsets[-1]), tally)
        return cast(
            "pa.Array[Any]", pa.LargeListArray.from_arrays(cast("pa.Int64Array", from_numpy(offsets)), flat)
        )


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

    def transpose(self, rows: Values, tally: Tally) -> list[Values]:
        """The rows' values by column, with None for what is missing; counts the keys that are there."""
        if not rows:
            return [()] * len(self.columns)
        result: list[Values] = []
        for column, values in zip(self.columns, zip(*map(_as_tuple, rows), strict=True), strict=True):
            tally.keys += len(values)
            if column.field.required or not (missing := values.count(UNSET)):
                result.append(values)
            else:
                tally.keys -= missing
                result.append([None if value is UNSET else value for value in values])
        return result

    def build(self, rows: Values, tally: Tally) -> list[pa.Array[Any]]:
        """An array for each column."""
        columns = self.transpose(rows, tally)
        return [column.build(values, tally) for column, values in zip(self.columns, columns, strict=True)]


_as_tuple: Final[Callable[[Any], tuple[Any, ...]]] = msgspec.structs.astuple


def _optional(annotation: Any) -> Any:
    return annotation | UnsetType if annotation is Raw else annotation | None | UnsetType


def make_column(field: Field) -> Column:
    """The column that suits the field."""
    if field.repeated:
        element = make_column(field.model_copy(update={"mode": "REQUIRED"}))
        if isinstance(element, JsonColumn):
            element.nulls_are_values = True
        return ArrayColumn(field, element)
    kinds: dict[str, type[Column]] = {
        "RECORD": RecordColumn,
        "JSON": JsonColumn,
        **dict.fromkeys(("TIMESTAMP", "DATETIME", "DATE"), MomentColumn),
        **dict.fromkeys(("INTEGER", "FLOAT"), NumberColumn),
        **dict.fromkeys(("TIME", "BYTES", "NUMERIC"), ParsedColumn),
    }
    return kinds.get(field.type, Column)(field)
