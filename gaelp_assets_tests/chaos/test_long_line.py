"""A line of 100 MB is rejected in bounded memory, and costs the good lines of its file nothing."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import zstandard

from gaelp_assets.ingest.read.lines import MAX_LINE_BYTES
from gaelp_assets.operations.rejects import dead_letters
from gaelp_assets.operations.replay import replay
from gaelp_assets_tests.chaos import workers
from gaelp_assets_tests.chaos.processes import clean
from gaelp_assets_tests.chaos.workloads import CHECKPOINTS
from gaelp_assets_tests.platforms import SLICE, checkpoint, ndjson, platform_in, rows

MEGABYTES = 100
PEAK_MEGABYTES = 700
QUEUE = f"cloud_ready/training/checkpoints/{SLICE.path}"
OPEN: Final[dict[str, Callable[[Path], Any]]] = {
    ".ndjson": partial(Path.open, mode="wb"),
    ".ndjson.gz": partial(gzip.open, mode="wb", compresslevel=1),
    ".ndjson.zst": partial(zstandard.open, mode="wb"),
    ".json": partial(Path.open, mode="wb"),
}


def write(path: Path, *, ended: bool = True) -> int:
    """A file with a good row before the long one and, if that is ended, another one after it; where the long one starts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = path.suffix == ".json"
    first = ndjson([checkpoint(1)])
    with OPEN["".join(path.suffixes)](path) as file:
        file.write(b"[" + first + b"," if array else first)
        file.write(b'{"checkpoint_id": "')
        for number in range(MEGABYTES):
            # Text of one letter unfolds to more than a compressed file may.
            file.write(random.Random(number).randbytes(500_000).hex().encode())
        if ended:
            file.write(
                b'"}\n' + (b"," if array else b"") + ndjson([checkpoint(2)]) + (b"]" if array else b"")
            )
    return len(first) + 2 * array


@pytest.mark.parametrize(
    "name",
    [
        f"{QUEUE}/a.ndjson",
        f"{QUEUE}/a.ndjson.gz",
        f"{QUEUE}/a.ndjson.zst",
        "raw/training/checkpoints/a.ndjson",
        "raw/training/checkpoints/a.json",
    ],
)
def test_it_is_rejected_and_the_lines_around_it_are_loaded(name: str, tmp_path: Path) -> None:
    home, peak = tmp_path / "home", tmp_path / "peak"
    platform = platform_in(home)
    offset = write(home / "export_gateway" / name)
    clean(workers.ingest_and_weigh, home, peak)
    loaded = rows(platform, f"SELECT checkpoint_id FROM {CHECKPOINTS} ORDER BY 1")
    assert [row["checkpoint_id"] for row in loaded] == ["checkpoint-1", "checkpoint-2"]
    [letter] = rows(
        platform, "SELECT line_number, byte_offset, reasons, LENGTH(raw) AS length FROM ops.dead_letter"
    )
    assert (letter["line_number"], letter["byte_offset"]) == (2, offset)
    assert [reason["rule"] for reason in letter["reasons"]] == ["too_long"]
    assert letter["length"] > MAX_LINE_BYTES
    assert int(peak.read_text()) < PEAK_MEGABYTES


def test_a_file_that_ends_within_it_and_its_replay_lose_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    platform = platform_in(home)
    write(home / "export_gateway" / QUEUE / "a.ndjson", ended=False)
    clean(workers.ingest, home)
    # What was kept of it is still no row.
    assert [(batch.lines, batch.still_rejected) for batch in replay(platform)] == [(0, 1)]
    clean(workers.ingest, home)
    assert rows(platform, f"SELECT checkpoint_id FROM {CHECKPOINTS}") == [{"checkpoint_id": "checkpoint-1"}]
    assert dead_letters(platform).height == 1
    assert platform.gateway.failed() == []
