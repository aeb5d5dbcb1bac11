"""The objects of a bucket in memory: generations, preconditions, lists. What travels over HTTP stands in `gcs_server`."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import threading
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import google_crc32c

MAX_PAGE: Final = 1000


@dataclass
class Stored:
    """One generation of an object."""

    content: bytes
    generation: int
    resource: dict[str, Any]
    metageneration: int = 1
    updated: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z"))

    @cached_property
    def digests(self) -> dict[str, str]:
        return {"crc32c": crc32c(self.content), "md5Hash": md5(self.content)}


class ApiError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status, self.reason, self.message = status, reason, message


class Bucket:
    """One bucket, as the JSON API shows it; the queries are those of its requests."""

    def __init__(self, name: str) -> None:
        self.bucket = name
        self.objects: dict[str, Stored] = {}
        self._names: list[str] | None = None
        self.lock = threading.RLock()
        self._generation = 1_700_000_000_000_000

    def put(self, name: str, content: bytes, **resource: Any) -> Stored:
        """Stores an object, as somebody else would."""
        with self.lock:
            self._generation += 1
            if name not in self.objects:
                self._names = None
            self.objects[name] = stored = Stored(content, self._generation, resource)
            return stored

    def remove(self, name: str) -> None:
        with self.lock:
            del self.objects[name]
            self._names = None

    def names(self) -> list[str]:
        """All names in order: that of their code points is that of their bytes in UTF-8."""
        with self.lock:
            if self._names is None:
                self._names = sorted(self.objects)
            return self._names

    def check(
        self, name: str, query: dict[str, str], prefix: str = "if", *, reading: bool = False
    ) -> Stored | None:
        """The object, if the preconditions hold."""
        stored = self.objects.get(name)
        generation, metageneration = (stored.generation, stored.metageneration) if stored else (0, None)
        for key, found, wanted in (
            ("GenerationMatch", generation, True),
            ("MetagenerationMatch", metageneration, True),
            ("GenerationNotMatch", generation, False),
            ("MetagenerationNotMatch", metageneration, False),
        ):
            value = query.get(prefix + key)
            if value is None:
                continue
            if stored is None and (reading or value != "0" or key != "GenerationMatch"):
                raise ApiError(404, "notFound", f"No such object: {self.bucket}/{name}")
            if (int(value) == found) is not wanted:
                if reading and not wanted:
                    raise ApiError(304, "notModified", "Not Modified")
                raise ApiError(
                    412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
                )
        return stored

    def existing(self, name: str, query: dict[str, str], prefix: str = "if") -> Stored:
        stored = self.check(name, query, prefix, reading=prefix == "if")
        generation = query.get("generation" if prefix == "if" else "sourceGeneration")
        if stored is None or (generation is not None and int(generation) != stored.generation):
            raise ApiError(404, "notFound", f"No such object: {self.bucket}/{name}")
        return stored

    def insert(
        self, name: str, content: bytes, resource: dict[str, Any], query: dict[str, str]
    ) -> dict[str, Any]:
        with self.lock:
            self.check_new(name, query)
            for key, digest in (("crc32c", crc32c(content)), ("md5Hash", md5(content))):
                if resource.get(key, digest) != digest:
                    raise ApiError(400, "invalid", f"Provided {key} doesn't match the content.")
            kept = {
                key: resource[key]
                for key in ("contentType", "contentEncoding", "metadata")
                if key in resource
            }
            return self.describe(name, self.put(name, content, **kept))

    def check_new(self, name: str, query: dict[str, str]) -> None:
        if not name or len(name.encode()) > 1024 or "\n" in name or "\r" in name:
            raise ApiError(400, "invalid", "Invalid object name.")
        wanted = query.get("ifGenerationMatch")
        if wanted is not None and wanted != "0" and name not in self.objects:
            raise ApiError(
                412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
            )
        self.check(name, query)

    def describe(self, name: str, stored: Stored) -> dict[str, Any]:
        return {
            "kind": "storage#object",
            "id": f"{self.bucket}/{name}/{stored.generation}",
            "bucket": self.bucket,
            "name": name,
            "size": str(len(stored.content)),
            "generation": str(stored.generation),
            "metageneration": str(stored.metageneration),
            **stored.digests,
            "updated": stored.updated,
            "timeCreated": stored.updated,
            "storageClass": "STANDARD",
            **stored.resource,
        }

    def list(self, query: dict[str, str]) -> dict[str, Any]:
        """One page."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        start, end = query.get("startOffset", ""), query.get("endOffset")
        after = base64.urlsafe_b64decode(query["pageToken"]).decode() if "pageToken" in query else ""
        limit = min(int(query.get("maxResults", MAX_PAGE)), MAX_PAGE)
        items: list[dict[str, Any]] = []
        prefixes: list[str] = []
        token = None
        last = after
        with self.lock:
            names = self.names()
            for index in range(bisect_left(names, max(prefix, start, after)), len(names)):
                name = names[index]
                if not name.startswith(prefix) or (end and name >= end):
                    break
                if after and name <= after:
                    continue
                entry = name
                if delimiter and delimiter in name[len(prefix) :]:
                    entry = prefix + name[len(prefix) :].split(delimiter)[0] + delimiter
                    if entry in prefixes or (after and after.startswith(entry)):
                        last = name
                        continue
                if len(items) + len(prefixes) == limit:
                    token = base64.urlsafe_b64encode(last.encode()).decode()
                    break
                last = name
                if entry == name:
                    items.append(self.describe(name, self.objects[name]))
                else:
                    prefixes.append(entry)
        listed: dict[str, Any] = {"kind": "storage#objects"}
        listed |= {"items": items} if items else {}
        listed |= {"prefixes": prefixes} if prefixes else {}
        listed |= {"nextPageToken": token} if token else {}
        return listed


def crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()
