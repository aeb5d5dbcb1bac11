"""For whom the platform's files are: for their owner alone or, with `GAELP_SHARED=group`, for a group too; never for everybody."""

from __future__ import annotations

import os
from typing import Final

from gaelp_assets.errors import Problem, of_the_system
from gaelp_assets.settings import Settings

OWNER_ALONE: Final = 0o077
OWNER_AND_GROUP: Final = 0o007


def restrict_umask(settings: Settings) -> None:
    """Lets this process, and those that it starts, make files as the settings say; makes none itself."""
    os.umask(OWNER_AND_GROUP if settings.shared else OWNER_ALONE)


def keep_private(settings: Settings) -> None:
    """Lets this process, and those that it starts, make folders and files as the settings say; what is there already stays as it is.

    For the processes that are the platform's own, which write the gateway, the warehouse, staging, locks and Dagster's databases: the
    umask, unlike a mode for each of them, misses none. A shared home is made here, so that what is made in it is of its group.

    Raises:
        GaelpError: the home of a shared machine cannot be made.
    """
    restrict_umask(settings)
    if settings.shared and not settings.home.exists():
        try:
            settings.home.mkdir(parents=True)
            settings.home.chmod(0o2770)
        except OSError as error:
            problem = Problem(f"cannot make the folder: {error.strerror}", str(settings.home), "GAELP_HOME")
            raise of_the_system(error, problem) from error
