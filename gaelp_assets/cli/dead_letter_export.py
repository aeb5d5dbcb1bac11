"""`gaelp dead-letter export`: rejected lines, given back to be mended."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from gaelp_assets.cli import render


def dead_letter_export(
    output: Annotated[Path, typer.Option(help="the new file: NAME.ndjson")],
    table: Annotated[
        str | None, typer.Argument(help="DATASET.TABLE, unless all open lines are of one table")
    ] = None,
    rule: Annotated[str | None, typer.Option(help="only those that this rule rejected")] = None,
    batch: Annotated[
        str | None, typer.Option(help="only those of the batch whose id starts so, as `list` shows it")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="also of a table with sensitive fields, whose values lines can hold")
    ] = False,
) -> None:
    """Write a table's rejected lines, exactly as they were sent, to a file that can be mended; their reasons beside it."""
    from gaelp_assets.cli.query import platform_reader
    from gaelp_assets.operations.dead_letter_export import export_lines

    platform = platform_reader(gateway=True)
    relation = platform.catalog.find(table) if table else None
    found = export_lines(platform, output, relation=relation, rule=rule, batch=batch, raw=raw)
    name = found.relation.id
    render.print_line(f"{found.lines:,} lines of {name} in {found.path}, their reasons in {found.reasons}")
    # What was not exported is not to be acknowledged.
    those = "".join(
        f" {option} {quote(value)}" for option, value in (("--rule", rule), ("--batch", batch)) if value
    )
    render.print_line(
        f"Mend them and put the file into raw/{name.replace('.', '/')}/, then: gaelp dead-letter acknowledge {name}{those}"
    )
    if found.files_set_aside:
        render.print_line(
            f"{found.files_set_aside:,} files of {name} are set aside whole, {found.lines_set_aside:,} of these lines are theirs: "
            "their good lines are loaded once the files are mended and put back: gaelp gateway list, gaelp gateway retry"
        )
