"""The verdicts of a loaded table's checks `accounting` and `rejected_rows`, from what is open in the ledger, the dead letter and `failed/`,
and of the gateway's check, from `failed/` alone.

Never from what one run has loaded: a clean slice says nothing of a line that was rejected before it, or while `raw/` was sorted. So the
same verdict is given by a load, and reported beside runs once something else changed it: a sort, a replay, an acknowledgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import dagster as dg

from gaelp_assets.assets.evaluations import report
from gaelp_assets.assets.metadata import TABLE_ROWS, Metadata, table
from gaelp_assets.assets.partitions import GATEWAY, asset_key
from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.model import AssetCheckName
from gaelp_assets.gateway.paths import Stage, relations_named

if TYPE_CHECKING:
    from gaelp_assets.gateway import FailedFile
    from gaelp_assets.platform_reader import PlatformReader


SET_ASIDE: Final = "set_aside"
"""The gateway's check of that name (see `set_aside_result`)."""
CHECKS: Final = (AssetCheckName.ACCOUNTING.value, AssetCheckName.REJECTED_ROWS.value)


class CheckVerdict(NamedTuple):
    """How a check of a table ends."""

    name: AssetCheckName
    passed: bool
    severity: dg.AssetCheckSeverity
    description: str | None
    metadata: Metadata


def verdicts(platform: PlatformReader, relation: Relation) -> list[CheckVerdict]:
    """Both checks, as the ledger, the dead letter and `failed/` stand now.

    Raises:
        GaelpError: warehouse or gateway cannot be read.
    """
    return [_accounting(platform, relation), _rejected_rows(platform, relation)]


def report_verdicts(
    instance: dg.DagsterInstance, platform: PlatformReader, relations: Iterable[Relation]
) -> None:
    """Tells Dagster the verdicts of these tables beside any run of theirs. Raises what `verdicts` raises."""
    for relation in relations:
        report(instance, (check_result(relation, verdict) for verdict in verdicts(platform, relation)))


def report_set_aside(instance: dg.DagsterInstance, platform: PlatformReader) -> None:
    """Tells Dagster what is set aside by now, beside the gateway's own runs: a load has set files aside, or somebody retries them.

    Raises:
        GaelpError: the gateway cannot be read.
    """
    report(instance, [set_aside_result(platform, platform.gateway.failed())])


def report_retried(instance: dg.DagsterInstance, platform: PlatformReader, names: Iterable[str]) -> None:
    """Tells Dagster what is set aside, and the verdicts of the tables whose files, by their names in `failed/`, are there no more.

    Raises:
        GaelpError: warehouse or gateway cannot be read.
    """
    report_set_aside(instance, platform)
    report_verdicts(instance, platform, tables_of(platform.catalog, names))


def tables_of(catalog: Catalog, names: Iterable[str]) -> list[Relation]:
    """The loaded tables that files in `failed/` are for, by their names."""
    ids = set()
    for name in names:
        _, *folders, last = name.split("/")
        if folders:
            ids.add(".".join(folders[:2]))
        else:
            ids |= {relation.id for relation in relations_named(last.partition("~")[0], catalog)}
    return [relation for relation in catalog.loaded if relation.id in ids]


def set_aside_result(platform: PlatformReader, failed: Sequence[FailedFile]) -> dg.AssetCheckResult:
    """The gateway's check: no file lies in `failed/`, and nothing where no stage takes it.

    Raises:
        GaelpError: the gateway cannot be read.
    """
    # sent/ only grows, and nobody but the platform writes there.
    strays = platform.gateway.strays(*(stage for stage in Stage if stage is not Stage.SENT))
    clauses = []
    metadata: Metadata = {"files set aside": len(failed), "in no stage": len(strays)}
    if failed:
        clauses.append(f"{len(failed)} files are set aside")
        metadata["problems"] = failed_files_table(failed)
    if strays:
        clauses.append(f"{len(strays)} things are no file of any stage")
        rows = [{"name": problem.where, "problem": str(problem)} for _, problem in strays]
        metadata["strays"] = table(rows, name="string", problem="string")
    return dg.AssetCheckResult(
        asset_key=GATEWAY,
        check_name=SET_ASIDE,
        passed=not clauses,
        severity=dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
        description=f"{', and '.join(clauses)}: gaelp gateway list." if clauses else None,
        metadata=metadata,
    )


def check_result(relation: Relation, verdict: CheckVerdict) -> dg.AssetCheckResult:
    """The verdict as the result of a step of the table's own run."""
    return dg.AssetCheckResult(
        asset_key=asset_key(relation),
        check_name=verdict.name.value,
        passed=verdict.passed,
        severity=verdict.severity,
        description=verdict.description,
        metadata=verdict.metadata,
    )


def _accounting(platform: PlatformReader, relation: Relation) -> CheckVerdict:
    from gaelp_assets.operations.rejects import accounts

    found = accounts(platform, relation)
    unbalanced = [{"file": file} for file in found.unbalanced]
    return CheckVerdict(
        AssetCheckName.ACCOUNTING,
        not unbalanced,
        dg.AssetCheckSeverity(relation.severity(AssetCheckName.ACCOUNTING)),
        f"The batches of {len(unbalanced)} files do not add up." if unbalanced else None,
        {
            "batches": found.batches,
            "lines": found.lines,
            "loaded": found.loaded,
            "duplicate": found.duplicate,
            "rejected": found.rejected,
            "rejected while sorting": found.rejected_while_sorting,
            "superseded": found.superseded,
            "withdrawn": found.withdrawn,
            **({"unbalanced": table(unbalanced, file="string")} if unbalanced else {}),
        },
    )


def _rejected_rows(platform: PlatformReader, relation: Relation) -> CheckVerdict:
    """Fails with the catalogue's severity for open lines, and as an error for files set aside."""
    from gaelp_assets.operations.rejects import open_reasons, open_rejects, slice_words

    found = open_rejects(platform, relation)
    clauses = []
    metadata: Metadata = {"rejected": found.lines, "files set aside": len(found.files)}
    if found.lines:
        names = [slice_words(relation, slice_) for slice_, _ in found.slices]
        clauses.append(
            f"{found.lines} rejected lines are open ({_some(names)}): gaelp dead-letter list --table {relation.id}. "
            "Mend what is wrong and replay them, or acknowledge them."
        )
        rows = [
            {"slice": name, "rejected": lines} for name, (_, lines) in zip(names, found.slices, strict=True)
        ]
        metadata["slices"] = table(rows, slice="string", rejected="int")
        reasons = open_reasons(platform, relation).head(TABLE_ROWS).to_dicts()
        metadata["reasons of rejection"] = table(
            reasons, field="string", rule="string", message="string", lines="int"
        )
    if found.files:
        clauses.append(f"{len(found.files)} files were set aside whole: gaelp gateway list.")
        metadata["problems"] = failed_files_table(found.files)
    severity = "ERROR" if found.files else relation.severity(AssetCheckName.REJECTED_ROWS)
    return CheckVerdict(
        AssetCheckName.REJECTED_ROWS,
        not clauses,
        dg.AssetCheckSeverity(severity),
        " ".join(clauses) or None,
        metadata,
    )


def failed_files_table(files: Iterable[FailedFile]) -> dg.TableMetadataValue:
    """The files in `failed/`, each problem in a row of its own."""
    rows = [
        {"file": file.stored.name, "problem": problem.what, "where": problem.where, "expected": problem.expected,
         "remedy": problem.remedy}
        for file in files for problem in file.problems
    ]  # fmt: skip
    return table(rows, file="string", problem="string", where="string", expected="string", remedy="string")


def _some(names: list[str]) -> str:
    """The first few of the names, and how many there are beside them."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
