"""Who asks over HTTP: a key's owner or, as long as there are no keys, anybody at this machine."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fastapi import Request

from gaelp_assets.errors import Problem
from gaelp_assets.serve.answers import RefusedError
from gaelp_assets.serve.keys import ADD, Keys
from gaelp_assets.serve.limits import Gate

_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True)
class Asker:
    """Who asks: a key's name, or an address; and whether sensitive columns are served."""

    name: str
    sensitive: bool


class Door:
    """Lets in who may ask.

    Args:
        keys: of those who may.
        gate: counts their requests.
        local: whether the server listens where this machine alone can ask: there, as long as there are no keys, it asks for none.
    """

    def __init__(self, keys: Keys, gate: Gate, *, local: bool) -> None:
        self._keys: Final = keys
        self._gate: Final = gate
        self._local: Final = local

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
                        f"The operator makes one with `{ADD[self._keys.kind]}`.",
                    ),
                    headers={"WWW-Authenticate": "Bearer"},
                )
            found = Asker(key.name, key.sensitive)
        request.state.who = found.name
        self._gate.request(f"key {found.name}")
        return found
