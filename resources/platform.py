"""The platform as a Dagster resource: the UI shows its addresses, and it is opened once, when something first needs it."""

# Without `from __future__ import annotations`: Dagster looks for `ResourceDependency` itself among the annotations.
import threading
from typing import TYPE_CHECKING, TypedDict

import dagster as dg
from pydantic import Field

from gaelp_assets.catalog import Catalog
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.settings import Settings

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform


class Opener:
    """Opens the platform that the settings name, when it is first asked for it; the same one every time.

    Opening is put off because the engines' libraries take longer to import than everything else together.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.settings = settings
        self.catalog = catalog
        self._platform: Platform | None = None
        self._lock = threading.Lock()

    def open(self) -> "Platform":
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


class PlatformResource(dg.ConfigurableResource[Opener]):
    """The gateway and the warehouse that the environment names. They are shown here, and set by the variables alone."""

    gateway: str = Field(description="where producers put their files: GAELP_GATEWAY")
    warehouse: str = Field(description="where rows are loaded: GAELP_WAREHOUSE")
    catalog_folders: list[str] = Field(
        description="the users' own relations, beside the shipped ones: GAELP_CATALOG"
    )
    opener: dg.ResourceDependency[Opener]
    """What Dagster hands on when it copies the resource for a run, so that the platform is opened once for all of them."""

    def open(self) -> "Platform":
        """The platform; the same one every time.

        Raises:
            GaelpError: a run's config names other places than the code location was loaded with.
        """
        expected = shown(self.opener.settings)
        problems = [
            Problem(f"a run cannot change the {key}", f"config of the resource, {key}", str(value))
            for key, value in expected.items()
            if getattr(self, key) != value
        ]
        if problems:
            raise GaelpError(*problems)
        return self.opener.open()


class Shown(TypedDict):
    """What the resource's page shows of the settings."""

    gateway: str
    warehouse: str
    catalog_folders: list[str]


def shown(settings: Settings) -> Shown:
    """What the resource's page shows of the settings: addresses and folders. No setting holds a secret."""
    return {
        "gateway": settings.gateway.url,
        "warehouse": settings.warehouse.url,
        "catalog_folders": [str(folder) for folder in settings.catalog or (settings.home_catalog,)],
    }


def platform_resource(settings: Settings, catalog: Catalog) -> PlatformResource:
    """The resource of the places that the settings name."""
    return PlatformResource(**shown(settings), opener=Opener(settings, catalog))
