"""The wire format of Protocol Buffers, without their descriptions: numbers of fields and their bare values.

The reader of a message knows which number means what, and leaves out what it does not know, as the format intends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

Value = int | bytes
"""A number for VARINT (not negative: see `signed`); the bytes of all others, of FIXED64 and FIXED32 in little-endian order."""


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field of a message, in the order in which they stand.

    Raises:
        ValueError: it is no message: a field is cut off, or of a kind that is no longer written (groups).
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == BYTES:
            length, at = _varint(message, at)
            yield key >> 3, _piece(message, at, length)
            at += length
        elif kind == VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind in {FIXED64, FIXED32}:
            length = 8 if kind == FIXED64 else 4
            yield key >> 3, _piece(message, at, length)
            at += length
        else:
            raise ValueError(f"byte {at} of a message: wire type {kind}")


def signed(value: Value) -> int:
    """The number that an int32 or int64 field holds.

    >>> signed(2**64 - 5)
    -5

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int):
        raise ValueError("bytes in the place of a number")
    return value - 2**64 if value >= 2**63 else value


def text(value: Value) -> str:
    """The text that a string field holds.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, bytes):
        raise ValueError("a number in the place of a text")
    return value.decode()


def nested(value: Value) -> Iterator[tuple[int, Value]]:
    """The fields of a message within a message.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, bytes):
        raise ValueError("a number in the place of a message")
    return fields(value)


def _piece(message: bytes, at: int, length: int) -> bytes:
    piece = message[at : at + length]
    if len(piece) < length:
        raise ValueError(f"byte {at} of a message: {length} bytes announced, {len(piece)} there")
    return piece


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number of 7 bits a byte that starts there, of at most 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        try:
            byte = message[at]
        except IndexError:
            raise ValueError(f"byte {at} of a message: a number is cut off") from None
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError(f"byte {at} of a message: a number of more than 10 bytes")
