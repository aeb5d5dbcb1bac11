"""`gaelp report`: the platform's pictures and figures as one HTML page that needs no network, to keep or to send.

Pictures are drawn in the browser, where series can be hidden and points asked; without scripts the same ones are images. Below each are
its values as a table, which is what keyboards and screen readers read.

What is on it follows from the catalogue: every relation with a `chart` is drawn, every other derived relation that is a single slice (a
ranking, say) is a table, and each loaded table has its line. Columns that the catalogue calls sensitive are on none of them.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.operations.charts import chart_frame, condition_of, draw, left_out, tells_environments
from gaelp_assets.operations.interactive import Interactive, interactive, script
from gaelp_assets.operations.rejects import listed_lines
from gaelp_assets.operations.status import PlatformStatus, read_status
from gaelp_assets.platform_reader import PlatformReader

if TYPE_CHECKING:
    import polars as pl

ROWS: Final = 200
"""Rows of a table on the page."""
DPI: Final = 120
TIMES: Final = ("DATE", "DATETIME", "TIMESTAMP")


@dataclass(frozen=True)
class Section:
    """A relation on the page: its picture, twice, and its first rows."""

    relation: Relation
    picture: bytes | None = None
    """As PNG, where scripts do not run; None where the relation has none."""

    interactive: Interactive | None = None
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    more: int = 0
    """Rows that the table has no place for."""

    note: str = ""
    """What the picture has no place for."""

    @property
    def title(self) -> str:
        """What stands above it."""
        return (self.relation.chart.title if self.relation.chart is not None else "") or self.relation.id


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
        # What does not tell environments is not of one.
        if environment is not None and not tells_environments(relation):
            continue
        read = chart_frame if relation.chart is not None else _rows
        frame = read(platform, relation, environment)
        if frame.is_empty():
            continue
        section = Section(
            relation,
            columns=tuple(frame.columns),
            rows=[tuple(_text(value) for value in row) for row in frame.head(ROWS).rows()],
            more=max(0, frame.height - ROWS),
        )
        if relation.chart is not None:
            section = replace(
                section,
                picture=draw(relation, frame, environment, dpi=DPI),
                interactive=interactive(relation, frame),
                note=left_out(relation, frame),
            )
        yield section


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
    """The page, whole: pictures and the script that draws them are in it, nothing is from elsewhere, and its policy allows nothing else.

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
    templates = files("gaelp_assets.operations") / "templates"
    scripts = [script(), (templates / "report.js").read_text(encoding="utf-8")]
    found = list(sections(platform, environment, on_progress))
    on_progress("status")
    status = read_status(platform)
    return pages.get_template("report.html").render(
        sections=found,
        scripts=scripts,
        digests=[base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts],
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
