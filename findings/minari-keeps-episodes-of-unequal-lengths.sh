#!/usr/bin/env bash
# minari 0.5.4 (2026-11-28).
#
# create_dataset_from_buffers takes an episode whose buffers differ in length, without an error: 2 actions with 5 rewards and 5 flags are
# written, read back as such, and counted as 5 steps. What trains on it pairs actions with rewards of other steps.
#
# What to do: compare the lengths (observations are one more than the rest) before a dataset is made, and after one is loaded.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "minari[hdf5]==0.5.4" gymnasium==1.4.0 pillow==12.0.0
cd "$folder"
cat > seen.py <<'PY'
import os

os.environ["MINARI_DATASETS_PATH"] = os.getcwd()

import gymnasium
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

buffer = EpisodeBuffer(
    id=0,
    seed=1,
    options=None,
    observations=[np.zeros(4, dtype=np.float32)] * 3,
    actions=[0, 1],
    rewards=[1.0] * 5,
    terminations=[False] * 5,
    truncations=[False] * 4 + [True],
    infos={},
)
dataset = minari.create_dataset_from_buffers(
    "examples/short-v0", buffer=[buffer], env=gymnasium.make("CartPole-v1"), algorithm_name="none",
    author="nobody", author_email="nobody@example.org", code_permalink="https://example.org",
)
episode = dataset[0]
print("observations", len(episode.observations), "actions", len(episode.actions), "rewards", len(episode.rewards))
print("steps", dataset.total_steps)
PY
found=$(venv/bin/python -W ignore seen.py 2>/dev/null)
expected="observations 3 actions 2 rewards 5
steps 5"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
