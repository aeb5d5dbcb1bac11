#!/usr/bin/env bash
# Gymnasium 1.4.0 (2026-11-27).
#
# `make_vec("CartPole-v1")` takes, where an environment brings one, a vector class of its own (mode `vector_entry_point`). With the same id and
# the same seed its first environment starts in another state than `make("CartPole-v1")`, and its rewards are float32. With
# vectorization_mode="sync" the start is the same and rewards are float64: a seed that is written down is worth
# something only beside the mode.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gymnasium==1.4.0 numpy==2.4.0
cd "$folder"
found=$(venv/bin/python -W ignore - <<'PY'
import gymnasium as gym
import numpy as np

single, _ = gym.make("CartPole-v1").reset(seed=7)
for mode in (None, "sync"):
    envs = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode=mode)
    first, _ = envs.reset(seed=7)
    rewards = envs.step(np.zeros(2, dtype=np.int64))[1]
    print(f"{mode or 'default'}: starts as make does: {np.array_equal(first[0], single)}, rewards {rewards.dtype}")
PY
)
expected='default: starts as make does: False, rewards float32
sync: starts as make does: True, rewards float64'
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
