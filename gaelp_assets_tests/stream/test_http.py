"""Rows that are pushed over HTTP: what is taken, what is answered, and what is refused with its reason."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.platform import Platform
from gaelp_assets.serve.keys import Keys
from gaelp_assets.stream import http
from gaelp_assets.stream import receiver as receiving
from gaelp_assets.stream.http import PushLimits, make_app
from gaelp_assets.stream.receiver import Receiver
from gaelp_assets_tests.platforms import checkpoint, ndjson, platform_in, rows

NDJSON = {"Content-Type": "application/x-ndjson"}
PATH = "/v1/rows/training/checkpoints"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return platform_in(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def receiver(platform: Platform) -> Iterator[Receiver]:
    receiver = Receiver(platform)
    receiver.start()
    yield receiver
    receiver.close(60)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path, "stream")


def client(receiver: Receiver, keys: Keys, *, local: bool = True, **limits: Any) -> TestClient:
    app = make_app(lambda: receiver, keys, PushLimits(**limits), local=local)
    return TestClient(app, base_url="http://127.0.0.1:8600")


@pytest.fixture
def pushes(receiver: Receiver, keys: Keys) -> TestClient:
    return client(receiver, keys)


def test_rows_are_answered_with_what_became_of_them(platform: Platform, pushes: TestClient) -> None:
    body = ndjson([checkpoint(1), checkpoint(1), "{"])
    first = pushes.post(PATH, content=body, headers={**NDJSON, "Idempotency-Key": "one"})
    assert first.status_code == 200
    told = first.json()
    assert [reason["rule"] for reason in told.pop("reasons")] == ["malformed_json"]
    counts = {"lines": 3, "loaded": 1, "duplicate": 1, "rejected": 1, "superseded": 0, "withdrawn": 0}
    assert told == {"table": "training.checkpoints", "state": "loaded", **counts}
    again = pushes.post(PATH, content=body, headers={**NDJSON, "Idempotency-Key": "one"})
    assert again.json() == told
    packed = gzip.compress(ndjson([checkpoint(2)]))
    answer = pushes.post(PATH, content=packed, headers={**NDJSON, "Content-Encoding": "gzip"})
    assert answer.json()["loaded"] == 1
    array = pushes.post(PATH, json=[checkpoint(3), checkpoint(4)])
    assert array.json()["loaded"] == 2
    sql = "SELECT COUNT(*) AS n FROM training.checkpoints"
    assert rows(platform, sql) == [{"n": 4}]


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "words"),
    [
        ("/v1/rows/training/checkpoint", NDJSON, b"{}", 404, "did you mean 'training.checkpoints'"),
        ("/v1/rows/analytics/ab_tests", NDJSON, b"{}", 404, "table that takes rows"),
        ("/v1/rows/nothing", NDJSON, b"{}", 404, "See /openapi.json"),
        (PATH, {"Content-Type": "text/plain"}, b"{}", 415, "application/x-ndjson"),
        (PATH, {**NDJSON, "Content-Encoding": "br"}, b"{}", 415, "gzip or zstd"),
        (PATH, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"{}", 415, "gzip or zstd"),
        (PATH, NDJSON, b" \n\n", 400, "no rows"),
        (PATH, {**NDJSON, "Idempotency-Key": ""}, b"{}", 400, "Idempotency-Key"),
        (PATH, {**NDJSON, "Idempotency-Key": "k" * 256}, b"{}", 400, "Idempotency-Key"),
        (PATH, {**NDJSON, "Origin": "http://evil.example"}, b"{}", 403, "page of a browser"),
        (PATH, {**NDJSON, "Host": "evil.example"}, b"{}", 403, "another host"),
        (PATH, NDJSON, b"x" * (1 << 20) + b"y", 413, "at most 1 MB"),
        (PATH, {**NDJSON, "Content-Encoding": "gzip"}, b"no gzip at all", 422, "gzip"),
    ],
)
def test_what_is_wrong_is_told(
    path: str, headers: dict[str, str], body: bytes, status: int, words: str, receiver: Receiver, keys: Keys
) -> None:
    answer = client(receiver, keys, megabytes=1).post(path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert words in answer.text


def test_a_key_that_stands_for_other_rows_is_refused(platform: Platform, pushes: TestClient) -> None:
    headers = {**NDJSON, "Idempotency-Key": "two"}
    assert pushes.post(PATH, content=ndjson([checkpoint(11)]), headers=headers).status_code == 200
    refused = pushes.post(PATH, content=ndjson([checkpoint(12)]), headers=headers)
    assert refused.status_code == 422
    assert "stands for other rows" in refused.text
    sql = "SELECT COUNT(*) AS n FROM training.checkpoints WHERE checkpoint_id = 'checkpoint-12'"
    assert rows(platform, sql) == [{"n": 0}]


def test_keys_are_asked_for_where_others_can_reach_it(receiver: Receiver, keys: Keys) -> None:
    text = keys.add("trainer", sensitive=False)
    for local in (True, False):
        pushes = client(receiver, keys, local=local)
        assert pushes.post(PATH, content=b"{}", headers=NDJSON).status_code == 401
        authorized = {**NDJSON, "Authorization": f"Bearer {text}"}
        assert pushes.post(PATH, content=ndjson([checkpoint(21)]), headers=authorized).status_code == 200
        assert pushes.get("/health").status_code == 200


def test_under_pressure_it_is_said_when_to_come_again(
    receiver: Receiver, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "WAITING_BATCHES", 0)
    answer = client(receiver, keys).post(PATH, content=ndjson([checkpoint(31)]), headers=NDJSON)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert "wait for the warehouse" in answer.text


def test_a_full_disk_is_told_before_anything_is_taken(
    platform: Platform, pushes: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise TransientError(Problem("no space left on device", "export_gateway"))

    monkeypatch.setattr(platform.gateway.store, "create", full)
    answer = pushes.post(PATH, content=ndjson([checkpoint(51)]), headers=NDJSON)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "no space left" in answer.text


def test_rows_that_are_safe_but_wait_are_accepted(receiver: Receiver, keys: Keys) -> None:
    in_no_time = {**NDJSON, "Prefer": "respond-async, wait=0"}
    answer = client(receiver, keys).post(PATH, content=ndjson([checkpoint(41)]), headers=in_no_time)
    assert answer.status_code == 202
    assert answer.json()["state"] == "waiting"
    assert (
        client(receiver, keys).post(PATH, content=ndjson([checkpoint(41)]), headers=NDJSON).json()["loaded"]
        == 1
    )


def test_a_producer_that_was_killed_was_taken_for_a_defect(
    receiver: Receiver, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def send(event: MutableMapping[str, Any]) -> None:
        told.append(event)

    headers = [(b"host", b"127.0.0.1:8600"), (b"content-type", b"application/x-ndjson")]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b""}
    app = make_app(lambda: receiver, keys, PushLimits(), local=True)
    asyncio.run(app({**scope, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8600)}, receive, send))
    assert told[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_large_bodies_filled_the_memory_before_any_of_them_waited(
    receiver: Receiver, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "READING_BYTES", 100)
    app = make_app(lambda: receiver, keys, PushLimits(), local=True)
    row = ndjson([checkpoint(61)])

    async def push() -> list[int]:
        begun, goes_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield row[:10]
            begun.set()
            await goes_on.wait()
            yield row[10:]

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8600") as asker:
            first = asyncio.create_task(asker.post(PATH, content=slowly(), headers=NDJSON))
            await begun.wait()
            second = await asker.post(PATH, content=row, headers=NDJSON)
            goes_on.set()
            answers = [(await first).status_code, second.status_code]
            return [*answers, (await asker.post(PATH, content=row, headers=NDJSON)).status_code]

    assert asyncio.run(push()) == [200, 429, 200]


def test_a_body_that_never_ended_was_waited_for_always(
    receiver: Receiver, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)
    app = make_app(lambda: receiver, keys, PushLimits(), local=True)

    async def push() -> httpx.Response:
        async def endless() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8600") as asker:
            return await asker.post(PATH, content=endless(), headers=NDJSON)

    answer = asyncio.run(push())
    assert answer.status_code == 408
    assert "does not end" in answer.text
