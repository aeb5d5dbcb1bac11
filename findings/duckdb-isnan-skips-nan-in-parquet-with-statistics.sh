#!/usr/bin/env bash
# DuckDB 2.0.0 reading Parquet that Polars 2.1.0 wrote with its default statistics (2026-11-27).
#
# A FLOAT column holds 0.5, NaN and 2.0. Polars leaves NaN out of the minimum and maximum of the row group, and DuckDB takes the
# statistics for the whole truth: `isnan(x)` is found false without a look at the rows, and so is `x > 3`, though DuckDB orders NaN
# above every number. The same rows in a table of DuckDB's own, or written without statistics, give 1 and 1.
#
# What to do: write without statistics, or keep NaN out of the files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.0 polars==2.1.0
cd "$folder"
found=$(venv/bin/python - <<'PY'
import duckdb
import polars as pl

frame = pl.DataFrame({"x": [0.5, float("nan"), 2.0]})
frame.write_parquet("with.parquet")
frame.write_parquet("without.parquet", statistics=False)
for name in ("with", "without"):
    for condition in ("isnan(x)", "x > 3"):
        count = duckdb.sql(f"SELECT count(*) FROM '{name}.parquet' WHERE {condition}").fetchall()[0][0]
        print(f"{name} statistics, {condition}: {count}")
PY
)
expected='with statistics, isnan(x): 0
with statistics, x > 3: 0
without statistics, isnan(x): 1
without statistics, x > 3: 1'
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
