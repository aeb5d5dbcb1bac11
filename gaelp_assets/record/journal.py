"""What a recording keeps beside its rows, so that a kill at any moment loses no more than what came after the last flush.

A flush writes its files where nobody looks for rows, then its journal, one object: the files' names, the run's counters, and the
episodes that go on. With the journal the flush is done: its files are moved to where they belong, by its writer or by the finder of
the journal, and one that has been moved is not there to be moved again. Files without a journal are none. The new steps of
episodes that go on are objects of their own, written before it, and kept until the episodes have ended.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaelp_assets.gateway.store import ObjectChanged, Store
from gaelp_assets.record.compiling import Piece, Told
from gaelp_assets.record.machine import host
from gaelp_assets.record.tracks import Episode
from gaelp_assets.record.values import plain

Array = NDArray[Any]
Header = dict[str, Any]
_OWN: Final = tuple(name for name in Episode.__slots__ if name not in {"final", "start", "stop"})


def packed(header: Header, chunks: Sequence[bytes]) -> list[bytes]:
    """An object of a header, a line of JSON, and chunks of bytes after it."""
    lengths = [len(chunk) for chunk in chunks]
    return [msgspec.json.encode({**header, "lengths": lengths}, enc_hook=plain) + b"\n", *chunks]


def unpacked(content: bytes) -> tuple[Header, list[bytes]]:
    """What `packed` made it of."""
    line, _, rest = content.partition(b"\n")
    header: Header = json.loads(line)
    chunks, start = [], 0
    for length in header["lengths"]:
        chunks.append(rest[start : start + length])
        start += length
    return header, chunks


def told(one: Told) -> Header:
    """An episode that goes on, without its steps; the observation that it stands at is `final`."""
    episode = one.episode
    return {**{name: getattr(episode, name) for name in _OWN}, "environment": one.environment}


def episode_of(fields: Mapping[str, Any], final: Array | None) -> Episode:
    """The episode of which `told` spoke, cut off where it stood."""
    episode = Episode(fields["number"], fields["purpose"], fields["lane"], 0, fields["recorded"])
    for name in _OWN:
        setattr(episode, name, fields[name])
    episode.final = final
    episode.unfinished = episode.truncated = True
    return episode


def array_header(array: Array) -> list[Any]:
    """Type and shape, by which bytes become the array again."""
    return [array.dtype.str, list(array.shape)]


def array_of(header: Sequence[Any], content: bytes) -> Array:
    """The array of that type and shape."""
    return np.frombuffer(content, dtype=np.dtype(header[0])).reshape(header[1])


def packed_pieces(going: Sequence[Told]) -> list[bytes] | None:
    """The new steps of episodes that go on, as an object; None where there are none."""
    entries, chunks = [], []
    for one in going:
        for piece in one.pieces:
            entries.append(
                [one.episode.purpose, one.episode.number, [array_header(column) for column in piece]]
            )
            chunks += [np.ascontiguousarray(column).tobytes() for column in piece]
    return packed({"pieces": entries}, chunks) if entries else None


def pieces_of(content: bytes) -> dict[tuple[str, int], list[Piece]]:
    """The steps by episode, as `packed_pieces` wrote them."""
    header, chunks = unpacked(content)
    found: dict[tuple[str, int], list[Piece]] = {}
    place = 0
    for purpose, number, columns in header["pieces"]:
        arrays = [array_of(column, chunks[place + k]) for k, column in enumerate(columns)]
        place += len(columns)
        found.setdefault((purpose, number), []).append(Piece(*arrays))
    return found


def read(store: Store, name: str) -> bytes | None:
    """An object's bytes, or None where there is none of that name."""
    stored = store.find(name)
    if stored is None:
        return None
    with store.open(stored) as file:
        return file.read()


def part_name(folder: str, part: int, number: int) -> str:
    """Where a file of a flush waits for the journal."""
    return f"{folder}/p{part:06d}.{number}.part"


def publish(store: Store, source: str, name: str) -> bool:
    """Moves a file of a flush to its name; False where that was done before."""
    stored = store.find(source)
    if stored is None:
        return False
    try:
        store.move(stored, name)
    except ObjectChanged:
        return False
    return True


def remove(store: Store, names: Sequence[str]) -> None:
    """Removes objects; one that is gone already is no error."""
    for name in names:
        stored = store.find(name)
        if stored is not None:
            try:
                store.delete(stored)
            except ObjectChanged:
                continue


def process() -> Header:
    """This process, in words that tell it from any other of this machine."""
    return {"host": host(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_alive(told_process: Mapping[str, Any]) -> bool:
    """Whether that process still runs on this machine. Of another machine nobody knows: it is taken for dead."""
    if told_process.get("host") != host():
        return False
    pid = int(told_process["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return _started(pid) == told_process.get("started")


def _started(pid: int) -> str | None:
    """When the process started, in the system's own count; None where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
