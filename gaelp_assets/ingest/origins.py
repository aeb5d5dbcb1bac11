"""Where the lines of a sorted file come from: the producer's own file, and the place of the line in it.

Sorting hands lines on unaltered, and keeps the raw file. So nothing is written down for good lines: where a line stood is looked up when it
is told, by its bytes, in the raw files of that name. A raw file that is gone tells nothing, and neither does one of many of the same name
that is older than the last `FILES_SEARCHED`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Final

from gaelp_assets.catalog import WHOLE, Relation, Slice
from gaelp_assets.errors import GaelpError
from gaelp_assets.gateway import Gateway, GatewayFile, ObjectChanged, Stage, StoredObject
from gaelp_assets.gateway.explanation import Place
from gaelp_assets.gateway.paths import RAW_FOLDER, folder, parse_name, replayed_stem
from gaelp_assets.ingest.read.lines import SPACE, LineReader

FILES_SEARCHED: Final = 20
"""How many raw files of one name are searched at most, the newest first."""


def origins(
    gateway: Gateway,
    relation: Relation,
    slice_: Slice,
    path: str,
    lines: Sequence[bytes],
    *,
    batch_id: str | None = None,
) -> list[Place | None]:
    """Where the producer wrote lines of a file.

    Args:
        gateway: that the file is in, or was.
        relation: the file's table.
        slice_: the file's slice.
        path: the file's (see `GatewayFile.path`).
        lines: of the file, in its order.
        batch_id: the file's own, where it can be a raw file itself.

    Returns:
        For each line its place in a raw file, or None: the producer wrote the file itself, or the raw file is not there any more.

    Raises:
        TransientError: the gateway is out of reach.
    """
    found: dict[int, Place] = {}
    files = _raw_files(gateway, relation, slice_, replayed_stem(path))
    if batch_id is not None and any(f"~{batch_id[:12]}." in raw.name for raw in files):
        return [None] * len(lines)
    for raw in files:
        missing = [place for place in range(len(lines)) if place not in found]
        if not missing:
            break
        # An older version, or one that somebody moves at the moment: it tells nothing.
        with suppress(ObjectChanged):
            try:
                found |= _places(gateway, raw, lines, missing)
            except GaelpError as error:
                if not error.permanent:
                    raise
    return [found.get(place) for place in range(len(lines))]


def lines_at(gateway: Gateway, stored: StoredObject, name: str, bytes_: Collection[int]) -> dict[int, bytes]:
    """The lines of an object that start at these bytes of its text, by these, without line ends; those that are there.

    Args:
        gateway: that the object is in.
        stored: the object.
        name: whose ending says what it is.
        bytes_: where the lines start.

    Raises:
        GaelpError: the object cannot be read.
        ObjectChanged: it was moved or replaced.
    """
    found: dict[int, bytes] = {}
    last = max(bytes_, default=-1)
    with gateway.store.open(stored) as stream:
        for block in LineReader(stream, name):
            for start, line in zip(block.offsets.tolist(), block.lines, strict=True):
                if start in bytes_:
                    found[start] = line.rstrip(b"\r\n")
            if block.end >= last and len(found) == len(bytes_):
                break
    return found


def _raw_files(gateway: Gateway, relation: Relation, slice_: Slice, stem: str) -> list[GatewayFile]:
    """The raw files of that name which rows of the slice can come from, the newest first: sorted ones, and such as are being sorted."""
    if not stem:
        return []
    found = {}
    for prefix in _prefixes(relation, slice_, stem):
        for stored in gateway.store.list(prefix):
            file = parse_name(stored, gateway.catalog)
            if isinstance(file, GatewayFile) and replayed_stem(file.path) == stem:
                found[stored.name] = file
    newest = sorted(found.values(), key=lambda file: file.stored.modified, reverse=True)
    return newest[:FILES_SEARCHED]


def _prefixes(relation: Relation, slice_: Slice, stem: str) -> Iterator[str]:
    parts = slice_.path.split("/") if slice_ != WHOLE else []
    for top in (
        f"{Stage.SENT}/{folder(relation, WHOLE)}/{RAW_FOLDER}",
        f"{Stage.TRANSFORMED}/{folder(relation, WHOLE)}",
    ):
        for depth in range(len(parts) + 1):
            yield "/".join([top, *parts[:depth], f"{stem}~"])


def _places(
    gateway: Gateway, raw: GatewayFile, lines: Sequence[bytes], wanted: Sequence[int]
) -> dict[int, Place]:
    """The places of the wanted lines in the raw file; equal lines stand in the same order in both."""
    waiting: defaultdict[bytes, deque[int]] = defaultdict(deque)
    for place in wanted:
        waiting[lines[place].strip(SPACE)].append(place)
    found: dict[int, Place] = {}
    with gateway.open(raw) as stream:
        for block in LineReader(stream, raw.name):
            for line, number, start in zip(
                block.lines, block.numbers.tolist(), block.offsets.tolist(), strict=True
            ):
                queue = waiting.get(line.strip(SPACE))
                if queue:
                    found[queue.popleft()] = Place(raw.path, number, start)
            if len(found) == len(wanted):
                break
    return found
