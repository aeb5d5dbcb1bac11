"""What a file system's errors mean to people: the project's error for each, with the next step."""

from __future__ import annotations

import errno
import os

from gaelp_assets.errors import FULL, PASSING, GaelpError, Problem, TransientError
from gaelp_assets.gateway.names import shown


class TooLong(GaelpError):
    """A name that is longer than the file system allows; there is no such file."""


class IsLink(GaelpError):
    """A symbolic link, where a file is expected."""


def place_of(url: str, name: str) -> str:
    """Where an object is, for messages."""
    return f"{url}/{shown(name)}" if name else url


def unreachable(url: str, name: str, why: str) -> TransientError:
    """The error of a folder that is gone, or whose share is."""
    return TransientError(
        Problem(
            f"the gateway's folder cannot be reached: {why}",
            place_of(url, name),
            remedy="Check that the disk or share is mounted; make the folder if it is really meant to be new.",
        )
    )


def explained(error: OSError, action: str, where: str) -> GaelpError:
    """The project's error for a file system's."""
    reason = error.strerror or type(error).__name__
    if error.errno in FULL:
        return TransientError(
            Problem(f"cannot {action}: {reason}", where, "free space", "Free some space on that disk.")
        )
    if error.errno in PASSING or isinstance(error, FileNotFoundError):
        return TransientError(
            Problem(
                f"cannot {action}: {reason}",
                where,
                "a disk that works",
                "Check the disk or share; it is tried again.",
            )
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return GaelpError(
            Problem(
                f"cannot {action}: {reason}",
                where,
                "read, write and search permission on the gateway's folders",
                f"Give them to the user with the id {os.geteuid()}.",
            )
        )
    if error.errno == errno.ENAMETOOLONG:
        return TooLong(
            Problem(f"cannot {action}: {reason}", where, "a shorter name (255 bytes on most file systems)")
        )
    if isinstance(error, NotADirectoryError):
        return GaelpError(
            Problem(
                f"cannot {action}: a file is where a folder should be", where, "folders on the way to a file"
            )
        )
    if error.errno == errno.ELOOP:
        return IsLink(Problem(f"cannot {action}: a symbolic link", where, "a file"))
    if error.errno == errno.EXDEV:
        return GaelpError(
            Problem(f"cannot {action}: {reason}", where, "all of the gateway's folders in one file system")
        )
    return GaelpError(Problem(f"cannot {action}: {reason}", where))
