"""`gaelp export parquet` and `gaelp export portal`: parse, write bundles, say where they are."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from gaelp_assets.cli import render
from gaelp_assets.cli.tables import table
from gaelp_assets.errors import GaelpError, Problem


def parquet(
    folder: Annotated[Path, typer.Argument(help="the bundle; it is made, and must not be there yet")],
    run: Annotated[
        list[str] | None, typer.Option(help="only rows of this training run; may be given several times")
    ] = None,
    relation: Annotated[
        list[str] | None,
        typer.Option(
            help="a relation; may be given several times. With --run alone, all that runs have rows in"
        ),
    ] = None,
    first: Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="the first day")] = None,
    last: Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="the last day")] = None,
    environment: Annotated[str | None, typer.Option(help="only slices of this RL environment")] = None,
) -> None:
    """Write rows as Parquet files with a manifest: columns, rows, SHA-256, code and lineage. Sensitive columns are left out.

    Exit codes: 0 the bundle is written; 1 it cannot be, or its folder is there already.
    """
    from gaelp_assets.cli.query import platform_reader
    from gaelp_assets.operations.bundle import Scope, export_parquet, of_runs
    from gaelp_assets.warehouse.ranges import PartitionRange

    if not run and not relation:
        raise GaelpError(Problem("nothing is asked for", expected="--run, --relation, or both"))
    platform = platform_reader()
    relations = [platform.catalog.find(name) for name in relation] if relation else of_runs(platform.catalog)
    days = PartitionRange(
        first.date() if first else platform.settings.first_date,
        last.date() if last else platform.last_date,
        environment,
    )
    with render.progress_of(len(relations)) as show:
        bundle = export_parquet(platform, folder, relations, Scope(days, tuple(run or ())), show)
    table(
        str(folder.resolve()),
        ("relation", "files", "rows", "left out"),
        [
            (e["relation"], len(e["files"]), e["rows"], ", ".join(e["left_out"]))
            for e in bundle.manifest["relations"]
        ],
    )


def portal(
    date: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="the day; yesterday (UTC) if left out")
    ] = None,
) -> None:
    """Put the day's bundle for the Benchmark Portal into the gateway's store: what the catalogue publishes, under a version of its content.

    Exit codes: 0 the bundle is there; 1 it cannot be written, or nothing is published.
    """
    from gaelp_assets.cli.opening import open_for_work
    from gaelp_assets.operations.bundle import publish_day

    platform = open_for_work()
    day = date.date() if date else platform.last_date - dt.timedelta(days=2)
    with tempfile.TemporaryDirectory(prefix="gaelp-bundle-") as folder:
        place, new, bundle = publish_day(platform, day, Path(folder))
    rows = sum(file["rows"] for file in bundle.files)
    told = "" if new else "; it was there already"
    render.print_line(
        f"{len(bundle.files)} files, {rows:,} rows of {day}: {platform.gateway.url}/{place}{told}"
    )
