"""The HTTP interface as an ASGI application: who asks, what is answered, and how errors look.

Relations, rows and forms are worked out elsewhere; here they meet HTTP. Answers about what is wrong are `application/problem+json`
(RFC 9457), with the platform's problems as they are. The log has no value and no key: neither addresses nor headers go into it.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.operations.lineage import hidden_columns, lineage_folder
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.serve import description
from gaelp_assets.serve.asking import Asked, asked
from gaelp_assets.serve.forms import as_json
from gaelp_assets.serve.keys import Keys
from gaelp_assets.serve.limits import BusyError, Gate, Limits
from gaelp_assets.serve.pages import next_page, token
from gaelp_assets.serve.statement import key_of, statement
from gaelp_assets.warehouse.reader import TooSlowError

_log: Final = logging.getLogger("gaelp_assets.serve")
_PROBLEM: Final = "application/problem+json"
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_TRY_AGAIN_SECONDS: Final = 5.0


class RefusedError(GaelpError):
    """A request that is answered with that status of HTTP."""

    def __init__(self, status: int, *problems: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(*problems)
        self.status: Final = status
        self.headers: Final = dict(headers or {})


@dataclass(frozen=True)
class Asker:
    """Who asks: a key's name, or an address; and whether sensitive columns are served."""

    name: str
    sensitive: bool


class Service:
    """What the application answers with.

    Args:
        platform: what is read.
        keys: of those who may ask.
        limits: what each gets.
        local: whether the server listens where this machine alone can ask: there, as long as there are no keys, it asks for none.
    """

    def __init__(self, platform: PlatformReader, keys: Keys, limits: Limits, *, local: bool) -> None:
        self._platform: Final = platform
        self._keys: Final = keys
        self._limits: Final = limits
        self._local: Final = local
        self._gate: Final = Gate(limits)
        self._salt: Final = secrets.token_hex(8)
        self._hidden: dict[str, frozenset[str]] = {}
        self._lineage: Final = threading.Lock()

    def asker(self, request: Request) -> Asker:
        """Who sent the request.

        Raises:
            RefusedError: there are keys, and it has none of them; or it names a host that this machine is not.
            BusyError: too many of late.
        """
        address = request.client.host if request.client is not None else "?"
        keys = self._keys.all()
        if not keys and self._local:
            # A page of another site that a browser shows could have its own name stand for this machine.
            if (
                request.url.hostname is None
                or request.headers.get("host", "").rsplit(":", 1)[0] not in _LOCAL_NAMES
            ):
                raise RefusedError(
                    HTTPStatus.FORBIDDEN,
                    Problem("asks another host than this machine", "Host", "localhost or 127.0.0.1"),
                )
            found = Asker(address, sensitive=False)
        else:
            scheme, _, text = request.headers.get("authorization", "").partition(" ")
            key = self._keys.find(text.strip()) if scheme.lower() == "bearer" else None
            if key is None:
                self._gate.request(f"address {address}")
                raise RefusedError(
                    HTTPStatus.UNAUTHORIZED,
                    Problem(
                        "no key, or none that is known",
                        "Authorization",
                        "Bearer KEY",
                        "The operator makes one with `gaelp serve keys add NAME`.",
                    ),
                    headers={"WWW-Authenticate": "Bearer"},
                )
            found = Asker(key.name, key.sensitive)
        request.state.who = found.name
        self._gate.request(f"key {found.name}")
        return found

    def relations(self, request: Request) -> Response:
        """Each relation with its columns."""
        asker = self.asker(request)
        told = [self._described(relation, asker) for relation in self._platform.catalog]
        return Response(as_json({"relations": told}), media_type="application/json")

    def relation(self, relation_id: str, request: Request) -> Response:
        """One relation with its columns."""
        asker = self.asker(request)
        return Response(
            as_json(self._described(self._find(relation_id), asker)), media_type="application/json"
        )

    def rows(self, relation_id: str, request: Request) -> Response:
        """A page of rows."""
        asker = self.asker(request)
        relation = self._find(relation_id)
        withheld = self._withheld(relation, asker)
        state = self._platform.warehouse.version()
        try:
            wanted = asked(
                relation,
                withheld,
                request.query_params.multi_items(),
                accept=request.headers.get("accept", ""),
                most_rows=self._limits.rows,
                version=state,
            )
            text, parameters = statement(wanted, withheld)
        except GaelpError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, *error.problems) from None
        headers = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}
        if state is not None:
            headers["ETag"] = self._tag(state, wanted, withheld)
            if headers["ETag"] in {
                tag.strip() for tag in request.headers.get("if-none-match", "").split(",")
            }:
                return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        with self._gate.query():
            frame = self._platform.warehouse.query(
                text,
                parameters,
                labels={"asset": relation.id, "purpose": "serve"},
                time_limit=min(self._limits.seconds, self._platform.settings.query_seconds),
            ).frame
        return self._page(request, wanted, withheld, state, frame, headers)

    def _page(
        self,
        request: Request,
        wanted: Asked,
        withheld: frozenset[str],
        state: str | None,
        frame: pl.DataFrame,
        headers: dict[str, str],
    ) -> Response:
        more, frame = frame.height > wanted.rows, frame.head(wanted.rows)
        key = key_of(wanted.relation, withheld)
        last = frame.row(-1, named=True) if frame.height else {}
        following = next_page(wanted.page, key, frame.height, last, more=more)
        name = None if following is None else token(wanted.shape, state, following)
        if name is not None:
            headers["Gaelp-Next"] = name
            headers["Link"] = f'<{request.url.include_query_params(page=name)}>; rel="next"'
        shown = frame.select(wanted.columns)
        self._check_size(shown.estimated_size())
        body = wanted.form.encode(shown, {"relation": wanted.relation.id, "next": name})
        self._check_size(len(body))
        return Response(body, media_type=wanted.form.media, headers=headers)

    def _check_size(self, size: float) -> None:
        if size > self._limits.megabytes << 20:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST,
                Problem(
                    f"the page is larger than {self._limits.megabytes} MB",
                    "limit, columns",
                    "fewer rows, or narrower ones",
                    "Ask for fewer rows of a page, or name the columns that are needed.",
                ),
            )

    def _find(self, relation_id: str) -> Relation:
        try:
            return self._platform.catalog.find(relation_id)
        except GaelpError as error:
            raise RefusedError(HTTPStatus.NOT_FOUND, *error.problems) from None

    def _withheld(self, relation: Relation, asker: Asker) -> frozenset[str]:
        return frozenset() if asker.sensitive else self._sensitive(relation)

    def _sensitive(self, relation: Relation) -> frozenset[str]:
        if relation.id not in self._hidden:
            with self._lineage:
                self._hidden[relation.id] = hidden_columns(
                    relation, self._platform.catalog, lineage_folder(self._platform.settings)
                )
        return self._hidden[relation.id]

    def _described(self, relation: Relation, asker: Asker) -> dict[str, object]:
        return description.of_relation(relation, self._sensitive(relation), self._withheld(relation, asker))

    def _tag(self, state: str, wanted: Asked, withheld: frozenset[str]) -> str:
        # The salt is the process's: another one may have another catalogue.
        told = (self._salt, state, wanted.shape, wanted.columns, wanted.rows, wanted.page, sorted(withheld))
        return f'"{hashlib.sha256(repr((told, wanted.form.name)).encode()).hexdigest()[:32]}"'


def make_app(platform: PlatformReader, keys: Keys, limits: Limits, *, local: bool) -> FastAPI:
    """The application (see `Service`)."""
    service = Service(platform, keys, limits, local=local)
    # FastAPI's own pages load their scripts from elsewhere.
    app = FastAPI(
        title="GAELP",
        version=version("gaelp-assets"),
        description=description.ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )

    def health() -> Response:
        """Whether the server is there. Asks no warehouse, and for no key."""
        return Response(as_json({"status": "ok"}), media_type="application/json")

    def page() -> Response:
        """What can be asked, as a page for people that loads nothing."""
        return Response(
            description.page(app.openapi()),
            media_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    of_rows = description.rows(limits)
    for path, summary, extra, answer in (
        ("/", None, None, page),
        ("/health", "Whether the server is there", None, health),
        ("/relations", "The relations and their columns", None, service.relations),
        ("/relations/{relation_id}", "One relation and its columns", None, service.relation),
        ("/relations/{relation_id}/rows", "Rows of a relation", of_rows, service.rows),
    ):
        app.get(
            path,
            summary=summary,
            include_in_schema=summary is not None,
            response_class=Response,
            openapi_extra=extra,
        )(answer)
        # As GET; the server leaves the body away.
        app.head(path, include_in_schema=False, response_class=Response)(answer)
    app.exception_handler(GaelpError)(_refused)
    app.exception_handler(HTTPException)(_no_such)
    app.middleware("http")(_logged)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, GaelpError)
    status, headers = HTTPStatus.INTERNAL_SERVER_ERROR, {}
    wait = _TRY_AGAIN_SECONDS
    match error:
        case RefusedError():
            status, headers = HTTPStatus(error.status), error.headers
        case BusyError():
            status, wait = HTTPStatus(error.status), error.seconds
        case TooSlowError():
            status = HTTPStatus.GATEWAY_TIMEOUT
        case _ if not error.permanent:
            status = HTTPStatus.SERVICE_UNAVAILABLE
    if not error.permanent:
        headers = {**headers, "Retry-After": str(math.ceil(wait))}
    return _problem(status, error.problems, headers)


async def _no_such(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = "there is nothing here" if error.status_code == HTTPStatus.NOT_FOUND else str(error.detail).lower()
    problem = Problem(what, remedy="See / for what can be asked.")
    return _problem(HTTPStatus(error.status_code), (problem,), dict(error.headers or {}))


def _problem(status: HTTPStatus, problems: tuple[Problem, ...], headers: Mapping[str, str]) -> Response:
    told: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": "\n".join(map(str, problems)),
        "problems": problems,
    }
    return Response(as_json(told), status_code=status, media_type=_PROBLEM, headers=dict(headers))


async def _logged(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Notes who asked, for which relation, and how it ended."""
    began = time.monotonic()
    request.state.who = "-"
    try:
        response = await answer(request)
    except Exception as error:
        # Its text may quote a row.
        places = traceback.extract_tb(error.__traceback__)[-6:]
        _log.error(
            "%s at %s", type(error).__name__, ", ".join(f"{Path(f.filename).name}:{f.lineno}" for f in places)
        )
        problem = Problem("the server has a defect", remedy="The operator finds where in its log.")
        response = _problem(HTTPStatus.INTERNAL_SERVER_ERROR, (problem,), {})
    route = getattr(request.scope.get("route"), "path", "-")
    _log.info(
        "%s %s %s %d %d ms, %s",
        request.method,
        route,
        "-" if response.status_code == HTTPStatus.NOT_FOUND else request.path_params.get("relation_id", "-"),
        response.status_code,
        round((time.monotonic() - began) * 1000),
        request.state.who,
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
