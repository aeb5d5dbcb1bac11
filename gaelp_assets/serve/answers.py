"""How what is wrong is answered over HTTP, and what is noted of a request.

Answers about what is wrong are `application/problem+json` (RFC 9457), with the platform's problems as they are. The log has no value and no
key: neither addresses nor headers go into it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from gaelp_assets.errors import GaelpError, Problem, origin
from gaelp_assets.serve.forms import as_json
from gaelp_assets.serve.limits import BusyError
from gaelp_assets.warehouse.reader import TooSlowError

_PROBLEM: Final = "application/problem+json"
_TRY_AGAIN_SECONDS: Final = 5.0


class RefusedError(GaelpError):
    """A request that is answered with that status of HTTP."""

    def __init__(self, status: int, *problems: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(*problems)
        self.status: Final = status
        self.headers: Final = dict(headers or {})


def answer_problems(app: FastAPI, log: logging.Logger, *, start: str = "/") -> None:
    """Has the application answer errors as problems, and note each request in the log; `start` is where it says what can be asked."""
    app.exception_handler(GaelpError)(_refused)
    app.exception_handler(HTTPException)(partial(_no_such, start))
    app.middleware("http")(partial(_logged, log))


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


async def _no_such(start: str, _: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = "there is nothing here" if error.status_code == HTTPStatus.NOT_FOUND else str(error.detail).lower()
    problem = Problem(what, remedy=f"See {start} for what can be asked.")
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


async def _logged(
    log: logging.Logger, request: Request, answer: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Notes who asked, for which relation, and how it ended."""
    began = time.monotonic()
    request.state.who = "-"
    try:
        response = await answer(request)
    except Exception as error:
        log.error("%s", origin(error))
        problem = Problem("the server has a defect", remedy="The operator finds where in its log.")
        response = _problem(HTTPStatus.INTERNAL_SERVER_ERROR, (problem,), {})
    route = getattr(request.scope.get("route"), "path", "-")
    log.info(
        "%s %s %s %d %d ms, %s",
        request.method,
        route,
        "-" if response.status_code == HTTPStatus.NOT_FOUND else _table(request),
        response.status_code,
        round((time.monotonic() - began) * 1000),
        request.state.who,
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _table(request: Request) -> str:
    """The table that was asked for, as far as the address says."""
    names = (request.path_params.get(name) for name in ("dataset", "table", "relation_id"))
    return ".".join(filter(None, names)) or "-"
