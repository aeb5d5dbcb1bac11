"""A `.json` file, one object or an array of them, as lines of one object each.

Only the outline is looked at: where the elements of the outermost array begin and end. An element that is no proper JSON becomes a line
that is no proper JSON, and costs nobody else anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_OUTSIDE: Final = re.compile(rb'["\[\]{},]')
_IN_STRING: Final = re.compile(rb'["\\\r\n]')
_SPACE: Final = b" \t\r\n"
_LINE_ENDS: Final = bytes.maketrans(b"\r\n", b"  ")  # between tokens only; inside a string they are no JSON


class OpenArrayError(Exception):
    """The text ends before the outermost array does."""


class MalformedArrayError(Exception):
    """The outermost array is no proper JSON: says what was found, and at which byte."""


def objects_as_lines(chunks: Iterator[bytes], offset: int, longest: int) -> Iterator[tuple[int, bytes]]:
    """Each element with its byte offset, as a line (without a line end if it is cut off).

    Line ends between its tokens become spaces. `offset` is where `chunks` starts. Of an element of more than `longest` bytes, no
    more is kept than shows that it is longer: about a chunk.

    Raises:
        OpenArrayError: after the last element, if the array is not closed.
        MalformedArrayError: an element is empty (a comma too many), or something follows the array.
    """
    splitter = _Splitter(offset, longest)
    for chunk in chunks:
        yield from splitter.feed(chunk)
    yield from splitter.finish()


class _Splitter:
    """Follows strings and brackets through the chunks, and collects the bytes of one element."""

    def __init__(self, offset: int, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._held = 0
        self._start = offset  # of the element, once a part of it is held
        self._position = offset
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._broken = False  # a line end inside a string: must not be mended by accident
        self._after_comma = False
        self._closed = False
        self._array: bool | None = None  # whether the outermost value is an array; None before it is known

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        taken = at = 0
        base = self._position
        if self._array is None:
            stripped = chunk.lstrip(_SPACE)
            if stripped:
                self._array = stripped.startswith(b"[")
                if self._array:
                    taken = at = len(chunk) - len(stripped) + 1
                    self._start = base + taken
        while at < len(chunk):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_IN_STRING if self._in_string else _OUTSIDE).search(chunk, at)
            if found is None:
                break
            at = found.end()
            token = found.group()
            if token == b"\\":
                self._escaped = True
            elif self._in_string and token in b"\r\n":
                self._broken = True
            elif token == b'"':
                self._in_string = not self._in_string
            elif token in b"{[":
                self._depth += 1
            elif token != b"," and not (self._array and self._depth == 0):
                self._depth -= 1
            elif self._array and self._depth == 0:  # the end of an element, or of the array
                empty = True
                for element in self._element(chunk[taken : found.start()]):
                    empty = False
                    yield element
                if empty and (token == b"," or self._after_comma):
                    raise MalformedArrayError(f"an empty element before byte {base + at}")
                self._after_comma = token == b","
                taken = at
                self._start = base + taken
                if token == b"]":
                    self._array, self._closed = False, True
        self._hold(chunk[taken:])
        self._position = base + len(chunk)

    def finish(self) -> Iterator[tuple[int, bytes]]:
        for element in self._element(b""):
            if self._closed:
                raise MalformedArrayError(f"something after the array, at byte {element[0]}")
            yield element
        if self._array:
            raise OpenArrayError

    def _hold(self, part: bytes) -> None:
        if not self._held:
            stripped = part.lstrip(_SPACE)
            self._start += len(part) - len(stripped)
            part = stripped
        if self._held <= self._longest:
            self._parts.append(part)
            self._held += len(part)

    def _element(self, last: bytes) -> Iterator[tuple[int, bytes]]:
        self._hold(last)
        text = b"".join(self._parts)
        if self._held <= self._longest:  # else more may follow the spaces
            text = text.rstrip(_SPACE)
        self._parts, self._held = [], 0
        if text:
            complete = not self._depth and not self._in_string
            line = text if self._broken else text.translate(_LINE_ENDS)
            yield self._start, line + b"\n" if complete else line
        self._broken = False
