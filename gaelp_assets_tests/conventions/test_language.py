"""The project's prose is plain: words that send a reader to a dictionary, and have a simple one beside them, are not used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gaelp_assets.settings import CHECKOUT

PLAIN: Final = {
    "anew": "again",
    "at leisure": "nothing",
    "for ever": "always, or never again",
    "herein": "here",
    "lets itself": "can be",
    "meanwhile": "while that happens",
    "thereby": "by that",
    "whereof": "of which",
    "whoever": "who, or a process that",
}
"""Word -> what to write in its place."""

_ANY: Final = "|".join(PLAIN).replace(" ", r"\s+")
_WORDS: Final = re.compile(rf"(?<![a-z])(?:{_ANY})(?![a-z])", re.IGNORECASE)
_ENDINGS: Final = {".py", ".md", ".json", ".sql", ".yaml", ".toml", ".cpp", ".hpp", ".css"}
_NOT_OURS: Final = {"build", "site", "dist"}


def _texts(folder: Path = CHECKOUT) -> Iterator[Path]:
    """The project's own files, without hidden folders and what is built."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _NOT_OURS or path.is_symlink():
            continue
        if path.is_dir():
            yield from _texts(path)
        elif path.suffix in _ENDINGS or path.name == "Makefile":
            yield path


def _found(text: str) -> list[str]:
    """`line: word`, for each word of the list."""
    return [f"{text.count(chr(10), 0, match.start()) + 1}: {match[0]}" for match in _WORDS.finditer(text)]


def test_the_prose_is_plain() -> None:
    found = {
        path.relative_to(CHECKOUT).as_posix(): words
        for path in _texts()
        if path != Path(__file__) and (words := _found(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("made anew", ["1: anew"]),
        ("a renewal\nfor every row, wherein it stands", []),
        ("changed_meanwhile\n\nfor\never", ["1: meanwhile", "3: for\never"]),
        ("Whoever", ["1: Whoever"]),
    ],
)
def test_words_are_found_whole_in_names_and_over_line_ends(text: str, found: list[str]) -> None:
    assert _found(text) == found
