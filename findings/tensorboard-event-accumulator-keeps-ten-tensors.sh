#!/usr/bin/env bash
# TensorBoard 2.21.0, its own reader of event files (2026-11-27).
#
# `EventAccumulator` samples what it reads, without a word: of 500 points of a scalar that was written as a tensor (as TensorFlow 2's and
# Keras's writers do) it keeps 10, and of 20,000 points of a plain scalar 10,000.
#
# What to do: size_guidance={"scalars": 0, "tensors": 0} keeps everything.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorboard==2.21.0 setuptools==80.9.0
cd "$folder"
found=$(venv/bin/python -W ignore - <<'PY' 2>/dev/null
import time

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.scalar import metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

writer = EventFileWriter("run")
for step in range(20_000):
    writer.add_event(Event(step=step, wall_time=time.time(), summary=Summary(value=[Summary.Value(tag="plain", simple_value=step)])))
kind = metadata.create_summary_metadata("", "")
for step in range(500):
    value = Summary.Value(tag="tensor", tensor=tensor_util.make_tensor_proto(np.float32(step)), metadata=kind)
    writer.add_event(Event(step=step, wall_time=time.time(), summary=Summary(value=[value])))
writer.close()
for name, guidance in (("by default", None), ("with guidance 0", {"scalars": 0, "tensors": 0})):
    events = EventAccumulator("run", size_guidance=guidance)
    events.Reload()
    print(f"{name}: {len(events.Scalars('plain'))} plain, {len(events.Tensors('tensor'))} tensor")
PY
)
expected='by default: 10000 plain, 10 tensor
with guidance 0: 20000 plain, 500 tensor'
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
