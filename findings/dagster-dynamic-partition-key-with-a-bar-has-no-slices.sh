#!/usr/bin/env bash
# Dagster 1.13.27 (2026-11-27).
#
# A MultiPartitionsDefinition writes `|` between the keys of its dimensions. Its dynamic dimension takes a key that holds `|` itself
# without a word and lists it, but the two-dimensional definition has no key with it: what was added can never be materialized.
#
# What to do: keep `|` out of dynamic partition keys before they are added.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
cd "$folder"
found=$(venv/bin/python -W ignore - <<'PY'
import dagster as dg

environments = dg.DynamicPartitionsDefinition(name="environments")
dates = dg.StaticPartitionsDefinition(["2026-11-20"])
both = dg.MultiPartitionsDefinition({"date": dates, "environment": environments})
with dg.DagsterInstance.ephemeral() as instance:
    instance.add_dynamic_partitions("environments", ["CartPole-v1", "a|b"])
    print("dimension:", list(instance.get_dynamic_partitions("environments")))
    print("slices:", [str(key) for key in both.get_partition_keys(dynamic_partitions_store=instance)])
PY
)
expected="dimension: ['CartPole-v1', 'a|b']
slices: ['2026-11-20|CartPole-v1']"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
