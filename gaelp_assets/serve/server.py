"""Runs the interface until it is told to stop."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.serve.keys import ADD, Keys

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

CLOSING_SECONDS: Final = 2
"""How long answers are waited for that are under way."""
LAST_SECONDS: Final = 4
"""When the process ends that was told to, whatever its queries do: they change nothing."""
_POLL_SECONDS: Final = 0.2


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(
    make_app: Callable[[bool], FastAPI],
    keys: Keys,
    host: str,
    port: int,
    on_ready: Callable[[str, bool], None],
    *,
    last_seconds: float = LAST_SECONDS,
) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        make_app: makes what is served; told whether this machine alone can ask.
        keys: of those who may ask.
        host: where it listens.
        port: likewise; 0 takes a free one.
        on_ready: told the address, and whether keys are asked for.
        last_seconds: when the process ends that was told to, whatever it still does.

    Raises:
        GaelpError: without any key it would be open to others than this machine, or nothing can listen there.
    """
    import uvicorn

    local = is_loopback(host)
    if not keys.all() and not local:
        raise GaelpError(
            Problem(
                "there is no key, and other machines could ask",
                f"listening at {host}",
                "127.0.0.1, or a key",
                f"Make one: {ADD[keys.kind]}",
            )
        )
    listening = _listen(host, port)
    config = uvicorn.Config(
        make_app(local),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=CLOSING_SECONDS,
        lifespan="off",
    )
    # Its own log has addresses with values in them.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    server = uvicorn.Server(config)
    with listening:
        address = listening.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        on_ready(f"http://{shown}:{address[1]}", bool(keys.all()))
        with _ending(server, last_seconds), suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


@contextmanager
def _ending(server: uvicorn.Server, seconds: float) -> Iterator[None]:
    """Ends the process some seconds after it was told to, even if something still runs; and takes SIGTERM, which uvicorn tells again."""

    def watch() -> None:
        while not server.should_exit:
            time.sleep(_POLL_SECONDS)
        time.sleep(seconds)
        os._exit(0)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise _cannot_listen(host, port, error) from None
    return listening


def _cannot_listen(host: str, port: int, error: OSError) -> GaelpError:
    return GaelpError(
        Problem(
            f"cannot listen: {error.strerror}",
            f"{host}, port {port}",
            "an address of this machine, and a port that nobody has",
            "Name another: --help says how.",
        )
    )
