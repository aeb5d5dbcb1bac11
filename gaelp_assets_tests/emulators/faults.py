"""A small HTTP proxy that stands before an emulator and, where it is told to, answers with an error or cuts the connection."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "host"}


@dataclass
class Fault:
    """What happens to requests whose `METHOD path` matches (and whose body contains `body`), `times` times."""

    pattern: str
    times: int = 1
    status: int = 0
    """Answered with this status and `reason`, without asking the emulator; 0: the connection is cut instead."""
    reason: str = ""
    message: str = "injected"
    after: bool = False
    """Whether a cut comes after the emulator has done what was asked: the answer is lost, the work is not."""
    body: bytes = b""
    met: int = 0


@dataclass
class Proxy:
    """The proxy's address, its faults in order, and the requests that it saw, as `METHOD path`, with their bodies in `bodies`."""

    address: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def fault_of(self, request: str, body: bytes) -> Fault | None:
        for fault in self.faults:
            if fault.met < fault.times and re.search(fault.pattern, request) and fault.body in body:
                fault.met += 1
                return fault
        return None


@contextmanager
def proxying(target: str) -> Iterator[Proxy]:
    """A proxy before the server at `target`, as long as the context lasts."""
    lock = threading.Lock()
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = f"{self.command} {self.path}"
            with lock:
                proxy.seen.append(request)
                proxy.bodies.append(body)
                fault = proxy.fault_of(request, body)
            if fault is not None and fault.status:
                error = {"reason": fault.reason, "message": fault.message}
                refusal = json.dumps(
                    {"error": {"code": fault.status, "message": fault.message, "errors": [error]}}
                )
                self._answer(fault.status, [("Content-Type", "application/json")], refusal.encode())
                return
            if fault is not None and not fault.after:
                self._cut()
                return
            connection = http.client.HTTPConnection(host, timeout=60)
            try:
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
                connection.request(self.command, self.path, body, {**headers, "Host": host})
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            if fault is not None:
                self._cut()
                return
            own = proxy.address.removeprefix("http://")
            kept = [(k, v.replace(host, own)) for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP]
            self._answer(answer.status, kept, content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.close()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A cut connection is meant."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
