"""What went wrong, where, what was expected and what to do, for everything a user of the platform can meet.

A `GaelpError` carries one `Problem` or many: whoever checks something collects all of its problems before raising.
No problem ever quotes a row's values: a rejected row stands in the dead letter, and nowhere else.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: `what` happened, `where`, what was `expected`, and the `remedy`."""

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
    """One or more problems that stay until somebody acts: trying again does not help."""

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
    """The problem as the kind of error that it is: transient where the operating system's error can pass."""
    return TransientError(problem) if error.errno in PASSING else GaelpError(problem)


def unknown(kind: str, value: str, known: Iterable[str], *, where: str = "") -> Problem:
    """The problem of a `value` that is none of the `known` ones, with the likeliest of them."""
    names = sorted(known)
    close = difflib.get_close_matches(value, names, n=1)
    return Problem(
        what=f"unknown {kind} {value!r}" + (f", did you mean {close[0]!r}?" if close else ""),
        where=where,
        expected="one of " + ", ".join(names) if names else f"no {kind} at all",
    )
