"""The picture of a relation, as PNG: a panel for each facet, in each of them its series.

What is drawn is the catalogue's `chart`; here is only how, and in `panels` what is in a panel. Matplotlib is imported where it draws,
since Dagster loads this module everywhere.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.model import Chart
from gaelp_assets.operations.panels import (
    CATEGORIES,
    CROSSED,
    PALETTE,
    STYLES,
    categories_of,
    draw_panel,
    labels,
    only,
    values_of,
    words,
)
from gaelp_assets.warehouse.parameters import ParameterValue
from gaelp_assets.warehouse.ranges import PartitionRange

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gaelp_assets.platform_reader import PlatformReader

ENVIRONMENT: Final = "environment_id"
ROW_LIMIT: Final = 20_000
PANELS: Final = 12
SERIES: Final = len(PALETTE) * len(STYLES)
# In inches: a panel with its labels and title, what of it these take, and the title above all panels.
PANEL: Final = (3.8, 2.8)
LEFT: Final = 0.68
BELOW: Final = 0.46
ABOVE: Final = 0.24
TITLE: Final = 0.3


class _PanelSize(NamedTuple):
    """In inches; `left` is what of the width the labels of the vertical axis take."""

    width: float
    height: float
    left: float


def chart_frame(platform: PlatformReader, relation: Relation, environment: str | None) -> pl.DataFrame:
    """The rows to draw: one environment's, or all, over all dates.

    Args:
        platform: where the relation is read.
        relation: one with a `chart` in the catalogue.
        environment: the id of the environment; None for all of them.

    Returns:
        The columns that the chart names, panel by panel and line by line in order of x, without rows whose x or y is NULL; at most
        `ROW_LIMIT` rows, so that the lines that there is no room for are missing, and no line lacks its end.
    """
    chart = _chart(relation)
    condition, parameters = condition_of(platform, relation, environment)
    order = ", ".join(f"t.`{name}`" for name in (chart.facet, chart.series, chart.x) if name is not None)
    columns = ", ".join(f"t.`{name}`" for name in chart.fields)
    return platform.warehouse.query(
        f"SELECT {columns} FROM {relation.quoted_id} AS t "
        f"WHERE {condition} AND t.`{chart.x}` IS NOT NULL AND t.`{chart.y}` IS NOT NULL ORDER BY {order}",
        parameters,
        labels={"asset": relation.id, "purpose": "chart"},
        row_limit=ROW_LIMIT,
    ).frame


def tells_environments(relation: Relation) -> bool:
    """Whether the relation is sliced by environments, or tells them in a column of the usual name."""
    by = relation.partitioning
    return (by is not None and by.environment is not None) or ENVIRONMENT in relation.field_names


def condition_of(
    platform: PlatformReader, relation: Relation, environment: str | None
) -> tuple[str, dict[str, ParameterValue]]:
    """The condition that rows of `t` are of the environment, and its parameters.

    Relations that are no slices of environments tell theirs in a column of its usual name.
    """
    scope = PartitionRange(platform.settings.first_date, platform.last_date, environment)
    condition, parameters = scope.condition(relation, "t")
    sliced = relation.partitioning is not None and relation.partitioning.environment is not None
    if environment is not None and not sliced and ENVIRONMENT in relation.field_names:
        return f"{condition} AND t.`{ENVIRONMENT}` = @environment", {**parameters, "environment": environment}
    return condition, parameters


def draw(relation: Relation, frame: pl.DataFrame, environment: str | None, *, dpi: int = 80) -> bytes:
    """The chart of these rows, as PNG (10 to 60 kB at 80 dots an inch), with the first `PANELS` facets and `SERIES` series at most."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    chart = _chart(relation)
    facets = values_of(frame, chart.facet)[:PANELS]
    series = values_of(frame, chart.series)[:SERIES]
    names = series_names(chart, frame, series)
    categories = [] if chart.mark == "line" else labels(categories_of(frame, chart.x))
    size = _panel_size(chart, categories, len(series))
    columns = min(len(facets), 2 if len(facets) == 4 or categories else 3)
    rows = math.ceil(len(facets) / columns)
    heading = [words(chart.series or ""), *names] if any(names) else []
    right = 0.5 + 0.066 * max(map(len, heading)) if heading else 0.1
    width, height = columns * size.width + right, rows * size.height + TITLE
    figure = Figure(figsize=(width, height), dpi=dpi)
    canvas: Any = FigureCanvasAgg(figure)  # its methods carry no annotations
    # In inches. Matplotlib's own layout measures every text, which takes as long as all the rest.
    panels = [
        figure.add_axes(
            (
                (place % columns * size.width + size.left) / width,
                1 - (TITLE + (place // columns + 1) * size.height - BELOW) / height,
                (size.width - size.left - 0.1) / width,
                (size.height - BELOW - ABOVE) / height,
            )
        )
        for place in range(len(facets))
    ]
    for panel, facet, name in zip(panels, facets, labels(facets), strict=True):
        draw_panel(panel, chart, only(frame, chart.facet, facet), series, names)
        # A name is no formula, whatever signs of money are in it: one that is none of Matplotlib's would end the drawing.
        panel.set_title(name if chart.facet else "", fontsize=9, parse_math=False)
    title = title_of(relation, chart, environment)
    figure.suptitle(title, fontsize=10, y=1 - 0.06 / height, va="top", parse_math=False)
    if heading:
        _draw_legend(figure, panels, words(chart.series or ""), names, 1 - (TITLE + ABOVE) / height)
    with warnings.catch_warnings():
        # A name in a script that the font has not is drawn as boxes, beside its curve; no more is to be done about it.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        canvas.draw()
    pixels = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba())
    image = io.BytesIO()
    # A palette image is a third of the size, and every picture is kept in Dagster's event log.
    pixels.convert("RGB").quantize(128, method=Image.Quantize.FASTOCTREE).save(image, format="png")
    return image.getvalue()


def series_names(chart: Chart, frame: pl.DataFrame, series: Sequence[object]) -> list[str]:
    """What a legend calls each series: its value and, where the chart counts, how many stand behind its points."""
    names = []
    for value, text in zip(series, labels(series), strict=True):
        name = text if chart.series is not None else ""
        if chart.count is not None:
            counts = only(frame, chart.series, value)[chart.count].drop_nulls().sort()
            if len(counts):
                least, most = int(counts[0]), int(counts[-1])
                told = f"{most:,}" if least == most else f"{most:,} to {least:,}"
                name = f"{name}: {told} {words(chart.count)}" if name else f"{told} {words(chart.count)}"
        names.append(name)
    return names


def left_out(relation: Relation, frame: pl.DataFrame) -> str:
    """What of these rows the picture has no place for, in words; empty if all of them are on it."""
    chart = _chart(relation)
    limits = [(chart.facet, PANELS), (chart.series, SERIES)]
    if chart.mark != "line":
        limits.append((chart.x, CATEGORIES))
    counts = [(name, frame[name].n_unique(), limit) for name, limit in limits if name is not None]
    texts = [f"{limit} of {number:,} values of {name}" for name, number, limit in counts if number > limit]
    if frame.height == ROW_LIMIT:
        texts.append(f"{ROW_LIMIT:,} rows")
    return f"shown are the first {' and '.join(texts)}" if texts else ""


def _draw_legend(
    figure: Figure, panels: Sequence[Axes], name: str, series: Sequence[str], top: float
) -> None:
    # Not what Matplotlib itself takes for a legend: it leaves out names that start with an underscore.
    drawn: dict[str, Artist] = {}
    for panel in panels:
        # A bar or an interval is a group of artists, which Matplotlib's annotations do not know as one.
        shown: list[Any] = [*panel.get_lines(), *panel.containers]
        for artist in shown:
            drawn.setdefault(str(artist.get_label()), artist)
    labels = [text for text in series if text in drawn] + [text for text in (CROSSED,) if text in drawn]
    legend = figure.legend(
        [drawn[text] for text in labels],
        labels,
        loc="upper right",
        bbox_to_anchor=(1, top),
        borderaxespad=0,
        title=name,
        fontsize=8,
        title_fontsize=8,
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _panel_size(chart: Chart, categories: Sequence[str], series: int) -> _PanelSize:
    if chart.mark == "line":
        return _PanelSize(*PANEL, LEFT)
    left = 0.3 + 0.062 * max(map(len, categories), default=0)
    return _PanelSize(left + 3.2, BELOW + ABOVE + max(1.0, len(categories) * max(0.22, 0.12 * series)), left)


def _chart(relation: Relation) -> Chart:
    if relation.chart is None:
        raise ValueError(f"{relation.id} has no chart")
    return relation.chart


def title_of(relation: Relation, chart: Chart, environment: str | None) -> str:
    """What stands above the picture."""
    title = chart.title or f"{relation.name}: {chart.y} over {chart.x}"
    return f"{title} ({environment})" if environment and chart.facet is None else title
