#!/usr/bin/env bash
# gymnasium 1.4.0 (2026-11-28).
#
# AsyncVectorEnv keeps observations in shared memory unless it is told otherwise. Of a Text space it then returns the first letter of the
# charset, as many times as the space is long, at every reset and step, without a warning; SyncVectorEnv, and AsyncVectorEnv with
# shared_memory=False, return what the environment said.
#
# What to do: shared_memory=False for spaces that hold Text, or look at observations inside the sub-environment.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gymnasium==1.4.0
cd "$folder"
cat > seen.py <<'PY'
import gymnasium
import numpy as np


class Words(gymnasium.Env):
    observation_space = gymnasium.spaces.Text(max_length=3, charset="abc")
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return "bca", {}

    def step(self, action):
        return "cab", 1.0, False, False, {}


if __name__ == "__main__":
    for shared in (True, False):
        envs = gymnasium.vector.AsyncVectorEnv([Words, Words], shared_memory=shared)
        print(f"shared_memory={shared}:", envs.reset()[0], envs.step(np.array([0, 0]))[0])
        envs.close()
PY
found=$(venv/bin/python -W ignore seen.py 2>/dev/null)
expected="shared_memory=True: ('aaa', 'aaa') ('aaa', 'aaa')
shared_memory=False: ('bca', 'bca') ('cab', 'cab')"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
