"""`gaelp import` of a TensorBoard log: python -m benchmarks.importers [--scalars 1000000]

The log has twenty names, simple values and tensors in turn, as the writers of TensorFlow and torch store them. What is timed is all from
the file to the files in the gateway; it prints CPU seconds and the most memory.
"""

from __future__ import annotations

import argparse
import resource
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import google_crc32c

from gaelp_assets.importers.kinds import kind
from gaelp_assets.importers.source import Options
from gaelp_assets.operations.importing import import_rows
from gaelp_assets.platform import open_platform
from gaelp_assets.settings import load_settings

NAMES: Final = 20
STARTED: Final = 1_795_000_000.0


def events(scalars: int) -> Iterator[bytes]:
    """The records of a log, each with its frame."""
    for number in range(scalars):
        step, name = divmod(number, NAMES)
        value = struct.pack("<f", 1.0 / (number + 1))
        # A simple value is field 2; a tensor is field 8: type 1 (float), an empty shape, four bytes of content.
        content = (
            b"\x15" + value if name % 2 else b"\x42" + _sized(b"\x08\x01\x12\x00" + b"\x22" + _sized(value))
        )
        tagged = b"\x0a" + _sized(f"losses/loss_{name}".encode()) + content
        summary = b"\x0a" + _sized(tagged)
        moment = struct.pack("<d", STARTED + step * 0.1)
        yield _record(b"\x09" + moment + b"\x10" + _varint(step) + b"\x2a" + _sized(summary))


def _record(event: bytes) -> bytes:
    length = struct.pack("<Q", len(event))
    return length + _checksum(length) + event + _checksum(event)


def _checksum(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFF_FFFF)


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def main() -> None:
    """Writes the log, imports it, prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scalars", type=int, default=1_000_000)
    scalars: int = parser.parse_args().scalars
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "events.out.tfevents.1795000000.benchmark")
        with log.open("wb") as file:
            file.writelines(events(scalars))
        platform = open_platform(load_settings({"GAELP_HOME": str(Path(folder, "home"))}))
        platform.gateway.prepare()
        before, started = time.process_time(), time.perf_counter()
        done = import_rows(
            platform.gateway,
            kind("tensorboard"),
            log,
            Options(environment="CartPole-v1", agent="benchmark", run="benchmark"),
        )
        seconds, elapsed = time.process_time() - before, time.perf_counter() - started
        assert done.rows["training.metrics"] == scalars
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{scalars:,} scalars, {log.stat().st_size / 1e6:.0f} MB: {seconds:.2f} CPU s, {elapsed:.2f} s, {memory:.0f} MB"
        )


if __name__ == "__main__":
    main()
