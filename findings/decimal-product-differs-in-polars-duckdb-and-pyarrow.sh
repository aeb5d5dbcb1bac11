#!/usr/bin/env bash
# Polars 2.1.0, DuckDB 2.0.0 and PyArrow 26.0.1 (2026-11-27).
#
# One column of DECIMAL(38, 2) with 0.05, multiplied by itself. Polars keeps the scale of 2 and says 0.00; DuckDB adds the scales
# and says 0.0025; PyArrow refuses, since the precision would have to be 77. All three take the column from the same Arrow array.
#
# What to do: compute money in one engine alone, and write the rule down.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0 duckdb==2.0.0 pyarrow==26.0.1
cd "$folder"
found=$(venv/bin/python -W ignore - <<'PY'
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

cost = pa.table({"cost": pa.array([Decimal("0.05")], pa.decimal128(38, 2))})
frame = pl.from_arrow(cost)
print("polars:", frame.select(pl.col("cost") * pl.col("cost")).item())
print("duckdb:", duckdb.sql("SELECT cost * cost FROM cost").fetchall()[0][0])
try:
    print("pyarrow:", pc.multiply(cost["cost"], cost["cost"])[0])
except pa.ArrowInvalid as error:
    print("pyarrow:", type(error).__name__)
PY
)
expected='polars: 0.00
duckdb: 0.0025
pyarrow: ArrowInvalid'
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
