"""What every gateway store keeps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.gateway import ObjectChanged, Store, StoredObject
from gaelp_assets_tests.contract.gateways import (
    STORES,
    at_once,
    names,
    open_store,
    put,
    put_from_outside,
    read,
)

# Google's client leaves the connection of a refused download to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with open_store(request.param, tmp_path / "gateway", monkeypatch) as store:
        yield store


def test_what_is_created_is_found_listed_and_read(store: Store) -> None:
    stored = store.create("raw/a/b.ndjson", iter([b"one\n", b"", b"two\n"]))
    assert stored is not None
    assert store.find("raw/a/b.ndjson") == stored
    assert list(store.list("raw/")) == [stored]
    assert stored.size == 8
    assert abs(dt.datetime.now(dt.UTC) - stored.modified) < dt.timedelta(minutes=5)
    assert read(store, stored) == b"one\ntwo\n"


@pytest.mark.parametrize("size", [0, 1, 9 * 1024 * 1024, 16 * 1024 * 1024, 20 * 1024 * 1024 + 7])
def test_objects_of_every_size_come_back_as_they_were(store: Store, size: int) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    stored = store.create("raw/a.ndjson", (content[i : i + 1_000_003] for i in range(0, size, 1_000_003)))
    assert stored is not None
    assert stored.size == size
    with store.open(stored) as file:
        pieces = []
        while piece := file.read(3_000_017):
            pieces.append(piece)
        assert b"".join(pieces) == content
        for position in (0, size // 2, size):
            file.seek(position)
            assert file.read(5) == content[position : position + 5]
        assert file.seek(0) == 0
        assert file.read() == content


def test_a_name_is_written_once(store: Store) -> None:
    first = put(store, "raw/a.ndjson", b"first")
    assert store.create("raw/a.ndjson", [b"second"]) is None
    assert store.create("raw/a.ndjson", [b"first"]) is None
    assert store.find("raw/a.ndjson") == first
    assert read(store, first) == b"first"


@pytest.mark.parametrize("same_bytes", [True, False])
def test_of_ten_that_create_one_name_at_once_exactly_one_wins(store: Store, same_bytes: bool) -> None:
    def content(index: int) -> bytes:
        return b"same" if same_bytes else f"writer {index}".encode()

    results = at_once(10, lambda index: store.create("raw/deep/er/a.ndjson", [content(index)]))
    winners = [index for index, result in enumerate(results) if result is not None]
    assert len(winners) == 1, results
    stored = store.find("raw/deep/er/a.ndjson")
    assert stored == results[winners[0]]
    assert stored is not None
    assert read(store, stored) == content(winners[0])


def test_a_producer_that_breaks_off_leaves_no_object(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        store.create("raw/a.ndjson", chunks())
    assert names(store) == []
    put(store, "raw/a.ndjson")


def test_objects_are_listed_in_order_of_name_and_from_any_point(store: Store) -> None:
    expected = sorted(
        [
            "raw/a-b/x",
            "raw/a.ndjson",
            "raw/a/b/x",
            "raw/a/x",
            "raw/a0",
            "raw/a_",
            "raw/b",
            "raw/A",
            "raw/é",
            "raw/日本",
            "raw/\U0001f600",
        ]
    )
    for name in reversed(expected):
        put(store, name)
    put(store, "sent/x")
    assert names(store) == expected
    for index, name in enumerate(expected):
        assert names(store, start_after=name) == expected[index + 1 :]
    assert names(store, start_after="raw/a/b") == expected[expected.index("raw/a/b/x") :]
    assert names(store, "raw/a") == [name for name in expected if name.startswith("raw/a")]
    assert names(store, "raw/a/") == ["raw/a/b/x", "raw/a/x"]
    assert names(store, "raw/nothing/") == []


def test_unfinished_objects_are_not_there(store: Store) -> None:
    put(store, "raw/a.ndjson")
    hidden = ["raw/.a.ndjson", "raw/b.ndjson.tmp", "raw/.folder/c.ndjson", ".hidden"]
    for name in hidden:
        put_from_outside(store, name)
    assert names(store) == ["raw/a.ndjson"]
    assert [name for name in hidden if store.find(name)] == []
    assert names(store, "raw/.folder/") == []


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "raw/../../a",
        "/etc/passwd",
        "raw//a",
        "raw/./a",
        "",
        "raw/a\0b",
        "raw/",
        "raw/..",
        "raw/\ud800",
    ],
)
def test_no_name_escapes(store: Store, name: str) -> None:
    stored = put(store, "raw/a.ndjson")
    actions: list[Callable[[], object]] = [
        lambda: store.create(name, [b""]),
        lambda: store.move(stored, name),
        lambda: store.find(name),
    ]
    for action in actions:
        with pytest.raises(GaelpError, match="refused"):
            action()
    assert names(store, "") == ["raw/a.ndjson"]


@pytest.mark.parametrize("name", ["raw/a\\b", "raw/.a", "raw/a.tmp", "raw/.a/b", f"raw/{'a' * 2000}"])
def test_a_new_object_gets_no_name_that_would_hide_it_or_that_cannot_be(store: Store, name: str) -> None:
    stored = put(store, "raw/a.ndjson")
    actions: list[Callable[[], object]] = [
        lambda: store.create(name, [b""]),
        lambda: store.move(stored, name),
    ]
    for action in actions:
        with pytest.raises(GaelpError):
            action()
    assert store.find(f"raw/{'a' * 2000}") is None
    assert names(store) == ["raw/a.ndjson"]


def test_a_moved_object_is_the_same_under_its_new_name(store: Store) -> None:
    stored = put(store, "raw/a/b.ndjson", b"content")
    moved = store.move(stored, "sent/deep/er/c.ndjson")
    assert moved == store.find("sent/deep/er/c.ndjson")
    assert read(store, moved) == b"content"
    assert store.find("raw/a/b.ndjson") is None
    with pytest.raises(ObjectChanged):
        store.move(stored, "sent/again.ndjson")
    assert names(store, "") == ["sent/deep/er/c.ndjson"]


def test_moving_replaces_what_has_the_name(store: Store) -> None:
    old = put(store, "sent/a.ndjson", b"old")
    moved = store.move(put(store, "raw/a.ndjson", b"new"), "sent/a.ndjson")
    assert read(store, moved) == b"new"
    assert names(store, "") == ["sent/a.ndjson"]
    with pytest.raises(ObjectChanged):
        read(store, old)


def test_moving_something_onto_the_same_bytes_keeps_one(store: Store) -> None:
    put(store, "sent/a.ndjson", b"same")
    moved = store.move(put(store, "raw/a.ndjson", b"same"), "sent/a.ndjson")
    assert read(store, moved) == b"same"
    assert names(store, "") == ["sent/a.ndjson"]


def test_moving_something_onto_itself_changes_nothing(store: Store) -> None:
    stored = put(store, "raw/a.ndjson", b"content")
    assert read(store, store.move(stored, "raw/a.ndjson")) == b"content"


def test_of_ten_that_move_one_object_at_once_exactly_one_wins(store: Store) -> None:
    stored = put(store, "raw/a.ndjson", b"content")
    results = at_once(10, lambda _: store.move(stored, "transformed/a.ndjson"))
    winners = [result for result in results if isinstance(result, StoredObject)]
    assert len(winners) == 1, results
    assert all(isinstance(result, ObjectChanged) for result in results if result is not winners[0]), results
    assert store.find("transformed/a.ndjson") == winners[0]
    assert names(store, "") == ["transformed/a.ndjson"]


def test_a_replaced_object_is_noticed(store: Store) -> None:
    stored = put(store, "raw/a.ndjson", b"old")
    put_from_outside(store, "raw/a.ndjson", b"new")
    for action in (
        lambda: read(store, stored),
        lambda: store.move(stored, "sent/a.ndjson"),
        lambda: store.delete(stored),
    ):
        with pytest.raises(ObjectChanged):
            action()
    found = store.find("raw/a.ndjson")
    assert found is not None
    assert found.version != stored.version
    assert read(store, found) == b"new"
    assert names(store, "") == ["raw/a.ndjson"]


def test_a_replaced_empty_object_is_noticed(store: Store) -> None:
    stored = put(store, "raw/a.ndjson", b"")
    assert read(store, stored) == b""
    store.delete(stored)
    with pytest.raises(ObjectChanged):
        store.open(stored)


def test_a_deleted_object_is_gone(store: Store) -> None:
    stored = put(store, "raw/a/b.ndjson")
    store.delete(stored)
    assert names(store, "") == []
    with pytest.raises(ObjectChanged):
        store.delete(stored)
    with pytest.raises(ObjectChanged):
        store.open(stored)
