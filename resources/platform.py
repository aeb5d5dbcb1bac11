"""The platform as a Dagster resource: opened once, when an asset or a sensor first needs it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gaelp_assets.catalog import Catalog
from gaelp_assets.settings import Settings

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform


class PlatformResource:
    """Hands the gateway and the warehouse that the settings name to assets and sensors.

    Opening is put off because the engines' libraries take longer to import than everything else together.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.settings = settings
        self.catalog = catalog
        self._platform: Platform | None = None
        self._lock = threading.Lock()

    def open(self) -> Platform:
        """The platform; the same one every time."""
        with self._lock:
            if self._platform is None:
                from gaelp_assets.platform import open_platform
                from gaelp_assets.private import keep_private

                keep_private(self.settings)
                platform = open_platform(self.settings, self.catalog)
                platform.gateway.require()
                self._platform = platform
            return self._platform
