"""`gaelp import`: parses and prints; what is read stands in `importers`, what is done with it in `operations.importing`."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from gaelp_assets.cli import render
from gaelp_assets.cli.tables import table
from gaelp_assets.errors import GaelpError, Problem


def import_(
    kind: Annotated[
        str,
        typer.Argument(
            help="sb3-monitor, sb3-evaluations, tensorboard, minari, mlflow, wandb, rllib, cleanrl or d4rl"
        ),
    ],
    path: Annotated[Path, typer.Argument(help="the file or folder")],
    environment: Annotated[
        str | None, typer.Option(help="the RL environment's id, where the source is silent")
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="the agent's id; by default named after what the source tells")
    ] = None,
    run: Annotated[str | None, typer.Option(help="the run's id; by default named after the source")] = None,
    algorithm: Annotated[str | None, typer.Option(help="the algorithm, where the source is silent")] = None,
    at: Annotated[
        str | None, typer.Option(help="when it happened, as 2026-11-20T12:00:00Z, for sources without times")
    ] = None,
    allow_damaged: Annotated[
        bool, typer.Option("--allow-damaged", help="take what comes before a damage")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read and report, hand nothing over")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Hand over what other tools recorded: Monitor files, evaluations, TensorBoard logs, datasets, other trackers' runs."""
    from gaelp_assets.cli.opening import open_for_work
    from gaelp_assets.importers.kinds import kind as kind_of
    from gaelp_assets.importers.source import Options
    from gaelp_assets.operations.importing import import_rows, out_of_reach

    found = kind_of(kind)
    platform = open_for_work(make=True)
    options = Options(environment, agent, run, algorithm, _moment(at))
    with render.counting("rows read") as on_progress:
        done = import_rows(
            platform.gateway, found, path, options,
            allow_damaged=allow_damaged, dry_run=dry_run, on_progress=on_progress,
        )  # fmt: skip
    notes = done.tally.notes + out_of_reach(
        platform.catalog, done, platform.settings.first_date, platform.last_date
    )
    damage = [str(problem) for problem in done.tally.damage]
    if as_json:
        report = {
            "kind": kind,
            "path": str(path),
            "read": done.tally.read,
            "rows": dict(done.rows),
            "sampled": 0,
            "dropped": dict(done.tally.dropped),
            "damage": damage,
            "notes": notes,
            "files_handed_over": done.written,
            "files_known_before": done.known,
            "dry_run": dry_run,
        }
        print(json.dumps(report))
        return
    table("", ("table", "rows"), sorted(done.rows.items()))
    if done.tally.dropped:
        table("dropped", ("why", "number"), done.tally.dropped.most_common())
    for text in (*damage, *notes):
        render.print_line(text)
    verb = "would be handed over" if dry_run else "are handed over"
    render.print_line(
        f"{done.tally.read:,} things read, none sampled, {done.tally.dropped.total():,} dropped; "
        f"{len(done.written)} files {verb}, {len(done.known)} were known before"
    )
    if done.written and not dry_run:
        render.print_line("Load them with: gaelp ingest")


def _moment(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise GaelpError(
            Problem("is no moment", f"--at {text}", "a date and time, as 2026-11-20T12:00:00Z")
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
