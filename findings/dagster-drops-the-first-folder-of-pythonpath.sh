#!/usr/bin/env bash
# dagster 1.13.27 (2026-11-28).
#
# Dagster imports user code without the first entry of sys.path, which it takes for the folder of its own script. Where Python puts no
# such folder there (PYTHONSAFEPATH=1 or -P, Python 3.11 and newer), the first folder of PYTHONPATH is lost instead: a module that
# `python -c "import ..."` finds is not found by a code server.
#
# What to do: put a folder that nobody needs first, or install the code as a package.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "dagster==1.13.27" 2>/dev/null
mkdir "$folder/first" "$folder/work"
cat > "$folder/first/mine.py" <<'PY'
import dagster as dg

defs = dg.Definitions()
PY
cd "$folder/work"
export DAGSTER_HOME="$folder/work" PYTHONPATH="$folder/first"
seen() {
  if "$folder/venv/bin/python" -W ignore -m dagster definitions validate -m mine -d "$folder/work" > "$folder/log" 2>&1; then
    echo loads
  else
    grep -o "No module named 'mine'" "$folder/log" | head -1
  fi
}
found="python: $("$folder/venv/bin/python" -P -c 'import mine; print("loads")')
usual: $(seen)
PYTHONSAFEPATH: $(PYTHONSAFEPATH=1 seen)"
expected="python: loads
usual: loads
PYTHONSAFEPATH: No module named 'mine'"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
