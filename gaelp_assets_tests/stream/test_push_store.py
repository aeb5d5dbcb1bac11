"""The spool of a recorder that pushes: a file of rows leaves it when a receiver says that it has them, and never before."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gaelp_assets.gateway.stores import push
from gaelp_assets.gateway.stores.local import LocalStore
from gaelp_assets.gateway.stores.push import PushStore

RECEIPT = json.dumps({"table": "training.metrics", "state": "waiting"}).encode()
WAIT = 60


@dataclass
class Answers:
    """What answers at an address, and what it was asked."""

    answer: Callable[[str], tuple[int, bytes, dict[str, str]]]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, times: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.asked) >= times, WAIT)


@contextmanager
def answering(answers: Answers) -> Iterator[Answers]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.told()

        def do_GET(self) -> None:
            self.told()

        def told(self) -> None:
            status, content, headers = answers.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            with answers.came:
                answers.asked.append(f"{self.command} {self.path}")
                answers.came.notify_all()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        answers.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield answers
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setattr(push, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(push, "LONGEST_WAIT", 0.01)
    store = LocalStore(tmp_path / "spool")
    store.prepare(["raw", "cloud_ready", "failed", "recordings"])
    return store


def begin(url: str, spool: LocalStore, *tables: str) -> PushStore:
    for table in tables:
        assert spool.create(f"raw/training/{table}/a.ndjson", [b"{}\n"]) is not None
    store = PushStore(url, "secret", spool)
    store._own.update(f"raw/training/{table}/a.ndjson" for table in tables)
    store.start()
    return store


def waiting(spool: LocalStore) -> list[str]:
    return [stored.name for stored in spool.list("raw/")]


@pytest.mark.parametrize(
    "page",
    [
        (200, b"<html>Please log in</html>", {}),
        (200, b'{"table": "training.episodes", "state": "loaded"}', {}),
        (302, b"", {"Location": "/login"}),
    ],
)
def test_rows_were_removed_after_something_else_than_a_receiver_had_answered(
    page: tuple[int, bytes, dict[str, str]], spool: LocalStore, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = [True]
    with answering(
        Answers(
            lambda path: (
                (200, b"<html></html>", {}) if path == "/login" else page if wrong[0] else (202, RECEIPT, {})
            )
        )
    ) as answers:
        store = begin(answers.url, spool, "metrics")
        answers.wait_for(3)
        assert waiting(spool) == ["raw/training/metrics/a.ndjson"]
        assert {asked.split()[0] for asked in answers.asked} == {"POST"}
        wrong[0] = False
        assert store.drain(WAIT) == 0
        assert not waiting(spool)
    assert "receiver" in caplog.text
    assert "secret" not in caplog.text


def test_one_table_that_the_receiver_does_not_know_kept_back_all_others(spool: LocalStore) -> None:
    with answering(
        Answers(lambda path: (202, RECEIPT, {}) if path.endswith("metrics") else (404, b"", {}))
    ) as answers:
        store = begin(answers.url, spool, "episodes", "metrics")
        answers.wait_for(4)
        assert waiting(spool) == ["raw/training/episodes/a.ndjson"]
        assert store._own == {"raw/training/episodes/a.ndjson"}
