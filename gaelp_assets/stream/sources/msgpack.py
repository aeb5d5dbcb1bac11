"""MessagePack as values of JSON, exactly: what JSON cannot say, or a library would settle quietly, is refused. Pure.

The libraries keep the last of two equal keys, turn numbers that are keys into texts, and cut moments off at microseconds.
https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import base64
import datetime as dt
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import msgspec

DEPTH: Final = 64
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MOMENT: Final = -1
_NANOSECONDS: Final = 1_000_000_000


class UnreadableError(Exception):
    """A message says no row; the text tells why, and names no value of it."""


def unpack(data: bytes) -> object:
    """The value of a message: bytes as base64, a moment as RFC 3339 has it.

    Raises:
        UnreadableError: it is not one whole value, or says what JSON cannot.

    >>> unpack(bytes([0x82, 0xA1, 0x61, 0xCF, *[0xFF] * 8, 0xA1, 0x62, 0x92, 0xC3, 0xC0]))
    {'a': 18446744073709551615, 'b': [True, None]}
    """
    row = _plain_row(data)
    if row is not None:
        return row
    reader = _Reader(data)
    value = reader.value(DEPTH)
    if reader.at < len(data):
        raise UnreadableError("more than one value")
    return value


_Row = dict[str, bool | int | float | str | None]


@cache
def _plain_rows() -> msgspec.msgpack.Decoder[_Row]:
    return msgspec.msgpack.Decoder(_Row)


def _plain_row(data: bytes) -> _Row | None:
    """The row, where it is a flat one that msgspec can write again byte for byte, so that nothing was settled: a third of the cost."""
    try:
        row = _plain_rows().decode(data)
    except (msgspec.MsgspecError, ValueError):
        return None
    return row if msgspec.msgpack.encode(row) == data else None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        start, self.at = self.at, self.at + length
        if self.at > len(self.data):
            raise UnreadableError("it ends too early")
        return self.data[start : self.at]

    def number(self, form: struct.Struct) -> int:
        found: int = form.unpack(self.take(form.size))[0]
        return found

    def value(self, depth: int) -> object:
        if not depth:
            raise UnreadableError(f"more than {DEPTH} levels of nesting")
        [tag] = self.take(1)
        if tag <= 0x7F:
            return tag
        if tag <= 0x8F:
            return self.mapping(tag & 0x0F, depth)
        if tag <= 0x9F:
            return self.array(tag & 0x0F, depth)
        if tag <= 0xBF:
            return self.text(tag & 0x1F)
        if tag >= 0xE0:
            return tag - 0x100
        form = _FORMS.get(tag)
        if form is None:
            raise UnreadableError("a byte that is reserved")
        return form(self, depth)

    def mapping(self, length: int, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for _ in range(length):
            key = self.value(depth - 1)
            if not isinstance(key, str):
                raise UnreadableError("a key that is no text")
            if key in found:
                raise UnreadableError("a key that stands twice")
            found[key] = self.value(depth - 1)
        return found

    def array(self, length: int, depth: int) -> list[object]:
        return [self.value(depth - 1) for _ in range(length)]

    def text(self, length: int) -> str:
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise UnreadableError("a text that is not UTF-8") from None

    def extension(self, length: int) -> str:
        kind = self.number(_INT8)
        data = self.take(length)
        if kind != _MOMENT:
            raise UnreadableError("an extension type other than the timestamp")
        return _moment(data)


def _moment(data: bytes) -> str:
    match len(data):
        case 4:
            seconds, nanoseconds = int.from_bytes(data, "big"), 0
        case 8:
            both = int.from_bytes(data, "big")
            seconds, nanoseconds = both & (2**34 - 1), both >> 34
        case 12:
            nanoseconds, seconds = struct.unpack(">Iq", data)
        case _:
            raise UnreadableError("a timestamp of another length")
    try:
        text = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        nanoseconds = _NANOSECONDS
    if nanoseconds >= _NANOSECONDS:
        raise UnreadableError("a timestamp out of range")
    # All nine digits, where there are some: a reader of microseconds then refuses what it would cut off.
    digits = f"{nanoseconds:09d}"
    text = text.rjust(len("2026-01-01T00:00:00"), "0")
    return f"{text}.{digits.removesuffix('000')}Z" if nanoseconds else f"{text}Z"


def _of(code: str) -> struct.Struct:
    return struct.Struct(f">{code}")


_INT8: Final = _of("b")
_Form = Callable[[_Reader, int], object]


def _constant(value: object) -> _Form:
    return lambda _reader, _depth: value


def _number(code: str) -> _Form:
    form = _of(code)
    return lambda reader, _depth: reader.number(form)


def _text(code: str) -> _Form:
    form = _of(code)
    return lambda reader, _depth: reader.text(reader.number(form))


def _binary(code: str) -> _Form:
    form = _of(code)
    return lambda reader, _depth: base64.b64encode(reader.take(reader.number(form))).decode()


def _extension(code: str) -> _Form:
    form = _of(code)
    return lambda reader, _depth: reader.extension(reader.number(form))


def _fixed_extension(length: int) -> _Form:
    return lambda reader, _depth: reader.extension(length)


def _array(code: str) -> _Form:
    form = _of(code)
    return lambda reader, depth: reader.array(reader.number(form), depth)


def _mapping(code: str) -> _Form:
    form = _of(code)
    return lambda reader, depth: reader.mapping(reader.number(form), depth)


_FORMS: Final[Mapping[int, _Form]] = {
    0xC0: _constant(None), 0xC2: _constant(False), 0xC3: _constant(True),
    0xC4: _binary("B"), 0xC5: _binary("H"), 0xC6: _binary("I"),
    0xC7: _extension("B"), 0xC8: _extension("H"), 0xC9: _extension("I"),
    0xCA: _number("f"), 0xCB: _number("d"),
    0xCC: _number("B"), 0xCD: _number("H"), 0xCE: _number("I"), 0xCF: _number("Q"),
    0xD0: _number("b"), 0xD1: _number("h"), 0xD2: _number("i"), 0xD3: _number("q"),
    0xD4: _fixed_extension(1), 0xD5: _fixed_extension(2), 0xD6: _fixed_extension(4),
    0xD7: _fixed_extension(8), 0xD8: _fixed_extension(16),
    0xD9: _text("B"), 0xDA: _text("H"), 0xDB: _text("I"),
    0xDC: _array("H"), 0xDD: _array("I"), 0xDE: _mapping("H"), 0xDF: _mapping("I"),
}  # fmt: skip
"""By the first byte, what follows it; the bytes that hold their value, or a length, themselves are not among them."""
