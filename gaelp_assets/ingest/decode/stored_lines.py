"""The lines of a chunk's rows as the file holds them, for sorting them into slices and for the dead letter.

How lines are read from a file stands in `ingest.read`; here is only how a chunk keeps them: as bytes objects where Python has split
the block, and as places in the block where the native library has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from gaelp_assets.ingest.decode.blocks import without
from gaelp_assets.ingest.read.lines import Block


class StoredLines(Sequence[bytes]):
    """Lines as stored, without their line ends."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> StoredLines: ...

    def __getitem__(self, index: int | slice) -> bytes | StoredLines:
        if isinstance(index, slice):
            return StoredLines(self._lines[index])
        return self._lines[index].rstrip(b"\r\n")

    def without(self, places: Sequence[int]) -> StoredLines:
        """The lines but for those at the places."""
        return StoredLines(without(self._lines, places))


class LinesInBlock(StoredLines):
    """Lines cut out of a block when they are asked for."""

    def __init__(self, block: Block, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> None:
        self._block = block
        self._starts = starts
        self._ends = ends

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> LinesInBlock: ...

    def __getitem__(self, index: int | slice) -> bytes | LinesInBlock:
        starts, ends = self._starts[index], self._ends[index]
        if isinstance(index, slice):
            return LinesInBlock(self._block, starts, ends)
        return bytes(self._block.buffer[int(starts) : int(ends)]).rstrip(b"\r\n")

    def without(self, places: Sequence[int]) -> LinesInBlock:
        """The lines but for those at the places."""
        return LinesInBlock(self._block, np.delete(self._starts, places), np.delete(self._ends, places))
