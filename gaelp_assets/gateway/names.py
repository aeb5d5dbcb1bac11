"""Names of stored objects, whatever the store: which are refused, which are unfinished, and how they are shown."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from gaelp_assets.errors import GaelpError, Problem

EXPORTS: Final = "exports"
"""The folder beside the stages where bundles for other systems lie."""
RECORDINGS: Final = "recordings"
"""The folder beside the stages where recorders keep what is no row: their journals, observations by reference, checkpoints."""

LIVE: Final = "live-"
"""What the names of files start with that a receiver hands in and loads by itself."""
LIVE_TIME: Final = dt.timedelta(seconds=60)
"""So long is a live file left to the receiver that wrote it: a run of Dagster for each would be many, and late."""

_LATER: Final = re.compile(
    r"\.(?:rev|withdraw|replay)-[0-9]+(?:~[0-9a-f]+)?\.(?:ndjson(?:\.gz|\.zst)?|json)\Z"
)


def is_live(name: str) -> bool:
    """Whether a receiver of streamed rows has written the file, by its name or path.

    >>> is_live("raw/training/metrics/live-push-1f.ndjson"), is_live("raw/training/metrics/part-0.ndjson")
    (True, False)

    What corrects such a file, or replays lines of it, came by another way:

    >>> is_live("raw/training/metrics/live-push-1f.rev-2.ndjson")
    False
    """
    last = name.rpartition("/")[2]
    return last.startswith(LIVE) and not _LATER.search(last)


def is_left(name: str, modified: dt.datetime, live_until: dt.datetime | None) -> bool:
    """Whether an object is left to the receiver that wrote it: a live file that is younger than that moment."""
    return live_until is not None and modified > live_until and is_live(name)


def is_unfinished(name: str) -> bool:
    """Whether its writer has not finished it: a part of the name starts with a dot, or the name ends in `.tmp`.

    >>> [is_unfinished(name) for name in ("raw/a.ndjson", "raw/a.ndjson.tmp", "raw/.part/a.ndjson")]
    [False, True, True]
    """
    if name.endswith(".tmp"):
        return True
    # ".." is no unfinished file: it could lead out of the gateway, and is reported where a store can hold it.
    return "." in name and any(part.startswith(".") and part not in {".", ".."} for part in name.split("/"))


def escape_problem(name: str) -> Problem | None:
    """What would let the name point outside of its store, or to nothing that a store can hold; None if it is sound."""
    if not name or "\0" in name or any(part in {"", ".", ".."} for part in name.split("/")):
        return Problem(
            f"the name {shown(name)!r} is refused",
            expected='folders and a file name separated by "/", without "..", ".", empty parts and NUL',
        )
    return None


def check_new_name(name: str) -> None:
    r"""Refuses a name that an object must not get.

    Raises:
        GaelpError: the name leads out of the store, is unfinished by its looks, or has a backslash (a separator elsewhere).
    """
    problem = escape_problem(name)
    if problem is None and ("\\" in name or is_unfinished(name)):
        problem = Problem(
            f"the name {shown(name)!r} is refused",
            expected="no backslash, no part that starts with a dot, and no .tmp at the end",
        )
    if problem:
        raise GaelpError(problem)


def shown(name: str) -> str:
    r"""The name as it can be printed anywhere: undecodable bytes and control characters as `\xNN` or `\uNNNN`.

    >>> print(shown("two\nlines"))
    two\nlines
    """
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in name
    )
