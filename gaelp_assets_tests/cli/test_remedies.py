"""Every `gaelp ...` that a message, a description or a page tells a person to type is a command that exists, with its options."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gaelp_assets.cli.main import app
from gaelp_assets.settings import CHECKOUT

ROOT: Any = typer.main.get_command(app)
_SPAN = re.compile(r"`gaelp ([^`\n]+)`")
_PROSE = re.compile(r"(?<![`\w./-])gaelp ((?:[a-z{<\[-][^\s`]*)(?: [^\s`]+)*)")
_BLOCK = re.compile(r"```(?:sh|console|bash)?\n(.*?)```", re.DOTALL)


def wrong(command: str, *, prose: bool) -> str | None:
    """What is wrong with a command, without its `gaelp`; None if it could be typed. In prose it may be followed by other words."""
    try:
        words = [word.strip("[]") for word in shlex.split(command, comments=True)]
    except ValueError:
        words = command.split()
    if prose:
        words = _sentence(words)
    at: Any = ROOT
    while words and getattr(at, "commands", None):
        if words[0] in at.commands:
            at = at.commands[words.pop(0)]
        elif words[0] in {"-h", "--help", "--version", "--install-completion", "--show-completion"}:
            return None
        else:
            return f"no command {words[0]!r}"
    arguments = [p for p in at.params if p.param_type_name == "argument"]
    options = {name: p for p in at.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}
    room = 10**6 if any(p.nargs == -1 for p in arguments) else len(arguments)
    while words:
        word = words.pop(0)
        name, _, value = word.partition("=")
        if word in {"-h", "--help", "OPTIONS", "..."}:
            continue
        if word.startswith("-"):
            if name not in options:
                return f"no option {name!r}"
            if not options[name].is_flag and not value and words:
                words.pop(0)
        elif prose and re.fullmatch("[a-z]+", word):
            return None
        elif room == 0:
            return f"{word!r} is no argument"
        else:
            room -= 1
    return None


def _sentence(words: list[str]) -> list[str]:
    """The words up to the end of the sentence or clause."""
    found: list[str] = []
    for word in words:
        stripped = word.rstrip(".,;:)'\"")
        if stripped:
            found.append(stripped)
        if stripped != word and not word.endswith("..."):
            break
    return found


def texts(path: Path) -> Iterator[str]:
    """The strings of a Python file without its docstrings; what is filled in stands as X."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    yield from (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner
    )


def in_text(text: str) -> Iterator[tuple[str, bool]]:
    """The commands of a text, and whether other words may follow."""
    yield from ((found[1], False) for found in _SPAN.finditer(text))
    yield from ((found[1], True) for found in _PROSE.finditer(_SPAN.sub("", text)))


def in_page(text: str) -> Iterator[str]:
    """The commands of a page's code."""
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            command = line.strip().removeprefix("$ ")
            if command.startswith("gaelp "):
                yield command.removeprefix("gaelp ")
    yield from _SPAN.findall(_BLOCK.sub("", text))


def test_the_commands_in_messages_exist() -> None:
    found = {
        f"{path.relative_to(CHECKOUT)}: gaelp {command}": problem
        for folder in ("gaelp_assets", "resources", "sensors")
        for path in sorted((CHECKOUT / folder).rglob("*.py"))
        for text in texts(path)
        for command, prose in in_text(text)
        if (problem := wrong(command, prose=prose))
    }
    assert found == {}


def test_the_commands_in_pages_exist() -> None:
    pages = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
    found = {
        f"{path.relative_to(CHECKOUT)}: gaelp {command}": problem
        for path in pages
        for command in in_page(path.read_text(encoding="utf-8"))
        if (problem := wrong(command, prose=False))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See: gaelp dead-letter list training.episodes", [None]),
        ("See: gaelp dead-letter lst", ["no command 'lst'"]),
        ("Then: gaelp ingest training.episodes", ["'training.episodes' is no argument"]),
        ("`gaelp deploy --relaod x`, then `gaelp ingest`.", ["no option '--relaod'", None]),
        ("gaelp ingest --wait waits for them", [None]),
        ("gaelp revise, gaelp wihdraw).", [None, "no command 'wihdraw'"]),
    ],
)
def test_what_is_wrong_with_a_command_is_found(text: str, expected: list[str | None]) -> None:
    found = []
    while match := re.search(r"gaelp", text):
        [(command, prose), *_] = in_text(text[max(match.start() - 1, 0) :])
        found.append(wrong(command, prose=prose))
        text = text[match.end() :]
    assert found == expected
