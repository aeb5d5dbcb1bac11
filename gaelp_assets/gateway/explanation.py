"""What `NAME.error.json` says of a file in `failed/`: why it is there, and which of its lines were rejected for which reasons.

It never holds a line, nor a value of one: the file lies beside it. It is bounded, whatever the number of bad lines.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gaelp_assets.errors import Problem

LINES_TOLD: Final = 1_000
"""How many rejected lines are told one by one, about: the first ones of a file, and the first of each rule that these did not break."""
REASONS_TOLD: Final = 5_000
"""How many reasons those lines have together, about."""


class Reason(NamedTuple):
    """Why a line was rejected; `field` is None where the rule is about the line as a whole."""

    field: str | None
    rule: str
    message: str


class Place(NamedTuple):
    """Where a line stands: the file's path without its stage, the line's number from 1, and its byte in the decompressed file from 0."""

    file: str
    line: int
    byte: int


@dataclass(frozen=True)
class RejectedLine:
    """A rejected line of a file that was set aside."""

    line: int
    byte: int
    reasons: tuple[Reason, ...]
    origin: Place | None = None
    """Where the producer wrote it, if the file was sorted out of another one."""


@dataclass(frozen=True)
class RejectedLines:
    """What was read of a file that was set aside for its lines."""

    table: str
    """The relation's id."""
    file: str
    """The file's path without its stage, as the producer named it."""
    read: int
    rejected: int
    to_the_end: bool
    """Whether all of its lines were read: a file that is certain to be set aside is not."""
    reasons: tuple[tuple[Reason, int], ...]
    """Each reason with the number of its lines, the commonest first."""
    lines: tuple[RejectedLine, ...]
    """Those that are told one by one, in the file's order."""


class Explanation(NamedTuple):
    """An error file that was read."""

    problems: tuple[Problem, ...]
    original_name: str
    when: dt.datetime | None
    rejected: RejectedLines | None


def explanation(
    name: str, original_name: str, problems: Iterable[Problem], rejected: RejectedLines | None
) -> bytes:
    """The content of an error file.

    Args:
        name: the file's name in `failed/`.
        original_name: the name that it came with.
        problems: why it is set aside.
        rejected: its rejected lines, if it is set aside for them.
    """
    head = json.dumps(
        {
            "file": name,
            "original_name": original_name,
            "when": dt.datetime.now(dt.UTC).isoformat(),
            "problems": [
                {"what": p.what, "where": p.where, "expected": p.expected, "remedy": p.remedy}
                for p in problems
            ],
        },
        indent=2,
    )
    return (head if rejected is None else _with_lines(head, rejected)).encode()


def _with_lines(head: str, rejected: RejectedLines) -> str:
    """The text with the lines, each on one line of its own."""
    figures = {
        "table": rejected.table,
        "file": rejected.file,
        "lines_read": rejected.read,
        "lines_rejected": rejected.rejected,
        "read_to_the_end": rejected.to_the_end,
        "lines_told": len(rejected.lines),
    }
    reasons = [reason._asdict() | {"lines": lines} for reason, lines in rejected.reasons]
    lines = [
        {"line": told.line, "byte": told.byte}
        | ({"origin": told.origin._asdict()} if told.origin is not None else {})
        | {"reasons": [reason._asdict() for reason in told.reasons]}
        for told in rejected.lines
    ]
    parts = [f'"{key}": {json.dumps(value)}' for key, value in figures.items()]
    parts += [f'"reasons": {_one_a_line(reasons)}', f'"lines": {_one_a_line(lines)}']
    return head.removesuffix("\n}") + ',\n  "rejected": {\n    ' + ",\n    ".join(parts) + "\n  }\n}"


def _one_a_line(items: Sequence[Mapping[str, object]]) -> str:
    return "[\n      " + ",\n      ".join(map(json.dumps, items)) + "\n    ]" if items else "[]"


def read_explanation(content: Any) -> Explanation:
    """What an error file says.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: it is no error file.
    """
    problems = tuple(
        Problem(p["what"], p.get("where", ""), p.get("expected", ""), p.get("remedy", ""))
        for p in content["problems"]
    )
    when = content.get("when")
    found = content.get("rejected")
    return Explanation(
        problems,
        str(content["original_name"]),
        dt.datetime.fromisoformat(when) if isinstance(when, str) else None,
        None if found is None else _rejected(found),
    )


def _rejected(found: Mapping[str, Any]) -> RejectedLines:
    return RejectedLines(
        table=found["table"],
        file=found["file"],
        read=found["lines_read"],
        rejected=found["lines_rejected"],
        to_the_end=found["read_to_the_end"],
        reasons=tuple((_reason(reason), reason["lines"]) for reason in found["reasons"]),
        lines=tuple(
            RejectedLine(
                told["line"],
                told["byte"],
                tuple(map(_reason, told["reasons"])),
                Place(**told["origin"]) if "origin" in told else None,
            )
            for told in found["lines"]
        ),
    )


def _reason(found: Mapping[str, Any]) -> Reason:
    return Reason(found["field"], found["rule"], found["message"])
