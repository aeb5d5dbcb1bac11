"""`gaelp check`: parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gaelp_assets.cli import render
from gaelp_assets.cli.exits import EXIT_PROBLEM, EXIT_REJECTED
from gaelp_assets.cli.render_json import json_text, problem_value
from gaelp_assets.cli.session import current_settings
from gaelp_assets.errors import GaelpError

if TYPE_CHECKING:
    from gaelp_assets.operations.check import FileCheck, Finding


def check(
    file: Annotated[
        Path, typer.Argument(help=".ndjson, .ndjson.gz, .ndjson.zst or .json", show_default=False)
    ],
    table: Annotated[
        str | None,
        typer.Option(
            help="DATASET.TABLE; if left out, the folders .../DATASET/TABLE/... in which the file lies say it"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Prove a gateway file before it is handed over: every reason why lines would be rejected, with line and column.

    The rules are those of loading, but for keys: whether a row's key comes twice in the file, or stands in the warehouse already, is not
    looked at. No value is printed. A file that lies in folders date=.../environment=... has to keep what they promise.

    Exit codes: 0 every line would be taken; 3 lines would be rejected; 1 the file cannot be read as a whole, or its table is not known.
    """
    from gaelp_assets.ingest.validate import Validators
    from gaelp_assets.operations.check import check_file, gateway_file
    from gaelp_assets.platform_reader import last_date, read_sound_catalog

    settings = current_settings()
    shown = _JsonFindings(file) if as_json else _TextFindings(file)
    try:
        found = gateway_file(file, read_sound_catalog(settings, remember=False), table)
        validators = Validators(first_date=settings.first_date, last_date=last_date())
        with render.progress() as show:
            checked = check_file(
                file,
                found,
                validators,
                on_finding=shown.add,
                on_progress=lambda lines, size: show(f"{lines:,} lines, {size:,} bytes"),
            )
    except GaelpError as error:
        if not as_json:
            raise
        shown.end(None, [problem_value(problem) for problem in error.problems])
        raise typer.Exit(EXIT_PROBLEM) from None
    shown.end(checked, [])
    raise typer.Exit(EXIT_REJECTED if checked.rejected else 0)


class _TextFindings:
    """A line for each finding, as compilers and editors have them: `FILE:LINE:COLUMN: field: rule, message`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def add(self, finding: Finding) -> None:
        place = f"{finding.line}:{finding.column}" if finding.column is not None else f"{finding.line}"
        sys.stdout.write(
            f"{self._file}:{place}: {finding.field or 'line'}: {finding.rule}, {finding.message}\n"
        )

    def end(self, checked: FileCheck | None, _: list[dict[str, str]]) -> None:
        assert checked is not None
        accepted = checked.lines - checked.rejected
        for rule, lines in checked.by_rule.items():
            render.print_line(f"{lines:,} x {rule}")
        render.print_line(
            f"{checked.relation_id}: {checked.lines:,} lines, {accepted:,} would be taken, {checked.rejected:,} rejected"
        )
        if checked.set_aside:
            render.print_line(
                f"the whole file would be set aside: more than {checked.max_reject_fraction:.0%} of its lines would be rejected"
            )


class _JsonFindings:
    """One document, written while the file is read: a big file may have more findings than memory holds."""

    def __init__(self, file: Path) -> None:
        self._separator = f'{{"file": {json_text(str(file))}, "findings": ['

    def add(self, finding: Finding) -> None:
        sys.stdout.write(self._separator + json_text(finding._asdict()))
        self._separator = ",\n"

    def end(self, checked: FileCheck | None, problems: list[dict[str, str]]) -> None:
        opened = "" if self._separator.startswith(",") else self._separator
        summary = {"problems": problems, **_summary(checked)}
        sys.stdout.write(f"{opened}], {json_text(summary)[1:]}\n")


def _summary(checked: FileCheck | None) -> dict[str, object]:
    if checked is None:
        keys = (
            "relation",
            "date",
            "environment",
            "lines",
            "accepted",
            "rejected",
            "set_aside",
            "by_rule",
            "reasons",
        )
        return dict.fromkeys(keys)
    return {
        "relation": checked.relation_id,
        "date": checked.slice.date,
        "environment": checked.slice.environment,
        "lines": checked.lines,
        "accepted": checked.lines - checked.rejected,
        "rejected": checked.rejected,
        "set_aside": checked.set_aside,
        "by_rule": checked.by_rule,
        "reasons": checked.reasons.to_dicts(),
    }
