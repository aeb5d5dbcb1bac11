"""Lines that call fields by their former names (`was` in the catalogue), decoded as if they used today's.

Only the keys of the line's own object are renamed, byte for byte: every value stays as it was sent. A line that has a field under two of
its names has the key twice then, and is rejected for that. The row keeps the hash, and the dead letter the bytes, of the line as sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from gaelp_assets.catalog import Relation
from gaelp_assets.ingest.decode.chunks import DecodedChunk, Decoder, row_hash
from gaelp_assets.ingest.decode.stored_lines import StoredLines
from gaelp_assets.ingest.read.lines import MAX_LINE_BYTES, Block, LineReader

_TOKEN: Final = re.compile(rb'"(?P<key>(?:[^"\\]|\\.)*+)"(?P<colon>[ \t]*:)?|[{}\[\]]', re.DOTALL)


def former_names(relation: Relation) -> dict[str, str]:
    """Today's name of each former one of a relation's fields."""
    return {former: field.name for field in relation.fields for former in field.was}


class RenamingDecoder:
    """A decoder that knows the former names of fields.

    Args:
        decoder: decodes lines with today's names.
        names: today's name of each former one; not empty.
    """

    def __init__(self, decoder: Decoder, names: Mapping[str, str]) -> None:
        self._decoder = decoder
        self._names: Final = {former.encode(): json.dumps(now).encode() for former, now in names.items()}
        former = b"|".join(map(re.escape, self._names))
        self._mentions = re.compile(rb'"(?:' + former + rb')"[ \t]*:')

    def blocks(self, reader: LineReader) -> Iterator[Block]:
        """See `Decoder`."""
        return self._decoder.blocks(reader)

    def chunk(self, block: Block) -> DecodedChunk:
        """See `Decoder`."""
        if self._mentions.search(block.buffer) is None:
            return self._decoder.chunk(block)
        sent: dict[int, bytes] = {}
        lines = []
        for number, line in zip(block.numbers.tolist(), block.lines, strict=True):
            lines.append(self._renamed(line))
            if lines[-1] is not line:
                sent[number] = line
        renamed = Block(b"".join(lines), apart=(lines, block.numbers, block.offsets))
        return _as_sent(self._decoder.chunk(renamed), sent)

    def _renamed(self, line: bytes) -> bytes:
        """The line with today's names; itself if it has no others."""
        if len(line) > MAX_LINE_BYTES or self._mentions.search(line) is None:
            return line
        parts = []
        depth = done = 0
        for token in _TOKEN.finditer(line):
            if token["key"] is None:
                depth += 1 if token[0] in b"{[" else -1
            elif depth == 1 and token["colon"] is not None and token["key"] in self._names:
                parts += [line[done : token.start()], self._names[token["key"]], token["colon"]]
                done = token.end()
        return b"".join((*parts, line[done:])) if parts else line


def _as_sent(chunk: DecodedChunk, sent: Mapping[int, bytes]) -> DecodedChunk:
    """The chunk with the hashes and the bytes of the lines as they were sent, by their numbers."""
    numbers = chunk.frame["_line_number"].to_list()
    hashes = chunk.frame["_row_hash"].to_numpy().copy()
    raw = []
    for place, number in enumerate(numbers):
        line = sent.get(number)
        raw.append(chunk.raw[place] if line is None else line)
        if line is not None:
            hashes[place] = row_hash(line)
    rejects = chunk.rejects
    texts = [
        sent[number].rstrip(b"\r\n") if number in sent else text
        for number, text in rejects.select("line_number", "raw").iter_rows()
    ]
    return replace(
        chunk,
        frame=chunk.frame.with_columns(pl.Series("_row_hash", hashes.astype(np.int64))),
        raw=StoredLines(raw),
        rejects=rejects.with_columns(pl.Series("raw", texts, dtype=pl.Binary)),
    )
