"""What is in a panel of a picture: lines over x, or bars and intervals for each x. Where panels stand is told in `charts`.

Matplotlib is imported where it draws, since Dagster loads this module everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, count, pairwise
from typing import TYPE_CHECKING, Any, Final

from gaelp_assets.catalog.model import Chart

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

# Okabe and Ito's palette (2008), which readers with any kind of colour vision tell apart; without its yellow and black.
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES: Final = ("-", "--", ":", "-.")
GREATEST: Final = 1e300
LABEL: Final = 40
"""Characters of the name of a series, a facet or a category."""
CATEGORIES: Final = 24
"""Bars or intervals of a panel, one below the other."""
CROSSED: Final = "× problems"
"""What a legend calls the points that the chart's field `marked` marks."""
WRONG: Final = "#b00020"
"""The colour of crosses."""
NOTES: Final = 4
"""Numbers along a line that tell how many stand behind it from there on."""


def words(name: str) -> str:
    """A field's name as people read it.

    >>> words("mean_return")
    'mean return'
    """
    return name.replace("_", " ")


def label(value: object) -> str:
    """A value as the name of a series, a facet or a category: one line, and not a long one."""
    text = " ".join(str(value).split())
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"


def labels(values: Sequence[object]) -> list[str]:
    """The values as names that differ, in order: by their ends where their starts are alike, or by a number.

    >>> labels(["ppo " * 10 + "seed 1", "ppo " * 10 + "seed 2", "a b", "a  b"])
    ['ppo ppo ppo ppo ppo… ppo ppo ppo seed 1', 'ppo ppo ppo ppo ppo… ppo ppo ppo seed 2', 'a b', 'a b (2)']
    """
    names = [label(value) for value in values]
    counts = Counter(names)
    found: dict[str, None] = {}
    for value, name in zip(values, names, strict=True):
        text = " ".join(str(value).split())
        half = (LABEL - 1) // 2
        cut = f"{text[:half]}…{text[-half:]}" if counts[name] > 1 and len(text) > LABEL else name
        numbered = (f"{cut} ({number})" for number in count(2))
        found[next(one for one in chain([cut], numbered) if one not in found)] = None
    return list(found)


def values_of(frame: pl.DataFrame, column: str | None) -> list[object]:
    """The values of a column, each once and in order; one that stands for all rows where there is no column."""
    return frame[column].unique().sort().to_list() if column is not None else [None]


def categories_of(frame: pl.DataFrame, x: str) -> list[object]:
    """What a panel's bars or intervals are of, as many as there is room for. NaN is not one: it is not even itself."""
    column = frame[x]
    return values_of((column.drop_nans() if column.dtype.is_float() else column).to_frame(), x)[:CATEGORIES]


def only(frame: pl.DataFrame, column: str | None, value: object) -> pl.DataFrame:
    """The rows in which the column has that value; all where there is no column."""
    if column is None:
        return frame
    matches = frame[column].is_null() if value is None else frame[column] == value
    return frame.filter(matches)


def draw_panel(
    panel: Axes, chart: Chart, frame: pl.DataFrame, series: Sequence[object], names: Sequence[str]
) -> None:
    """Draw the rows of one facet.

    Args:
        panel: where.
        chart: what is drawn of a row.
        frame: the rows, in order of x.
        series: the values of the series, of the whole picture, so that each has its colour in every panel.
        names: what the legend calls each of them.
    """
    if chart.mark == "line":
        _draw_lines(panel, chart, frame, series, names)
    else:
        _draw_categories(panel, chart, frame, series, names)
    panel.grid(visible=True, color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=7)
    for axis in (panel.xaxis, panel.yaxis):
        axis.get_offset_text().set_fontsize(7)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def marked_ends(part: pl.DataFrame, chart: Chart) -> list[bool]:
    """For each point of a line, whether it is crossed: the last of neighbours that are marked, since all of them would hide the line."""
    marked = _marked(part, chart)
    return [one and not after for one, after in zip(marked, [*marked[1:], False], strict=True)]


def _draw_lines(
    panel: Axes, chart: Chart, frame: pl.DataFrame, series: Sequence[object], names: Sequence[str]
) -> None:
    for number, (value, name) in enumerate(zip(series, names, strict=True)):
        part = only(frame, chart.series, value)
        if part.is_empty():
            continue
        color, style = _look(number)
        x, y = _points(part[chart.x]), _points(part[chart.y])
        # A single point has no line to be seen by.
        marker = "o" if len(x) == 1 else None
        kept = whole(part, chart.count)
        if all(kept):
            panel.plot(x, y, style, color=color, linewidth=1.4, marker=marker, markersize=4, label=name)
        else:
            # Where fewer runs are left than before, a mean can jump without any run having changed.
            panel.plot(x, y, style, color=color, linewidth=0.9, alpha=0.5)
            full = [value if strong else float("nan") for value, strong in zip(y, kept, strict=True)]
            panel.plot(x, full, style, color=color, linewidth=1.4, marker=marker, markersize=4, label=name)
            _tell_counts(panel, part[chart.count or ""].to_list(), x, y, color)
        if chart.low is not None and chart.high is not None:
            band = part.drop_nulls([chart.low, chart.high])
            panel.fill_between(
                _points(band[chart.x]), _points(band[chart.low]), _points(band[chart.high]),
                color=color, alpha=0.15, linewidth=0,
            )  # fmt: skip
        crossed = part.filter(marked_ends(part, chart))
        if not crossed.is_empty():
            _cross(panel, _points(crossed[chart.x]), _points(crossed[chart.y]))
    if frame[chart.x].dtype.is_numeric():
        panel.locator_params(axis="x", nbins=5)
    elif frame[chart.x].dtype.is_temporal():
        _label_dates(panel)
    panel.set_xlabel(words(chart.x), fontsize=8)
    panel.set_ylabel(words(chart.y), fontsize=8)


def _draw_categories(
    panel: Axes, chart: Chart, frame: pl.DataFrame, series: Sequence[object], names: Sequence[str]
) -> None:
    """Bars or intervals, the first category above; those of one category stand side by side."""
    import polars as pl

    categories = categories_of(frame, chart.x)
    places = {value: place for place, value in enumerate(categories)}
    room = 0.8 / len(series)
    for number, (value, name) in enumerate(zip(series, names, strict=True)):
        part = only(frame, chart.series, value)
        part = part.filter(part[chart.x].is_in(categories, nulls_equal=True))
        if part.is_empty():
            continue
        color, _ = _look(number)
        y = _points(part[chart.y])
        at = [places[x] + room * (number - (len(series) - 1) / 2) for x in part[chart.x].to_list()]
        ranges = _ranges(part, chart)
        if chart.mark == "bar":
            panel.barh(at, y, height=room * 0.9, color=color, label=name)
            if ranges is not None:
                panel.errorbar(y, at, xerr=ranges, fmt="none", ecolor="#444444", elinewidth=1, capsize=2)
        else:
            panel.errorbar(
                y, at, xerr=ranges, fmt="o", color=color, markersize=4, elinewidth=1.6, capsize=3, label=name
            )
        crossed = part.with_columns(pl.Series("_at", at)).filter(_marked(part, chart))
        if not crossed.is_empty():
            _cross(panel, _points(crossed[chart.y]), crossed["_at"].to_list())
    ticks = panel.set_yticks(range(len(categories)), labels(categories))
    for tick in ticks:
        tick.label1.set_parse_math(False)
    panel.set_ylim(len(categories) - 0.5, -0.5)
    panel.locator_params(axis="x", nbins=5)
    panel.set_xlabel(words(chart.y), fontsize=8)


def _look(number: int) -> tuple[str, str]:
    return PALETTE[number % len(PALETTE)], STYLES[number // len(PALETTE) % len(STYLES)]


def whole(part: pl.DataFrame, count: str | None) -> list[bool]:
    """For each point of a series, whether as many stand behind it as behind any other."""
    if count is None:
        return [True] * part.height
    return (part[count] == part[count].max()).fill_null(True).to_list()


def _tell_counts(panel: Axes, counts: Sequence[int | None], x: list[Any], y: list[Any], color: str) -> None:
    changes = [place for place, (before, now) in enumerate(pairwise(counts), 1) if before != now]
    for place in changes[:NOTES]:
        panel.annotate(
            str(counts[place]), (x[place], y[place]), xytext=(0, 4), textcoords="offset points",
            fontsize=6, color=color, ha="center",
        )  # fmt: skip


def _ranges(part: pl.DataFrame, chart: Chart) -> list[list[float]] | None:
    """How far the range goes below and above each value; none where it is not known."""
    if chart.low is None or chart.high is None:
        return None
    # As floats: `GREATEST` is no integer, and no decimal.
    low, y, high = (part[name].cast(float) for name in (chart.low, chart.y, chart.high))
    below = (y - low).clip(0, GREATEST).fill_null(0.0).to_list()
    above = (high - y).clip(0, GREATEST).fill_null(0.0).to_list()
    return [below, above]


def _marked(part: pl.DataFrame, chart: Chart) -> list[bool]:
    if chart.marked is None:
        return [False] * part.height
    return (part[chart.marked].cast(int).fill_null(0) > 0).to_list()


def _cross(panel: Axes, x: list[Any], y: list[Any]) -> None:
    panel.plot(x, y, "x", color=WRONG, markersize=6, markeredgewidth=1.6, label=CROSSED, linestyle="none")


def _points(column: pl.Series) -> list[Any]:
    """The values as they are drawn: the distance of the greatest numbers is no number any more, and ended the drawing."""
    if column.dtype.is_decimal():  # Matplotlib adds floats to them
        column = column.cast(float)
    return (column.clip(-GREATEST, GREATEST) if column.dtype.is_float() else column).to_list()


def _label_dates(panel: Axes) -> None:
    from matplotlib import dates

    # matplotlib's date classes carry no annotations.
    untyped: Any = dates
    locator = untyped.AutoDateLocator(minticks=1, maxticks=5)
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
