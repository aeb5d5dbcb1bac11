"""Monitor files of Stable-Baselines3: each line an episode, with its return, its length, and the seconds since the start.

A run is a folder with a file for each environment of its vector, or one file. A run that goes on in the same file begins to count its
seconds from 0 again, and does not say when.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.importers.source import (
    Kind,
    Options,
    Rows,
    Tally,
    agent_row,
    day,
    files_of,
    moment,
    non_finite,
    required,
    run_id,
)

_COLUMNS: Final = ("r", "l", "t")
_FLAGS: Final = {"True": 1.0, "False": 0.0}


@dataclass
class _Line:
    """An episode as Monitor tells it."""

    file: int
    number: int
    """Of the episode in its file, from 0."""
    at: float
    """Seconds since 1970 at its end."""
    total: float
    length: int
    extras: dict[str, str] = field(default_factory=dict)


def rows(path: Path, options: Options, tally: Tally) -> Rows:
    """The runs of a file, or of the folders below a folder."""
    files = files_of(path, "*monitor.csv", "sb3-monitor")
    runs = [(folder, list(found)) for folder, found in groupby(sorted(files), key=lambda file: file.parent)]
    if len(runs) > 1 and options.run is not None:
        raise GaelpError(
            Problem(
                f"holds the files of {len(runs)} runs",
                str(path),
                "one run for --run",
                "Import each folder by itself.",
            )
        )
    for folder, found in runs:
        run = run_id(options, path, folder) if path.is_dir() else run_id(options, _named(path), _named(path))
        yield from _run(run, found, options, tally)


def _named(file: Path) -> Path:
    """What a file is called by: its own name, or that of its folder where Monitor chose the name."""
    file = file.resolve()
    return (
        file.parent if file.name == "monitor.csv" else file.with_name(file.name.removesuffix(".monitor.csv"))
    )


def _run(run: str, files: Sequence[Path], options: Options, tally: Tally) -> Rows:
    started: list[float] = []
    environments: list[str] = []
    lines: list[_Line] = []
    for index, file in enumerate(files):
        lines += _lines(index, file, started, environments, tally)
    named = sorted(set(environments))
    if options.environment is None and len(named) > 1:
        raise GaelpError(
            Problem(
                f"is of the environments {', '.join(named)}",
                str(files[0].parent),
                "one environment",
                "Import each file by itself.",
            )
        )
    owner = {
        "environment_id": options.environment
        or required(named[0] if named else None, "environment", "environment", files[0]),
        "agent_id": required(options.agent, "agent", "agent", files[0]),
        "training_run_id": run,
    }
    tally.note("returns are rounded to 6 digits by Monitor: they are not the exact sums of rewards")
    tally.note(
        "Monitor does not tell terminated from truncated, nor seeds and policy versions: these are NULL"
    )
    steps = 0
    # A stable order: what ends at the same moment goes by file and line.
    lines.sort(key=lambda line: (line.at, line.file, line.number))
    for index, line in enumerate(lines):
        steps += line.length
        if not math.isfinite(line.total):
            tally.drop("an episode whose return is no finite number")
            continue
        at = moment(line.at)
        yield (
            "training.episodes",
            {
                "episode_id": f"{run}.m{line.file}.e{line.number:06d}",
                "date": day(at),
                **owner,
                "purpose": "training",
                "episode_index": index,
                "global_step": steps,
                "episode_return": line.total,
                "episode_length": line.length,
                "transitions_recorded": False,
                "ended_at": at,
            },
        )
        for name, text in line.extras.items():
            yield from _metric(name, text, steps, at, owner, tally)
    if not lines:
        tally.note(f"{files[0].parent.name or files[0].name} holds no episode")
        return
    last = moment(lines[-1].at)
    yield (
        "training.training_runs",
        {
            **owner,
            "started_at": moment(min(started)),
            "global_step": steps,
            "episode_count": len(lines),
            "config": {"source": {"kind": KIND.name, "files": len(files), "returns_rounded_to_digits": 6}},
            "updated_at": last,
        },
    )
    yield from agent_row(owner["agent_id"], options, moment(min(started)))


def _lines(
    index: int, file: Path, started: list[float], environments: list[str], tally: Tally
) -> Iterator[_Line]:
    start, part, before, number = 0.0, 0.0, 0.0, 0
    names: list[str] | None = None
    offset = 0
    with file.open("rb") as stream:
        for raw in stream:
            here = offset
            while raw.count(b'"') % 2 and (more := stream.readline()):
                raw += more  # a text of an info may hold line breaks
            offset += len(raw)
            where = f"byte {here:,} of {file.name}"
            if not raw.endswith(b"\n"):
                tally.damaged("the file ends within a line", where)
                return
            text = raw.decode("utf-8", "replace").strip()
            if text.startswith("#"):
                head = _head(text, where, tally)
                if head is None:
                    return
                start = part = head[0]
                before, names = 0.0, None
                started.append(start)
                environments += [head[1]] if head[1] else []
            elif not started or not text:
                if text:
                    raise GaelpError(
                        Problem(
                            "is no Monitor file",
                            str(file),
                            'a first line like #{"t_start": ..., "env_id": ...}',
                        )
                    )
            elif names is None:
                names = _cells(text)
                if tuple(names[:3]) != _COLUMNS:
                    raise GaelpError(
                        Problem(
                            f"has the columns {', '.join(names[:3])}",
                            str(file),
                            "r, l and t first, as Monitor writes them",
                        )
                    )
            else:
                tally.read += 1
                cells = _cells(text)
                found = _numbers(cells, names)
                if found is None:
                    tally.damaged("a line that is no episode", where)
                    return
                total, length, seconds = found
                if seconds < before:
                    tally.note(
                        f"{file.name} goes on after a restart of which Monitor keeps no moment: its times count from the end before"
                    )
                    part += before
                before = seconds
                number += 1
                yield _Line(
                    index,
                    number - 1,
                    part + seconds,
                    total,
                    length,
                    dict(zip(names[3:], cells[3:], strict=True)),
                )


def _cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error:
        return []


def _head(text: str, where: str, tally: Tally) -> tuple[float, str | None] | None:
    try:
        head = msgspec.json.decode(text[1:].encode(), type=dict[str, Any])
        return float(head["t_start"]), head.get("env_id") or None
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        tally.damaged("a first line that tells no start", where)
        return None


def _numbers(cells: Sequence[str], names: Sequence[str]) -> tuple[float, int, float] | None:
    try:
        total, length, seconds = float(cells[0]), int(cells[1]), float(cells[2])
    except (ValueError, IndexError):
        return None
    return (total, length, seconds) if len(cells) == len(names) and length > 0 and seconds >= 0 else None


def _metric(name: str, text: str, step: int, at: str, owner: dict[str, str], tally: Tally) -> Rows:
    """An info keyword that Monitor was told to keep."""
    if text in _FLAGS:
        tally.note("flags of infos are 1 and 0 among the metrics")
    try:
        value = _FLAGS[text] if text in _FLAGS else float(text)
    except ValueError:
        tally.drop("a column of an info that is no number")
        return
    row: dict[str, object] = {
        **owner,
        "name": f"monitor/{name}",
        "global_step": step,
        "date": day(at),
        "measured_at": at,
    }
    row |= {"value": value} if math.isfinite(value) else {"non_finite": non_finite(value)}
    yield "training.metrics", row


KIND: Final = Kind(
    "sb3-monitor",
    "Stable-Baselines3's `monitor.csv`, or a folder with those of a vector's environments",
    rows,
)
