"""Where a recording goes: from what the user gives to a store, and from a run's id to the names of its files."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway.names import RECORDINGS
from gaelp_assets.gateway.store import Store
from gaelp_assets.settings import VARIABLES, GcsGateway, LocalGateway, load_settings, parse_gateway

_LOG: Final = logging.getLogger(__name__)
_STAGES: Final = ("raw", "transformed", "cloud_ready", "sent", "failed")
GCS_SECONDS: Final = 30.0
"""How long a request to a bucket is tried again before the recorder's own waiting takes over."""
STEM_LENGTH: Final = 120
SPOOL: Final = "spool"
"""The folder of the home where a recorder that pushes keeps what is not delivered."""


@dataclass(frozen=True)
class PushGateway:
    """The gateway behind a receiver (`gaelp stream`), to which rows are posted.

    Args:
        receiver: its address, such as `http://trainer:8600`.
        spool: the folder where everything lies that is no row, or not delivered yet.
        key: what the receiver lets this machine in with.
    """

    receiver: str
    spool: Path
    key: str | None = field(default=None, repr=False)


def address(gateway: str | os.PathLike[str] | None) -> LocalGateway | GcsGateway | PushGateway:
    """The gateway that is meant: a URL, a path, or what the settings say.

    Raises:
        GaelpError: it is none of these.
    """
    if gateway is None:
        return load_settings().gateway
    text = os.fspath(gateway)
    if "://" not in text:
        return LocalGateway(Path(text).expanduser().absolute())
    if urlsplit(text).scheme in {"http", "https"}:
        return _receiver(text)
    try:
        return parse_gateway(text)
    except ValueError as error:
        expected = f"{VARIABLES['GAELP_GATEWAY']}, http://host:port of a receiver, or a folder"
        raise GaelpError(Problem(f"{text!r} {error}", "gateway", expected)) from None


def _receiver(text: str) -> PushGateway:
    url = urlsplit(text)
    try:
        port = url.port
    except ValueError:
        port = -1
    if not url.hostname or port == -1 or url.username or url.query or url.fragment or url.path.strip("/"):
        problem = Problem("no address of a receiver", "gateway", "http://host:port, and nothing more")
        raise GaelpError(problem)
    settings = load_settings()
    receiver = f"{url.scheme}://{url.netloc}"
    digest = hashlib.sha256(receiver.encode()).hexdigest()[:8]
    return PushGateway(receiver, settings.home / SPOOL / f"{url.hostname}-{digest}", settings.stream_key)


def open_store(where: LocalGateway | GcsGateway | PushGateway) -> Store:
    """The gateway's store, ready for a recorder. A folder that is not there is made; one that is there must be a gateway.

    Raises:
        TransientError: it is out of reach, or a folder that is no gateway: the mount point of a share, most likely.
        GaelpError: no permission, no such bucket, no credentials.
    """
    if isinstance(where, PushGateway):
        from gaelp_assets.gateway.stores.local import LocalStore
        from gaelp_assets.gateway.stores.push import PushStore

        pushed = PushStore(where.receiver, where.key, LocalStore(where.spool))
        pushed.prepare([*_STAGES, RECORDINGS])
        pushed.start()
        return pushed
    if isinstance(where, LocalGateway):
        from gaelp_assets.gateway.stores.local import LocalStore

        local = LocalStore(where.folder)
        if where.folder.exists():
            local.require([*_STAGES, RECORDINGS])
        else:
            local.prepare([*_STAGES, RECORDINGS])
            _LOG.warning("made a new export gateway: %s", local.url)
        return local
    from gaelp_assets.gateway.stores.gcs import GcsStore, make_client

    bucket = GcsStore(make_client(None), where.bucket, where.prefix, retry_seconds=GCS_SECONDS)
    bucket.require([*_STAGES, RECORDINGS])
    return bucket


def deliver(store: Store, seconds: float) -> None:
    """Waits until a receiver has what was recorded for it; says what is left after so many seconds. Other stores have it already."""
    from gaelp_assets.gateway.stores.push import PushStore

    if not isinstance(store, PushStore):
        return
    left = store.drain(seconds)
    if left:
        _LOG.warning("%d files are not delivered, and wait in %s for the next recorder", left, store.url)


def stem(run: str) -> str:
    """What the names of a run's files start with: its id, or where no file may be called so, a part of it and its hash.

    >>> stem("cartpole-ppo-3"), stem("a..b")
    ('cartpole-ppo-3', 'a.b-f62b4241')
    """
    if len(run) <= STEM_LENGTH and ".." not in run:
        return run
    return re.sub(r"\.{2,}", ".", run)[:100] + "-" + hashlib.sha256(run.encode()).hexdigest()[:8]
