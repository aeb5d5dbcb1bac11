"""Blocks of lines -> Arrow arrays of a relation's columns, strictly: a line fits the relation as it stands, or is rejected.

msgspec decodes each line to a struct with declared types; columns go to Arrow block by block. What is left to find afterwards (duplicate
keys, digits that a float lost, deep nesting) is looked for in the block as a whole, and line by line only
where the block gives reason to. Lines that fail go to `ingest.explain`.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gaelp_assets.catalog.model import Relation
from gaelp_assets.ingest.columns import (
    ESCAPED_KEY,
    UNFIT,
    Column,
    StructFields,
    Tally,
    Values,
    from_mask,
    key_ends,
    may_have_duplicates,
)
from gaelp_assets.ingest.explain import Explainer, Reason, has_duplicate_keys, too_deep
from gaelp_assets.ingest.lines import Block
from gaelp_assets.validation.schema import arrow_schema

REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)
UNTOLD: Final = Reason("", "undecodable", "expected a line that the decoder takes; no reason could be told")
_LONG_INTEGER: Final = re.compile(rb"[0-9]{16}")  # 2^53 has 16 digits


@dataclass(frozen=True)
class DecodedBlock:
    """The rows of a block that fit the relation, and why its other lines do not."""

    rows: pa.RecordBatch
    indices: npt.NDArray[np.int64]
    """The line, by its place in the block, that each row came from; ascending."""
    rejects: list[tuple[int, list[Reason]]]
    """Lines, by their place in the block, ascending, and all their reasons."""


class BlockDecoder:
    """Decodes the lines of a relation."""

    def __init__(self, relation: Relation) -> None:
        self._fields = StructFields(relation.fields, relation.name)
        self._decode = msgspec.json.Decoder(self._fields.type).decode
        self._explainer = Explainer(relation)
        schema = arrow_schema(relation)
        self._schema = pa.schema([schema.field(name) for name in relation.field_names])

    def decode(self, block: Block) -> DecodedBlock:
        """The block's rows; every line is a row or a reject."""
        failed = _not_utf8(block)
        with _no_collection():
            rows, indices = self._structs(block, failed)
            arrays, indices, tally = self._arrays(rows, indices, failed)
            rejects: dict[int, list[Reason]] = {}
            for i in self._doubtful(block, indices, tally):
                if reasons := self._explain(block, i):
                    rejects[i] = reasons
        for i in sorted(failed):
            rejects[i] = self._explain(block, i) or [UNTOLD]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        kept = np.array(indices, np.int64)
        if len(kept) + len(rejects) > len(block):
            keep = ~np.isin(kept, list(rejects))
            kept, batch = kept[keep], batch.filter(from_mask(keep))
        return DecodedBlock(batch, kept, sorted(rejects.items()))

    def _structs(self, block: Block, failed: set[int]) -> tuple[list[Any], Sequence[int]]:
        """The lines that msgspec takes, decoded, and their places; adds the others to `failed`."""
        places: Sequence[int] = range(len(block))
        lines: Sequence[bytes] = block.lines
        if failed:
            places = [i for i in places if i not in failed]
            lines = [block.lines[i] for i in places]
        rows: list[Any] = []
        refused: list[int] = []
        stream = map(self._decode, lines)
        while len(rows) + len(refused) < len(lines):
            try:
                rows.extend(stream)  # keeps what was decoded before a line that fails; goes on after it
            except REFUSED:
                refused.append(places[len(rows) + len(refused)])
        failed.update(refused)
        if not failed:
            return rows, range(len(block))
        return rows, [i for i in places if i not in failed]

    def _arrays(
        self, rows: list[Any], indices: Sequence[int], failed: set[int]
    ) -> tuple[list[pa.Array[Any]], Sequence[int], Tally]:
        """An array for each column; rows with a value that does not fit are taken out, and added to `failed`."""
        tally = Tally()
        try:
            return self._fields.build(rows, tally), indices, tally
        except UNFIT:
            unfit: set[int] = set()
            columns = self._fields.transpose(rows, Tally())
            for column, values in zip(self._fields.columns, columns, strict=True):
                unfit.update(_unfit(column, values, 0))
        failed.update(indices[i] for i in unfit)
        kept = [place for i, place in enumerate(indices) if i not in unfit]
        tally = Tally()
        arrays = self._fields.build([row for i, row in enumerate(rows) if i not in unfit], tally)
        return arrays, kept, tally

    def _doubtful(self, block: Block, indices: Sequence[int], tally: Tally) -> list[int]:
        """The decoded lines that may still be wrong."""
        data = block.data if len(indices) == len(block) else b"".join([block.lines[i] for i in indices])
        tests: list[Callable[[bytes], bool]] = []
        ends, spaced = key_ends(data)
        keys = len(ends)
        if keys != tally.keys + tally.free_keys and not spaced:
            # An escaped quote ends no key that a relation declares.
            keys -= data.count(ESCAPED_KEY) - tally.free_escaped
        if spaced:
            tests.append(has_duplicate_keys)
        elif tally.duplicates or keys != tally.keys + tally.free_keys:
            tests.append(lambda line: may_have_duplicates(line, line.count(b'":')))
        if tally.deep:
            tests.insert(0, too_deep)
        if tally.large_floats:
            tests.append(lambda line: bool(_LONG_INTEGER.search(line)))
        if not tests:
            return []
        return [i for i in indices if any(test(block.lines[i]) for test in tests)]

    def _explain(self, block: Block, i: int) -> list[Reason]:
        line = block.lines[i]
        return self._explainer.reasons(line, unterminated=not line.endswith(b"\n"))


def _unfit(column: Column, values: Values, start: int) -> Iterator[int]:
    """The places of the values that the column does not take, found by halving."""
    try:
        column.build(values, Tally())
    except UNFIT:
        if len(values) == 1:
            yield start
            return
        half = len(values) // 2
        yield from _unfit(column, values[:half], start)
        yield from _unfit(column, values[half:], start + half)


def _not_utf8(block: Block) -> set[int]:
    """The places of the lines that are not UTF-8; msgspec looks at strings only."""
    if block.data.isascii():
        return set()
    try:
        block.data.decode("utf-8")
    except UnicodeDecodeError:
        return {i for i, line in enumerate(block.lines) if not _is_utf8(line)}
    return set()


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def _no_collection() -> Iterator[None]:
    """Decoding makes many objects and no cycles: the garbage collector would look through them in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
