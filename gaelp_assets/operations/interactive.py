"""The picture of a relation for a browser: a Vega-Lite specification for each of its panels, and the script that draws them.

What is drawn, and in which colours, is as in `panels`. Names of series and of what they are over are values in it, never parts of an
expression. Altair and vl-convert are imported where they are used.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.model import Chart
from gaelp_assets.operations.charts import PANELS, SERIES, series_names
from gaelp_assets.operations.panels import (
    GREATEST,
    PALETTE,
    WRONG,
    categories_of,
    label,
    labels,
    marked_ends,
    only,
    values_of,
    whole,
    words,
)

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

DASHES: Final = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3))
"""Of lines, in pixels: readers who cannot tell two colours apart tell these."""
HEIGHT: Final = 240
"""Of a panel of lines, in pixels."""
ROW_HEIGHT: Final = 22


@dataclass(frozen=True)
class Swatch:
    """A series in the legend: its key in the panels' data, what it is called, and how it looks."""

    key: str
    name: str
    color: str
    dashed: bool


@dataclass(frozen=True)
class Panel:
    """What is drawn for one facet: its title and its Vega-Lite specification."""

    title: str
    specification: dict[str, Any]


@dataclass(frozen=True)
class Interactive:
    """A picture: its legend, empty where there is one series without a name, and its panels."""

    swatches: list[Swatch]
    panels: list[Panel]


def interactive(relation: Relation, frame: pl.DataFrame) -> Interactive:
    """The chart of these rows for a browser, with as many facets and series as the PNG has.

    Args:
        relation: one with a `chart` in the catalogue.
        frame: the rows, as `charts.chart_frame` returns them.
    """
    chart = relation.chart
    if chart is None:
        raise ValueError(f"{relation.id} has no chart")
    series = values_of(frame, chart.series)[:SERIES]
    names = series_names(chart, frame, series)
    swatches = [
        Swatch(str(number), name, PALETTE[number % len(PALETTE)], number % len(DASHES) > 0)
        for number, name in enumerate(names)
    ]
    panels = []
    facets = values_of(frame, chart.facet)[:PANELS]
    for facet, name in zip(facets, labels(facets), strict=True):
        part = only(frame, chart.facet, facet)
        title = name if chart.facet is not None else ""
        panels.append(Panel(title, _specification(relation, chart, part, series, title)))
    return Interactive(swatches if any(names) else [], panels)


@cache
def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script of about 0.9 MB that needs no network and sets `window.vegaEmbed`."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _specification(
    relation: Relation,
    chart: Chart,
    frame: pl.DataFrame,
    series: Sequence[object],
    title: str,
) -> dict[str, Any]:
    import altair as alt

    categories = [] if chart.mark == "line" else categories_of(frame, chart.x)
    keys = [str(number) for number in range(len(series))]
    rows = _rows(chart, frame, series, categories)
    # The legend's boxes set it.
    shown = alt.param(name="shown", value=keys)
    data = alt.Chart(alt.InlineData(values=rows)).transform_filter("indexof(shown, datum.series) >= 0")
    layers = (
        _lines(data, chart, frame, keys)
        if chart.mark == "line"
        else _categories(data, chart, keys, categories)
    )
    picture = alt.layer(*layers).add_params(shown)
    if chart.mark == "line":
        # Not by the wheel alone: that moves the page.
        zoom = alt.selection_interval(bind="scales", zoom="wheel![event.shiftKey]")
        picture = picture.add_params(zoom).properties(height=HEIGHT)
    else:
        picture = picture.properties(
            height={"step": ROW_HEIGHT / max(1, len(keys)) if len(keys) == 1 else 14}
        )
    over = "over" if chart.mark == "line" else "for each"
    what = f"{words(chart.y)} {over} {words(chart.x)}"
    described = f"{relation.id}{': ' + title if title else ''}, {what}, {len(series)} series"
    specification: dict[str, Any] = picture.properties(width="container", description=described).to_dict()
    specification.pop("config", None)
    return specification


def _lines(data: alt.Chart, chart: Chart, frame: pl.DataFrame, keys: Sequence[str]) -> list[alt.Chart]:
    import altair as alt

    x = _axis(chart.x, frame[chart.x])
    y = alt.Y("y:Q", title=words(chart.y), scale=alt.Scale(zero=False))
    look = {"color": _color(keys), "detail": alt.Detail("series:N")}
    dash = alt.StrokeDash(
        "series:N",
        scale=alt.Scale(domain=keys, range=[list(DASHES[i % len(DASHES)]) for i in range(len(keys))]),
        legend=None,
    )
    layers = []
    if chart.low is not None and chart.high is not None:
        band = data.mark_area(opacity=0.15, aria=False)
        layers.append(band.encode(x=x, y=alt.Y("low:Q", title=words(chart.y)), y2="high:Q", **look))
    if chart.count is not None:
        layers.append(
            data.mark_line(opacity=0.5, strokeWidth=1, aria=False).encode(x=x, y=y, strokeDash=dash, **look)
        )
    strong = alt.Y("strong:Q", title=words(chart.y), scale=alt.Scale(zero=False))
    layers.append(data.mark_line(strokeWidth=2, aria=False).encode(x=x, y=strong, strokeDash=dash, **look))
    # What is pointed at: the points of a line are too small to be hit.
    # A single one has no line to be seen by.
    opacity = alt.condition("datum.alone", alt.value(1), alt.value(0))
    points = data.mark_circle(size=70).encode(x=x, y=y, opacity=opacity, tooltip=_tooltip(chart), **look)
    return [*layers, points, *_crosses(data, chart, x, y)]


def _categories(
    data: alt.Chart, chart: Chart, keys: Sequence[str], categories: Sequence[object]
) -> list[alt.Chart]:
    import altair as alt

    across = alt.Y("x:N", title=words(chart.x), sort=labels(categories))
    offset = alt.YOffset("series:N", scale=alt.Scale(domain=list(keys)))
    # Not stacked: two rows of one place are not a sum.
    along = alt.X("y:Q", title=words(chart.y), scale=alt.Scale(zero=chart.mark == "bar"), stack=None)
    place = {"y": across, "yOffset": offset}
    tooltip = _tooltip(chart)
    layers = []
    if chart.mark == "bar":
        layers.append(data.mark_bar().encode(x=along, color=_color(keys), tooltip=tooltip, **place))
    if chart.low is not None and chart.high is not None:
        rule = data.mark_rule(strokeWidth=2 if chart.mark == "interval" else 1, aria=False)
        ends = {"x": alt.X("low:Q", title=words(chart.y)), "x2": alt.X2("high:Q")}
        # On a bar of its own colour a range would not be seen.
        color = _color(keys) if chart.mark == "interval" else alt.value("#888888")
        layers.append(rule.encode(color=color, **ends, **place))
    if chart.mark == "interval":
        layers.append(data.mark_circle(size=60).encode(x=along, color=_color(keys), tooltip=tooltip, **place))
    return [*layers, *_crosses(data, chart, along, across, yOffset=offset)]


def _crosses(data: alt.Chart, chart: Chart, x: Any, y: Any, **place: Any) -> list[alt.Chart]:
    import altair as alt

    if chart.marked is None:
        return []
    cross = alt.Chart(data.data).transform_filter("indexof(shown, datum.series) >= 0 && datum.crossed")
    shape = cross.mark_point(shape="cross", angle=45, size=80, filled=True, color=WRONG)
    return [shape.encode(x=x, y=y, tooltip=_tooltip(chart), **place)]


def _color(keys: Sequence[str]) -> alt.Color:
    import altair as alt

    colors = [PALETTE[number % len(PALETTE)] for number in range(len(keys))]
    return alt.Color("series:N", scale=alt.Scale(domain=list(keys), range=colors), legend=None)


def _axis(name: str, column: pl.Series) -> alt.X:
    import altair as alt

    if column.dtype.is_temporal():
        return alt.X("x:T", title=words(name), scale=alt.Scale(type="utc"), axis=alt.Axis(tickCount=5))
    kind = "Q" if column.dtype.is_numeric() else "N"
    scale = alt.Scale(zero=False, nice=False) if kind == "Q" else alt.Scale()
    return alt.X(f"x:{kind}", title=words(name), scale=scale)


def _tooltip(chart: Chart) -> list[alt.Tooltip]:
    import altair as alt

    told = [("name", chart.series), ("told_x", chart.x), ("told_y", chart.y), ("told_range", chart.low)]
    told += [("count", chart.count), ("marked", chart.marked)]
    titles = {"told_range": "range"}
    return [
        alt.Tooltip(f"{key}:N", title=titles.get(key, words(field)))
        for key, field in told
        if field is not None
    ]


def _rows(
    chart: Chart,
    frame: pl.DataFrame,
    series: Sequence[object],
    categories: Sequence[object],
) -> list[dict[str, object]]:
    """A row for each point, under names that do not depend on the catalogue; texts for what is told of it."""
    found: list[dict[str, object]] = []
    places = dict(zip(categories, labels(categories), strict=True))
    for number, (value, name) in enumerate(zip(series, labels(series), strict=True)):
        part = only(frame, chart.series, value)
        if categories:
            part = part.filter(part[chart.x].is_in(categories, nulls_equal=True))
        ends = marked_ends(part, chart)
        for row, strong, end in zip(part.rows(named=True), whole(part, chart.count), ends, strict=True):
            y = _number(row[chart.y])
            point: dict[str, object] = {
                "series": str(number),
                "x": places[row[chart.x]] if categories else _value(row[chart.x]),
                "y": y,
                "told_x": _told(row[chart.x]),
                "told_y": _told(row[chart.y]),
            }
            if chart.series is not None:
                point["name"] = name
            if chart.mark == "line":
                point |= {"strong": y if strong else None, "alone": part.height == 1, "crossed": end}
            if chart.low is not None and chart.high is not None:
                low, high = row[chart.low], row[chart.high]
                point |= {"low": _number(low), "high": _number(high)}
                point["told_range"] = f"{_told(low)} to {_told(high)}" if low is not None else ""
            if chart.count is not None:
                point["count"] = row[chart.count]
            if chart.marked is not None:
                marked = int(row[chart.marked] or 0)
                point["marked"] = marked
                point.setdefault("crossed", marked > 0)
            found.append(point)
    return found


def _number(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(max(-GREATEST, min(GREATEST, value)))


def _value(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, dt.date):
        return value.isoformat()
    if value is None or isinstance(value, bool | str):
        return label(value)
    return _number(value)


def _told(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return label(value) if value is not None else ""
