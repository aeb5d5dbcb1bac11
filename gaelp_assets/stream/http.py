"""HTTP as a source: a producer posts lines of a table, and is answered with what became of them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.gateway.names import LIVE
from gaelp_assets.serve.answers import RefusedError, answer_problems
from gaelp_assets.serve.door import Door
from gaelp_assets.serve.forms import as_json
from gaelp_assets.serve.keys import Keys
from gaelp_assets.serve.limits import BusyError, Gate, Limits
from gaelp_assets.stream.batch import Batch, KeyTakenError
from gaelp_assets.stream.receiver import CrowdedError, Receiver, Waiting

_log: Final = logging.getLogger("gaelp_assets.stream")
_BODIES: Final[Mapping[str, str]] = {
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json": "json",
}
_CODINGS: Final[Mapping[str, str]] = {"": "", "identity": "", "gzip": ".gz", "zstd": ".zst"}
_KEY_LENGTH: Final = 255
READING_BYTES: Final = 64 << 20
"""Of bodies that are read at once: many large ones would fill the memory before any of them waits."""
BODY_SECONDS: Final = 60.0
"""Within which a body has to be there."""


@dataclass(frozen=True)
class PushLimits:
    """What one who pushes gets.

    Args:
        megabytes: of a body, as it is sent.
        seconds: for which an answer waits for the rows to be loaded.
        requests: of each key in a minute.
    """

    megabytes: int = 16
    seconds: float = 30.0
    requests: int = 6_000


def make_app(receiver: Callable[[], Receiver], keys: Keys, limits: PushLimits, *, local: bool) -> FastAPI:
    """The application.

    Args:
        receiver: gives the one that takes batches now.
        keys: of those who may push.
        limits: what each gets.
        local: whether this machine alone can reach it: then, as long as there are no keys, none is asked for.
    """
    door = Door(keys, Gate(Limits(requests=limits.requests)), local=local)
    app = FastAPI(
        title="GAELP: rows of running trainings",
        version=version("gaelp-assets"),
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )

    def health() -> Response:
        """Whether the receiver is there, and what waits. Asks for no key."""
        batches, size = receiver().waits()
        told = {"status": "ok", "waiting": {"batches": batches, "bytes": size}}
        return Response(as_json(told), media_type="application/json")

    reading = 0  # bytes of the bodies that are read at the moment, as large as each can be

    async def rows(dataset: str, table: str, request: Request) -> Response:
        """Lines of a table. Answers once they are durable and loaded, or durable and still waiting (202)."""
        nonlocal reading
        _refuse_pages(request)
        door.asker(request)
        into = receiver()
        relation = _find(into, f"{dataset}.{table}")
        ending = _ending(request)
        key = _key(request)
        size = _size(request, limits.megabytes << 20)
        try:
            if reading and reading + size > READING_BYTES:
                raise CrowdedError
            reading += size
            try:
                body = await _body(request, limits.megabytes << 20)
                batch = Batch(relation, _stem(relation, key, body), body, ending)
                waiting = await run_in_threadpool(into.accept, batch)
            finally:
                reading -= size
        except CrowdedError as busy:
            raise BusyError(busy.problems[0], busy.seconds, HTTPStatus.TOO_MANY_REQUESTS) from None
        except KeyTakenError as error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, *error.problems) from None
        return await _answer(relation, waiting, min(limits.seconds, _patience(request)))

    app.get("/health", response_class=Response, summary="Whether the receiver is there")(health)
    app.post(
        "/v1/rows/{dataset}/{table}",
        response_class=Response,
        summary="Rows of a table",
        openapi_extra={"requestBody": {"content": {kind: {} for kind in _BODIES}, "required": True}},
    )(rows)
    answer_problems(app, _log, start=app.openapi_url or "/")
    return app


async def _answer(relation: Relation, waiting: Waiting, seconds: float) -> Response:
    await asyncio.wait([asyncio.wrap_future(waiting.ended)], timeout=seconds)
    try:
        fates = waiting.result(0)
    except GaelpError as error:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, *error.problems) from None
    told: dict[str, Any] = {"table": relation.id, "state": "waiting" if fates is None else "loaded"}
    if fates is None:
        trouble = waiting.trouble
        told["detail"] = "The rows are safe in the gateway, and will be loaded." + (
            f" For now: {trouble}" if trouble is not None else ""
        )
        return Response(as_json(told), status_code=HTTPStatus.ACCEPTED, media_type="application/json")
    told |= asdict(fates)
    if waiting.reasons.height:
        told["reasons"] = waiting.reasons.to_dicts()
    return Response(as_json(told), media_type="application/json")


def _patience(request: Request) -> float:
    """For how many seconds the producer wants to wait for its rows to be loaded: `Prefer: wait=N` (RFC 7240, 4.3)."""
    for preference in request.headers.get("prefer", "").split(","):
        name, _, value = preference.partition("=")
        if name.strip().lower() == "wait" and value.strip().isdecimal():
            return float(value)
    return math.inf


def _refuse_pages(request: Request) -> None:
    """A page that a browser shows could post to this machine in its user's name; programs send no such header."""
    if "origin" in request.headers:
        raise RefusedError(HTTPStatus.FORBIDDEN, Problem("a page of a browser may not push rows", "Origin"))


def _find(receiver: Receiver, relation_id: str) -> Relation:
    catalog = receiver.platform.catalog
    try:
        relation = catalog.find(relation_id)
    except GaelpError as error:
        raise RefusedError(HTTPStatus.NOT_FOUND, *error.problems) from None
    if not relation.is_loaded:
        near = unknown("table that takes rows", relation_id, [loaded.id for loaded in catalog.loaded])
        raise RefusedError(HTTPStatus.NOT_FOUND, near)
    return relation


def _ending(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = request.headers.get("content-encoding", "").strip().lower()
    problems = []
    if kind not in _BODIES:
        problems.append(Problem("a body of another kind", "Content-Type", "one of " + ", ".join(_BODIES)))
    elif coding not in _CODINGS or (_CODINGS[coding] and _BODIES[kind] == "json"):
        problems.append(
            Problem("a body packed another way", "Content-Encoding", "gzip or zstd of NDJSON, or none")
        )
    if problems:
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, *problems)
    return _BODIES[kind] + _CODINGS[coding]


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (key.isascii() and key.isprintable() and 1 <= len(key) <= _KEY_LENGTH):
        raise RefusedError(
            HTTPStatus.BAD_REQUEST,
            Problem("no key", "Idempotency-Key", f"1 to {_KEY_LENGTH} printable characters of ASCII"),
        )
    return key


def _size(request: Request, most: int) -> int:
    """How large the body is, or can be where that is not told; refused if it is told to be too large."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise _too_large(most)
    return int(told) if told.isdecimal() else most


def _too_large(most: int) -> RefusedError:
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        Problem(
            "the body is too large", expected=f"at most {most >> 20} MB", remedy="Send fewer rows at a time."
        ),
    )


async def _body(request: Request, most: int) -> bytes:
    """The body; refused as soon as it is known to be too large, and given up when it does not end."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise _too_large(most)
                parts.append(part)
    except TimeoutError:
        slow = Problem(
            "the body does not end", expected=f"all of it within {BODY_SECONDS:g} s", remedy="Send it again."
        )
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, slow) from None
    except ClientDisconnect:  # a producer that was killed, and no defect
        ended = Problem("the connection ended before the body did", remedy="Send it again.")
        raise RefusedError(HTTPStatus.BAD_REQUEST, ended) from None
    body = b"".join(parts)
    if not body.strip():
        raise RefusedError(HTTPStatus.BAD_REQUEST, Problem("no rows", expected="at least one line"))
    return body


def _stem(relation: Relation, key: str | None, body: bytes) -> str:
    """The same for the same key or, without one, for the same bytes."""
    meant = body if key is None else key.encode()
    digest = hashlib.sha256(f"{relation.id}\n{key is None}\n".encode() + meant).hexdigest()
    return f"{LIVE}push-{digest[:32]}"
