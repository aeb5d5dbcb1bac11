"""Blocks of lines -> a relation's columns, strictly: a line fits the relation as it stands, or is rejected.

msgspec decodes each line to a struct with declared types; the values are packed column by column. What is left to find afterwards
(duplicate keys, digits that a float lost, deep nesting) is looked for in the block as a whole, and in single lines
only where the block gives reason to. Lines that fail go to `reasons`. How blocks become a chunk stands in `chunks`.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from gaelp_assets.catalog.model import Relation
from gaelp_assets.ingest.decode.columns import BlockScan
from gaelp_assets.ingest.decode.duplicate_keys import (
    ESCAPED_KEY_END,
    count_key_ends,
    has_duplicate_keys,
    has_spaced_colon,
    key_ends,
)
from gaelp_assets.ingest.decode.nested import StructFields, StructWriter
from gaelp_assets.ingest.decode.reasons import Explanation, Reason, ReasonFinder
from gaelp_assets.ingest.read.lines import MAX_LINE_BYTES, Block

DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)
UNEXPLAINED: Final = Explanation(
    [Reason("", "undecodable", "expected a line that the decoder takes; no reason could be told")]
)
Item = TypeVar("Item")
_LONG_INTEGER: Final = re.compile(rb"[0-9]{16}")  # 2^53 has 16 digits


@dataclass(frozen=True)
class DecodedBlock:
    """Which lines of a block have become rows, and why the others do not fit the relation."""

    lines: Sequence[bytes]
    """The line that each row came from."""
    indices: npt.NDArray[np.int64]
    """The line, by its place in the block, that each row came from; ascending."""
    dropped: list[int]
    """Rows, by their place among the rows, whose line is rejected."""
    rejects: list[tuple[int, Explanation]]
    """Lines, by their place in the block, ascending, and all their reasons as such."""


class BlockDecoder:
    """Decodes the lines of a relation. Belongs to one thread at a time, but for `explain`.

    Args:
        relation: what the lines are rows of.
        checked_fields: names of the fields that rules look at, of which rejected lines keep what is fine.
    """

    def __init__(self, relation: Relation, checked_fields: Collection[str] = ()) -> None:
        self._fields = StructFields(relation.fields, relation.name)
        self._decode = msgspec.json.Decoder(self._fields.type).decode
        self.reasons = ReasonFinder(relation, checked_fields)

    def writer(self) -> StructWriter:
        """Starts the rows of a chunk, which `decode` adds to."""
        return self._fields.writer()

    def decode(self, block: Block, chunk: StructWriter) -> DecodedBlock:
        """Adds the block's rows to the chunk. Every line that msgspec takes becomes a row there, also one that is rejected (`dropped`)."""
        with no_collection():
            rows, indices, lines, refused = self._structs(block)
            scan = BlockScan()
            chunk.add(rows, scan)
            suspects = self._suspects(block, rows, lines, scan)
            del rows
            rejects = {i: self.explain(block.lines[i]) or UNEXPLAINED for i in refused}
            dropped = list(scan.invalid_rows)
            for row in scan.invalid_rows:
                rejects[indices[row]] = self.explain(block.lines[indices[row]]) or UNEXPLAINED
            for row in suspects - scan.invalid_rows:
                if explanation := self.explain(block.lines[indices[row]]):
                    rejects[indices[row]] = explanation
                    dropped.append(row)
        in_order = sorted(rejects.items(), key=itemgetter(0))
        return DecodedBlock(lines, np.array(indices, np.int64), dropped, in_order)

    def explain(self, line: bytes) -> Explanation | None:
        """Why the line, as stored, is no row of the relation; None if it is one."""
        explanation = self.reasons.explain(line, unterminated=not line.endswith(b"\n"))
        return explanation if explanation.reasons else None

    def _structs(self, block: Block) -> tuple[list[msgspec.Struct], Sequence[int], Sequence[bytes], set[int]]:
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
        rows: list[msgspec.Struct] = []
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
        self, block: Block, rows: Sequence[msgspec.Struct], lines: Sequence[bytes], scan: BlockScan
    ) -> set[int]:
        """The rows whose line may still be wrong although its values fit: `ReasonFinder` decides. See `duplicate_keys`."""
        suspects = set(scan.suspects)
        suspects.update(row for row in scan.large if _LONG_INTEGER.search(lines[row]))
        data = block.packed if len(lines) == len(block) else b"".join(lines)
        spaced = has_spaced_colon(data)
        if spaced:  # a key whose colon follows a space is not counted below
            suspects.update(
                r for r, line in enumerate(lines) if has_spaced_colon(line) and has_duplicate_keys(line)
            )
        keys = count_key_ends(data)
        if keys != scan.keys + scan.free_keys and b"\\" in data:
            # An escaped quote ends no key, but stands in a string; those in JSON fields are counted on both sides.
            keys -= data.count(ESCAPED_KEY_END) - scan.free_escaped
        if spaced or keys != scan.keys + scan.free_keys:
            odd = self._odd_rows(rows, lines, data, scan)
            suspects.update(row for row in odd.tolist() if has_duplicate_keys(lines[row]))
        return suspects

    def _odd_rows(
        self, rows: Sequence[msgspec.Struct], lines: Sequence[bytes], data: bytes, scan: BlockScan
    ) -> npt.NDArray[np.int64]:
        """The rows whose line has more key ends than its values account for. (There are never fewer.)

        Most lines of a block have the same number of key ends. Counting what values account for is slow, so it is done for the other rows
        first: if the sum of both is what the whole block's values account for, none of the rows with the usual number is odd.
        """
        lengths = np.fromiter(map(len, lines), np.int64, len(lines))
        found = key_ends(data, np.cumsum(lengths) - lengths)
        usual = int(np.bincount(found).argmax())
        odd = np.flatnonzero(found != usual)
        expected = self._fields.count_keys([rows[i] for i in odd.tolist()])
        if usual * (len(rows) - len(odd)) + int(expected.sum()) == scan.keys + scan.free_keys:
            odd_ones: npt.NDArray[np.int64] = odd[found[odd] != expected]
            return odd_ones
        return np.flatnonzero(found != self._fields.count_keys(rows))


def without(values: Sequence[Item], places: Collection[int]) -> list[Item]:
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
