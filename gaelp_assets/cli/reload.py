"""`gaelp deploy --reload`: parse, call, print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gaelp_assets.cli import render
from gaelp_assets.errors import GaelpError, Problem

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform


def reload_tables(platform: Platform, names: Sequence[str], *, alone: bool, accept_loss: bool) -> None:
    """Drops tables and puts all of their files into the queue again; `alone` if nothing else was asked for.

    Raises:
        GaelpError: something else was asked for too, a table is unknown, or its rows would not all come back.
    """
    from gaelp_assets.operations.reload import reload_table

    if not alone:
        problem = Problem("--reload is done by itself", "gaelp deploy", "neither --dry-run nor --replace")
        raise GaelpError(problem)
    for relation in [platform.catalog.find(name) for name in names]:
        done = reload_table(platform, relation, accept_loss=accept_loss)
        render.print_line(
            f"{done.files} files of {done.relation_id} wait to be sorted and loaded: gaelp ingest"
        )
