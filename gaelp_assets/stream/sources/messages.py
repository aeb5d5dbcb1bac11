"""What a message says, as lines of a gateway file: each format is one function of a message's bytes. Pure.

A message that says no row becomes a line all the same, one that is rejected as any line that is no row: an array of why, and of what the
message held. Nothing here raises, leaves a message out or alters a value. Where messages come from is up to the other modules.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gaelp_assets.ingest.read.lines import SPACE
from gaelp_assets.operations.json_values import json_value
from gaelp_assets.stream.sources.msgpack import UnreadableError, unpack

MESSAGE_BYTES: Final = 1 << 20
"""A message may be so long, which is also what brokers take by default."""
KEPT_BYTES: Final = 4 << 20
"""So much of a message that says no row is kept: a line may have 8 MB."""
ARROW_ROWS: Final = 100_000
ARROW_BYTES: Final = 32 << 20
"""What one message may unfold to."""
# What JSON takes for a text, as far as it stands in one line.
_TEXT: Final = re.compile(rb'"(?:[^"\\\r\n]|\\[^\r\n])*"')
_LINE_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")


def lines_of(format_: str, value: bytes | None) -> list[bytes]:
    """The lines of one message, each ended: one, but for the rows of an Arrow stream.

    Args:
        format_: `json`, `msgpack` or `arrow`.
        value: what the message holds; None for a tombstone, by which Kafka's compacted topics delete a key.

    >>> lines_of("json", b'{"a": 1.10}'), lines_of("msgpack", bytes([0x81, 0xA1, 0x61, 0x01]))
    ([b'{"a": 1.10}\\n'], [b'{"a":1}\\n'])
    >>> lines_of("json", None)
    [b'["a message without a value"]\\n']
    """
    if value is None:
        return [no_row("a message without a value")]
    if not value.strip(SPACE):
        return [no_row("an empty message")]
    if len(value) > MESSAGE_BYTES:
        return [no_row(f"a message of {len(value):,} bytes, of {MESSAGE_BYTES:,} that are taken", value)]
    return _FORMATS[format_](value)


def no_row(why: str, value: bytes | str = b"") -> bytes:
    """The line of a message that says no row: why, and what it held, as text or else in base64."""
    kept: list[object] = [why]
    if value:
        text = value if isinstance(value, str) else _text(value[:KEPT_BYTES])
        kept.append({"base64": base64.b64encode(value[:KEPT_BYTES]).decode()} if text is None else text)  # type: ignore[arg-type]
    return _line(kept)


def _text(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _json(value: bytes) -> list[bytes]:
    """Text that goes on as it is, since reading and writing it again could change a number."""
    text = value.strip(SPACE)
    if not text.startswith(b"{") or b"\0" in text:
        return [no_row("no JSON object", value)]
    if b"\n" in text or b"\r" in text:
        if b'"' in _TEXT.sub(b"", text):
            # As a space, it would turn what is no JSON into another text.
            return [no_row("a line break inside a text of JSON", value)]
        text = text.translate(_LINE_BREAKS)
    return [text + b"\n"]


def _msgpack(value: bytes) -> list[bytes]:
    try:
        return [_row(unpack(value))]
    except UnreadableError as error:
        return [no_row(f"no MessagePack: {error}", value)]


def _arrow(value: bytes) -> list[bytes]:
    try:
        lines = list(_arrow_rows(value))
    except UnreadableError as error:
        return [no_row(f"no Arrow stream: {error}", value)]
    return lines or [no_row("an Arrow stream without rows", value)]


def _arrow_rows(value: bytes) -> Iterator[bytes]:
    import pyarrow as pa

    rows = size = 0
    try:
        with pa.ipc.open_stream(value) as stream:
            problem = _unsayable(stream.schema)
            if problem:
                raise UnreadableError(problem)
            for batch in stream:
                batch.validate(full=True)
                rows += batch.num_rows
                # A few bytes can stand for many rows: a dictionary's values, or columns of nothing.
                if rows > ARROW_ROWS:
                    raise UnreadableError(f"more than {ARROW_ROWS:,} rows in a message")
                for start in range(0, batch.num_rows, 1_000):
                    for row in batch.slice(start, 1_000).to_pylist():
                        line = _row(row)
                        size += len(line)
                        if size > ARROW_BYTES:
                            raise UnreadableError(f"more than {ARROW_BYTES:,} bytes of text in a message")
                        yield line
    except (pa.ArrowException, ValueError, OverflowError, OSError, RecursionError) as error:
        raise UnreadableError(type(error).__name__) from None


def _unsayable(schema: Any) -> str | None:
    """What of a schema no line can say."""
    fields = [(field.name, field) for field in schema]
    names = [name for name, _ in fields]
    while fields:
        if len(set(names)) < len(names):
            return "a field stands twice"
        path, field = fields.pop()
        kind = field.type
        names = []
        if not str(kind).startswith(_ARROW_TYPES):
            return f"the field {path[:50]!r} is of a type that JSON has no form for"
        inner = [kind.field(number) for number in range(kind.num_fields)]
        if str(kind).startswith("struct"):
            names = [part.name for part in inner]
        fields += [(f"{path}.{part.name}", part) for part in inner]
    return None


_ARROW_TYPES: Final = (
    "null", "bool", "int", "uint", "halffloat", "float", "double", "decimal", "string", "large_string",
    "binary", "large_binary", "fixed_size_binary", "date32", "timestamp", "time32", "time64", "list<",
    "large_list<", "fixed_size_list<", "struct<", "dictionary<",
)  # fmt: skip


def _row(value: object) -> bytes:
    try:
        return _line(value)
    except ValueError:
        return no_row(
            "a number that is not finite", json.dumps(value, ensure_ascii=False, default=json_value)
        )


def _line(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=json_value)
    return text.encode() + b"\n"


_FORMATS: Final[Mapping[str, Callable[[bytes], list[bytes]]]] = {
    "json": _json,
    "msgpack": _msgpack,
    "arrow": _arrow,
}
