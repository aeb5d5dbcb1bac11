"""`gaelp revise` and `gaelp withdraw`: parse, call, print."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gaelp_assets.cli import render
from gaelp_assets.cli.loading import load_pending, report_checks
from gaelp_assets.cli.opening import open_for_work
from gaelp_assets.errors import GaelpError, Problem

if TYPE_CHECKING:
    from gaelp_assets.operations.correct import Corrected
    from gaelp_assets.platform import Platform


def revise(
    table: Annotated[str, typer.Argument(help="DATASET.TABLE")],
    files: Annotated[list[Path], typer.Argument(help="NDJSON files with all rows of the new version")],
    reason: Annotated[str, typer.Option(help="why, for the ledger; name no values in it")],
    batch: Annotated[
        str | None,
        typer.Option(
            help="name or batch id of what the file stands in the place of; by default its own name"
        ),
    ] = None,
) -> None:
    """Put files in the place of what was loaded before, which stays in sent/ and counts no more."""
    platform = open_for_work()
    _after_corrections(platform, _revised(platform, table, files, batch, reason))


def withdraw(
    table: Annotated[str, typer.Argument(help="DATASET.TABLE")],
    reason: Annotated[str, typer.Option(help="why, for the ledger; name no values in it")],
    batch: Annotated[str | None, typer.Option(help="every row of the file of this name or batch id")] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE: the row with this key, one option for each field")
    ] = None,
) -> None:
    """Take rows out for good: the row with a key, or every row of a file. Resends and rebuilds do not bring them back."""
    platform = open_for_work()
    _after_corrections(platform, _withdrawn(platform, table, batch, key or (), reason))


def _after_corrections(platform: Platform, done: Sequence[Corrected]) -> None:
    """Refreshes what is derived from the corrected slices, and tells Dagster how the tables' checks stand."""
    changed = sorted({item.relation_id for item in done if item.changed})
    if not changed:
        return
    report_checks(platform, [platform.catalog[name] for name in changed])
    if code := load_pending(platform, refresh_only=True):
        raise typer.Exit(code)


def _revised(
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


def _withdrawn(
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
