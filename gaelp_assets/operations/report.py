"""`gaelp report`: the platform's pictures and figures as one HTML page that needs no network, to keep or to send.

What is on it follows from the catalogue: every relation with a `chart` is drawn, every other derived relation that is a single slice (a
ranking, say) is a table, and each loaded table has its line. Columns that the catalogue calls sensitive are on none of them.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.operations.charts import chart_frame, condition_of, draw, left_out
from gaelp_assets.operations.rejects import listed_lines
from gaelp_assets.operations.status import PlatformStatus, read_status
from gaelp_assets.platform_reader import PlatformReader

if TYPE_CHECKING:
    import polars as pl

ROWS: Final = 50
"""Rows of a table on the page."""
DPI: Final = 120
TIMES: Final = ("DATE", "DATETIME", "TIMESTAMP")


@dataclass(frozen=True)
class Section:
    """A relation on the page: its picture as PNG, or else its first rows."""

    relation: Relation
    picture: bytes | None = None
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    note: str = ""
    """What of it is not on the page."""


def shown(catalog: Catalog) -> list[Relation]:
    """The relations that have a place on the page, in its order: what has a picture, then other derived tables of one slice."""
    charted = [relation for relation in catalog if relation.chart is not None]
    # Curves over steps are what most people look for.
    charted.sort(key=lambda r: r.chart is not None and r.field(r.chart.x).type in TIMES)
    return charted + [
        r for r in catalog.derived if r.chart is None and r.partitioning is None and r.is_stored
    ]


def sections(
    platform: PlatformReader,
    environment: str | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Section]:
    """The relations that have something to show, pictures first.

    Args:
        platform: what is read.
        environment: the only environment to show; None for all.
        on_progress: is told the id of each relation before it is read.
    """
    for relation in shown(platform.catalog):
        on_progress(relation.id)
        read = chart_frame if relation.chart is not None else _rows
        frame = read(platform, relation, environment)
        if frame.is_empty():
            continue
        if relation.chart is not None:
            picture = draw(relation, frame, environment, dpi=DPI)
            yield Section(relation, picture=picture, note=left_out(relation, frame))
        else:
            first = [tuple(_text(value) for value in row) for row in frame.head(ROWS).rows()]
            note = f"{ROWS:,} of {frame.height:,} rows shown" if frame.height > ROWS else ""
            yield Section(relation, columns=tuple(frame.columns), rows=first, note=note)


def _rows(platform: PlatformReader, relation: Relation, environment: str | None) -> pl.DataFrame:
    condition, parameters = condition_of(platform, relation, environment)
    names = ", ".join(f"t.`{found.name}`" for found in relation.fields if not found.sensitive)
    order = ", ".join(f"t.`{name}`" for name in (relation.primary_key or relation.field_names[:1]))
    return platform.warehouse.query(
        f"SELECT {names} FROM {relation.quoted_id} AS t WHERE {condition} ORDER BY {order}",
        parameters,
        labels={"asset": relation.id, "purpose": "report"},
        row_limit=10_000,
    ).frame


def html(
    platform: PlatformReader,
    *,
    environment: str | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> str:
    """The page, whole: pictures as data in it, no script, nothing from elsewhere.

    Raises:
        GaelpError: gateway or warehouse cannot be read.
    """
    import jinja2

    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("gaelp_assets.operations", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    pages.filters["data_uri"] = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}"
    pages.filters["text"] = _text
    found = list(sections(platform, environment, on_progress))
    on_progress("status")
    status = read_status(platform)
    return pages.get_template("report.html").render(
        sections=found,
        environment=environment,
        status=status,
        attention=_attention(status, listed_lines(platform)),
        made_at=status.at,
        version=version("gaelp-assets"),
    )


def _attention(status: PlatformStatus, rejected: int) -> list[str]:
    """What the reader of the pictures should know is not in them."""
    waiting = sum(
        count.files
        for stage, count in status.stages.items()
        if stage.value in {"raw", "transformed", "cloud_ready"}
    )
    texts = [
        (waiting, "files wait to be loaded: gaelp ingest"),
        (
            len(status.out_of_range),
            "of them have dates before GAELP_FIRST_DATE or in the future, and no run takes them",
        ),
        (len(status.failures), "files are set aside: gaelp gateway list"),
        (rejected, "lines were rejected: gaelp dead-letter list"),
        (sum(count.slices for count in status.derived), "derived slices wait for a refresh: gaelp ingest"),
    ]
    return [f"{number:,} {text}" for number, text in texts if number]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return str(value)
