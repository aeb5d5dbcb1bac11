"""`gaelp revise` and `gaelp withdraw`: parse, call, print."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gaelp_assets.cli import render
from gaelp_assets.errors import GaelpError, Problem

if TYPE_CHECKING:
    from gaelp_assets.operations.correct import Corrected
    from gaelp_assets.platform import Platform


def revise(
    platform: Platform, table: str, files: Sequence[Path], batch: str | None, reason: str
) -> list[Corrected]:
    """Revises a table by each of the files."""
    from gaelp_assets.operations import correct
    from gaelp_assets.warehouse.ledger import Note

    if batch is not None and len(files) > 1:
        raise GaelpError(Problem(f"{len(files)} files with --batch", expected="one file"))
    relation = platform.catalog.find(table)
    note = Note(getpass.getuser(), reason)
    done = [correct.revise(platform, relation, file, note, batch=batch or "") for file in files]
    _print(done)
    return done


def withdraw(
    platform: Platform, table: str, batch: str | None, key: Sequence[str], reason: str
) -> list[Corrected]:
    """Withdraws a batch, or the row with a key."""
    from gaelp_assets.operations import correct
    from gaelp_assets.warehouse.ledger import Note

    if (batch is None) == (not key):
        raise GaelpError(Problem("it is not said what to withdraw", expected="either --batch or --key"))
    relation = platform.catalog.find(table)
    note = Note(getpass.getuser(), reason)
    if batch is not None:
        done = correct.withdraw_batch(platform, relation, batch, note)
    else:
        done = correct.withdraw_key(platform, relation, _fields(key), note)
    _print([done])
    return [done]


def _fields(key: Sequence[str]) -> dict[str, str]:
    parts = [part.partition("=") for part in key]
    if not all(equals for _, equals, _ in parts):
        raise GaelpError(Problem("a --key without '='", expected="--key FIELD=VALUE"))
    return {name: value for name, _, value in parts}


def _print(done: Sequence[Corrected]) -> None:
    for item in done:
        slices = ", ".join(map(str, item.slices[:5])) + (" ..." if len(item.slices) > 5 else "")
        if not item.changed:
            render.print_line(f"{item.relation_id}, {slices}: it is in force already; nothing has changed")
            continue
        render.print_line(f"{item.relation_id}, {slices}: {item.name} is in force")
        render.print_line(
            f"{item.superseded:,} lines of these slices are superseded and {item.withdrawn:,} withdrawn, in all"
        )
