#!/usr/bin/env bash
# tensorboard 2.21.0 without TensorFlow (2026-11-28).
#
# EventAccumulator reads an event file of which the second half is missing, or in which one bit has flipped, up to that place and stops,
# without an error and without a warning: 501 of 1,000 scalars, and nothing says that there were more. Each record carries its length and
# two checksums, so that the damage is known.
#
# What to do: compare the bytes that were read with the size of the file, and treat what is left over as an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorboard==2.21.0
cd "$folder"
cat > seen.py <<'PY'
import pathlib

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

folder = pathlib.Path("log")
folder.mkdir()
file = folder / "events.out.tfevents.1.host"
with file.open("wb") as stream:
    writer = RecordWriter(stream)
    writer.write(Event(wall_time=1.0, file_version="brain.Event:2").SerializeToString())
    for step in range(1000):
        value = Summary.Value(tag="loss", simple_value=step)
        writer.write(Event(wall_time=1.0 + step, step=step, summary=Summary(value=[value])).SerializeToString())
    writer.flush()
whole = file.read_bytes()
middle = len(whole) // 2
flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
for name, content in (("whole", whole), ("half", whole[:middle]), ("one bit flipped", flipped)):
    file.write_bytes(content)
    log = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    log.Reload()
    print(name, len(log.Scalars("loss")))
PY
found=$(venv/bin/python -W ignore seen.py 2>/dev/null)
expected="whole 1000
half 501
one bit flipped 501"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
