"""What the native decoder's faults mean: the same reasons as `reasons` finds in the whole line, found in its bad values alone.

A line is left to Python as a whole where one of its faults turns out to be none, or is not certain to be all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from gaelp_assets.ingest.decode.native import NativeFaults, NativeRelation
from gaelp_assets.ingest.decode.reasons import Explanation, Reason, ReasonFinder

Fault: TypeAlias = tuple[int, int, bytes]
"""The place of a field or -1, one of `What`, and the value, or the unknown key, as written."""

KEPT: Final = 10_000
LONGEST_KEPT: Final = 64
"""Bytes of values and keys of a line whose explanation is kept for the next line with the same."""


class What(IntEnum):
    """What is wrong at one place of a line; `Fault::What` of native/columns.hpp."""

    VALUE = 0
    NULL = 1
    ABSENT = 2
    TWICE = 3
    UNKNOWN = 4


@dataclass(frozen=True)
class Explained:
    """Lines that are no rows, and why."""

    explanations: Sequence[Explanation]
    """Without remainders: these are rows of `fine`."""
    lines: npt.NDArray[np.int64]
    """Which of the lines that were given each explanation is of; ascending."""
    fine: pl.DataFrame
    """For each of them, a row of what is fine in it."""
    left: Sequence[int]
    """The other lines, for Python to judge."""


class FaultReader:
    """Explains lines natively as far as that is certain.

    Args:
        native: decodes lines of the relation.
        reasons: finds the reasons of the relation.
    """

    def __init__(self, native: NativeRelation, reasons: ReasonFinder) -> None:
        self._native = native
        self._reasons = reasons
        self._kept = lru_cache(maxsize=KEPT)(self._explanation)

    def explain(self, lines: Sequence[bytes]) -> Explained:
        """Explains lines that the native decoder has refused, each with its line end (but for the last one of a file)."""
        data = b"".join(lines)
        found = self._native.explain(data)
        numbers = _numbers(lines, found)
        explanations: list[Explanation] = []
        rows: list[int] = []
        for row, faults in groupby(found.faults.T.tolist(), key=itemgetter(0)):
            key = tuple([(field, what, data[start:end]) for _, field, what, start, end in faults])
            # Bad lines of one producer are much alike; long ones are not kept.
            short = sum(len(text) for _, _, text in key) < LONGEST_KEPT
            explanation = (self._kept if short else self._explanation)(key)
            if explanation is not None:
                explanations.append(explanation)
                rows.append(row)
        explained = numbers[rows]
        left = sorted(set(range(len(lines))).difference(explained.tolist()))
        return Explained(explanations, explained, found.rows[rows], left)

    def _explanation(self, faults: tuple[Fault, ...]) -> Explanation | None:
        """The explanation of a line with these faults; None if one of them is none."""
        # Keys first, in their order, then fields in theirs: as whole lines are explained.
        ordered = sorted(faults, key=lambda fault: -1 if fault[1] >= What.TWICE else fault[0])
        reasons: dict[Reason, None] = {}
        for field, what, text in ordered:
            of_fault = self._reasons.of_fault(field, What(what).name, text)
            if not of_fault:
                return None
            reasons.update(dict.fromkeys(of_fault))
        arrays = self._reasons.arrays_among(field for field, _, _ in faults)
        return Explanation([*reasons], None, arrays)


def _numbers(lines: Sequence[bytes], found: NativeFaults) -> npt.NDArray[np.int64]:
    """Which of the lines each of the explained ones is: by where it starts, since a line may hold nothing but space."""
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
    numbers: npt.NDArray[np.int64] = np.searchsorted(ends, found.places[1], side="right")
    return numbers
