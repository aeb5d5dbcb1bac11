#!/usr/bin/env bash
# Dagster 1.13.27 (2026-11-27).
#
# In a run over a range of partitions, `context.add_asset_metadata(..., partition_key=key)` lists all partitions of the run again, and copies
# what was added before, for each key. Four times the partitions take far more than four times as long: what says something of each of some
# thousand partitions spends minutes in it.
#
# What to do: keep runs to some hundred partitions, or put the figures of all of them into one table of metadata.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
cd "$folder"
found=$(venv/bin/python -W ignore - <<'PY'
import logging
import time

import dagster as dg

logging.disable(logging.CRITICAL)
dates = dg.StaticPartitionsDefinition([f"d{n:04}" for n in range(800)])
places = dg.StaticPartitionsDefinition(["a", "b"])
seconds = {}


@dg.asset(partitions_def=dg.MultiPartitionsDefinition({"date": dates, "place": places}))
def table(context) -> None:
    keys = context.partition_keys
    began = time.process_time()
    for key in keys:
        context.add_asset_metadata({"rows": 1}, partition_key=key)
    seconds[len(keys)] = time.process_time() - began


job = dg.Definitions([table]).resolve_implicit_global_asset_job_def()
with dg.DagsterInstance.ephemeral() as instance:
    for last in (99, 399):
        ends = {"start": "d0000|a", "end": f"d{last:04}|b"}
        tags = {f"dagster/asset_partition_range_{end}": key for end, key in ends.items()}
        assert job.execute_in_process(instance=instance, tags=tags).success
ratio = seconds[800] / seconds[200]
print(f"four times the partitions: {'more than' if ratio > 8 else 'at most'} eight times the CPU time")
PY
)
echo "$found"
[ "$found" = "four times the partitions: more than eight times the CPU time" ] || { echo "This has changed since it was seen." >&2; exit 1; }
