#!/usr/bin/env bash
# statsmodels 0.15.0 (2026-11-27).
#
# A p-value of NaN is what a t-test gives for two agents whose scores are all alike (0 / 0). In `multipletests(..., method="holm")` it takes the
# place of the greatest p-value, and where all others are small enough it is marked as rejected, with NaN as its corrected value: a difference
# is claimed where none could be computed.
#
# What to do: take NaN out of the family before the correction, and say so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check statsmodels==0.15.0
cd "$folder"
found=$(venv/bin/python -W ignore - <<'PY'
import numpy as np
from statsmodels.stats.multitest import multipletests

for values in ([0.001, 0.002, np.nan], [0.2, 0.001, np.nan]):
    rejected, corrected, *_ = multipletests(values, method="holm")
    print(f"{values}: rejected {rejected.tolist()}, corrected {corrected.round(6).tolist()}")
PY
)
expected='[0.001, 0.002, nan]: rejected [True, True, True], corrected [0.003, 0.004, nan]
[0.2, 0.001, nan]: rejected [False, True, False], corrected [0.4, 0.003, nan]'
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
