"""Where the lines of a sorted file come from: the producer's own file, and the place of the line in it.

Sorting hands lines on unaltered, and keeps the raw file. So nothing is written down for good lines: where a line stood is looked up when it
is told, by its bytes, in the raw files of that name. A raw file that is gone tells nothing, and neither does one of many of the same name
that is older than the last `FILES_SEARCHED`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gaelp_assets.catalog import WHOLE, Relation, Slice
from gaelp_assets.errors import GaelpError
from gaelp_assets.gateway import Gateway, GatewayFile, ObjectChanged, Stage, StoredObject
from gaelp_assets.gateway.explanation import Place
from gaelp_assets.gateway.paths import RAW_FOLDER, folder, parse_name, replayed_stem, split_name
from gaelp_assets.ingest.read.lines import SPACE, LineReader

FILES_SEARCHED: Final = 20
"""How many raw files of one name are searched at most, the newest first."""


@dataclass(frozen=True)
class SortedLine:
    """A line of a file of one slice."""

    slice: Slice
    batch_id: str | None
    """Of the file, where it can be a raw file itself: of a table without slices, such a file looks like any other."""
    text: bytes


def stem_of(path: str) -> str:
    """What the producer calls the file, by the path of one that was sorted out of it, or replayed (see `GatewayFile.path`)."""
    return replayed_stem(path)


def origins(
    gateway: Gateway, relation: Relation, stem: str, lines: Sequence[SortedLine]
) -> list[Place | None]:
    """Where the producer wrote lines of files with that stem. Each raw file is read once, whatever the number of slices.

    Args:
        gateway: that the files are in, or were.
        relation: the files' table.
        stem: of the files (see `stem_of`).
        lines: of the files, those of one file in its order.

    Returns:
        For each line its place in a raw file, or None: the producer wrote the line's file itself, or the raw file is not there any more.

    Raises:
        TransientError: the gateway is out of reach.
    """
    found: dict[int, Place] = {}
    files = _raw_files(gateway, relation, {line.slice for line in lines}, stem)
    raw_batches = {_digits(file) for file in files}
    sorted_ = [place for place, line in enumerate(lines) if (line.batch_id or "")[:12] not in raw_batches]
    for raw in files:
        missing = [place for place in sorted_ if place not in found]
        if not missing:
            break
        # One that somebody moves at the moment, or that cannot be read any more, tells nothing.
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


def _raw_files(
    gateway: Gateway, relation: Relation, slices: Collection[Slice], stem: str
) -> list[GatewayFile]:
    """The raw files of that name which rows of the slices can come from, the newest first: sorted ones, and such as are being sorted."""
    if not stem:
        return []
    found = {}
    for prefix in _prefixes(gateway, relation, slices, stem):
        for stored in gateway.store.list(prefix):
            file = parse_name(stored, gateway.catalog)
            if isinstance(file, GatewayFile) and stem_of(file.path) == stem:
                found[stored.name] = file
    newest = sorted(found.values(), key=lambda file: file.stored.modified, reverse=True)
    return newest[:FILES_SEARCHED]


def _prefixes(gateway: Gateway, relation: Relation, slices: Collection[Slice], stem: str) -> Iterator[str]:
    """Of the names of such raw files; few producers have folders for days in `raw/`, and only theirs are looked into."""
    table = folder(relation, WHOLE)
    paths = [slice_.path.split("/") for slice_ in slices if slice_ != WHOLE]
    for top in (f"{Stage.SENT}/{table}/{RAW_FOLDER}", f"{Stage.TRANSFORMED}/{table}"):
        yield f"{top}/{stem}~"
        if paths and any(gateway.store.list(f"{top}/date=")):
            folders = {"/".join(parts[:depth]) for parts in paths for depth in range(1, len(parts) + 1)}
            yield from (f"{top}/{name}/{stem}~" for name in sorted(folders))


def _digits(file: GatewayFile) -> str:
    """What its name in `sent/` has of its batch id."""
    return split_name(file.name)[0].rpartition("~")[2]


def _places(
    gateway: Gateway, raw: GatewayFile, lines: Sequence[SortedLine], wanted: Sequence[int]
) -> dict[int, Place]:
    """The places of the wanted lines in the raw file; equal lines stand in the same order in both."""
    waiting: defaultdict[bytes, deque[int]] = defaultdict(deque)
    for place in wanted:
        waiting[lines[place].text.strip(SPACE)].append(place)
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
