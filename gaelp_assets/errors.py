"""What went wrong, where, what was expected and what to do, for everything a user of the platform can meet.

A `GaelpError` carries one `Problem` or many: whoever checks something collects all of its problems before raising.
No problem ever quotes a row's values: a rejected row stands in the dead letter, and nowhere else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


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


def unknown(kind: str, value: str, known: Iterable[str], *, where: str = "") -> Problem:
    """The problem of a `value` that is none of the `known` ones, with the likeliest of them."""
    names = sorted(known)
    close = difflib.get_close_matches(value, names, n=1)
    return Problem(
        what=f"unknown {kind} {value!r}" + (f", did you mean {close[0]!r}?" if close else ""),
        where=where,
        expected="one of " + ", ".join(names) if names else f"no {kind} at all",
    )
