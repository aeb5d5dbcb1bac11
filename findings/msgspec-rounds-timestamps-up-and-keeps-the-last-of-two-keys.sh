#!/usr/bin/env bash
# msgspec 0.22.0 (2026-11-28).
#
# MessagePack has timestamps of nanoseconds; msgspec decodes them to datetime, which has microseconds, and rounds: 0.999999999 s after a
# second is the next second, so that an event can fall into another day. Of two equal keys in a map the last is kept, a key that is a number
# becomes a text when the value is written as JSON, and NaN becomes null. None of it is an error.
#
# What to do: where values must stay what they are, compare what msgspec writes again with the bytes that it read, or read such messages in
# another way; look for NaN before JSON is written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "msgspec==0.22.0" 2>/dev/null
found=$("$folder/venv/bin/python" - <<'PY'
import msgspec

moment = (999_999_999).to_bytes(4, "big") + (1).to_bytes(8, "big")
print("timestamp:", msgspec.msgpack.decode(b"\xc7\x0c\xff" + moment).isoformat())
print("two keys:", msgspec.msgpack.decode(b"\x82\xa1a\x01\xa1a\x02"))
print("number as key:", msgspec.json.encode(msgspec.msgpack.decode(b"\x81\x01\x02")).decode())
print("NaN:", msgspec.json.encode([float("nan")]).decode())
PY
)
expected="timestamp: 1970-01-01T00:00:02+00:00
two keys: {'a': 2}
number as key: {\"1\":2}
NaN: [null]"
echo "$found"
[ "$found" = "$expected" ] || { echo "This has changed since it was seen." >&2; exit 1; }
