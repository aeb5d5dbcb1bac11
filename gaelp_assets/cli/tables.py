"""Tables on the screen and beside it: on a terminal they fit its width, anywhere else every value stands in full."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import polars as pl

# Beside a terminal there is no width to keep to: a table in a file or a pipe is as wide as its values.
UNBOUNDED: Final = 1_000_000
LINE_WIDTH: Final = 240
LONGEST_WORD: Final = 24
"""A column is as wide as its longest word, as far as that is no longer; narrower, and words fall apart."""
_FRAME: Final = 3  # of a column: a line and two spaces
OUT: Final = Console(soft_wrap=True, width=None if sys.stdout.isatty() else LINE_WIDTH)
ERR: Final = Console(stderr=True, soft_wrap=True, width=None if sys.stderr.isatty() else LINE_WIDTH)


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, exact: bool = False
) -> None:
    """A table; numbers to the right, with thousands separators for people.

    Where a terminal is too narrow for all of the columns beside each other, each row becomes a block of lines, one for each column.

    Args:
        title: above the table; none if empty.
        columns: their names.
        rows: the values.
        exact: whether numbers and moments have all their digits.
    """
    plain = exact and not OUT.is_terminal
    texts = [[cell(value, exact=exact, plain=plain) for value in row] for row in rows]
    least = _least_widths(columns, texts) if OUT.is_terminal else [0] * len(columns)
    if sum(least) + _FRAME * len(columns) + 1 > OUT.width and OUT.is_terminal:
        _print_blocks(title, columns, texts)
        return
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))
    ]
    shown = Table(title=escape(title) or None, title_justify="left", header_style="bold")
    for name, right, width in zip(columns, numeric, least, strict=True):
        justify: Literal["left", "right"] = "right" if right else "left"
        shown.add_column(escape(name), justify=justify, overflow="fold", min_width=width)
    for row in texts:
        shown.add_row(*map(escape, row))
    if OUT.is_terminal:
        OUT.print(shown, soft_wrap=False)
    else:
        Console(file=OUT.file, width=UNBOUNDED, soft_wrap=True, color_system=None).print(shown)


def _least_widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """How narrow each column may get."""
    return [
        min(
            LONGEST_WORD,
            max(
                (len(word) for text in (name, *(row[i] for row in rows)) for word in text.split()), default=1
            ),
        )
        for i, name in enumerate(columns)
    ]


def _print_blocks(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The rows one below the other: `column  value`, folded at the terminal's edge."""
    if title:
        OUT.print(f"[italic]{escape(title)}[/]", highlight=False)
    widest = max(map(len, columns), default=0)
    for number, row in enumerate(rows, start=1):
        OUT.rule(f"row {number}", align="left", style="dim")
        block = Table.grid(padding=(0, 2, 0, 0))
        block.add_column(style="bold", width=min(widest, OUT.width // 2), overflow="fold")
        block.add_column(overflow="fold")
        for name, value in zip(columns, row, strict=True):
            block.add_row(escape(name), escape(value))
        OUT.print(block, soft_wrap=False)


def print_frame(frame: pl.DataFrame, total: str) -> None:
    """A query's rows with all their digits, and a line that says how many there are."""
    table("", frame.columns, frame.rows(), exact=True)
    OUT.print(escape(total), highlight=False)


def cell(value: object, *, exact: bool = False, plain: bool = False) -> str:
    """A value as a table shows it.

    Args:
        value: any value of a row.
        exact: whether numbers and moments have all their digits.
        plain: whether integers have no thousands separators.

    >>> cell(1234567), cell(0.1 + 0.2), cell(0.1 + 0.2, exact=True), cell(1234567, plain=True)
    ('1,234,567', '0.3', '0.30000000000000004', '1234567')
    """
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value) if plain else f"{value:,}"
        case float():
            return repr(value) if exact else f"{value:,.4g}"
        case dt.datetime():
            return _moment(value, exact=exact)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case list() | dict():
            return json.dumps(value, default=str, ensure_ascii=False)
        case _:
            return str(value)


def _moment(value: dt.datetime, *, exact: bool) -> str:
    text = value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{value.microsecond:06d}".rstrip("0") if exact and value.microsecond else text
