"""The picture of a relation: y over x, a line for each series, a panel for each facet.

What is drawn is the catalogue's `chart`; here is only how. Matplotlib is imported where it draws, since Dagster loads this module
everywhere.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.model import Chart
from gaelp_assets.warehouse.parameters import ParameterValue
from gaelp_assets.warehouse.ranges import PartitionRange

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gaelp_assets.platform_reader import PlatformReader

# Okabe and Ito's palette (2008), which readers with any kind of colour vision tell apart; without its yellow and black.
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES: Final = ("-", "--", ":", "-.")
ENVIRONMENT: Final = "environment_id"
ROW_LIMIT: Final = 20_000
PANELS: Final = 12
SERIES: Final = len(PALETTE) * len(STYLES)
GREATEST: Final = 1e300
LABEL: Final = 40
"""Characters of the name of a series or a facet."""
# In inches: a panel with its labels and title, what of it these take, and the title above all panels.
PANEL: Final = (3.8, 2.8)
LEFT: Final = 0.68
BELOW: Final = 0.46
ABOVE: Final = 0.24
TITLE: Final = 0.3


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
    columns = ", ".join(f"t.`{name}`" for name in _columns(chart))
    return platform.warehouse.query(
        f"SELECT {columns} FROM {relation.quoted_id} AS t "
        f"WHERE {condition} AND t.`{chart.x}` IS NOT NULL AND t.`{chart.y}` IS NOT NULL ORDER BY {order}",
        parameters,
        labels={"asset": relation.id, "purpose": "chart"},
        row_limit=ROW_LIMIT,
    ).frame


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
    facets = _values(frame, chart.facet)[:PANELS]
    series = _values(frame, chart.series)[:SERIES]
    columns = min(len(facets), 2 if len(facets) == 4 else 3)
    rows = math.ceil(len(facets) / columns)
    labels = [_label(value) for value in series] if chart.series is not None else []
    right = 0.5 + 0.066 * max(len(label) for label in [chart.series or "", *labels]) if labels else 0.1
    width, height = columns * PANEL[0] + right, rows * PANEL[1] + TITLE
    figure = Figure(figsize=(width, height), dpi=dpi)
    canvas: Any = FigureCanvasAgg(figure)  # its methods carry no annotations
    # In inches. Matplotlib's own layout measures every text, which takes as long as all the rest.
    panels = [
        figure.add_axes(
            (
                (place % columns * PANEL[0] + LEFT) / width,
                1 - (TITLE + (place // columns + 1) * PANEL[1] - BELOW) / height,
                (PANEL[0] - LEFT - 0.1) / width,
                (PANEL[1] - BELOW - ABOVE) / height,
            )
        )
        for place in range(len(facets))
    ]
    for panel, facet in zip(panels, facets, strict=False):
        _draw_panel(panel, chart, _only(frame, chart.facet, facet), series)
        # A name is no formula, whatever signs of money are in it: one that is none of Matplotlib's would end the drawing.
        panel.set_title(_label(facet) if chart.facet else "", fontsize=9, parse_math=False)
        panel.set_xlabel(chart.x.replace("_", " "), fontsize=8)
        panel.set_ylabel(chart.y.replace("_", " "), fontsize=8)
    title = _title(relation, chart, environment)
    figure.suptitle(title, fontsize=10, y=1 - 0.06 / height, va="top", parse_math=False)
    if chart.series is not None:
        _draw_legend(figure, panels, chart.series, labels, 1 - (TITLE + ABOVE) / height)
    with warnings.catch_warnings():
        # A name in a script that the font has not is drawn as boxes, beside its curve; no more is to be done about it.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        canvas.draw()
    pixels = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba())
    image = io.BytesIO()
    # A palette image is a third of the size, and every picture is kept in Dagster's event log.
    pixels.convert("RGB").quantize(128, method=Image.Quantize.FASTOCTREE).save(image, format="png")
    return image.getvalue()


def left_out(relation: Relation, frame: pl.DataFrame) -> str:
    """What of these rows the picture has no place for, in words; empty if all of them are on it."""
    chart = _chart(relation)
    limits = ((chart.facet, PANELS), (chart.series, SERIES))
    counts = [(name, frame[name].n_unique(), limit) for name, limit in limits if name is not None]
    texts = [f"{limit} of {number:,} values of {name}" for name, number, limit in counts if number > limit]
    if frame.height == ROW_LIMIT:
        texts.append(f"{ROW_LIMIT:,} rows")
    return f"shown are the first {' and '.join(texts)}" if texts else ""


def _draw_legend(
    figure: Figure, panels: Sequence[Axes], name: str, series: Sequence[str], top: float
) -> None:
    # Not what Matplotlib itself takes for a legend: it leaves out names that start with an underscore.
    lines: dict[str, Artist] = {str(line.get_label()): line for panel in panels for line in panel.get_lines()}
    labels = [label for label in series if label in lines]
    legend = figure.legend(
        [lines[label] for label in labels],
        labels,
        loc="upper right",
        bbox_to_anchor=(1, top),
        borderaxespad=0,
        title=name.replace("_", " "),
        fontsize=8,
        title_fontsize=8,
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _label(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"


def _draw_panel(panel: Axes, chart: Chart, frame: pl.DataFrame, series: Sequence[object]) -> None:
    for number, value in enumerate(series):
        part = _only(frame, chart.series, value)
        if part.is_empty():
            continue
        color = PALETTE[number % len(PALETTE)]
        style = STYLES[number // len(PALETTE) % len(STYLES)]
        x, y = _points(part[chart.x]), _points(part[chart.y])
        # A single point has no line to be seen by.
        marker = "o" if len(x) == 1 else None
        panel.plot(x, y, style, color=color, linewidth=1.4, marker=marker, markersize=4, label=_label(value))
        if chart.low is not None and chart.high is not None:
            band = part.drop_nulls([chart.low, chart.high])
            panel.fill_between(
                _points(band[chart.x]), _points(band[chart.low]), _points(band[chart.high]),
                color=color, alpha=0.15, linewidth=0,
            )  # fmt: skip
    panel.grid(visible=True, color="#dddddd", linewidth=0.6)
    panel.tick_params(labelsize=7)
    for axis in (panel.xaxis, panel.yaxis):
        axis.get_offset_text().set_fontsize(7)
    if frame[chart.x].dtype.is_numeric():
        panel.locator_params(axis="x", nbins=5)
    elif frame[chart.x].dtype.is_temporal():
        _label_dates(panel)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _points(column: pl.Series) -> list[Any]:
    """The values as they are drawn: the distance of the greatest numbers is no number any more, and ended the drawing."""
    return (column.clip(-GREATEST, GREATEST) if column.dtype.is_float() else column).to_list()


def _label_dates(panel: Axes) -> None:
    from matplotlib import dates

    # matplotlib's date classes carry no annotations.
    untyped: Any = dates
    locator = untyped.AutoDateLocator(minticks=1, maxticks=5)
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))


def _chart(relation: Relation) -> Chart:
    if relation.chart is None:
        raise ValueError(f"{relation.id} has no chart")
    return relation.chart


def _columns(chart: Chart) -> list[str]:
    names = (chart.facet, chart.series, chart.x, chart.y, chart.low, chart.high)
    return list(dict.fromkeys(name for name in names if name is not None))


def _title(relation: Relation, chart: Chart, environment: str | None) -> str:
    title = chart.title or f"{relation.name}: {chart.y} over {chart.x}"
    return f"{title} ({environment})" if environment and chart.facet is None else title


def _values(frame: pl.DataFrame, column: str | None) -> list[object]:
    return frame[column].unique().sort().to_list() if column is not None else [None]


def _only(frame: pl.DataFrame, column: str | None, value: object) -> pl.DataFrame:
    if column is None:
        return frame
    matches = frame[column].is_null() if value is None else frame[column] == value
    return frame.filter(matches)
