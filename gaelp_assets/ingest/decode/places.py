"""Where in a line the value of a field begins, for people who mend the line. Slow, for rejected lines alone.

The first place is told where there are several, as in an array of records, of which it is not known which one is to blame.
"""

from __future__ import annotations

import json
import re
from typing import Final

from gaelp_assets.ingest.decode.scalars import parse_json
from gaelp_assets.ingest.read.lines import SPACE

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_MASKED: Final = re.compile(r"(?P<start>.{2})\.\.\. \((?P<length>[0-9]+) characters\)", re.DOTALL)
_DECODER: Final = json.JSONDecoder()


def column_of(line: bytes, field: str, rule: str) -> int | None:
    """The character of the line, counted from 1, where a reason for its rejection can be seen; None where that cannot be told.

    Args:
        line: as stored, without its line end.
        field: the reason's dotted path; empty for the line as a whole.
        rule: the reason's rule.

    >>> column_of(b'{"agent_id": "a", "seed": "x"}', "seed", "wrong_type")
    27
    >>> column_of(b'{"seed": 1,}', "", "malformed_json")
    12
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(line[: error.start].decode("utf-8")) + 1
    if rule in {"malformed_json", "truncated_line"}:
        return _mistake(line, text)
    if not field:
        return None
    try:
        if rule == "unknown_field":
            return _unknown(text, field)
        return _value(text, _skip(text, 0), field.split("."))
    except (ValueError, IndexError, RecursionError):
        return None


def _mistake(line: bytes, text: str) -> int | None:
    stripped = line.strip(SPACE).decode("utf-8")
    try:
        parse_json(stripped)
    except json.JSONDecodeError as error:
        return len(text) - len(text.lstrip(SPACE.decode())) + error.pos + 1
    return None


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None
    return space.end()


def _members(text: str, at: int) -> list[tuple[str, int, int]]:
    """Each key of the object that begins there, where the key begins, and where its value does."""
    found: list[tuple[str, int, int]] = []
    if text[at] != "{":
        return found
    at = _skip(text, at + 1)
    while text[at] == '"':
        key, end = _DECODER.raw_decode(text, at)
        value = _skip(text, _skip(text, end) + 1)  # past the colon
        found.append((key, at, value))
        _, end = _DECODER.raw_decode(text, value)
        at = _skip(text, end)
        if text[at] != ",":
            break
        at = _skip(text, at + 1)
    return found


def _value(text: str, at: int, path: list[str]) -> int | None:
    """Where the value at the path begins, the object beginning there, or an array of such."""
    at = _first_element(text, at)
    places = [value for key, _, value in _members(text, at) if key == path[0]]
    if not places:
        return None
    # Of a key that comes twice, the second one is to blame.
    return places[-1] + 1 if len(path) == 1 else _value(text, places[-1], path[1:])


def _unknown(text: str, field: str) -> int | None:
    """Where the key begins that is shown in a masked form (see `reasons`), if one key alone can be it."""
    *above, last = _path_and_key(field)
    at: int | None = _skip(text, 0)
    if above:
        found = _value(text, _skip(text, 0), above)
        at = None if found is None else _first_element(text, found - 1)
    if at is None:
        return None
    masked = _MASKED.fullmatch(last)
    keys = [
        place + 1
        for key, place, _ in _members(text, at)
        if (
            len(key) == int(masked["length"]) and _shown(key[:2]) == masked["start"]
            if masked
            else _shown(key) == last
        )
    ]
    return keys[0] if len(keys) == 1 else None


def _path_and_key(field: str) -> list[str]:
    """The path of the object, and the key as it is shown, which may hold dots itself."""
    masked = re.search(r"(?:\A|\.)(?P<key>..\.\.\. \([0-9]+ characters\))\Z", field, re.DOTALL)
    if masked is None:
        return field.split(".")
    above = field[: masked.start("key")].rstrip(".")
    return [*(above.split(".") if above else []), masked["key"]]


def _first_element(text: str, at: int) -> int:
    return _skip(text, at + 1) if text[at] == "[" else at


def _shown(key: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in key)
