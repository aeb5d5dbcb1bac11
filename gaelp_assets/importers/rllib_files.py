"""The results of RLlib's trials as Ray Tune writes them: one after the other, each as numbers, texts and lists by name.

`result.json` is one result a line. `progress.csv` has the names in its first line only: after a restore Tune appends values in another
order to it, so a row whose known columns hold what they cannot hold ends the reading.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from gaelp_assets.errors import GaelpError, Problem

RESULTS: Final = "result.json"
PROGRESS: Final = "progress.csv"
PARAMETERS: Final = "params.json"
_CONFIG: Final = "config"

Values: TypeAlias = Mapping[str, object]


@dataclass(frozen=True)
class Result:
    """One result."""

    values: Values
    """By name, the names of nested ones joined by `/`; without the configuration."""
    config: Mapping[str, Any] | None


class BrokenResultsError(Exception):
    """The file is damaged or cut off: every result before was whole.

    Args:
        offset: byte at which the line starts that cannot be read.
        what: what is wrong there, for a message.
    """

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(f"byte {offset}: {what}")
        self.offset = offset
        self.what = what


def results(file: Path) -> Iterator[Result]:
    """The results of `result.json`, or of `progress.csv`.

    Raises:
        BrokenResultsError: after all results that come before the damage.
    """
    return _progress(file) if file.suffix == ".csv" else _lines(file)


def parameters(folder: Path) -> dict[str, Any]:
    """The configuration beside the results; empty where there is none.

    Raises:
        GaelpError: it is no JSON object.
    """
    file = folder / PARAMETERS
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise GaelpError(Problem("is no JSON object", str(file), "the configuration of a trial"))
    return found


def _whole_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    offset = 0
    with file.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                raise BrokenResultsError(offset, "the file ends within a line")
            yield offset, line
            offset += len(line)


def _lines(file: Path) -> Iterator[Result]:
    for offset, line in _whole_lines(file):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise BrokenResultsError(offset, "a line that is no JSON") from None
        if not isinstance(found, dict):
            raise BrokenResultsError(offset, "a line that is no result")
        config = found.pop(_CONFIG, None)
        yield Result(dict(_flat(found, "")), config if isinstance(config, dict) else None)


def _flat(values: Mapping[str, object], before: str) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}/")
        else:
            yield before + name, value


def _progress(file: Path) -> Iterator[Result]:
    names: list[str] | None = None
    for offset, line in _whole_lines(file):
        try:
            cells = next(csv.reader(io.StringIO(line.decode())))
        except (UnicodeDecodeError, csv.Error, StopIteration):
            raise BrokenResultsError(offset, "a line that is no row") from None
        if names is None:
            if "training_iteration" not in cells:
                raise GaelpError(
                    Problem("has no column training_iteration", str(file), "the names of a trial's results")
                )
            names = cells
            continue
        row = dict(zip(names, cells, strict=False))
        wrong = next((name for name, fits in _ANCHORS.items() if name in row and not fits(row[name])), None)
        if len(cells) != len(names):
            raise BrokenResultsError(
                offset,
                f"a row of {len(cells)} cells below {len(names)} names, as Tune writes them after a restore",
            )
        if wrong is not None:
            raise BrokenResultsError(
                offset, f"a row with another thing in the column {wrong}, as Tune writes them after a restore"
            )
        yield Result(
            {name: _cell(text) for name, text in row.items() if text and not name.startswith("config/")}, None
        )


def _cell(text: str) -> object:
    """The number, truth value or list that a cell holds; else its text."""
    if text in {"True", "False"}:
        return text == "True"
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    for of in (int, float):
        try:
            return of(text)
        except ValueError:
            continue
    return text


def _matching(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


_ANCHORS: Final = {
    "training_iteration": _matching(r"[1-9]\d{0,9}"),
    "timestamp": _matching(r"1\d{9}"),
    "date": _matching(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"),
    "done": _matching("True|False"),
    "trial_id": _matching(r"[0-9a-f]+(_\d+)?|default"),
    "pid": _matching(r"\d+"),
    "time_total_s": _matching(r"[0-9.e+-]+"),
    "timesteps_total": _matching(r"\d*"),
    "hostname": _matching(r"(?=.*[^0-9.]).+"),
    "node_ip": _matching(r"[0-9a-fA-F.:]*[.:][0-9a-fA-F.:]*"),
}
"""What columns hold that every row has: whole numbers, moments and names that are hardly mistaken for one another."""
