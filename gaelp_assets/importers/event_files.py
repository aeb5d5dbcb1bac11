"""TensorBoard's event files: records of events, each with two checksums; bytes in, scalars in columns out.

A record is its length in 8 bytes, the checksum of these, the event, and the checksum of that. An event that holds one scalar differs
from the next of the same name in three places only: moment, step and value. So most events are not taken apart: what surrounds the value is
looked up among what has been taken apart before.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from gaelp_assets.importers import protobuf

POINTS_AT_ONCE: Final = 20_000
_READ_AT_ONCE: Final = 1 << 20
_HEAD: Final = struct.Struct("<QI")
_SUM: Final = struct.Struct("<I")
_MOMENT: Final = struct.Struct("<d")
_FORMATS: Final = {4: struct.Struct("<f"), 8: struct.Struct("<d")}
_PROBES: Final = (1.5, -2.25)

# Numbers of fields: of an event, a summary's value, a tensor, and what is told of a value.
_WALL_TIME, _STEP, _SUMMARY = 1, 2, 5
_TAG, _SIMPLE, _TENSOR, _METADATA = 1, 2, 8, 9
_OLD_KINDS: Final = {3: "a histogram", 4: "an image", 5: "a histogram", 6: "audio"}
_TYPE, _SHAPE, _CONTENT, _FLOATS, _DOUBLES, _TEXTS = 1, 2, 4, 5, 6, 8
_FLOAT, _DOUBLE, _TEXT = 1, 2, 7
_SCALARS: Final = "scalars"


class BrokenEventsError(Exception):
    """The file is damaged or cut off: every record before was whole.

    Args:
        offset: byte at which the record starts that cannot be read.
        what: what is wrong there, for a message.
    """

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(f"byte {offset}: {what}")
        self.offset = offset
        self.what = what


@dataclass(frozen=True)
class Points:
    """Scalars in the order in which they stand in the file, n of them."""

    name: NDArray[np.int64]
    """Shape (n,): each one's place in `Reader.names`."""
    step: NDArray[np.int64]
    """Shape (n,)."""
    at: NDArray[np.float64]
    """Shape (n,): seconds since 1970."""
    value: NDArray[np.float64]
    """Shape (n,): exactly the number that stands in the file, most often of 4 bytes."""


@dataclass(frozen=True)
class _Value:
    """A value of a summary: a number or a text, or else what it is in their place."""

    name: str
    number: float | None = None
    width: int = 0
    """Bytes of the number; 0 where there is none."""
    text: str | None = None
    other: str | None = None


@dataclass
class _Template:
    """What surrounds the number in an event that holds one scalar, from the end of its step on."""

    name: int
    width: int


@dataclass
class Reader:
    """Reads the event files of one run, and keeps what they have in common."""

    names: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    """Values that are no scalars, by what they are."""
    texts: dict[str, str] = field(default_factory=dict)
    """The last text of each name."""
    first: float | None = None
    """The earliest moment of an event, in seconds since 1970."""
    last: float | None = None
    _numbers: dict[str, int] = field(default_factory=dict)
    _plugins: dict[str, str] = field(default_factory=dict)
    _templates: dict[bytes, _Template] = field(default_factory=dict)
    _places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Where numbers stand in templates, with their width, by the length of the whole."""

    def points(self, path: Path) -> Iterator[Points]:
        """The scalars of a file, some ten thousand at a time.

        Raises:
            BrokenEventsError: after all that comes before the damage.
        """
        names: list[int] = []
        steps: list[int] = []
        moments: list[float] = []
        values: list[float] = []
        columns = names, steps, moments, values
        try:
            with path.open("rb") as file:
                for offset, event in _records(file):
                    try:
                        self._event(event, *columns)
                    except ValueError as error:
                        raise BrokenEventsError(offset, f"a record that is no event: {error}") from None
                    if len(values) >= POINTS_AT_ONCE:
                        yield self._gathered(*columns)
        except BrokenEventsError:
            yield self._gathered(*columns)
            raise
        yield self._gathered(*columns)

    def _gathered(
        self, names: list[int], steps: list[int], moments: list[float], values: list[float]
    ) -> Points:
        found = Points(
            np.array(names, np.int64),
            np.array(steps, np.int64),
            np.array(moments, np.float64),
            np.array(values, np.float64),
        )
        for column in (names, steps, moments, values):
            column.clear()
        if len(found.at):
            self._seen(float(np.fmin.reduce(found.at)))
            self._seen(float(np.fmax.reduce(found.at)))
        return found

    def _seen(self, at: float) -> None:
        # Moments that are none (NaN, 0) say nothing of the run.
        if at > 0:
            self.first = at if self.first is None else min(self.first, at)
            self.last = at if self.last is None else max(self.last, at)

    def _event(
        self,
        event: bytes,
        names: list[int],
        steps: list[int],
        moments: list[float],
        values: list[float],
    ) -> None:
        if len(event) > 10 and event[0] == 9 and event[9] == 16:
            start, shift, step = 10, 0, 0
            byte = 128
            while byte >= 128 and start < len(event) and shift < 63:
                byte = event[start]
                step |= (byte & 127) << shift
                shift += 7
                start += 1
            if byte < 128:
                rest = event[start:]
                for place, width in self._places.get(len(rest), ()):
                    found = self._templates.get(rest[:place] + rest[place + width :])
                    if found is not None and found.width == width:
                        names.append(found.name)
                        steps.append(step)
                        moments.append(_MOMENT.unpack_from(event, 1)[0])
                        values.append(_FORMATS[width].unpack_from(rest, place)[0])
                        return
                self._remember(rest)
        at, step, found_values = _parsed(event, self._plugins)
        self._seen(at)
        for value in found_values:
            if value.number is not None:
                names.append(self._number(value.name))
                steps.append(step)
                moments.append(at)
                values.append(value.number)
            elif value.text is not None:
                self.texts[value.name] = value.text
                self.others["a text"] += 1
            else:
                self.others[value.other or "empty"] += 1

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]

    def _remember(self, rest: bytes) -> None:
        """Makes a template of what follows a step, where it is one scalar: other bytes in its place have to be another number."""
        _, _, values = _parsed(rest, self._plugins)
        if len(values) != 1 or values[0].number is None:
            return
        width, name = values[0].width, values[0].name
        raw = _FORMATS[width].pack(values[0].number)
        place = rest.rfind(raw)
        if place < 0:
            return
        for probe in _PROBES:
            other = rest[:place] + _FORMATS[width].pack(probe) + rest[place + width :]
            try:
                _, _, tried = _parsed(other, self._plugins)
            except ValueError:
                return
            if [(value.name, value.number) for value in tried] != [(name, probe)]:
                return
        self._templates[rest[:place] + rest[place + width :]] = _Template(self._number(name), width)
        places = self._places.setdefault(len(rest), [])
        if (place, width) not in places:
            places.append((place, width))


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The events, each with the byte at which its record starts."""
    checksum = google_crc32c.value
    size = os.fstat(file.fileno()).st_size
    block, at, base = b"", 0, 0
    while True:
        if len(block) - at < _HEAD.size:
            base, block, at = base + at, block[at:] + file.read(_READ_AT_ONCE), 0
            if not block:
                return
            if len(block) < _HEAD.size:
                raise BrokenEventsError(base, "the file ends within a record")
        length, head_sum = _HEAD.unpack_from(block, at)
        crc = checksum(block[at : at + 8])
        if ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFF_FFFF != head_sum:
            raise BrokenEventsError(base + at, "the checksum of a record's length is wrong")
        start = at + _HEAD.size
        end = start + length
        if len(block) < end + 4:
            missing = end + 4 - len(block)
            # A length may be any number, and nobody has memory for it.
            if missing > size - file.tell():
                raise BrokenEventsError(base + at, "the file ends within a record")
            base, block = base + at, block[at:] + file.read(max(missing, _READ_AT_ONCE))
            start, end, at = start - at, end - at, 0
            if len(block) < end + 4:
                raise BrokenEventsError(base, "the file was cut off while it was read")
        event = block[start:end]
        crc = checksum(event)
        if ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFF_FFFF != _SUM.unpack_from(block, end)[0]:
            raise BrokenEventsError(base + at, "the checksum of a record is wrong")
        yield base + at, event
        at = end + 4


def _parsed(event: bytes, plugins: dict[str, str]) -> tuple[float, int, list[_Value]]:
    """Moment, step and values of an event.

    Args:
        event: its message.
        plugins: which part of TensorBoard shows the values of a name; only the first value of each tells it.

    Raises:
        ValueError: it is no event.
    """
    at, step = 0.0, 0
    values: list[_Value] = []
    for number, value in protobuf.fields(event):
        if number == _WALL_TIME:
            [at] = _MOMENT.unpack(_bytes(value, 8))
        elif number == _STEP:
            step = protobuf.signed(value)
        elif number == _SUMMARY:
            values += [_value(part, plugins) for place, part in protobuf.nested(value) if place == 1]
    return at, step, values


def _value(message: protobuf.Value, plugins: dict[str, str]) -> _Value:
    name, other = "", None
    simple: bytes | None = None
    tensor: protobuf.Value | None = None
    for number, value in protobuf.nested(message):
        if number == _TAG:
            name = protobuf.text(value)
        elif number == _SIMPLE:
            simple = _bytes(value, 4)
        elif number == _TENSOR:
            tensor = value
        elif number == _METADATA:
            plugin = _plugin(value)
            if plugin:
                plugins[name] = plugin
        elif number in _OLD_KINDS:
            other = _OLD_KINDS[number]
    if simple is not None:
        return _Value(name, _FORMATS[4].unpack(simple)[0], 4)
    if tensor is None:
        return _Value(name, other=other or "a value without content")
    return _tensor(name, tensor, plugins.get(name, _SCALARS))


def _plugin(metadata: protobuf.Value) -> str | None:
    for number, value in protobuf.nested(metadata):
        if number == 1:
            for place, part in protobuf.nested(value):
                if place == 1:
                    return protobuf.text(part)
    return None


def _tensor(name: str, message: protobuf.Value, plugin: str) -> _Value:
    kind, axes = 0, 0
    numbers: dict[int, bytes] = {}
    text: bytes | None = None
    for number, value in protobuf.nested(message):
        if number == _TYPE:
            kind = protobuf.signed(value)
        elif number == _SHAPE:
            axes = sum(1 for place, _ in protobuf.nested(value) if place == 2)
        elif number in {_CONTENT, _FLOATS, _DOUBLES} and isinstance(value, bytes):
            numbers[number] = value
        elif number == _TEXTS and text is None and isinstance(value, bytes):
            text = value
    if kind == _TEXT:
        return _Value(name, text=(text or b"").decode("utf-8", "replace"))
    if plugin != _SCALARS:
        return _Value(name, other=f"of the plugin {plugin}" if plugin.isidentifier() else "of another plugin")
    width = {_FLOAT: 4, _DOUBLE: 8}.get(kind)
    raw = numbers.get(_CONTENT) or numbers.get(_FLOATS if kind == _FLOAT else _DOUBLES, b"")
    if width is None or axes or len(raw) != width:
        return _Value(name, other="a tensor that is not one float")
    return _Value(name, _FORMATS[width].unpack(raw)[0], width)


def _bytes(value: protobuf.Value, width: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != width:
        raise ValueError(f"no number of {width} bytes where one has to be")
    return value
