"""Where OpenLineage events go, as the platform's own setting says it, or OpenLineage's own variables. The caller has read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

VARIABLES: Final = ("OPENLINEAGE_CONFIG", "OPENLINEAGE_URL")
"""OpenLineage's own, in the order in which they are asked."""
DEFAULT_NAMESPACE: Final = "gaelp"
_ENDPOINT: Final = "api/v1/lineage"


@dataclass(frozen=True)
class HttpCollector:
    """A collector that takes each event as a POST."""

    url: str
    """With its path."""
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class EventFile:
    """A file to which each event is added as a line."""

    path: Path

    @property
    def url(self) -> str:
        """As in `GAELP_OPENLINEAGE`."""
        return self.path.as_uri()


Target = HttpCollector | EventFile


def parse_target(value: str) -> Target:
    """The target of a URL, as in `GAELP_OPENLINEAGE`.

    Raises:
        ValueError: it is none; the message goes on after the value.

    >>> parse_target("http://collector:5000").url
    'http://collector:5000/api/v1/lineage'
    """
    return _parse(value, _ENDPOINT, None)


def with_key(target: Target | None, env: Mapping[str, str]) -> Target | None:
    """The target with the key that OpenLineage's own variable gives; none where that turns events off."""
    if env.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return None
    key = env.get("OPENLINEAGE_API_KEY")
    return HttpCollector(target.url, key) if isinstance(target, HttpCollector) and key else target


def from_variable(name: str, value: str, env: Mapping[str, str]) -> Target | None:
    """The target that one of `VARIABLES` names; None where its file names a transport that sends nothing.

    Raises:
        ValueError: the value is wrong; the message goes on after it.
    """
    if name == "OPENLINEAGE_URL":
        return _parse(value, env.get("OPENLINEAGE_ENDPOINT") or _ENDPOINT, env.get("OPENLINEAGE_API_KEY"))
    return _from_file(Path(value))


def _from_file(path: Path) -> Target | None:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError("is not YAML") from None
    found = content.get("transport") if isinstance(content, dict) else None
    transport = found if isinstance(found, dict) else {}
    match transport.get("type"):
        case "noop":
            return None
        case "http":
            auth = transport.get("auth") or {}
            key = auth.get("apiKey") or auth.get("api_key") if isinstance(auth, dict) else None
            endpoint = str(transport.get("endpoint") or _ENDPOINT)
            return _parse(str(transport.get("url") or ""), endpoint, str(key) if key else None)
        case "file":
            return EventFile(Path(str(transport.get("log_file_path") or "openlineage.ndjson")).absolute())
    raise ValueError("names no transport of the type http, file or noop")


def _parse(value: str, endpoint: str, key: str | None) -> Target:
    url = urlsplit(value)
    if url.scheme == "file" and url.path.startswith("/") and not url.netloc:
        return EventFile(Path(unquote(url.path)))
    if url.scheme in {"http", "https"} and url.netloc:
        path = url.path.rstrip("/") or f"/{endpoint.strip('/')}"
        return HttpCollector(urlunsplit((url.scheme, url.netloc, path, url.query, "")), key)
    raise ValueError("is not the address of a collector or of a file")
