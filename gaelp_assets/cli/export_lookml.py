"""`gaelp export lookml`: parses, writes the files, says where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gaelp_assets.cli import render
from gaelp_assets.cli.session import current_settings


def lookml(
    folder: Annotated[Path, typer.Argument(help="where the files go; it is made where there is none")],
    connection: Annotated[str, typer.Option(help="Looker's connection to the warehouse")] = "gaelp",
) -> None:
    """Write the catalogue as LookML: a view for each relation, with its measures, and a model that joins by foreign keys.

    Sensitive fields, and what is computed from them, are left out. Files that an earlier export has written are replaced, and removed
    where their relation is gone; others are not touched.

    Exit codes: 0 the files are written; 1 they cannot be, or a file of that name is not one of these.
    """
    from gaelp_assets.operations.lineage import lineage_folder
    from gaelp_assets.operations.lookml import lookml_files, write_lookml
    from gaelp_assets.platform import read_sound_catalog

    settings = current_settings()
    catalog = read_sound_catalog(settings)
    files = lookml_files(catalog, settings.warehouse, lineage_folder(settings), connection=connection)
    written = write_lookml(files, folder)
    render.print_line(f"{len(written)} files in {folder.resolve()}")
