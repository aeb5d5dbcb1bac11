"""Blocks of lines -> a relation's columns, strictly: a line fits the relation as it stands, or is rejected.

msgspec decodes each line to a struct with declared types; the values are packed column by column. What is left to find afterwards
(duplicate keys, digits that a float lost, deep nesting) is looked for in the block as a whole, and in single lines
only where the block gives reason to. Lines that fail go to `ingest.decode.reasons`.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from gaelp_assets.catalog.model import Relation
from gaelp_assets.ingest.decode.columns import BlockScan
from gaelp_assets.ingest.decode.duplicate_keys import (
    ESCAPED_KEY_END,
    count_key_ends,
    has_duplicate_keys,
    has_spaced_colon,
    key_ends,
)
from gaelp_assets.ingest.decode.nested import StructFields
from gaelp_assets.ingest.decode.reasons import Explanation, Reason, ReasonFinder
from gaelp_assets.ingest.read.lines import MAX_LINE_BYTES, Block

DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)
UNTOLD: Final = Explanation(
    [Reason("", "undecodable", "expected a line that the decoder takes; no reason could be told")]
)
_LONG_INTEGER: Final = re.compile(rb"[0-9]{16}")  # 2^53 has 16 digits


@dataclass(frozen=True)
class DecodedBlock:
    """The lines of a block that msgspec takes, packed, and why lines of the block do not fit the relation."""

    pieces: list[Any]
    """The rows, for `BlockDecoder.frame`; those in `dropped` are among them."""
    lines: Sequence[bytes]
    """The line that each row came from."""
    indices: npt.NDArray[np.int64]
    """The line, by its place in the block, that each row came from; ascending."""
    dropped: list[int]
    """Rows, by their place among the rows, whose line is rejected."""
    rejects: list[tuple[int, Explanation]]
    """Lines, by their place in the block, ascending, and all their reasons as such."""


class BlockDecoder:
    """Decodes the lines of a relation. `judged`: the fields that rules look at."""

    def __init__(self, relation: Relation, checked_fields: Collection[str] = ()) -> None:
        self._fields = StructFields(relation.fields, relation.name)
        self._decode = msgspec.json.Decoder(self._fields.type).decode
        self._explainer = ReasonFinder(relation, checked_fields)

    def decode(self, block: Block) -> DecodedBlock:
        """The block's rows; every line is a row or a reject."""
        with no_collection():
            rows, indices, lines, refused = self._structs(block)
            scan = BlockScan()
            pieces = self._fields.build(rows, scan)
            suspects = self._suspects(block, rows, lines, scan)
            del rows
            rejects = {i: self.explain(block.lines[i]) or UNTOLD for i in refused}
            dropped = list(scan.invalid_rows)
            for row in scan.invalid_rows:
                rejects[indices[row]] = self.explain(block.lines[indices[row]]) or UNTOLD
            for row in suspects - scan.invalid_rows:
                if explanation := self.explain(block.lines[indices[row]]):
                    rejects[indices[row]] = explanation
                    dropped.append(row)
        in_order = sorted(rejects.items(), key=itemgetter(0))
        return DecodedBlock(pieces, lines, np.array(indices, np.int64), dropped, in_order)

    def frame(self, blocks: Sequence[DecodedBlock]) -> pl.DataFrame:
        """The rows of blocks as the relation's columns."""
        return self._fields.assemble([block.pieces for block in blocks])

    def explain(self, line: bytes) -> Explanation | None:
        """Why the line, as stored, is no row of the relation; None if it is one."""
        explanation = self._explainer.explain(line, unterminated=not line.endswith(b"\n"))
        return explanation if explanation.reasons else None

    def _structs(self, block: Block) -> tuple[list[Any], Sequence[int], Sequence[bytes], set[int]]:
        """The lines that msgspec takes: decoded, their places, and as they are; the places of the others."""
        lines: Sequence[bytes] = block.lines
        places: Sequence[int] = range(len(block))
        refused = _too_long(block)
        if refused:
            lines, places = without(lines, refused), without(places, refused)
        odd = _not_utf8(block.packed if not refused else b"".join(lines), lines)
        if odd:
            refused.update([places[i] for i in odd])
            lines, places = without(lines, odd), without(places, odd)
        rows: list[Any] = []
        skipped: list[int] = []
        stream = map(self._decode, lines)
        while len(rows) + len(skipped) < len(lines):
            try:
                rows.extend(stream)  # keeps what was decoded before a line that fails; goes on after it
            except DECODE_ERRORS:
                skipped.append(len(rows) + len(skipped))
        if skipped:
            refused.update([places[i] for i in skipped])
            lines, places = without(lines, skipped), without(places, skipped)
        return rows, places, lines, refused

    def _suspects(
        self, block: Block, rows: Sequence[Any], lines: Sequence[bytes], scan: BlockScan
    ) -> set[int]:
        """The rows that may still be wrong."""
        suspects = set(scan.suspects)
        suspects.update(row for row in scan.large if _LONG_INTEGER.search(lines[row]))
        data = block.packed if len(lines) == len(block) else b"".join(lines)
        spaced = has_spaced_colon(data)
        if spaced:  # a key may end where none is counted
            suspects.update(
                r for r, line in enumerate(lines) if has_spaced_colon(line) and has_duplicate_keys(line)
            )
        keys = count_key_ends(data)
        if keys != scan.keys + scan.free_keys and b"\\" in data:
            # An escaped quote ends no key that a relation declares.
            keys -= data.count(ESCAPED_KEY_END) - scan.free_escaped
        if spaced or keys != scan.keys + scan.free_keys:
            odd = self._odd_rows(rows, lines, data, scan)
            suspects.update(row for row in odd if has_duplicate_keys(lines[row]))
        return suspects

    def _odd_rows(
        self, rows: Sequence[Any], lines: Sequence[bytes], data: bytes, scan: BlockScan
    ) -> Sequence[int]:
        """The rows with more key ends in the line than its values account for; there are never fewer."""
        lengths = np.fromiter(map(len, lines), np.int64, len(lines))
        found = key_ends(data, np.cumsum(lengths) - lengths)
        usual = int(np.bincount(found).argmax())
        odd = np.flatnonzero(found != usual)
        expected = self._fields.count_keys([rows[i] for i in odd.tolist()])
        if usual * (len(rows) - len(odd)) + int(expected.sum()) == scan.keys + scan.free_keys:
            # What the usual rows account for in all is what was found in them, so each of them is fine.
            return cast("list[int]", odd[found[odd] != expected].tolist())
        return np.flatnonzero(found != self._fields.count_keys(rows)).tolist()


def without(values: Sequence[Any], places: Collection[int]) -> list[Any]:
    """The values but for those at the places."""
    if len(places) > len(values) // 64:
        excluded = set(places)
        return [value for place, value in enumerate(values) if place not in excluded]
    rest = list(values)  # where they are few, it is cheaper to take them out
    for place in sorted(places, reverse=True):
        del rest[place]
    return rest


def _too_long(block: Block) -> set[int]:
    """The places of the lines that are too long to be decoded in bounded memory."""
    if len(block.packed) <= MAX_LINE_BYTES:
        return set()
    return {i for i, line in enumerate(block.lines) if len(line) > MAX_LINE_BYTES}


def _not_utf8(data: bytes, lines: Sequence[bytes]) -> set[int]:
    """The places of the lines that are not UTF-8; msgspec looks at strings only."""
    if data.isascii():
        return set()
    found: set[int] = set()
    start, ends = 0, np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
    while True:
        try:
            str(memoryview(data)[start:], "utf-8")
        except UnicodeDecodeError as error:
            line = int(np.searchsorted(ends, start + error.start, side="right"))
            found.add(line)
            start = int(ends[line])
        else:
            return found


@contextmanager
def no_collection() -> Iterator[None]:
    """Decoding and explaining make many objects and no cycles: the garbage collector would look through them in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
