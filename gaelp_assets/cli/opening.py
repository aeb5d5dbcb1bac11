"""Opens the platform for the commands that change something. Those that only read use `cli.query.platform_reader`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaelp_assets.cli.session import current_settings, keep_log
from gaelp_assets.settings import LocalGateway

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform


def open_for_work(*, make: bool = False, gateway: bool = True) -> Platform:
    """The platform with its gateway in reach, unless it is not needed.

    With `make`, the gateway of the embedded default is made where there is none; another one never is, but by `gaelp gateway init`.

    Raises:
        GaelpError: the settings or the catalogue are wrong, or the gateway is out of reach.
    """
    from gaelp_assets.catalog.remembered import keep_cache
    from gaelp_assets.platform import open_platform
    from gaelp_assets.private import keep_private

    settings = current_settings()
    keep_private(settings)
    keep_cache(settings.home)
    platform = open_platform(settings)
    if make and settings.gateway == LocalGateway(settings.home / "export_gateway"):
        platform.gateway.prepare()
        keep_log(settings)  # the home is there by now
    elif gateway:
        platform.gateway.require()
    return platform
