"""Where a recording goes: from what the user gives to a store, and from a run's id to the names of its files."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Final

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway.names import RECORDINGS
from gaelp_assets.gateway.store import Store
from gaelp_assets.settings import VARIABLES, GcsGateway, LocalGateway, load_settings, parse_gateway

_LOG: Final = logging.getLogger(__name__)
_STAGES: Final = ("raw", "transformed", "cloud_ready", "sent", "failed")
GCS_SECONDS: Final = 30.0
"""How long a request to a bucket is tried again before the recorder's own waiting takes over."""
STEM_LENGTH: Final = 120


def address(gateway: str | os.PathLike[str] | None) -> LocalGateway | GcsGateway:
    """The gateway that is meant: a URL, a path, or what the settings say.

    Raises:
        GaelpError: it is none of these.
    """
    if gateway is None:
        return load_settings().gateway
    text = os.fspath(gateway)
    if "://" not in text:
        return LocalGateway(Path(text).expanduser().absolute())
    try:
        return parse_gateway(text)
    except ValueError as error:
        problem = Problem(f"{text!r} {error}", "gateway", f"{VARIABLES['GAELP_GATEWAY']}, or a folder")
        raise GaelpError(problem) from None


def open_store(where: LocalGateway | GcsGateway) -> Store:
    """The gateway's store, ready for a recorder. A folder that is not there is made; one that is there must be a gateway.

    Raises:
        TransientError: it is out of reach, or a folder that is no gateway: the mount point of a share, most likely.
        GaelpError: no permission, no such bucket, no credentials.
    """
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


def stem(run: str) -> str:
    """What the names of a run's files start with: its id, or where no file may be called so, a part of it and its hash.

    >>> stem("cartpole-ppo-3"), stem("a..b")
    ('cartpole-ppo-3', 'a.b-f62b4241')
    """
    if len(run) <= STEM_LENGTH and ".." not in run:
        return run
    return re.sub(r"\.{2,}", ".", run)[:100] + "-" + hashlib.sha256(run.encode()).hexdigest()[:8]
