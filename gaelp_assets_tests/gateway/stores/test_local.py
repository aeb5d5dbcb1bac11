"""What is particular to a gateway in a folder: the file system's traps and errors."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gaelp_assets.errors import GaelpError, TransientError
from gaelp_assets.gateway.store import ObjectChanged, StoredObject
from gaelp_assets.gateway.stores.local import MARKER, UNFINISHED, LocalStore

FOLDERS = ("raw", "sent")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "gateway")
    store.prepare(FOLDERS)
    return store


def put(store: LocalStore, name: str, content: bytes = b"{}\n") -> StoredObject:
    created = store.create(name, [content])
    assert created is not None
    return created


def names(store: LocalStore, prefix: str = "raw/") -> list[str]:
    return [stored.name for stored in store.list(prefix)]


def test_prepare_makes_a_fresh_machine_ready_and_can_be_called_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "not" / "there" / "yet")
    store.prepare(FOLDERS)
    store.prepare(FOLDERS)
    assert names(store) == []


@pytest.mark.parametrize("there", [False, True], ids=["no folder", "an empty mount point"])
def test_a_share_that_was_not_mounted_became_a_new_gateway(tmp_path: Path, there: bool) -> None:
    store = LocalStore(tmp_path / "share")
    if there:
        store.folder.mkdir()
    with pytest.raises(TransientError, match="gaelp gateway init"):
        store.require(FOLDERS)
    assert store.folder.exists() == there
    assert not there or not any(store.folder.iterdir())


@pytest.mark.parametrize("left", [MARKER, "raw"], ids=["its marker", "a folder of an earlier version's"])
def test_a_gateway_is_known_again_by(tmp_path: Path, left: str) -> None:
    store = LocalStore(tmp_path / "gateway")
    store.prepare(FOLDERS)
    for name in {MARKER, *FOLDERS} - {left}:
        path = store.folder / name
        path.unlink() if name == MARKER else path.rmdir()
    store.require(FOLDERS)
    assert names(store) == []
    assert (store.folder / MARKER).exists()


def test_prepare_removes_only_what_dead_writers_left_a_day_ago(store: LocalStore) -> None:
    old, new = store.folder / UNFINISHED / "old.tmp", store.folder / UNFINISHED / "new.tmp"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    store.prepare(FOLDERS)
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("gone", ["root", "top-level folder"])
def test_a_vanished_share_is_not_an_empty_queue(store: LocalStore, gone: str) -> None:
    stored = put(store, "raw/a.ndjson")
    away = store.folder if gone == "root" else store.folder / "raw"
    away.rename(store.folder.parent / "away")
    for action in (
        lambda: names(store),
        lambda: names(store, "raw/training/"),
        lambda: store.find("raw/a.ndjson"),
        lambda: store.open(stored),
        lambda: store.create("raw/b.ndjson", [b""]),
        lambda: store.delete(stored),
    ):
        with pytest.raises(TransientError, match="mounted"):
            action()


def test_a_folder_emptied_during_the_listing_is_passed_over(store: LocalStore) -> None:
    first, second = put(store, "raw/a/x.ndjson"), put(store, "raw/b/x.ndjson")
    put(store, "raw/c/x.ndjson")
    listed = store.list("raw/")
    assert next(listed).name == first.name
    store.move(second, "sent/b.ndjson")
    assert not (store.folder / "raw/b").exists()
    assert [stored.name for stored in listed] == ["raw/c/x.ndjson"]


def test_links_and_special_files_are_neither_listed_nor_followed(store: LocalStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.ndjson").write_bytes(b"secret")
    (store.folder / "raw" / "linked.ndjson").symlink_to(secret / "a.ndjson")
    (store.folder / "raw" / "folder").symlink_to(secret)
    (store.folder / "raw" / "circle").symlink_to("circle")
    os.mkfifo(store.folder / "raw" / "pipe.ndjson")
    assert names(store) == []
    assert store.find("raw/linked.ndjson") is None
    assert store.find("raw/pipe.ndjson") is None
    outside = StoredObject("raw/folder/a.ndjson", 6, put(store, "raw/b.ndjson").modified, "1")
    for action in (
        lambda: store.find(outside.name),
        lambda: store.open(outside),
        lambda: store.create("raw/folder/new.ndjson", [b""]),
        lambda: store.create("raw/circle/new.ndjson", [b""]),
        lambda: store.move(put(store, "raw/m.ndjson"), "raw/folder/a.ndjson"),
        lambda: store.delete(outside),
    ):
        with pytest.raises(GaelpError, match="symbolic link"):
            action()
    assert [path.name for path in secret.iterdir()] == ["a.ndjson"]
    assert (secret / "a.ndjson").read_bytes() == b"secret"


def test_a_pipe_in_a_files_place_does_not_hang_the_reader(store: LocalStore) -> None:
    stored = put(store, "raw/a.ndjson")
    (store.folder / stored.name).unlink()
    os.mkfifo(store.folder / stored.name)
    with pytest.raises(ObjectChanged):
        store.open(stored)


def test_a_name_of_undecodable_bytes_can_be_listed_read_and_moved(store: LocalStore) -> None:
    Path(os.fsdecode(os.fsencode(store.folder) + b"/raw/caf\xe9\n.ndjson")).write_bytes(b"{}\n")
    (stored,) = store.list("raw/")
    with store.open(stored) as file:
        assert file.read() == b"{}\n"
    assert store.move(stored, "sent/cafe.ndjson").name == "sent/cafe.ndjson"
    assert names(store) == []


def test_a_name_that_is_too_long_is_refused_and_never_found(store: LocalStore) -> None:
    name = f"raw/{'a' * 300}.ndjson"
    assert store.find(name) is None
    with pytest.raises(GaelpError, match="shorter name") as caught:
        store.create(name, [b""])
    assert not isinstance(caught.value, TransientError)
    assert list((store.folder / UNFINISHED).iterdir()) == []


def test_a_file_where_a_folder_should_be_is_said_so(store: LocalStore) -> None:
    put(store, "raw/training")
    with pytest.raises(GaelpError, match="a file is where a folder should be"):
        store.create("raw/training/episodes/a.ndjson", [b""])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS])
def test_a_full_or_broken_disk_is_transient_and_leaves_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def broken(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(TransientError, match="cannot write") as caught:
        store.create("raw/a.ndjson", [b"{}"])
    assert "raw/a.ndjson" in str(caught.value)
    assert names(store) == []
    assert list((store.folder / UNFINISHED).iterdir()) == []


@pytest.mark.parametrize(
    ("code", "transient"), [(errno.EIO, True), (errno.ESTALE, True), (errno.EACCES, False)]
)
def test_what_cannot_be_listed_is_an_error_not_an_empty_list(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, code: int, transient: bool
) -> None:
    put(store, "raw/training/a.ndjson")
    real = os.scandir

    def broken(path: Path) -> object:
        if Path(path).name == "training":
            raise OSError(code, os.strerror(code), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(GaelpError, match="cannot list") as caught:
        names(store)
    assert isinstance(caught.value, TransientError) is transient
    if not transient:
        assert f"id {os.geteuid()}" in str(caught.value)


def test_a_producer_that_breaks_off_leaves_nothing(store: LocalStore) -> None:
    def chunks() -> object:
        yield b"{}\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.create("raw/a.ndjson", chunks())  # type: ignore[arg-type]
    assert names(store) == []
    assert list((store.folder / UNFINISHED).iterdir()) == []


def test_emptied_folders_are_cleared_up_but_never_the_top_level_ones(store: LocalStore) -> None:
    kept = put(store, "raw/a/b/kept.ndjson")
    store.move(put(store, "raw/a/b/c/d/x.ndjson"), "sent/x.ndjson")
    assert sorted(path.name for path in (store.folder / "raw/a/b").iterdir()) == ["kept.ndjson"]
    store.delete(kept)
    assert list((store.folder / "raw").iterdir()) == []


def test_writers_and_clearing_up_do_not_race(store: LocalStore) -> None:
    """A mover empties and removes the folder that a writer needs, over and over."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        return run

    def writer(number: int) -> Callable[[], None]:
        def work() -> None:
            for i in range(60):
                moved = put(store, f"raw/deep/er/{number}-{i}.ndjson")
                store.move(moved, f"sent/deep/er/{number}-{i}.ndjson")

        return work

    threads = [threading.Thread(target=guarded(writer(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(names(store, "sent/")) == 240
    assert not (store.folder / "raw/deep").exists()


def test_a_file_system_without_hard_links_is_told_apart_from_a_missing_permission(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(self: Path, target: Path) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(Path, "hardlink_to", unsupported)
    with pytest.raises(GaelpError, match="hard links"):
        store.create("raw/a.ndjson", [b""])


def test_a_lost_answer_of_a_network_file_system_still_counts_as_created(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.hardlink_to

    def linked_twice(self: Path, target: Path) -> None:
        real(self, target)
        real(self, target)

    monkeypatch.setattr(Path, "hardlink_to", linked_twice)
    assert store.create("raw/a.ndjson", [b"{}"]) is not None


def test_listing_starts_in_the_middle_without_opening_earlier_folders(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in "abc":
        put(store, f"raw/{folder}/x.ndjson")
    opened: list[str] = []
    real = os.scandir

    def noted(path: Path) -> object:
        opened.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(os, "scandir", noted)
    assert [stored.name for stored in store.list("raw/", start_after="raw/b/x.ndjson")] == ["raw/c/x.ndjson"]
    assert "a" not in opened


def test_links_and_special_files_were_passed_over_in_silence(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.ndjson").write_bytes(b"{}")
    deep = store.folder / "raw" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "link.ndjson").symlink_to(tmp_path / "elsewhere" / "secret.ndjson")
    (deep / "folder").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(store.folder / "raw" / "pipe.ndjson")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(store.folder / "sent" / "socket"))
    (store.folder / "top").symlink_to(tmp_path)
    (store.folder / "raw" / ".hidden").symlink_to(tmp_path)
    put(store, "raw/fine.ndjson")
    found = {name: kind for folder in ("", *FOLDERS) for name, kind in store.specials(folder)}
    assert found == {
        "raw/a/b/folder": "a symbolic link",
        "raw/a/b/link.ndjson": "a symbolic link",
        "raw/pipe.ndjson": "a named pipe",
        "sent/socket": "a socket",
        "top": "a symbolic link",
    }
    assert names(store) == ["raw/fine.ndjson"]
