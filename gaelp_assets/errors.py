"""What went wrong, where, what was expected and what to do, for everything a user of the platform can meet.

A `GaelpError` carries one `Problem` or many: a check collects all of its problems before it raises. No problem ever quotes a row's
values: a rejected row is in the dead letter, and nowhere else. Exceptions that only signal something between two parts of the platform,
such as `ObjectChanged`, do not belong here: they are beside the part that raises them.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, for a person who can act on it.

    Args:
        what: what happened, without a capital letter or a full stop.
        where: the file, relation, field or setting; empty where there is only one place.
        expected: what would have been right.
        remedy: what to do, as whole sentences.

    >>> print(Problem("no such folder", "GAELP_GATEWAY", "a folder that exists", "Create it, and try again."))
    GAELP_GATEWAY: no such folder; expected a folder that exists. Create it, and try again.
    """

    what: str
    where: str = ""
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.expected:
            text += f"; expected {self.expected}"
        if self.remedy:
            text += f". {self.remedy}"
        return text


class GaelpError(Exception):
    """One or more problems that stay until somebody acts: trying again does not help.

    >>> error = GaelpError(Problem("too short", "name"), Problem("unknown type", "field"))
    >>> print(error)
    name: too short
    field: unknown type
    >>> [problem.where for problem in error.problems], error.permanent
    (['name', 'field'], True)
    """

    permanent = True

    def __init__(self, *problems: Problem) -> None:
        if not problems:
            raise ValueError("an error has at least one problem")
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class TransientError(GaelpError):
    """Problems that can go away by themselves, such as a locked database or a full disk: try again later."""

    permanent = False


FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
PASSING: Final = FULL | {
    errno.EIO, errno.ESTALE, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.ENETDOWN, errno.ENETUNREACH, errno.ENOTCONN, errno.EBUSY, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
}  # fmt: skip
"""Errors of the operating system that can go away by themselves: a full disk, a share out of reach."""


def of_the_system(error: OSError, problem: Problem) -> GaelpError:
    """The problem as the kind of error that it is: transient where the operating system's error can pass.

    >>> type(of_the_system(OSError(errno.ENOSPC, "No space left on device"), Problem("the file was not written"))).__name__
    'TransientError'
    """
    return TransientError(problem) if error.errno in PASSING else GaelpError(problem)


def unknown(kind: str, value: str, known: Iterable[str], *, where: str = "") -> Problem:
    """The problem of a `value` that is none of the `known` ones, with the one that looks most like it.

    >>> print(unknown("stage", "sended", ["raw", "sent"]))
    unknown stage 'sended', did you mean 'sent'?; expected one of raw, sent
    """
    names = sorted(known)
    close = difflib.get_close_matches(value, names, n=1)
    return Problem(
        what=f"unknown {kind} {value!r}" + (f", did you mean {close[0]!r}?" if close else ""),
        where=where,
        expected="one of " + ", ".join(names) if names else f"no {kind} at all",
    )


def origin(error: BaseException) -> str:
    """Where an error came from that nobody foresaw, for a log: its kind and the last places. Its text may quote a row, and is left out."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    places = ", ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames[-12:])
    return f"{type(error).__name__} at {places}"
