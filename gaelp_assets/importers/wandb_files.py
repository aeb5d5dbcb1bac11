"""W&B's `.wandb` files, as an offline run leaves them: configuration, history, end.

Behind a header of 7 bytes stand records (`record_log`) that are messages of Protocol Buffers, described in W&B's own
`wandb_internal.proto`, whose numbers of fields stand below. W&B itself has no reader for them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.importers import protobuf, record_log

_HEADER: Final = b":W&B\xe1\xbe\x00"
_HISTORY, _CONFIG, _RUN, _EXIT = 2, 5, 17, 18
_OTHERS: Final = {
    3: "summary",
    4: "console output",
    6: "file",
    7: "system statistic",
    8: "artifact",
    9: "TensorBoard",
    13: "console output",
}


class BrokenFileError(GaelpError):
    """The file is damaged or cut off: every entry before was whole."""


@dataclass
class Log:
    """What a `.wandb` file tells of its run, as far as it has been read."""

    path: Path
    run_id: str = ""
    name: str = ""
    project: str = ""
    host: str = ""
    started: float | None = None
    """Seconds since 1970."""
    config: dict[str, Any] = field(default_factory=dict)
    ended: bool = False
    exit_code: int = 0
    others: Counter[str] = field(default_factory=Counter)
    """Records that are neither history nor the run's own, by what they are."""


@dataclass(frozen=True)
class Entry:
    """The values of one step."""

    offset: int
    """Byte of the file where it starts."""
    step: int
    values: dict[tuple[str, ...], str]
    """JSON texts by key; a nested key has several parts."""


def entries(path: Path, log: Log) -> Iterator[Entry]:
    """The history, entry by entry; `log` is filled on the way.

    Raises:
        GaelpError: it is no such log.
        BrokenFileError: it is damaged or cut off, with the byte from which on.
    """
    with path.open("rb") as file:
        head = file.read(len(_HEADER))
        if head != _HEADER:
            at = next(
                (n for n, (is_, should) in enumerate(zip(head, _HEADER, strict=False)) if is_ != should),
                len(head),
            )
            raise GaelpError(
                Problem(f"byte {at}: no W&B log, or of an unknown version", str(path), "a run-ID.wandb file")
            )
        offset = 0
        try:
            for offset, record in record_log.records(file, start=len(_HEADER)):
                entry = _record(record, offset, log)
                if entry is not None:
                    yield entry
        except record_log.BrokenLogError as error:
            raise _broken(path, error.offset, error.what) from None
        except (ValueError, UnicodeDecodeError) as error:
            raise _broken(path, offset, f"a record that is no message ({error})") from None


def _broken(path: Path, offset: int, what: str) -> BrokenFileError:
    return BrokenFileError(Problem(f"byte {offset} of {path.stat().st_size}: {what}", str(path)))


def _record(record: bytes, offset: int, log: Log) -> Entry | None:
    entry = None
    for number, value in protobuf.fields(record):
        if number == _HISTORY:
            entry = _history(protobuf.nested(value), offset)
        elif number == _RUN:
            _run(protobuf.nested(value), log)
        elif number == _CONFIG:
            _config(protobuf.nested(value), log)
        elif number == _EXIT:
            log.ended = True
            log.exit_code = next((protobuf.signed(code) for n, code in protobuf.nested(value) if n == 1), 0)
        elif number in _OTHERS:
            log.others[_OTHERS[number]] += 1
    return entry


def _history(message: Iterator[tuple[int, protobuf.Value]], offset: int) -> Entry:
    step: int | None = None
    values: dict[tuple[str, ...], str] = {}
    for number, value in message:
        if number == 1:
            key, text = _item(protobuf.nested(value))
            values[key] = text
        elif number == 2:
            # A step of 0 is not written: an empty message.
            step = next((protobuf.signed(count) for n, count in protobuf.nested(value) if n == 1), 0)
    if step is None:
        step = int(json.loads(values.get(("_step",), "-1")))
    return Entry(offset, step, values)


def _run(message: Iterator[tuple[int, protobuf.Value]], log: Log) -> None:
    """The record of a run is written again when something of it changes: what it lacks stays."""
    for number, value in message:
        if number == 1:
            log.run_id = protobuf.text(value)
        elif number == 3:
            log.project = protobuf.text(value)
        elif number == 4:
            _config(protobuf.nested(value), log)
        elif number == 8:
            log.name = protobuf.text(value)
        elif number == 13:
            log.host = protobuf.text(value)
        elif number == 17:
            parts = {n: protobuf.signed(part) for n, part in protobuf.nested(value) if n in {1, 2}}
            log.started = parts.get(1, 0) + parts.get(2, 0) / 1e9


def _config(message: Iterator[tuple[int, protobuf.Value]], log: Log) -> None:
    for number, value in message:
        if number not in {1, 2}:
            continue
        (first, *inner), text = _item(protobuf.nested(value))
        place: dict[str, Any] = log.config
        for part in [first, *inner][:-1]:
            below = place.get(part)
            if not isinstance(below, dict):
                below = place[part] = {}
            place = below
        last = [first, *inner][-1]
        if number == 1:
            place[last] = json.loads(text)
        else:
            place.pop(last, None)


def _item(message: Iterator[tuple[int, protobuf.Value]]) -> tuple[tuple[str, ...], str]:
    """Key and JSON text of an entry of history or configuration."""
    key = ""
    nested: list[str] = []
    text = "null"
    for number, value in message:
        if number == 1:
            key = protobuf.text(value)
        elif number == 2:
            nested.append(protobuf.text(value))
        elif number == 16:
            text = protobuf.text(value)
    return tuple(nested) or (key,), text


def log_files(path: Path) -> list[Path]:
    """The `.wandb` files of a run's folder, or of a folder of several runs, in order of their names; the file itself.

    Raises:
        GaelpError: there is none.
    """
    if path.is_file():
        return [path]
    # `latest-run` is a link to a folder that is found by its own name.
    found = sorted(
        file
        for file in path.rglob("run-*.wandb")
        if not any(part.is_symlink() for part in _below(path, file))
    )
    if not found:
        problem = Problem(
            "no run-ID.wandb file in it", str(path), "the folder of an offline run, or of several: wandb/"
        )
        raise GaelpError(problem)
    return found


def _below(above: Path, file: Path) -> Iterator[Path]:
    while file not in {above, file.parent}:
        yield file
        file = file.parent


def number(text: str) -> float | None:
    """The number of a JSON text; None for what is no number.

    >>> [number(text) for text in ("1.5", "-Infinity", "true", "[1]", '"a"')]
    [1.5, -inf, None, None, None]
    """
    if text[:1] in "-0123456789NI":
        return float(text)
    return None


def name_of(key: tuple[str, ...]) -> str:
    r"""A key as one name: nested parts are joined by dots, and a dot within a part is written `\.`, as W&B's own settings do.

    >>> [name_of(key) for key in (("train/loss",), ("n", "a"), ("n.a",))]
    ['train/loss', 'n.a', 'n\\.a']
    """
    return ".".join(part.replace("\\", "\\\\").replace(".", "\\.") for part in key)
