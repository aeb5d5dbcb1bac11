"""TensorBoard's logs: every scalar a row of `training.metrics`. Each folder that holds event files itself is a run.

A run that was restarted has a file for each start, with the steps in between twice: those of the later file stay. Memory is that of the
steps seen: 8 bytes a scalar.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.importers import logged
from gaelp_assets.importers.event_files import BrokenEventsError, Points, Reader
from gaelp_assets.importers.logged import Owner
from gaelp_assets.importers.source import (
    Kind,
    Lines,
    Options,
    Rows,
    Tally,
    agent_row,
    files_of,
    required,
    run_id,
)

_TABLE: Final = "training.metrics"
_PATTERN: Final = "*tfevents*"
_LATEST: Final = 253_402_300_799.0
"""The end of the year 9999, in seconds since 1970."""
_OLD: Final = "a step that a later file of the run has as well"
_TWICE: Final = "a second value of a name at one step of one file"


@dataclass(frozen=True)
class Run:
    """A folder with event files."""

    id: str
    """The names of the folders from the path on."""
    folder: Path
    files: tuple[Path, ...]
    """In the order in which they were begun."""


def runs(path: Path, options: Options, kind: str) -> list[Run]:
    """The runs of a file or folder.

    Raises:
        GaelpError: there is none, or one name stands for several.
    """
    files = files_of(path, _PATTERN, kind)
    found = []
    for folder, its in groupby(
        sorted(files, key=lambda file: (file.parent, _begun(file))), lambda file: file.parent
    ):
        root = path.parent if path.is_file() else path
        found.append(Run(run_id(options, root, folder), folder, tuple(its)))
    if options.run and len(found) > 1:
        raise GaelpError(logged.several_runs(len(found), path))
    ids: dict[str, Path] = {}
    for run in found:
        if ids.setdefault(run.id, run.folder) != run.folder:
            raise GaelpError(
                Problem(
                    f"gives two runs the id {run.id}: {ids[run.id].name} and {run.folder.name}",
                    str(path),
                    "folders whose names differ in more than the characters that an id cannot hold",
                    "Import each folder by itself, with --run.",
                )
            )
    return found


def _begun(file: Path) -> tuple[int, str]:
    """When the writer began the file: the seconds stand in its name."""
    found = re.search(r"tfevents\.(\d+)", file.name)
    return (int(found[1]) if found else 0), file.name


def rows(path: Path, options: Options, tally: Tally) -> Rows:
    """The metrics of each run, and its row.

    Raises:
        GaelpError: no event file, or no environment and agent.
    """
    first = ""
    for run in runs(path, options, KIND.name):
        owner = Owner(
            run.id,
            required(options.agent, "agent", "agent", run.folder),
            required(options.environment, "environment", "environment", run.folder),
        )
        reader = Reader()
        yield from metrics(run, owner, reader, tally)
        row = run_row(run, owner, reader, KIND.name, tally)
        if row is not None:
            first = min(first or "9", str(row["started_at"]))
            yield "training.training_runs", row
    if first and options.agent:
        yield from agent_row(options.agent, options, first)


def run_row(run: Run, owner: Owner, reader: Reader, kind: str, tally: Tally) -> dict[str, object] | None:
    """The row of a run whose files have been read; None, with a note, where they hold no event."""
    first, last = logged.moment_of(reader.first), logged.moment_of(reader.last)
    if first is None or last is None:
        tally.note(f"{run.id} holds no event: it gets no row")
        return None
    return {
        "training_run_id": owner.training_run_id,
        "agent_id": owner.agent_id,
        "environment_id": owner.environment_id,
        "started_at": first,
        "config": {"source": {"kind": kind, "files": len(run.files)}},
        "updated_at": last,
    }


def metrics(run: Run, owner: Owner, reader: Reader, tally: Tally) -> Rows:
    """The rows of all scalars of a run; what is left out is counted."""
    seen = _Seen()
    # The last file first: what it has is what stays.
    for file in reversed(run.files):
        for points in readable(reader, file, tally):
            tally.read += len(points.step)
            kept = _possible(points, reader, tally)
            new = seen.new(points.name, points.step, kept, tally)
            yield from _lines(points, new, owner, reader)
        seen.next_file()
    if tally.dropped[_OLD]:
        tally.note(
            "a run was restarted: if it was imported before that, other values of known steps are rejected; gaelp revise puts them in "
            "their place"
        )
    for what, number in sorted(reader.others.items()):
        tally.read += number
        tally.drop(f"not a scalar: {what}", number)


def readable(reader: Reader, file: Path, tally: Tally | None) -> Iterator[Points]:
    """The scalars of a file up to where it is damaged, which the tally is told, where there is one."""
    try:
        yield from reader.points(file)
    except BrokenEventsError as error:
        if tally is not None:
            tally.damaged(error.what, f"byte {error.offset:,} of {file.name}")


def _possible(points: Points, reader: Reader, tally: Tally) -> NDArray[np.bool_]:
    """Which of them can be rows."""
    timed = (points.at > 0) & (points.at < _LATEST)
    stepped = points.step >= 0
    named = np.array([logged.why_not(name, 0) is None for name in reader.names], np.bool_)[points.name]
    for mask, reason in (
        (timed, "a scalar without a moment"),
        (stepped | ~timed, "a step below 0"),
        (named | ~timed | ~stepped, f"a name of no or more than {logged.NAME_LENGTH} characters"),
    ):
        if not mask.all():
            tally.drop(reason, int((~mask).sum()))
    return timed & stepped & named


def _lines(points: Points, new: NDArray[np.bool_], owner: Owner, reader: Reader) -> Rows:
    if not new.any():
        return
    value = points.value[new]
    finite = np.isfinite(value)
    at = points.at[new]
    # As `moment` rounds: the fraction alone, which is exact until then.
    micros = np.floor(at).astype(np.int64) * 1_000_000 + np.rint((at - np.floor(at)) * 1e6).astype(np.int64)
    days = micros // 86_400_000_000
    frame = pl.DataFrame(
        {
            "training_run_id": pl.repeat(owner.training_run_id, len(value), eager=True),
            "name": pl.Series(reader.names).gather(points.name[new]),
            "global_step": points.step[new],
            "date": pl.Series(days.astype(np.int32)).cast(pl.Date).dt.strftime("%Y-%m-%d"),
            "environment_id": pl.repeat(owner.environment_id, len(value), eager=True),
            "agent_id": pl.repeat(owner.agent_id, len(value), eager=True),
            "value": pl.Series(value),
            "measured_at": pl.Series(np.datetime_as_string(micros.astype("datetime64[us]"))) + "Z",
            "non_finite": pl.Series(
                np.select([finite, np.isnan(value), value > 0], ["", "NaN", "Infinity"], "-Infinity")
            ),
        }
    )
    # Rows with and without a number have other fields.
    for mask, without in ((finite, "non_finite"), (~finite, "value")):
        for date in np.unique(days[mask]):
            part = frame.filter(pl.Series(mask & (days == date))).drop(without)
            buffer = io.BytesIO()
            part.write_ndjson(buffer)
            yield (
                _TABLE,
                Lines(str(part["date"][0]), owner.environment_id, len(part), buffer.getvalue()),
            )


@dataclass
class _Seen:
    """The steps of each name that have rows. Most often they only grow, and nothing has to be looked up."""

    last: dict[int, int] = field(default_factory=dict)
    """The greatest step of each name."""
    steps: dict[int, list[NDArray[np.int64]]] = field(default_factory=dict)
    earlier: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    """Those of the files before this one."""

    def next_file(self) -> None:
        """What was seen so far is of another file than what comes."""
        for name in self.steps:
            self.earlier[name] = self._all(name)

    def new(
        self, names: NDArray[np.int64], steps: NDArray[np.int64], kept: NDArray[np.bool_], tally: Tally
    ) -> NDArray[np.bool_]:
        """Which of those that are kept have no row yet; counts the others."""
        new = kept.copy()
        places = np.flatnonzero(kept)
        places = places[np.argsort(names[places], kind="stable")]
        bounds = np.flatnonzero(np.diff(names[places])) + 1
        for its in np.split(places, bounds) if len(places) else []:
            name, found = int(names[its[0]]), steps[its]
            if found[0] <= self.last.get(name, -1) or (np.diff(found) <= 0).any():
                fresh = np.zeros(len(found), np.bool_)
                fresh[np.unique(found, return_index=True)[1]] = True
                fresh &= ~np.isin(found, self._all(name))
                new[its] = fresh
                old = int(np.isin(found, self.earlier.get(name, found[:0])).sum())
                for reason, number in ((_OLD, old), (_TWICE, int((~fresh).sum()) - old)):
                    if number:
                        tally.drop(reason, number)
                found = found[fresh]
            if len(found):
                self.last[name] = max(self.last.get(name, -1), int(found.max()))
                self.steps.setdefault(name, []).append(found)
        return new

    def _all(self, name: int) -> NDArray[np.int64]:
        pieces = self.steps.get(name, [])
        if len(pieces) > 1:
            pieces[:] = [np.concatenate(pieces)]
        return pieces[0] if pieces else np.zeros(0, np.int64)


KIND: Final = Kind(
    "tensorboard", "TensorBoard's event files, or a folder with those of one run or several", rows
)
