"""How much text a file may hold once it is decompressed, and how much it can hold at most: what reading may take is known before it begins.

A few kilobytes can unfold to any size. What is refused is refused for its size alone, whatever the text says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gaelp_assets.errors import Problem

MAX_RATIO: Final = 1_000
"""How many times its stored size a compressed file may unfold to.

Rows that differ in nothing but a counter unfold to 44 times (gzip) or 157 (zstandard, level 19).
"""
FREE_BYTES: Final = 64 << 20
"""What any compressed file may unfold to: so little costs nobody anything."""
_DEFLATE_RATIO: Final = 1_032  # a byte of gzip makes no more: https://zlib.net/zlib_tech.html


class TextTooLongError(Exception):
    """The text of a file is longer than its `TextLimit` allows."""


@dataclass(frozen=True)
class TextLimit:
    """The limits of one file's text."""

    name: str
    """Of the file, for its ending and for messages."""
    stored: int
    """Its size as stored, in bytes."""
    most: int
    """How long its text may be (`max_unfolded_bytes` of its table)."""

    @property
    def allowed(self) -> int:
        """How many bytes its text may have."""
        return min(self.most, self._by_ratio) if self._compressed else self.most

    @property
    def possible(self) -> int:
        """How many bytes its text can have at most, if it is read to its end."""
        if not self._compressed:
            return min(self.stored, self.allowed)
        if self.name.endswith(".gz"):
            return min(_DEFLATE_RATIO * self.stored, self.allowed)
        return self.allowed

    def exceeded(self, line: int) -> Problem:
        """The problem of a file whose text is longer, found after that line."""
        if self.allowed < self.most:
            return Problem(
                f"the file unfolds to more than {MAX_RATIO:,} times its {self.stored:,} bytes; reading ended after line {line}",
                self.name,
                f"at most {self.allowed:,} bytes of text in a compressed file of that size",
                "If its text is meant to be so long, send it without compression.",
            )
        return Problem(
            f"the file has more than {self.most:,} bytes of text; reading ended after line {line}",
            self.name,
            "at most as much as max_unfolded_bytes of its table says",
            "Send it in several files, or raise max_unfolded_bytes, then: gaelp gateway retry",
        )

    @property
    def _compressed(self) -> bool:
        return self.name.endswith((".gz", ".zst"))

    @property
    def _by_ratio(self) -> int:
        return max(FREE_BYTES, MAX_RATIO * self.stored)
