#!/usr/bin/env bash
# Dagster 1.13.27 (2026-11-27).
#
# Two runs materialize different partitions of an asset at the same time, and both evaluate its check, which passes. The UI's verdict of a
# check (GraphQL: `executionForLatestMaterialization`) is that of the evaluation that was planned last. If that run ends first, the
# other run's materialization is newer, and the check has no verdict: it is shown as not evaluated, although every evaluation passed.
#
# What to do: at the end of a run, look whether another evaluation was planned after one's own, and report the verdict once more beside
# the runs, with the newest materialization as its target.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
cd "$folder"
found=$(venv/bin/python -W ignore - <<'PY'
import asyncio
import logging

import dagster as dg
from dagster._core.loader import LoadingContextForTest

logging.disable(logging.CRITICAL)
later = []


@dg.multi_asset(
    specs=[dg.AssetSpec("table", partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))],
    check_specs=[dg.AssetCheckSpec("rows", asset="table")],
)
def load(context):
    if context.partition_key == "a" and not later:
        later.append(None)
        later[0] = run("b")  # planned after this run, ended before it
    yield dg.AssetCheckResult(asset_key="table", check_name="rows", passed=True)
    yield dg.MaterializeResult(asset_key="table")


def run(partition):
    return dg.materialize([load], instance=instance, partition_key=partition).success


with dg.DagsterInstance.ephemeral() as instance:
    print("runs:", run("a"), *later)
    key = dg.AssetCheckKey(dg.AssetKey("table"), "rows")
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    print("evaluations:", [record.status.value for record in history])
    shown = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    context = LoadingContextForTest(instance)
    print("is a verdict on what is there:", asyncio.run(shown.targets_latest_materialization(context)))
PY
)
expected="runs: True True
evaluations: ['SUCCEEDED', 'SUCCEEDED']
is a verdict on what is there: False"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
