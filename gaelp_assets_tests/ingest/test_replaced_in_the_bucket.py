"""Files are written once, and where a producer replaces one all the same, the load notices: what was read and what is there never mix."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud.storage import Client

from gaelp_assets.gateway.stores.gcs_reader import CHUNK_BYTES
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.contract.gcs_server import GcsServer, collected_connections
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, load, ndjson, rows

NAME = f"cloud_ready/training/checkpoints/{SLICE.path}/a.ndjson"
# Google's client leaves the connection of a refused download to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsServer]:
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    with collected_connections(), GcsServer().running() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def platform(server: GcsServer, tmp_path: Path) -> Iterator[Platform]:
    settings = load_settings({"GAELP_HOME": str(tmp_path), "GAELP_GATEWAY": f"gs://{server.bucket}/a"})
    with Client(project=None) as client:
        platform = open_platform(settings, storage=lambda: client)
        platform.gateway.prepare()
        yield platform


def put(server: GcsServer, *numbers: int, name: str = NAME, **changes: Any) -> None:
    server.put(f"a/{name}", ndjson(checkpoint(number, **changes) for number in numbers))


def just_before(server: GcsServer, request: str, act: Callable[[], None], *, nth: int = 1) -> None:
    """Somebody acts between two requests of the load: before the nth one that has this in it."""
    met = 0

    def come_between(line: str) -> None:
        nonlocal met
        if request in line:
            met += 1
            if met == nth:
                act()

    server.before = come_between


def numbers(platform: Platform) -> list[int]:
    found = rows(platform, f"SELECT policy_version FROM {TABLE} ORDER BY policy_version")
    return [row["policy_version"] for row in found]


def balances(platform: Platform) -> list[tuple[int, int, int, int]]:
    ledger = rows(platform, "SELECT * FROM ops.import_logs ORDER BY loaded_at")
    return [tuple(row[name] for name in ("lines", "loaded", "duplicate", "rejected")) for row in ledger]


def test_replaced_between_list_and_read_nothing_of_either_is_loaded_until_the_next_run(
    server: GcsServer, platform: Platform
) -> None:
    put(server, 1, 2)
    just_before(server, "alt=media", lambda: put(server, 3))
    assert load(platform).files == []
    assert len(platform.gateway.pending().files) == 1
    assert load(platform).total("loaded") == 1
    assert numbers(platform) == [3]
    assert balances(platform) == [(1, 1, 0, 0)]


def test_replaced_in_the_middle_of_its_ranges_no_row_of_the_first_half_is_loaded(
    server: GcsServer, platform: Platform
) -> None:
    count = 2 * CHUNK_BYTES // len(json.dumps(checkpoint(1)))
    put(server, *range(count))
    size = platform.gateway.pending().files[0].stored.size
    assert CHUNK_BYTES < size < 3 * CHUNK_BYTES
    # Longer than the first: that a range is not there any more is not what gives it away.
    just_before(server, "alt=media", lambda: put(server, *range(count, 2 * count + 100)), nth=2)
    assert load(platform).files == []
    assert load(platform).total("loaded") == count + 100
    assert min(numbers(platform)) == count
    assert balances(platform) == [(count + 100, count + 100, 0, 0)]


def test_replaced_between_read_and_move_both_are_accounted_for_and_the_new_one_stays_in_the_queue(
    server: GcsServer, platform: Platform
) -> None:
    put(server, 1, 2)
    just_before(server, "rewriteTo", lambda: put(server, 2, 3))
    (report,) = load(platform).files
    assert report.counts is not None
    assert report.counts.loaded == 2
    assert "replaced" in report.problems[0].what
    assert [file.stored.name for file in platform.gateway.pending().files] == [NAME]
    assert not [name for name in server.objects if name.startswith("a/sent/")]
    second = load(platform)
    assert (second.total("loaded"), second.total("duplicate")) == (1, 1)
    assert numbers(platform) == [1, 2, 3]
    assert balances(platform) == [(2, 2, 0, 0), (2, 1, 1, 0)]


def test_replaced_after_the_copy_to_sent_the_new_one_is_not_removed(
    server: GcsServer, platform: Platform
) -> None:
    put(server, 1, 2)
    just_before(server, "DELETE", lambda: put(server, 3))
    (report,) = load(platform).files
    assert report.problems == ()
    assert [name for name in server.objects if name.startswith("a/sent/")]
    assert load(platform).total("loaded") == 1
    assert numbers(platform) == [1, 2, 3]


def test_replaced_while_a_refused_line_is_fetched_for_the_dead_letter_it_is_read_again(
    server: GcsServer, platform: Platform
) -> None:
    put(server, 1)
    load(platform)
    put(server, 1, 4, bytes=99)
    just_before(server, "alt=media", lambda: put(server, 1, 5, bytes=77), nth=2)
    load(platform)
    server.before = lambda _: None
    load(platform)
    assert numbers(platform) == [1, 5]
    assert balances(platform) == [(1, 1, 0, 0), (2, 1, 0, 1)]
    (letter,) = rows(platform, "SELECT raw FROM ops.dead_letter")
    assert json.loads(letter["raw"])["bytes"] == 77
