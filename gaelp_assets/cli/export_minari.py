"""`gaelp export minari`: parses, writes the dataset, says how to open it and what is not in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gaelp_assets.cli import render


def minari(
    dataset_id: Annotated[str, typer.Argument(help="its name in Minari, such as gaelp/cartpole-v0")],
    run: Annotated[list[str], typer.Option(help="the id of a training run; may be given several times")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            envvar="MINARI_DATASETS_PATH",
            help="the folder with Minari's datasets; ~/.minari/datasets if left out",
        ),
    ] = None,
) -> None:
    """Write the episodes of training runs as a dataset that `minari.load_dataset` opens.

    Episodes without recorded steps, unfinished ones, and those whose steps are not all there are left out, and counted.

    Exit codes: 0 the dataset is written; 1 it cannot be, or its name is taken.
    """
    from gaelp_assets.cli.query import platform_reader
    from gaelp_assets.operations.export_minari import export_minari

    usual = Path.home() / ".minari" / "datasets"
    found = export_minari(platform_reader(), dataset_id, run, output or usual)
    render.print_line(f"{found.episodes:,} episodes, {found.steps:,} steps: {found.folder.resolve()}")
    for reason, count in sorted(found.left_out.items()):
        render.print_line(f"left out: {count:,} {reason}")
    where = "" if (output or usual) == usual else f" with MINARI_DATASETS_PATH={(output or usual).resolve()}"
    render.print_line(f'Open it{where}: minari.load_dataset("{dataset_id}")')
