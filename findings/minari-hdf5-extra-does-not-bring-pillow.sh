#!/usr/bin/env bash
# minari 0.5.4 (2026-11-28).
#
# The module that reads and writes datasets in HDF5 imports Pillow at its top, and no extra of Minari asks for Pillow: after
# `pip install "minari[hdf5]"`, load_dataset of any dataset in HDF5, pictures or not, ends with ModuleNotFoundError: No module named 'PIL'.
#
# What to do: pip install "minari[hdf5]" pillow
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "minari[hdf5]==0.5.4" gymnasium==1.4.0 h5py==3.16.0
cd "$folder"
cat > seen.py <<'PY'
from importlib.metadata import requires

import h5py  # the extra has brought it

print("asks for pillow:", any("pillow" in text.lower() for text in requires("minari")))
try:
    from minari.dataset._storages import hdf5_storage
except ModuleNotFoundError as error:
    print(error)
else:
    print("imported")
PY
found=$(venv/bin/python -W ignore seen.py)
expected="asks for pillow: False
No module named 'PIL'"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
