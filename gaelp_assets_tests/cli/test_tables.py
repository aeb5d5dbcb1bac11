"""Tables on a narrow terminal, and beside a terminal."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from rich.console import Console

from gaelp_assets.cli import tables
from gaelp_assets.cli.query import rows_shown

LONG = "words that go on and on, over the edge of any terminal that is eighty characters wide"


def shown(
    monkeypatch: pytest.MonkeyPatch, columns: list[str], rows: list[list[object]], *, width: int | None
) -> list[str]:
    """The lines of a table on a terminal of that width, or (None) in a pipe."""
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=width is not None, width=width or 240, soft_wrap=True, no_color=True
    )
    monkeypatch.setattr(tables, "OUT", console)
    tables.table("", columns, rows, exact=True)
    text = out.getvalue()
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[0m", "\x1b[3m"):
        text = text.replace(code, "")
    return text.splitlines()


@pytest.mark.parametrize("count", [1, 2, 6, 30])
def test_no_line_is_wider_than_the_terminal_and_no_value_is_lost(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """With 30 columns each had a width of one character, and cut-off lines."""
    columns = [f"a_column_{i}" for i in range(count)]
    lines = shown(monkeypatch, columns, [[f"value_{i} {LONG}" for i in range(count)]] * 2, width=80)
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).replace("│", " ").split())
    for i in range(count):
        assert text.count(f"value_{i} ") == 2
    assert "…" not in text


def test_beside_a_terminal_every_value_stands_in_full_on_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = dt.datetime(2026, 11, 20, 1, 2, 3, 450_000, dt.UTC)
    lines = shown(monkeypatch, ["n", "x", "at", "t"], [[1234567, 0.1 + 0.2, moment, LONG * 20]], width=None)
    assert lines[3] == f"│ 1234567 │ 0.30000000000000004 │ 2026-11-20 01:02:03.45 │ {LONG * 20} │"


def test_text_in_brackets_is_text_in_names_and_values(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "[bold]" in "".join(shown(monkeypatch, ["[bold]"], [["[/]"]], width=80))


def test_rows_that_are_not_shown_are_told() -> None:
    assert rows_shown(1000, 41823).startswith("1,000 of 41,823 rows shown")
    assert rows_shown(1000, None).startswith("1,000 of more rows shown")
    assert rows_shown(0, 0) == "0 rows"
