"""The HTTP interface as an ASGI application: what is asked, and what is answered.

Relations, rows and forms are worked out elsewhere; here they meet HTTP.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from http import HTTPStatus
from importlib.metadata import version
from typing import Final

import polars as pl
from fastapi import FastAPI, Request, Response

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.operations.lineage import hidden_columns, lineage_folder
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.serve import description
from gaelp_assets.serve.answers import RefusedError, answer_problems
from gaelp_assets.serve.asking import Asked, asked
from gaelp_assets.serve.door import Asker, Door
from gaelp_assets.serve.forms import as_json
from gaelp_assets.serve.keys import Keys
from gaelp_assets.serve.limits import Gate, Limits
from gaelp_assets.serve.pages import next_page, token
from gaelp_assets.serve.statement import key_of, statement

_log: Final = logging.getLogger("gaelp_assets.serve")


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
        self._limits: Final = limits
        self._gate: Final = Gate(limits)
        self._door: Final = Door(keys, self._gate, local=local)
        self._salt: Final = secrets.token_hex(8)
        self._hidden: dict[str, frozenset[str]] = {}
        self._lineage: Final = threading.Lock()

    def relations(self, request: Request) -> Response:
        """Each relation with its columns."""
        asker = self._door.asker(request)
        told = [self._described(relation, asker) for relation in self._platform.catalog]
        return Response(as_json({"relations": told}), media_type="application/json")

    def relation(self, relation_id: str, request: Request) -> Response:
        """One relation with its columns."""
        asker = self._door.asker(request)
        return Response(
            as_json(self._described(self._find(relation_id), asker)), media_type="application/json"
        )

    def rows(self, relation_id: str, request: Request) -> Response:
        """A page of rows."""
        asker = self._door.asker(request)
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
    answer_problems(app, _log)
    return app
