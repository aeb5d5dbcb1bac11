"""Logs of records in blocks of 32 KiB, as LevelDB has them and as W&B writes its `.wandb` files: bytes in, whole records out.

A record is cut into pieces where a block ends. Each piece has a checksum of 4 bytes, its length in 2, and a kind: whole, first, middle
or last. A block's last 6 bytes or fewer are zeros.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

BLOCK: Final = 32_768
_PIECE: Final = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class BrokenLogError(Exception):
    """The log is damaged or cut off: every record before was whole.

    Args:
        offset: byte of the file at which the record starts that cannot be read.
        what: what is wrong there, for a message.
    """

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(f"byte {offset}: {what}")
        self.offset = offset
        self.what = what


def records(file: BinaryIO, *, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """The records, each with the byte of the file at which it starts; the checksum is zlib's CRC-32 of kind and content.

    Args:
        file: opened for reading bytes.
        start: length of the header that stands before the first piece; it is a part of the first block.

    Raises:
        BrokenLogError: a checksum that does not fit, pieces in an impossible order, or an end within a record.
    """
    position = start
    begun: int | None = None
    pieces: list[bytes] = []
    file.seek(start)
    block = file.read(BLOCK - start % BLOCK)
    while block:
        following = file.read(BLOCK)
        at = 0
        while at < len(block):
            if len(block) - at < _PIECE.size:
                rest = block[at:]
                if following or (position + len(block)) % BLOCK == 0:
                    if rest.strip(b"\0"):
                        raise BrokenLogError(position + at, "a block ends with something other than zeros")
                    break
                raise BrokenLogError(_from(begun, position + at), "the file ends within a record")
            checksum, length, kind = _PIECE.unpack_from(block, at)
            content = block[at + _PIECE.size : at + _PIECE.size + length]
            here = position + at
            if len(content) < length:
                cut = not following
                raise BrokenLogError(
                    _from(begun, here),
                    "the file ends within a record" if cut else "a record is longer than its block",
                )
            if zlib.crc32(content, zlib.crc32(bytes([kind]))) != checksum:
                raise BrokenLogError(_from(begun, here), "the checksum of a record is wrong")
            if kind not in {_WHOLE, _FIRST, _MIDDLE, _LAST}:
                raise BrokenLogError(here, f"a record is of the unknown kind {kind}")
            if (kind in {_WHOLE, _FIRST}) != (begun is None):
                raise BrokenLogError(_from(begun, here), "the pieces of a record are in no possible order")
            pieces.append(content)
            if begun is None:
                begun = here
            if kind in {_WHOLE, _LAST}:
                yield begun, b"".join(pieces)
                begun = None
                pieces.clear()
            at += _PIECE.size + length
        position += len(block)
        block = following
    if begun is not None:
        raise BrokenLogError(begun, "the file ends within a record")


def _from(begun: int | None, here: int) -> int:
    """Where the record starts that a broken piece belongs to."""
    return here if begun is None else begun
