"""A Google Cloud Storage of one bucket in memory: the part of the JSON API that the gateway uses, over real HTTP, with faults on demand.

Written from https://cloud.google.com/storage/docs/json_api: media, multipart and resumable uploads, ranges, paged lists, rewrites
(in steps, if asked to), deletion, preconditions on generations and metagenerations. Whatever else is asked is a 501.
"""

from __future__ import annotations

import gc
import json
import re
import socket
import struct
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from gaelp_assets_tests.contract.gcs_bucket import ApiError, Bucket, crc32c

# A server may keep less of a chunk than it was sent, in multiples of this.
GRAIN: Final = 256 * 1024


@dataclass(frozen=True)
class Fault:
    """What happens to the next `times` requests whose `METHOD path` has the pattern in it, after `skip` others.

    A number answers with that status and does nothing. `cut before` and `cut after` reset the connection without an answer, before
    and after the request is carried out; `cut midway` does so when half of the body has gone through (half of an upload's chunk is kept).
    `keep less` acknowledges only part of an upload's chunk, which the API may do at any time.
    """

    pattern: str
    outcome: int | Literal["cut before", "cut after", "cut midway", "keep less"]
    times: int = 1
    skip: int = 0
    reason: str = "backendError"


@dataclass
class Session:
    """A resumable upload on its way."""

    name: str
    resource: dict[str, Any]
    query: dict[str, str]
    received: bytearray = field(default_factory=bytearray)
    finished: dict[str, Any] | None = None


class GcsServer(Bucket, ThreadingHTTPServer):
    """Serves one bucket on 127.0.0.1. `requests` holds `METHOD path?query` of every request, in order of arrival."""

    daemon_threads = True
    request_queue_size = 128
    open_servers: ClassVar[list[GcsServer]] = []

    def __init__(self, bucket: str = "gaelp-tests") -> None:
        Bucket.__init__(self, bucket)
        ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), Handler)
        self.sessions: dict[str, Session] = {}
        self.requests: list[str] = []
        self.record = True
        """Whether `requests` grows: not where the server runs for hours."""
        self.rewrite_step: int | None = None
        self.before: Callable[[str], None] = lambda _: None
        """Called with `METHOD path` before a request is carried out: lets a test come between two requests."""
        self._faults: list[list[Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def running(self) -> Iterator[GcsServer]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        self.open_servers.append(self)
        try:
            yield self
        finally:
            self.open_servers.remove(self)
            self.shutdown()
            self.server_close()
            thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that are cut are what this server is for."""

    def inject(self, *faults: Fault) -> None:
        with self.lock:
            self._faults.extend([fault, fault.skip, fault.times] for fault in faults)

    def clear_faults(self) -> None:
        with self.lock:
            self._faults.clear()

    def fault_of(self, line: str) -> Fault | None:
        with self.lock:
            for entry in self._faults:
                if re.search(entry[0].pattern, line):
                    if entry[1]:
                        entry[1] -= 1
                        return None
                    entry[2] -= 1
                    if not entry[2]:
                        self._faults.remove(entry)
                    return entry[0]  # type: ignore[no-any-return]
        return None


class Handler(BaseHTTPRequestHandler):
    """One request at a time of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: GcsServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent: what was asked stands in `requests`."""

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        line = f"{self.command} {self.path}"
        if self.server.record:
            self.server.requests.append(line)
        self.fault = fault = self.server.fault_of(line)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length // 2 if fault and fault.outcome == "cut midway" else length)
        if fault and fault.outcome == "cut before":
            return self.reset()
        self.server.before(line)
        try:
            if fault and isinstance(fault.outcome, int):
                raise ApiError(fault.outcome, fault.reason, f"injected {fault.reason}")
            self.route(url.path)
        except ApiError as error:
            details = {"reason": error.reason, "message": error.message, "domain": "global"}
            body = {"error": {"code": error.status, "message": error.message, "errors": [details]}}
            self.answer(error.status, b"" if error.status == 304 else json.dumps(body).encode())

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any  # noqa: N815

    def route(self, path: str) -> None:
        upload = re.fullmatch(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o", path)
        rewrite = re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)", path)
        thing = re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)", path)
        bucket = re.fullmatch(r"/storage/v1/b/([^/]+)(/o)?", path)
        found = upload or rewrite or thing or bucket
        if found is None:
            raise ApiError(501, "notImplemented", path)
        if unquote(found[1]) != self.server.bucket:
            raise ApiError(404, "notFound", "The specified bucket does not exist.")
        if upload and self.command in {"POST", "PUT"}:
            return self.upload()
        if rewrite and self.command == "POST":
            return self.rewrite(unquote(rewrite[2]), unquote(rewrite[4]))
        if thing and self.command == "GET":
            return self.get(unquote(thing[2]))
        if thing and self.command == "DELETE":
            return self.delete(unquote(thing[2]))
        if bucket and self.command == "GET":
            described = {"name": self.server.bucket, "location": "US"}
            return self.answer_json(self.server.list(self.query) if bucket[2] else described)
        raise ApiError(501, "notImplemented", f"{self.command} {path}")

    def get(self, name: str) -> None:
        with self.server.lock:
            stored = self.server.existing(name, self.query)
            described = self.server.describe(name, stored)
        if self.query.get("alt") != "media":
            return self.answer_json(described)
        content, status = stored.content, 200
        headers = {
            "Content-Type": described.get("contentType", "application/octet-stream"),
            "X-Goog-Generation": described["generation"],
            "X-Goog-Metageneration": described["metageneration"],
            "X-Goog-Hash": f"crc32c={described['crc32c']},md5={described['md5Hash']}",
            "X-Goog-Stored-Content-Length": described["size"],
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            if first >= len(content):
                raise ApiError(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content, status = content[first : last + 1], 206
        return self.answer(status, content, headers)

    def delete(self, name: str) -> None:
        with self.server.lock:
            self.server.existing(name, self.query)
            self.server.remove(name)
        self.answer(204, b"")

    def rewrite(self, source: str, target: str) -> None:
        server = self.server
        with server.lock:
            stored = server.existing(source, self.query, "ifSource")
            server.check_new(target, self.query)
            size, done = len(stored.content), int(self.query.get("rewriteToken", 0))
            done = size if server.rewrite_step is None else min(size, done + server.rewrite_step)
            progress: dict[str, Any] = {
                "kind": "storage#rewriteResponse",
                "totalBytesRewritten": str(done),
                "objectSize": str(size),
            }
            if done < size:
                return self.answer_json(progress | {"done": False, "rewriteToken": str(done)})
            resource = server.describe(target, server.put(target, stored.content, **stored.resource))
        return self.answer_json(progress | {"done": True, "resource": resource})

    def upload(self) -> None:
        kind = self.query.get("uploadType")
        if kind == "media":
            resource = {"contentType": self.headers.get("Content-Type")}
            return self.answer_json(
                self.server.insert(self.query["name"], self.whole_body(), resource, self.query)
            )
        if kind == "multipart":
            resource, content = parse_multipart(self.headers["Content-Type"], self.whole_body())
            name = self.query.get("name") or str(resource["name"])
            return self.answer_json(self.server.insert(name, content, resource, self.query))
        if kind == "resumable" and self.command == "POST":
            resource = json.loads(self.body or b"{}")
            name = self.query.get("name") or resource["name"]
            with self.server.lock:
                self.server.check_new(name, self.query)
                upload_id = uuid.uuid4().hex
                self.server.sessions[upload_id] = Session(name, resource, self.query)
            location = f"{self.server.url}/upload/storage/v1/b/{quote(self.server.bucket)}/o?uploadType=resumable&upload_id={upload_id}"
            return self.answer(200, b"", {"Location": location})
        session = self.server.sessions.get(self.query.get("upload_id", ""))
        if session is None:
            raise ApiError(404, "notFound", "No such upload session.")
        return self.continue_upload(session)

    def continue_upload(self, session: Session) -> None:
        content_range = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", self.headers["Content-Range"])
        if content_range is None:
            raise ApiError(400, "invalid", "Content-Range")
        with self.server.lock:
            if session.finished is not None:
                return self.answer_json(session.finished)
            total = None if content_range[3] == "*" else int(content_range[3])
            if content_range[1] is not None:
                first = int(content_range[1])
                if first > len(session.received):
                    raise ApiError(503, "backendError", "A chunk is missing before this one.")
                body = self.body
                if self.fault and self.fault.outcome in {"cut midway", "keep less"}:
                    body = body[: len(body) // 2 // GRAIN * GRAIN]
                session.received += body[len(session.received) - first :]
            if total is not None and len(session.received) == total:
                if (
                    "x-goog-hash" in self.headers
                    and self.headers["x-goog-hash"] != f"crc32c={crc32c(bytes(session.received))}"
                ):
                    raise ApiError(400, "invalid", "The checksum is another one than that of the content.")
                session.finished = self.server.insert(
                    session.name, bytes(session.received), session.resource, session.query
                )
                return self.answer_json(session.finished)
            kept = len(session.received)
        return self.answer(308, b"", {"Range": f"bytes=0-{kept - 1}"} if kept else {})

    def whole_body(self) -> bytes:
        if self.fault and self.fault.outcome == "cut midway":
            self.reset()
            raise ConnectionAbortedError
        return self.body

    def answer_json(self, content: dict[str, Any]) -> None:
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json; charset=UTF-8"})

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        outcome = self.fault.outcome if self.fault else None
        if outcome == "cut after" or (outcome == "cut midway" and self.command != "GET"):
            return self.reset()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if outcome == "cut midway":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self.reset()
        self.wfile.write(content)
        return None

    def reset(self) -> None:
        """Ends the connection the rude way: the client gets a reset, not an end of file."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


@contextmanager
def collected_connections() -> Iterator[None]:
    """Closes in the end the connections that Google's client leaves to the garbage collector when a download is refused.

    Only what came since the start is looked through: half a second passes for all that a process of tests holds.
    """
    gc.freeze()
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        gc.unfreeze()


def parse_multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Metadata and content of a multipart/related body."""
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    if boundary is None:
        raise ApiError(400, "invalid", "no boundary")
    _, metadata, media = body.split(b"--" + boundary[1].encode(), 2)
    media = media[: media.rindex(b"\r\n--" + boundary[1].encode())]
    head, _, content = media.partition(b"\r\n\r\n")
    resource = json.loads(metadata.partition(b"\r\n\r\n")[2])
    kind = re.search(rb"content-type: *([^\r\n]+)", head, re.IGNORECASE)
    return {"contentType": kind[1].decode() if kind else None} | resource, content
