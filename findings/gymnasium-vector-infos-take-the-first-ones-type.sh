#!/usr/bin/env bash
# gymnasium 1.4.0 (2026-11-28).
#
# A vector environment gathers the infos of its sub-environments in arrays, whose type is that of the first sub-environment which reports
# the key. Where that one says 0 and the next one 0.35, both read as 0; in the other order 0.35 is kept.
#
# What to do: take what is measured from inside the sub-environment, or let every one of them report floats.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gymnasium==1.4.0
cd "$folder"
cat > seen.py <<'PY'
import gymnasium
import numpy as np


class Measured(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, value):
        self.value = value

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 1.0, False, False, {"loss": self.value}


for values in ((0, 0.35), (0.35, 0)):
    envs = gymnasium.vector.SyncVectorEnv([lambda value=value: Measured(value) for value in values])
    envs.reset()
    print(values, "->", envs.step(np.array([0, 0]))[4]["loss"].tolist())
PY
found=$(venv/bin/python -W ignore seen.py 2>/dev/null)
expected="(0, 0.35) -> [0, 0]
(0.35, 0) -> [0.35, 0.0]"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
