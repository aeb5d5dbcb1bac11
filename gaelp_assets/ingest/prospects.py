"""Whether a file whose lines are still being read is certain to be set aside: no good line that can still come would save it.

A bound, not a guess: it takes the rest of the file for nothing but the shortest lines that can be rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gaelp_assets.catalog.model import Field, Relation

# The shortest values in JSON: a digit, an empty string or array, a word. Those not named here have quotes, or may have.
_SHORTEST: Final = {"INTEGER": 1, "FLOAT": 1, "NUMERIC": 1, "JSON": 1, "BOOLEAN": 4, "DATE": 12}
_QUOTES: Final = 2


@dataclass(frozen=True)
class Prospect:
    """What can still become of a file."""

    fraction: float
    """The share of its lines that may be rejected."""
    text_bytes: int
    """How long its text can be at most."""
    shortest: int
    """The length of the shortest line that can be a row, without its line end."""

    def is_lost(self, lines: int, rejected: int, end: int) -> bool:
        """Whether too many lines are rejected, whatever comes after byte `end` of the text.

        >>> Prospect(0.5, text_bytes=1000, shortest=99).is_lost(lines=10, rejected=9, end=100)
        False
        >>> Prospect(0.5, text_bytes=1000, shortest=99).is_lost(lines=10, rejected=10, end=100)
        True
        """
        to_come = max(self.text_bytes - end, 0)
        good = -(-to_come // (self.shortest + 1))  # the last line may have no line end
        return rejected > self.fraction * (lines + good)


def shortest_line(relation: Relation) -> int:
    """How many bytes a line must have to be a row: all required fields, with the shortest values of their types."""
    return _object(relation.fields)


def _object(fields: tuple[Field, ...]) -> int:
    parts = [_field(field) for field in fields if field.required]
    return 2 + sum(parts) + max(len(parts) - 1, 0)


def _field(field: Field) -> int:
    name = min(map(len, (field.name, *field.was)))
    value = _object(field.fields) if field.type == "RECORD" else _SHORTEST.get(field.type, _QUOTES)
    return _QUOTES + name + 1 + value
