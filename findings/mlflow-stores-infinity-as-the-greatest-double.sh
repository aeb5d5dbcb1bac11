#!/usr/bin/env bash
# MLflow 3.17.2 with its SQLite store (2026-11-27).
#
# A metric of infinity (a loss that diverged) is logged without a word and read back as 1.7976931348623157e+308, a finite number that
# takes part in every mean and plot afterwards. NaN comes back as NaN.
#
# What to do: an importer takes the greatest and the smallest double for infinities.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow-skinny==3.17.2 sqlalchemy==2.1.9 alembic==1.20.1
cd "$folder"
found=$(venv/bin/python -W ignore - <<'PY' 2>/dev/null
import logging
import math

logging.disable(logging.CRITICAL)
import mlflow

mlflow.set_tracking_uri("sqlite:///runs.db")
with mlflow.start_run() as run:
    for step, value in enumerate((math.inf, -math.inf, math.nan, 1.5)):
        mlflow.log_metric("loss", value, step=step)
for metric in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss"):
    print(metric.step, metric.value)
PY
)
expected='0 1.7976931348623157e+308
1 -1.7976931348623157e+308
2 nan
3 1.5'
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
