#!/usr/bin/env bash
# gymnasium 1.4.0 (2026-11-28).
#
# make_vec(id, max_episode_steps=3) truncates its episodes after 3 steps, and the vector environment's spec.max_episode_steps still says
# what is registered for the id (500 of CartPole-v1). The limit that holds stands in spec.kwargs.
#
# What to do: read spec.kwargs first; what is computed from spec.max_episode_steps (time-aware observations, normalised returns) is of
# another task.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gymnasium==1.4.0
cd "$folder"
cat > seen.py <<'PY'
import gymnasium
import numpy as np

envs = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync", max_episode_steps=3)
envs.reset(seed=1)
truncated = [envs.step(np.array([0, 1]))[3].tolist() for _ in range(3)]
print("truncated:", truncated)
print("spec:", envs.spec.max_episode_steps, "kwargs:", envs.spec.kwargs["max_episode_steps"])
PY
found=$(venv/bin/python -W ignore seen.py 2>/dev/null)
expected="truncated: [[False, False], [False, False], [True, True]]
spec: 500 kwargs: 3"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
