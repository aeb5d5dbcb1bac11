#!/usr/bin/env bash
# gymnasium 1.4.0 (2026-11-28).
#
# With autoreset disabled, the ended sub-environments are reset by reset(options={"reset_mask": mask}). Both SyncVectorEnv and
# AsyncVectorEnv take the mask out of the caller's own dict: the second time the same dict is passed, all sub-environments are reset, and
# running episodes are lost without a word.
#
# What to do: make the dict for each call; a wrapper reads the mask before it delegates.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gymnasium==1.4.0
cd "$folder"
cat > seen.py <<'PY'
import gymnasium
import numpy as np

envs = gymnasium.vector.SyncVectorEnv(
    [lambda: gymnasium.make("CartPole-v1")] * 2, autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED
)
envs.reset(seed=1)
options = {"reset_mask": np.array([True, False])}
for call in ("first", "second"):
    envs.step(np.array([0, 0]))
    before = envs.step(np.array([0, 0]))[0]
    after = envs.reset(options=options)[0]
    print(call, "reset:", [not np.array_equal(b, a) for b, a in zip(before, after)], "options:", options)
PY
found=$(venv/bin/python -W ignore seen.py 2>/dev/null)
expected="first reset: [True, False] options: {}
second reset: [True, True] options: {}"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
