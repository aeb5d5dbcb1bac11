"""What all kinds of importers share: what the user says where the source is silent, the tally, and ids and moments as rows have them."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from gaelp_assets.catalog.slices import ENVIRONMENT_ID_ADVICE, ENVIRONMENT_ID_WORDS, parse_environment
from gaelp_assets.errors import GaelpError, Problem


@dataclass(frozen=True)
class Lines:
    """Many rows of one slice that are encoded already: for sources of millions of rows."""

    date: str
    environment_id: str
    number: int
    content: bytes
    """NDJSON, each line with its end."""


Row: TypeAlias = Mapping[str, object] | msgspec.Struct
"""A row by its fields' names; a structure is encoded in half the time of a mapping."""
Rows: TypeAlias = Iterator[tuple[str, Row | Lines]]
"""Each with its table: `training.episodes`."""

ID_LENGTH: Final = 200
RUN_LENGTH: Final = 150
"""Of the id of a run: what it has of episodes and evaluations adds to it."""
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_ID_WORDS: Final = "letters, digits, '.', '_', ':' and '-', a letter or digit first"
_NO_ID: Final = re.compile(r"[^A-Za-z0-9._:-]+")


@dataclass(frozen=True)
class Options:
    """What the user says of the source, each None where it is left to the source."""

    environment: str | None = None
    agent: str | None = None
    run: str | None = None
    algorithm: str | None = None
    at: dt.datetime | None = None
    """When it happened (UTC), for sources without any time; else the time at which the file was written."""
    moments: dict[str, str] = field(default_factory=dict)
    """What `written` has said before, by key; kept from one import to the next."""


@dataclass
class Tally:
    """What became of the source, counted while its rows are taken."""

    read: int = 0
    """Things of the source that were looked at: lines, points, episodes and steps."""
    dropped: Counter[str] = field(default_factory=Counter)
    """What has no row, by reason."""
    notes: list[str] = field(default_factory=list)
    """What is to be known of the rows: `returns are rounded to 6 digits`."""
    damage: list[Problem] = field(default_factory=list)
    """Where the source is damaged or cut off. What comes before is in the rows."""

    def drop(self, reason: str, number: int = 1) -> None:
        """Counts things that have no row."""
        self.dropped[reason] += number

    def note(self, text: str) -> None:
        """Says something of all rows, once."""
        if text not in self.notes:
            self.notes.append(text)

    def damaged(self, what: str, where: str) -> None:
        """Says that the source cannot be read from some byte on: `bytes 4711 of run.tfevents`."""
        self.damage.append(
            Problem(
                what,
                where,
                "a whole file",
                "Copy it again from where it was written, or add --allow-damaged to take what comes before.",
            )
        )


@dataclass(frozen=True)
class Kind:
    """A kind of source."""

    name: str
    reads: str
    """What is read, in words."""
    rows: Callable[[Path, Options, Tally], Rows]
    """Gives the rows.

    Raises:
        GaelpError: the path is no such source, or lacks what its rows need.
    """


def proven(options: Options) -> Options:
    """What the user says, with the environment as the platform spells it.

    Raises:
        GaelpError: an id or the algorithm cannot be one; all that are wrong at once.
    """
    problems = [
        Problem("is no id", f"--{name} {value!r}", f"1 to {length} {_ID_WORDS}")
        for name, value, length in (("run", options.run, RUN_LENGTH), ("agent", options.agent, ID_LENGTH))
        if value is not None and not (len(value) <= length and _ID.fullmatch(value))
    ]
    if options.algorithm is not None and not re.search("[A-Za-z0-9]", options.algorithm):
        problems.append(
            Problem("is no name", f"--algorithm {options.algorithm!r}", "letters, digits and '_'")
        )
    environment = options.environment
    if environment is not None:
        try:
            environment = environment_id(environment, "--environment")
        except GaelpError as error:
            problems += error.problems
    if problems:
        raise GaelpError(*problems)
    return replace(options, environment=environment)


def required(value: str | None, option: str, what: str, path: Path) -> str:
    """What the user has said, or the source; an environment as the platform spells it.

    Raises:
        GaelpError: neither of them has, or it is no environment's id.
    """
    if not value:
        raise GaelpError(
            Problem(
                f"does not say which {what} it is of", str(path), f"the {what}'s id", f"Add --{option} ID."
            )
        )
    return environment_id(value, str(path)) if option == "environment" else value


def environment_id(text: str, where: str) -> str:
    """A registered id as the platform spells it.

    >>> environment_id("ALE/Pong-v5", "a log")
    'ALE.Pong-v5'

    Raises:
        GaelpError: nothing that an id could be.
    """
    try:
        return parse_environment(re.sub(r"[/:| ]", ".", text))
    except ValueError:
        raise GaelpError(
            Problem(
                f"{text!r} is no environment's id",
                where,
                f"{ENVIRONMENT_ID_WORDS}; {ENVIRONMENT_ID_ADVICE}",
                "Give another one with --environment.",
            )
        ) from None


def run_id(options: Options, root: Path, place: Path) -> str:
    """The id of the run that lies at `place`: what the user says, or else the names of the folders from the root on.

    >>> run_id(Options(), Path("/logs/ppo"), Path("/logs/ppo/seed 1"))
    'ppo.seed-1'

    Args:
        options: what the user says.
        root: what the user has named, a file or a folder.
        place: the file or folder of the run, at the root or below it.
    """
    root, place = root.resolve(), place.resolve()
    return options.run or valid_id(".".join([root.name, *place.relative_to(root).parts]), RUN_LENGTH)


def valid_id(text: str, length: int = ID_LENGTH) -> str:
    """The text as an id: what an id cannot hold is `-`, what is too long ends with a digest of the whole.

    >>> valid_id("CartPole-v1__ppo 3/seed=1")
    'CartPole-v1__ppo-3-seed-1'
    """
    found = _NO_ID.sub("-", text).strip("-._:")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    if not found:
        return f"x{digest}"
    return found if len(found) <= length else f"{found[: length - 13]}-{digest}"


def valid_algorithm(text: str) -> str:
    """The text as an algorithm's name.

    >>> valid_algorithm("PPO-Clip")
    'ppo_clip'
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:100] or "other"


def moment(value: dt.datetime | float) -> str:
    """A moment, or seconds since 1970, as rows have it: RFC 3339 in UTC, to the microsecond.

    >>> moment(1.25)
    '1970-01-01T00:00:01.250000Z'
    """
    at = value if isinstance(value, dt.datetime) else dt.datetime.fromtimestamp(value, dt.UTC)
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def day(text: str) -> str:
    """The day of a `moment`."""
    return text[:10]


def written(path: Path, options: Options, tally: Tally, key: str) -> str:
    """When what has no time happened, as a `moment`: what the user says, or else when the file was last written.

    What was said once of a key (the run, and what changes in it) is said again, though the file be copied or grow: rows stay the same.
    """
    said = path.stat().st_mtime if options.at is None else options.at
    found = options.moments.setdefault(key, moment(said if isinstance(said, dt.datetime) else int(said)))
    if options.at is None:
        tally.note(
            "the source keeps no times: the time at which its file was written stands for them; --at says another"
        )
    elif found != moment(options.at):
        tally.note("what was imported before keeps the time that it had; gaelp revise changes it")
    return found


def agent_row(agent: str, options: Options, at: str) -> Rows:
    """The row of an agent whose algorithm the user names. `at` is the first moment of the source: a richer row of later stays."""
    if options.algorithm is not None:
        row = {
            "agent_id": agent,
            "algorithm": valid_algorithm(options.algorithm),
            "created_at": at,
            "updated_at": at,
        }
        yield "training.agents", row


def non_finite(value: float) -> str:
    """What a number that is not finite is called.

    >>> non_finite(float("-inf"))
    '-Infinity'
    """
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def files_of(path: Path, pattern: str, kind: str) -> list[Path]:
    """The file that the path is, or those below the folder that it is whose names match, in order of name.

    Raises:
        GaelpError: there is none.
    """
    if path.is_file():
        return [path]
    found = sorted(found for found in path.rglob(pattern) if found.is_file()) if path.is_dir() else []
    if not found:
        what = "there is no such file or folder" if not path.exists() else f"holds nothing of the kind {kind}"
        raise GaelpError(Problem(what, str(path), f"a file, or a folder with files like {pattern}"))
    return found
