#!/usr/bin/env bash
# Pandera 0.35.0 on Polars 2.1.0 (2026-11-27).
#
# `Check.str_matches("PPO|DQN")` is to match from the start of the string, as `re.match` does, and so it does with pandas. On Polars the
# pattern gets `^` in front of it as text, which binds to the first alternative alone: "my DQN" passes, though it starts with neither.
#
# What to do: put a group around alternatives, `(?:PPO|DQN)`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'pandera[polars,pandas]==0.35.0' polars==2.1.0
cd "$folder"
found=$(DISABLE_PANDERA_IMPORT_WARNING=True venv/bin/python -W ignore - <<'PY'
import pandas as pd
import pandera.pandas as pa
import pandera.polars as pp
import polars as pl

names = ["PPO-1", "my DQN"]
for pattern in ("PPO|DQN", "(?:PPO|DQN)"):
    for engine, library, frame in (("pandas", pa, pd.DataFrame({"name": names})), ("polars", pp, pl.DataFrame({"name": names}))):
        schema = library.DataFrameSchema({"name": library.Column(str, library.Check.str_matches(pattern))})
        try:
            schema.validate(frame, lazy=True)
            verdict = "both pass"
        except (pa.errors.SchemaErrors, pp.errors.SchemaErrors) as error:
            verdict = f"refused: {error.failure_cases['failure_case'].to_list()}"
        print(f"{engine}, {pattern}: {verdict}")
PY
)
expected="pandas, PPO|DQN: refused: ['my DQN']
polars, PPO|DQN: both pass
pandas, (?:PPO|DQN): refused: ['my DQN']
polars, (?:PPO|DQN): refused: ['my DQN']"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
