"""Evaluations of checks that are told beside a run, so that Dagster's UI shows the last word on a table.

The UI shows the check's evaluation that was planned last, and calls it "Not Evaluated" where another run has materialized the table since
it ended. Of two runs of a table at the same time, the one that was planned last may well end first. Then the other one, which has seen what
both of them left, has to tell its evaluation once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import dagster as dg

# Not exported: without it Dagster compares whole seconds of SQLite's clock, and takes what is told at once for older than the rows.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)


def report(instance: dg.DagsterInstance, results: Iterable[dg.AssetCheckResult]) -> None:
    """Tells Dagster these results beside any run, as evaluations of what their tables hold now.

    Args:
        instance: Where they are told.
        results: Results that name their asset and check.
    """
    for result in results:
        assert result.asset_key is not None
        assert result.check_name is not None
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=result.asset_key,
                check_name=result.check_name,
                passed=result.passed,
                severity=result.severity,
                description=result.description,
                metadata=result.metadata,
                target_materialization_data=_newest(instance, result.asset_key),
            )
        )


def overtaken(instance: dg.DagsterInstance, run_id: str, checks: Collection[dg.AssetCheckKey]) -> bool:
    """Whether the UI shows another evaluation than this run's of any of the checks: one that was planned or told after it."""
    shown = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    return any(record.run_id != run_id for record in shown.values())


def _newest(
    instance: dg.DagsterInstance, key: dg.AssetKey
) -> AssetCheckEvaluationTargetMaterializationData | None:
    records = instance.fetch_materializations(key, limit=1).records
    return (
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=records[0].storage_id, run_id=records[0].run_id, timestamp=records[0].timestamp
        )
        if records
        else None
    )
