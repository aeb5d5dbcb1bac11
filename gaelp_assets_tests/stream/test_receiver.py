"""The receiver: what becomes of batches, and what happens when the warehouse or another process is in the way."""

from __future__ import annotations

import datetime as dt
import gzip
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gaelp_assets.catalog import Slice
from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.gateway.names import LIVE_TIME
from gaelp_assets.gateway.store import StoredObject
from gaelp_assets.gateway.stores.local import LocalStore
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.platform import Platform
from gaelp_assets.runs.plans import pending_work
from gaelp_assets.stream import receiver as receiving
from gaelp_assets.stream.batch import Batch, Fates, KeyTakenError
from gaelp_assets.stream.loading import LiveLoader
from gaelp_assets.stream.pace import Pace
from gaelp_assets.stream.receiver import CrowdedError, Receiver, Waiting
from gaelp_assets_tests.ingest.killed_loader import load_everything
from gaelp_assets_tests.platforms import TABLE, checkpoint, ndjson, platform_in, rows

WAIT = 60


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return platform_in(tmp_path)


@pytest.fixture
def receiver(platform: Platform) -> Iterator[Receiver]:
    receiver = Receiver(platform)
    receiver.start()
    yield receiver
    receiver.close(WAIT)


def batch(platform: Platform, stem: str, *lines: object) -> Batch:
    return Batch(platform.catalog[TABLE], f"live-{stem}", ndjson(lines))


def loaded(platform: Platform) -> list[str]:
    sql = f"SELECT checkpoint_id FROM {TABLE} ORDER BY checkpoint_id"
    return [row["checkpoint_id"] for row in rows(platform, sql)]


def test_each_line_has_a_fate_and_a_batch_that_comes_again_the_same_ones(
    platform: Platform, receiver: Receiver
) -> None:
    taxi = checkpoint(3, environment_id="Taxi-v4")
    one = batch(platform, "a", checkpoint(1), checkpoint(1), "{", checkpoint(2, bytes=-1), taxi)
    waiting = receiver.accept(one)
    fates = Fates(lines=5, loaded=2, duplicate=1, rejected=2)
    assert waiting.result(WAIT) == fates
    assert {reason["rule"] for reason in waiting.reasons.to_dicts()} >= {"malformed_json"}
    assert receiver.accept(one).result(WAIT) == fates
    assert receiver.accept(batch(platform, "b", taxi, checkpoint(4))).result(WAIT) == Fates(2, 1, 1, 0)
    assert loaded(platform) == ["checkpoint-1", "checkpoint-3", "checkpoint-4"]
    [dead, _] = rows(platform, "SELECT file, line_number FROM ops.dead_letter ORDER BY line_number")
    assert dead == {"file": "training/checkpoints/live-a.ndjson", "line_number": 3}


def test_lines_that_are_all_bad_are_no_file_to_set_aside(platform: Platform, receiver: Receiver) -> None:
    assert receiver.accept(batch(platform, "bad", "nonsense")).result(WAIT) == Fates(1, 0, 0, 1)
    assert not platform.gateway.failed()


def test_a_name_stands_for_the_same_lines_for_ever(platform: Platform, receiver: Receiver) -> None:
    assert receiver.accept(batch(platform, "a", checkpoint(1))).result(WAIT)
    with pytest.raises(KeyTakenError):
        receiver.accept(batch(platform, "a", checkpoint(2))).result(WAIT)
    assert loaded(platform) == ["checkpoint-1"]
    assert not platform.gateway.unsorted().files


def test_a_warehouse_that_is_locked_keeps_nothing_from_being_accepted(
    platform: Platform, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(receiving, "LONGEST_WAIT", 0.05)
    locked = [True]
    write = type(platform.warehouse).write

    def refuse(warehouse: object, *args: object) -> object:
        if locked[0]:
            raise TransientError(Problem("the file is locked", "warehouse.duckdb"))
        return write(warehouse, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(type(platform.warehouse), "write", refuse)
    with caplog.at_level(logging.WARNING, "gaelp_assets.stream"):
        waiting = [receiver.accept(batch(platform, f"a{n}", checkpoint(n))) for n in range(3)]
        while waiting[0].trouble is None:
            assert waiting[0].result(0.05) is None
        assert "locked" in str(waiting[0].trouble)
        locked[0] = False
        assert [one.result(WAIT) for one in waiting] == [Fates(1, 1, 0, 0)] * 3
    assert len([line for line in caplog.messages if "is locked" in line]) == 1


def test_too_much_that_waits_is_refused_and_not_half_taken(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver(platform)  # which does not load yet
    first = receiver.accept(batch(platform, "a", checkpoint(1)))
    for limit in ("WAITING_BYTES", "WAITING_BATCHES"):
        with monkeypatch.context() as patched:
            patched.setattr(receiving, limit, 1)
            with pytest.raises(CrowdedError):
                receiver.accept(batch(platform, "b", checkpoint(2)))
    assert receiver.waits() == (1, first.arrived.size)
    assert [file.name for file in platform.gateway.unsorted().files] == ["live-a.ndjson"]


def test_two_receivers_that_get_the_same_batches_load_each_once(
    platform: Platform, receiver: Receiver
) -> None:
    other = Receiver(platform)
    other.start()
    batches = [batch(platform, f"a{n}", checkpoint(n), checkpoint(n + 100)) for n in range(5)]
    waiting = [each.accept(one) for one in batches for each in (receiver, other)]
    assert {one.result(WAIT) for one in waiting} == {Fates(2, 2, 0, 0)}
    assert other.close(WAIT)
    assert len(loaded(platform)) == 10
    assert not platform.gateway.pending().files


def test_dagster_started_a_run_for_each_second_of_a_stream(platform: Platform) -> None:
    """A sensor leaves new live files to the receiver that wrote them, and takes those that one has left."""
    live = f"training/checkpoints/{Slice(dt.date(2026, 11, 1), 'CartPole-v1').path}/live-a.ndjson"
    stored = platform.gateway.store.create(f"cloud_ready/{live}", [ndjson([checkpoint(1)])])
    assert isinstance(stored, StoredObject)
    young = stored.modified - LIVE_TIME / 2
    assert not pending_work(platform, live_until=young)
    assert pending_work(platform)
    assert pending_work(platform, live_until=stored.modified)


def test_an_ingest_took_what_a_receiver_was_about_to_load_and_loaded_it_last(platform: Platform) -> None:
    stored = platform.gateway.store.create(
        "raw/training/checkpoints/live-a.ndjson", [ndjson([checkpoint(1)])]
    )
    assert stored is not None
    assert not sort_raw(platform, run_id="test")
    old = (stored.modified - 2 * LIVE_TIME).timestamp()
    os.utime(platform.settings.home / "export_gateway" / stored.name, (old, old))
    assert len(sort_raw(platform, run_id="test")) == 1


@pytest.mark.parametrize("stem", ["part-0", "live-../x", "live-a/b", "live-", "live-" + "x" * 150])
def test_a_batch_has_a_name_that_leads_nowhere_else(platform: Platform, stem: str) -> None:
    with pytest.raises(ValueError, match="no name of a live file"):
        Batch(platform.catalog[TABLE], stem, b"{}\n")


def together(platform: Platform, *batches: Batch) -> list[Waiting]:
    """What became of batches that are loaded in one round."""
    receiver = Receiver(platform)
    waiting = [receiver.accept(one) for one in batches]
    receiver.start()
    assert receiver.close(WAIT)
    return waiting


def test_the_same_rows_twice_in_one_round_counted_twice_or_were_never_answered(platform: Platform) -> None:
    body = ndjson([checkpoint(1), checkpoint(2)])
    packed = Batch(platform.catalog[TABLE], "live-c", gzip.compress(body), "ndjson.gz")
    batches = [batch(platform, name, checkpoint(1), checkpoint(2)) for name in "ab"]
    told = [one.result(0) for one in together(platform, *batches, packed)]
    assert told == [Fates(2, 2, 0, 0), Fates(2, 0, 2, 0), Fates(2, 0, 2, 0)]
    assert loaded(platform) == ["checkpoint-1", "checkpoint-2"]


def test_one_name_for_two_bodies_of_one_round_took_both(platform: Platform) -> None:
    other = Batch(platform.catalog[TABLE], "live-a", gzip.compress(ndjson([checkpoint(2)])), "ndjson.gz")
    first, second = together(platform, batch(platform, "a", checkpoint(1)), other)
    assert first.result(0) == Fates(1, 1, 0, 0)
    with pytest.raises(KeyTakenError):
        second.result(0)
    assert loaded(platform) == ["checkpoint-1"]


def test_rows_that_were_accepted_under_a_taken_name_were_removed_without_a_word(
    platform: Platform, receiver: Receiver
) -> None:
    assert receiver.accept(batch(platform, "a", checkpoint(1))).result(WAIT)
    # Its producer may be answered as soon as it is accepted, and be gone.
    accepted = receiver.accept(batch(platform, "a", checkpoint(2)))
    with pytest.raises(KeyTakenError):
        accepted.result(WAIT)
    [kept] = platform.gateway.failed()
    assert kept.original == "raw/training/checkpoints/live-a.ndjson"
    with platform.gateway.store.open(kept.stored) as file:
        assert file.read() == ndjson([checkpoint(2)])


@pytest.mark.parametrize("defect", [RuntimeError("row 1"), pl.exceptions.PanicException("row 1")])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(Receiver, "_round"), (Pace, "rest"), (LiveLoader, "load")],
)
def test_a_defect_ended_the_thread_that_loads_and_nobody_was_told(
    owner: type,
    name: str,
    defect: BaseException,
    platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    original, defects = getattr(owner, name), [defect]

    def once(*args: Any) -> Any:
        if defects:
            raise defects.pop()
        return original(*args)

    monkeypatch.setattr(owner, name, once)
    receiver = Receiver(platform)
    receiver.start()
    assert receiver.accept(batch(platform, "a", checkpoint(1))).result(WAIT) == Fates(1, 1, 0, 0)
    assert receiver.accept(batch(platform, "b", checkpoint(2))).result(WAIT) == Fates(1, 1, 0, 0)
    assert receiver.close(WAIT)
    assert type(defect).__name__ in caplog.text
    assert "row 1" not in caplog.text


def test_what_is_more_than_may_wait_was_refused_for_ever(
    platform: Platform, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "WAITING_BYTES", 10)
    assert receiver.accept(batch(platform, "a", checkpoint(1))).result(WAIT) == Fates(1, 1, 0, 0)
    assert receiver.waits() == (0, 0)


def test_a_batch_that_was_being_written_when_the_receiver_ended_was_left(
    platform: Platform, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = LocalStore.create

    def slowly(store: LocalStore, name: str, chunks: Iterable[bytes]) -> StoredObject | None:
        if name.startswith("raw/"):
            assert not receiver.close(0)
            receiver.close(0.3)
        return create(store, name, chunks)

    monkeypatch.setattr(LocalStore, "create", slowly)
    assert receiver.accept(batch(platform, "a", checkpoint(1))).result(WAIT) == Fates(1, 1, 0, 0)


def test_a_revision_of_streamed_rows_was_taken_for_streamed_rows(
    platform: Platform, receiver: Receiver
) -> None:
    assert receiver.accept(batch(platform, "a", checkpoint(1), checkpoint(2))).result(WAIT)
    revision = "raw/training/checkpoints/live-a.rev-2.ndjson"
    assert platform.gateway.store.create(revision, [ndjson([checkpoint(2)])]) is not None
    together(platform)
    assert [file.stored.name for file in platform.gateway.unsorted().files] == [revision]
    assert len(sort_raw(platform, run_id="test")) == 1
    load_everything(platform)
    assert loaded(platform) == ["checkpoint-2"]
